//! What can go wrong in a script, in the words of the one who wrote it; and how an [`Error`] of a
//! native function travels through Rhai and comes out as it went in.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, NativeCallContext, ParseError, ParseErrorType, Position};

use super::json;
use super::watch::{Ended, Stop, cut};
use super::{Fence, Function};
use crate::kernel::error::{Error, Fault, Kind};
use crate::kernel::name::nearest;

/// The longest message of a script that is kept.
const WORDS: usize = 1_000;

/// An [`Error`] on its way through a script. A script that catches it can read `code`, `message`
/// and `status`.
#[derive(Clone)]
pub(super) struct Raised(pub(super) Arc<Error>);

/// Ends a native function with an error of ours: it keeps its kind, code and faults, also when the
/// script catches and throws it again.
pub fn raise(error: Error) -> Box<EvalAltResult> {
    let raised = Dynamic::from(Raised(Arc::new(error)));
    EvalAltResult::ErrorRuntime(raised, Position::NONE).into()
}

/// As [`raise`], for a function that is called as `module::name(…)`: there Rhai does not tell where
/// it was called, and the context does.
pub fn raise_at(context: &NativeCallContext<'_>, error: Error) -> Box<EvalAltResult> {
    let raised = Dynamic::from(Raised(Arc::new(error)));
    EvalAltResult::ErrorRuntime(raised, context.call_position()).into()
}

/// The source does not parse.
pub(super) fn syntax(error: &ParseError) -> Error {
    let place = place(error.position()).unwrap_or_else(|| "script".into());
    let fault = Fault::new(place, error.err_type().to_string());
    let (code, what) = match error.err_type() {
        ParseErrorType::ExprTooDeep => ("script_depth", "the script is nested too deeply"),
        ParseErrorType::TooManyFunctions => ("script_size", "the script has too many functions"),
        ParseErrorType::LiteralTooLarge(..) => {
            ("script_size", "the script has too large a literal")
        }
        _ => ("script_syntax", "the script does not parse"),
    };
    Error::invalid(code, what, vec![fault])
}

/// The source is longer than the fence allows.
pub(super) fn source_too_long(bytes: usize, limit: usize) -> Error {
    let detail = format!("the script has {bytes} bytes, at most {limit} are allowed");
    Error::new(Kind::TooLarge, "script_source", detail)
}

/// There is no such function.
pub(super) fn no_function(name: &str, arguments: usize, known: &[Function]) -> Error {
    let same = known.iter().find(|function| function.name == name);
    let hint = match same {
        Some(same) => format!("`{same}` takes {}", same.params.len()),
        None => match nearest(name, known.iter().map(|function| function.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it has none".into(),
            None => {
                let names: Vec<_> = known.iter().take(20).map(ToString::to_string).collect();
                format!("it has {}", names.join(", "))
            }
        },
    };
    let detail = format!("the script has no function `{name}` with {arguments} parameters: {hint}");
    Error::new(Kind::Invalid, "script_no_function", detail)
}

/// Functions and host objects are not data.
pub(super) fn not_a_value(what: &str) -> Error {
    let detail =
        format!("a value of type `{what}` cannot leave the script: only JSON-like values can");
    Error::new(Kind::Invalid, "not_a_value", detail)
}

/// The call did not return.
pub(super) fn ended(ended: Ended, limits: &Limits<'_>) -> Error {
    match ended {
        Ended::Stopped(stop) => stopped(stop, limits, Vec::new()),
        Ended::Panicked(words) => {
            let words = cut(&words, WORDS);
            Error::internal(format!("a function of the script engine panicked: {words}"))
        }
    }
}

/// The figures that a message names.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) fence: &'a Fence,
    pub(super) operations: u64,
    pub(super) time: std::time::Duration,
    pub(super) memory: u64,
}

/// The call was ended at a limit.
fn stopped(stop: Stop, limits: &Limits<'_>, faults: Vec<Fault>) -> Error {
    let (kind, code, detail) = match stop {
        Stop::Operations => {
            let most = limits.operations;
            let detail = format!("the script ended after {most} operations, which is its limit");
            (Kind::Invalid, "script_operations", detail)
        }
        Stop::Time => {
            let most = limits.time;
            let detail = format!("the script ended after {most:?}, which is its limit");
            (Kind::TimedOut, "script_timeout", detail)
        }
        Stop::Memory => {
            let most = limits.memory;
            let detail = format!("the script held more than {most} bytes, which is its limit");
            (Kind::Invalid, "script_memory", detail)
        }
        Stop::Depth => {
            let most = limits.fence.calls;
            let detail = format!(
                "the script went too deep: {most} calls within calls are allowed, and values \
                 nested up to {} levels",
                json::DEPTH
            );
            (Kind::Invalid, "script_depth", detail)
        }
        Stop::Size => {
            let Fence { string, array, map, variables, .. } = limits.fence;
            let detail = format!(
                "a value of the script is too large: allowed are {string} bytes of text, {array} \
                 elements, {map} entries of maps, {variables} variables"
            );
            (Kind::Invalid, "script_size", detail)
        }
        Stop::Cancelled => (Kind::Conflict, "script_cancelled", "the script was cancelled".into()),
    };
    Error::new(kind, code, detail).with_faults(faults)
}

