//! Functions of Rhai that are replaced, because one call of them can take more than a fence
//! allows before anyone looks, or can go deeper than the stack. Those that make text of a value
//! are in `text`.

use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FuncRegistration, ImmutableString, Map,
    NativeCallContext, Position,
};

use super::error::raise;
use super::json::DEPTH;
use super::watch::{Stop, halt};
use crate::kernel::error::{Error, Kind};

type Answer<T> = Result<T, Box<EvalAltResult>>;

pub(super) fn register(engine: &mut Engine) {
    equality(engine);
    splitting(engine);
    replacing(engine);
    padding(engine);
    engine.register_fn("sleep", |_seconds: i64| no_sleep());
    engine.register_fn("sleep", |_seconds: f64| no_sleep());
}

fn no_sleep() -> Answer<()> {
    let detail = "a script may not sleep: it would hold a thread that others need";
    Err(raise(Error::new(Kind::Invalid, "script_failed", detail)))
}

fn too_large<T>(what: &str) -> Answer<T> {
    Err(EvalAltResult::ErrorDataTooLarge(what.to_owned(), Position::NONE).into())
}

// Equality, which Rhai does by a call through the whole engine for each level.

fn equality(engine: &mut Engine) {
    let pure = |name: &str| FuncRegistration::new(name).with_purity(true);
    pure("==").register_into_engine(engine, |c: NativeCallContext<'_>, a: &mut Array, b: Array| {
        same_items(&c, a, &b, DEPTH)
    });
    pure("!=").register_into_engine(engine, |c: NativeCallContext<'_>, a: &mut Array, b: Array| {
        same_items(&c, a, &b, DEPTH).map(|same| !same)
    });
    pure("==").register_into_engine(engine, |c: NativeCallContext<'_>, a: &mut Map, b: Map| {
        same_fields(&c, a, &b, DEPTH)
    });
    pure("!=").register_into_engine(engine, |c: NativeCallContext<'_>, a: &mut Map, b: Map| {
        same_fields(&c, a, &b, DEPTH).map(|same| !same)
    });
}

fn same_items(
    context: &NativeCallContext<'_>,
    one: &[Dynamic],
    other: &[Dynamic],
    depth: usize,
) -> Answer<bool> {
    if one.len() != other.len() {
        return Ok(false);
    }
    let inside = depth.checked_sub(1).unwrap_or_else(|| halt(Stop::Depth));
    for (one, other) in one.iter().zip(other) {
        if !same(context, one, other, inside)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_fields(
    context: &NativeCallContext<'_>,
    one: &Map,
    other: &Map,
    depth: usize,
) -> Answer<bool> {
    if one.len() != other.len() {
        return Ok(false);
    }
    let inside = depth.checked_sub(1).unwrap_or_else(|| halt(Stop::Depth));
    for (name, one) in one {
        let Some(other) = other.get(name) else {
            return Ok(false);
        };
        if !same(context, one, other, inside)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same(
    context: &NativeCallContext<'_>,
    one: &Dynamic,
    other: &Dynamic,
    depth: usize,
) -> Answer<bool> {
    if let (Ok(one), Ok(other)) = (one.as_array_ref(), other.as_array_ref()) {
        return same_items(context, &one, &other, depth);
    }
    if let (Ok(one), Ok(other)) = (one.as_map_ref(), other.as_map_ref()) {
        return same_fields(context, &one, &other, depth);
    }
    let (mut one, mut other) = (one.clone(), other.clone());
    let kinds = (one.type_id(), other.type_id());
    match context.call_native_fn_raw("==", true, &mut [&mut one, &mut other]) {
        Ok(answer) => Ok(answer.as_bool().unwrap_or(false)),
        Err(_) if kinds.0 != kinds.1 => Ok(false),
        Err(error) => Err(error),
    }
}

// Text cut into pieces: a megabyte of commas is a million strings.

fn splitting(engine: &mut Engine) {
    type Context<'a> = NativeCallContext<'a>;
    type Text = ImmutableString;
    engine.register_fn("split", |c: Context<'_>, text: Text| pieces(&c, text.split_whitespace()));
    engine.register_fn("split", |c: Context<'_>, text: Text, by: Text| {
        pieces(&c, text.split(by.as_str()))
    });
    engine.register_fn("split", |c: Context<'_>, text: Text, by: char| pieces(&c, text.split(by)));
    engine.register_fn("split", |c: Context<'_>, text: Text, by: Text, most: i64| {
        pieces(&c, text.splitn(at_least_one(most), by.as_str()))
    });
    engine.register_fn("split", |c: Context<'_>, text: Text, by: char, most: i64| {
        pieces(&c, text.splitn(at_least_one(most), by))
    });
    engine.register_fn("split_rev", |c: Context<'_>, text: Text, by: Text| {
        pieces(&c, text.rsplit(by.as_str()))
    });
    engine.register_fn("split_rev", |c: Context<'_>, text: Text, by: char| {
        pieces(&c, text.rsplit(by))
    });
    engine.register_fn("split_rev", |c: Context<'_>, text: Text, by: Text, most: i64| {
        pieces(&c, text.rsplitn(at_least_one(most), by.as_str()))
    });
    engine.register_fn("split_rev", |c: Context<'_>, text: Text, by: char, most: i64| {
        pieces(&c, text.rsplitn(at_least_one(most), by))
    });
    engine.register_fn("to_chars", |c: Context<'_>, text: Text| collect(&c, text.chars()));
}

