//! Mathematics that Rhai has not, or has for floats only: every function here takes integers and
//! floats, mixed as they come.
//!
//! Rhai itself has `sin cos tan asin acos atan sinh cosh tanh`, `min` and `max` of two, `abs sign
//! floor ceiling round int fraction exp ln log sqrt` of floats, `PI() E()`, `**`.

use rhai::{Dynamic, Engine, EvalAltResult};

use super::error::raise;
use crate::kernel::error::{Error, Kind};

type Answer<T> = Result<T, Box<EvalAltResult>>;

/// A function of one number, as Rust has it.
type Unary = (&'static str, fn(f64) -> f64);
/// A function of two numbers, as Rust has it.
type Binary = (&'static str, fn(f64, f64) -> f64);

const UNARY: [Unary; 17] = [
    ("sqrt", f64::sqrt),
    ("cbrt", f64::cbrt),
    ("exp", f64::exp),
    ("ln", f64::ln),
    ("log10", f64::log10),
    ("log2", f64::log2),
    ("sin", f64::sin),
    ("cos", f64::cos),
    ("tan", f64::tan),
    ("asin", f64::asin),
    ("acos", f64::acos),
    ("atan", f64::atan),
    ("tanh", f64::tanh),
    ("degrees", f64::to_degrees),
    ("to_degrees", f64::to_degrees),
    ("radians", f64::to_radians),
    ("to_radians", f64::to_radians),
];

const BINARY: [Binary; 4] =
    [("pow", f64::powf), ("atan2", f64::atan2), ("hypot", f64::hypot), ("log", f64::log)];

const ROUNDING: [Unary; 4] =
    [("floor", f64::floor), ("ceil", f64::ceil), ("round", f64::round), ("trunc", f64::trunc)];

pub(super) fn register(engine: &mut Engine) {
    for (name, function) in UNARY {
        engine.register_fn(name, move |x: f64| function(x));
        engine.register_fn(name, move |x: i64| function(float(x)));
    }
    for (name, function) in BINARY {
        engine.register_fn(name, move |x: f64, y: f64| function(x, y));
        engine.register_fn(name, move |x: i64, y: f64| function(float(x), y));
        engine.register_fn(name, move |x: f64, y: i64| function(x, float(y)));
        engine.register_fn(name, move |x: i64, y: i64| function(float(x), float(y)));
    }
    for (name, function) in ROUNDING {
        engine.register_fn(name, move |x: f64| function(x));
        engine.register_fn(name, |x: i64| x);
    }
    engine.register_fn("round", round_to);
    engine.register_fn("round", |x: i64, _digits: i64| x);
    engine.register_fn("is_nan", |_: i64| false);
    engine.register_fn("is_finite", |_: i64| true);
    engine.register_fn("clamp", clamp);
    engine.register_fn(
        "clamp",
        |x: i64, low: i64, high: i64| {
            if low <= high { Ok(x.clamp(low, high)) } else { crossed() }
        },
    );
}

/// `x` to so many decimals.
fn round_to(x: f64, digits: i64) -> f64 {
    let scale = 10_f64.powi(i32::try_from(digits.clamp(-300, 300)).unwrap_or(0));
    let rounded = (x * scale).round() / scale;
    if rounded.is_finite() { rounded } else { x }
}

/// `x`, but at least `low` and at most `high`; not a number stays not a number.
fn clamp(x: Dynamic, low: Dynamic, high: Dynamic) -> Answer<f64> {
    let (x, low, high) = (number(&x)?, number(&low)?, number(&high)?);
    if low <= high { Ok(x.clamp(low, high)) } else { crossed() }
}

fn number(value: &Dynamic) -> Answer<f64> {
    value.as_float().or_else(|_| value.as_int().map(float)).map_err(|kind| {
        let detail = format!("`clamp` takes numbers, not `{kind}`");
        raise(Error::new(Kind::Invalid, "script_failed", detail))
    })
}

fn crossed<T>() -> Answer<T> {
    let detail = "`clamp(x, low, high)` needs a low that is not above its high";
    Err(raise(Error::new(Kind::Invalid, "script_failed", detail)))
}

#[expect(clippy::cast_precision_loss, reason = "what a script asks for when it mixes numbers")]
const fn float(whole: i64) -> f64 {
    whole as f64
}