/// The call returned an error. `top` is the function that was called, if one was; `due` why the
/// call was to end, which the error may hide: Rhai's `sort` puts it into words of its own.
pub(super) fn failed(
    mut error: EvalAltResult,
    top: Option<&str>,
    due: Option<Stop>,
    limits: &Limits<'_>,
) -> Error {
    let mut function = top.map(str::to_owned);
    let mut called = Position::NONE;
    loop {
        error = match error {
            EvalAltResult::ErrorInFunctionCall(name, _, inner, position) => {
                function = Some(name);
                called = position;
                *inner
            }
            EvalAltResult::ErrorInModule(_, inner, _) => *inner,
            other => break cause(other, &Where { function, called }, due, limits),
        };
    }
}

/// The innermost function, and where it was called.
struct Where {
    function: Option<String>,
    called: Position,
}

impl Where {
    fn fault(&self, position: Position, what: &str) -> Vec<Fault> {
        let within = match self.function.as_deref() {
            Some(name) if name.starts_with("anon$") => "in a closure: ".to_owned(),
            Some(name) => format!("in `{name}`: "),
            None => String::new(),
        };
        let called = || place(self.called).map(|called| format!("called at {called}"));
        let place = place(position).or_else(called).unwrap_or_else(|| "script".into());
        vec![Fault::new(place, format!("{within}{what}"))]
    }
}

fn cause(mut error: EvalAltResult, at: &Where, due: Option<Stop>, limits: &Limits<'_>) -> Error {
    let position = error.take_position();
    let fault = |what: &str| at.fault(position, what);
    if let Some(stop) = due {
        return stopped(stop, limits, fault("the script was here"));
    }
    let stop = match error {
        EvalAltResult::ErrorTooManyOperations(_) => Stop::Operations,
        EvalAltResult::ErrorStackOverflow(_) => Stop::Depth,
        EvalAltResult::ErrorTooManyVariables(_)
        | EvalAltResult::ErrorTooManyModules(_)
        | EvalAltResult::ErrorDataTooLarge(..) => {
            let what = cut(&error.to_string(), WORDS).to_owned();
            return stopped(Stop::Size, limits, fault(&what));
        }
        EvalAltResult::ErrorTerminated(token, _) => match token.try_cast::<Stop>() {
            Some(stop) => stop,
            None => return stopped(Stop::Cancelled, limits, fault("it was ended")),
        },
        EvalAltResult::ErrorRuntime(value, _) => return thrown(value, fault),
        other => {
            let words = in_words(&other);
            let words = cut(&words, WORDS);
            let detail = format!("the script failed: {words}");
            return Error::invalid("script_failed", detail, fault(words));
        }
    };
    stopped(stop, limits, fault("the script was here"))
}

fn in_words(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorDataRace(..) => {
            "a captured variable is used while it is being used already: give the inner closure a \
             copy (`let copy = variable;`)"
                .into()
        }
        other => other.to_string(),
    }
}

/// What a script threw, or a native function raised.
fn thrown(value: Dynamic, fault: impl Fn(&str) -> Vec<Fault>) -> Error {
    let value = match value.try_cast_result::<Raised>() {
        Ok(raised) => {
            let here = fault("it was raised here");
            return Arc::try_unwrap(raised.0)
                .unwrap_or_else(|shared| copy(&shared))
                .with_faults(here);
        }
        Err(value) => value,
    };
    let words = said(&value);
    Error::invalid("script_failed", format!("the script failed: {words}"), fault(&words))
}

/// A thrown value in words: its text, its `message`, or its JSON.
fn said(value: &Dynamic) -> String {
    let message = value
        .as_map_ref()
        .ok()
        .and_then(|map| map.get("message").and_then(|message| message.clone().into_string().ok()));
    let words = message.or_else(|| value.clone().into_string().ok()).unwrap_or_else(|| {
        let json = json::within(value, 64 * WORDS).map(|json| json.to_string());
        json.unwrap_or_else(|error| error.detail().to_owned())
    });
    cut(&words, WORDS).to_owned()
}

/// An error that a script still holds is told again; only its source stays behind.
fn copy(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.code(), error.detail())
        .with_faults(error.faults().iter().cloned());
    match error.wait() {
        Some(wait) => copy.retry_after(wait),
        None => copy,
    }
}

fn place(position: Position) -> Option<String> {
    match (position.line()?, position.position()) {
        (line, Some(column)) => Some(format!("line {line}, column {column}")),
        (line, None) => Some(format!("line {line}")),
    }
}

/// What a script may read of an error that it caught.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine
        .register_type_with_name::<Raised>("Error")
        .register_get("code", |raised: &mut Raised| raised.0.code().to_owned())
        .register_get("message", |raised: &mut Raised| raised.0.detail().to_owned())
        .register_get("status", |raised: &mut Raised| i64::from(raised.0.kind().status()))
        .register_fn("to_string", |raised: &mut Raised| raised.0.to_string())
        .register_fn("to_debug", |raised: &mut Raised| format!("{:?}", raised.0));
}
