//! What happens before a script reads a variable.
//!
//! Two holes of Rhai are closed here. *Sizes*: `m[k] = v` and `a[i] = s` change a value without
//! measuring it, so when a call has grown, all variables in sight are measured. *Captures*: a
//! closure that captures a variable makes it a shared, locked cell, which can hold itself (and is
//! then never freed), can be chained deeper than any stack, and answers a second borrow by
//! sleeping. Here a closure gets a copy of what it captures, as it is at that moment, and may not
//! change it: writing to it is an error, never a silent loss.

use rhai::{Dynamic, Engine, EvalAltResult, EvalContext, FnPtr, Position};

use super::json;
use super::watch::{Before, Stop, before_variable, look_soon};

type Answer<T> = Result<T, Box<EvalAltResult>>;

pub(super) fn register(engine: &mut Engine) {
    // The hook is marked as one that may change in a minor release; the version is pinned by the
    // lock file and the hostile scripts would show it.
    #[expect(deprecated, reason = "not deprecated: Rhai marks what it may still change this way")]
    engine.on_var(before);
}

#[inline]
fn before(
    name: &str,
    _index: usize,
    context: EvalContext<'_, '_, '_, '_, '_, '_>,
) -> Answer<Option<Dynamic>> {
    match before_variable() {
        Before::Nothing => Ok(None),
        Before::Unshare => unshare(name, context),
        Before::End(stop) => ended(stop),
        Before::Measure => measure(&context).map(|()| None),
    }
}

fn ended<T>(stop: Stop) -> Answer<T> {
    Err(EvalAltResult::ErrorTerminated(Dynamic::from(stop), Position::NONE).into())
}

/// Measures every variable in sight, and `this`.
fn measure(context: &EvalContext<'_, '_, '_, '_, '_, '_>) -> Answer<()> {
    let engine = context.engine();
    let variables = context.scope().iter_raw().map(|(_, _, value)| value);
    for value in variables.chain(context.this_ptr()) {
        engine.ensure_data_size_within_limits(value)?;
    }
    Ok(())
}

/// Tells a copy that a closure was given from a constant that was just captured. A script cannot
/// put it there: tags of what is read-only cannot be set.
const COPIED: i16 = 0x5EED;

/// A variable that was just captured becomes an ordinary one again, and the closure gets a copy
/// that cannot be changed. A copy that a closure already has is left as it is.
fn unshare(
    name: &str,
    mut context: EvalContext<'_, '_, '_, '_, '_, '_>,
) -> Answer<Option<Dynamic>> {
    let Some(value) = context.scope().get(name) else {
        return Ok(None);
    };
    if !value.is_shared() {
        return Ok(None);
    }
    look_soon();
    if i64::from(value.tag()) == i64::from(COPIED) {
        return Ok(None);
    }
    // A constant stays shared: it cannot come to hold the closure that holds it.
    let constant = value.is_read_only().then(|| value.clone());
    let copy = match (constant, context.scope_mut().get_mut(name)) {
        (Some(constant), _) => constant,
        (None, Some(variable)) => {
            *variable = variable.take().flatten();
            variable.clone().into_read_only().into_shared()
        }
        (None, None) => return Ok(None),
    };
    if !capturable(&copy, json::DEPTH) {
        let detail = format!(
            "`{name}` cannot be captured by a closure: it holds a closure that captures something \
             itself, or is nested too deeply"
        );
        return Err(EvalAltResult::ErrorRuntime(detail.into(), Position::NONE).into());
    }
    let mut copy = copy;
    copy.set_tag(COPIED.into());
    Ok(Some(copy))
}

fn capturable(value: &Dynamic, depth: usize) -> bool {
    let Some(inside) = depth.checked_sub(1) else {
        return false;
    };
    if let Ok(items) = value.as_array_ref() {
        return items.iter().all(|item| capturable(item, inside));
    }
    if let Ok(fields) = value.as_map_ref() {
        return fields.values().all(|field| capturable(field, inside));
    }
    value.read_lock::<FnPtr>().is_none_or(|pointer| !pointer.is_curried())
}
