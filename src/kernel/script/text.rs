//! Values as text and as JSON, within the fence.
//!
//! This needs care: Rhai answers *any* error of `to_string` by printing the whole value, and a
//! value may name one large string ten thousand times. So nothing here that makes text of an array
//! or a map returns an error: at a limit the call ends ([`halt`]).

use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FnPtr, FuncRegistration, Map, NativeCallContext,
};

use super::error::raise;
use super::json::{self, DEPTH};
use super::watch::{Stop, halt};
use crate::kernel::error::{Error, Kind};

type Answer<T> = Result<T, Box<EvalAltResult>>;

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("parse_json", parse_json);
    for name in ["to_string", "to_debug", "print", "debug"] {
        let pure = || FuncRegistration::new(name).with_purity(true);
        pure().register_into_engine(engine, |context: NativeCallContext<'_>, items: &mut Array| {
            text(&context, |writer| writer.items(items, DEPTH))
        });
        pure().register_into_engine(engine, |context: NativeCallContext<'_>, fields: &mut Map| {
            text(&context, |writer| writer.fields(fields, DEPTH))
        });
        pure().register_into_engine(engine, |pointer: &mut FnPtr| {
            format!("Fn({})", pointer.fn_name())
        });
    }
    let pure = || FuncRegistration::new("to_json").with_purity(true);
    pure().register_into_engine(engine, |context: NativeCallContext<'_>, value: &mut Dynamic| {
        to_json(&context, value)
    });
    pure().register_into_engine(engine, |context: NativeCallContext<'_>, fields: &mut Map| {
        to_json(&context, &Dynamic::from_map(fields.clone()))
    });
}

fn to_json(context: &NativeCallContext<'_>, value: &Dynamic) -> Answer<String> {
    let most = context.engine().max_string_size();
    json::within(value, most).map(|json| json.to_string()).map_err(raise)
}

fn parse_json(text: &str) -> Answer<Dynamic> {
    serde_json::from_str(text).map_err(|error| {
        raise(Error::new(Kind::Invalid, "script_failed", format!("not JSON: {error}")))
    })
}

struct Writer<'a> {
    context: &'a NativeCallContext<'a>,
    text: String,
    most: usize,
}

fn text(context: &NativeCallContext<'_>, write: impl FnOnce(&mut Writer<'_>)) -> String {
    let most = context.engine().max_string_size();
    let mut writer = Writer { context, text: String::new(), most };
    write(&mut writer);
    writer.text
}

impl Writer<'_> {
    fn push(&mut self, text: &str) {
        if self.text.len().saturating_add(text.len()) > self.most {
            halt(Stop::Size);
        }
        self.text.push_str(text);
    }

    fn items(&mut self, items: &[Dynamic], depth: usize) {
        let inside = depth.checked_sub(1).unwrap_or_else(|| halt(Stop::Depth));
        self.push("[");
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.value(item, inside);
        }
        self.push("]");
    }

    fn fields(&mut self, fields: &Map, depth: usize) {
        let inside = depth.checked_sub(1).unwrap_or_else(|| halt(Stop::Depth));
        self.push("#{");
        for (index, (name, field)) in fields.iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.quoted(name);
            self.push(": ");
            self.value(field, inside);
        }
        self.push("}");
    }

    fn quoted(&mut self, text: &str) {
        if text.len() > self.most {
            halt(Stop::Size);
        }
        self.push(&format!("{text:?}"));
    }

    fn value(&mut self, value: &Dynamic, depth: usize) {
        if let Ok(items) = value.as_array_ref() {
            return self.items(&items, depth);
        }
        if let Ok(fields) = value.as_map_ref() {
            return self.fields(&fields, depth);
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            return self.quoted(&text);
        }
        if value.is_unit() {
            return self.push("()");
        }
        if value.is_int() || value.is_float() || value.is_bool() {
            return self.push(&value.to_string());
        }
        let said = self.context.call_native_fn_raw("to_debug", true, &mut [&mut value.clone()]);
        match said.ok().and_then(|said| said.into_immutable_string().ok()) {
            Some(said) => self.push(&said),
            None => self.push(value.type_name()),
        }
    }
}