fn at_least_one(most: i64) -> usize {
    usize::try_from(most.max(1)).unwrap_or(usize::MAX)
}

fn pieces<'a>(
    context: &NativeCallContext<'_>,
    pieces: impl Iterator<Item = &'a str>,
) -> Answer<Array> {
    collect(context, pieces)
}

fn collect<T: Into<Dynamic>>(
    context: &NativeCallContext<'_>,
    items: impl Iterator<Item = T>,
) -> Answer<Array> {
    let most = context.engine().max_array_size();
    let mut array = Array::new();
    for item in items {
        if array.len() >= most {
            return too_large("Size of array/BLOB");
        }
        array.push(item.into());
    }
    Ok(array)
}

// Padding: Rhai counts all letters again for each that it adds.

fn padding(engine: &mut Engine) {
    type Context<'a> = NativeCallContext<'a>;
    type Text = ImmutableString;
    engine.register_fn("pad", |c: Context<'_>, text: &mut Text, letters: i64, with: char| {
        pad(&c, text, letters, with.encode_utf8(&mut [0; 4]))
    });
    engine.register_fn("pad", |c: Context<'_>, text: &mut Text, letters: i64, with: Text| {
        pad(&c, text, letters, &with)
    });
}

/// Adds `with`, whole or in part, until `text` has so many letters.
fn pad(
    context: &NativeCallContext<'_>,
    text: &mut ImmutableString,
    letters: i64,
    with: &str,
) -> Answer<()> {
    let wanted = usize::try_from(letters).unwrap_or(0);
    let most = context.engine().max_string_size();
    if wanted > most {
        return too_large("Length of string");
    }
    let missing = wanted.saturating_sub(text.chars().count());
    let mut padded = text.to_string();
    for letter in with.chars().cycle().take(missing) {
        padded.push(letter);
        if padded.len() > most {
            return too_large("Length of string");
        }
    }
    *text = padded.into();
    Ok(())
}

// Replacing: each letter of a megabyte by a megabyte.

fn replacing(engine: &mut Engine) {
    type Context<'a> = NativeCallContext<'a>;
    type Text = ImmutableString;
    engine.register_fn("replace", |c: Context<'_>, text: &mut Text, old: Text, new: Text| {
        replace(&c, text, &old, &new)
    });
    engine.register_fn("replace", |c: Context<'_>, text: &mut Text, old: Text, new: char| {
        replace(&c, text, &old, new.encode_utf8(&mut [0; 4]))
    });
    engine.register_fn("replace", |c: Context<'_>, text: &mut Text, old: char, new: Text| {
        replace(&c, text, old.encode_utf8(&mut [0; 4]), &new)
    });
    engine.register_fn("replace", |c: Context<'_>, text: &mut Text, old: char, new: char| {
        replace(&c, text, old.encode_utf8(&mut [0; 4]), new.encode_utf8(&mut [0; 4]))
    });
}

fn replace(
    context: &NativeCallContext<'_>,
    text: &mut ImmutableString,
    old: &str,
    new: &str,
) -> Answer<()> {
    let found = text.matches(old).count();
    let grown = found.saturating_mul(new.len().saturating_sub(old.len()));
    if text.len().saturating_add(grown) > context.engine().max_string_size() {
        return too_large("Length of string");
    }
    *text = text.replace(old, new).into();
    Ok(())
}
