//! JSON ⇄ Dynamic, directly, without a text in between.
//!
//! Integers stay integers up to 64 bits with a sign; larger ones become floats. A float that JSON
//! has no number for (NaN, an infinity) becomes `null`. A blob leaves as base64, a [`Time`] as
//! RFC 3339, Rhai's own `timestamp()`, which is a stop-watch, as the seconds since it was taken.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rhai::{Array, Blob, Dynamic, Map};
use serde_json::{Number, Value};

use super::error::{Raised, not_a_value};
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Kind, Result};

/// How deeply a value may be nested when it leaves a script.
pub(super) const DEPTH: usize = 128;
/// How many bytes of text it may hold. A script can name one string a thousand times and pay for
/// it once; outside each has its own.
const TEXT: usize = 64 << 20;

/// The value as a script sees it.
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => Dynamic::from_bool(*flag),
        Value::Number(number) => to_number(number),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Dynamic::from_array(items.iter().map(to_dynamic).collect::<Array>()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.into(), to_dynamic(value)));
            Dynamic::from_map(fields.collect::<Map>())
        }
    }
}

fn to_number(number: &Number) -> Dynamic {
    match number.as_i64() {
        Some(whole) => Dynamic::from_int(whole),
        None => Dynamic::from_float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// The value as the world sees it. Functions and other things that are not data are refused with
/// `not_a_value`, which names their type.
pub fn from_dynamic(value: &Dynamic) -> Result<Value> {
    within(value, TEXT)
}

/// As [`from_dynamic`], but for at most so many bytes of text.
pub(super) fn within(value: &Dynamic, text: usize) -> Result<Value> {
    Writer { text, most: text }.value(value, DEPTH)
}

/// Whether the value is nested no deeper than [`DEPTH`]: such a value can be dropped on any stack.
pub(super) fn is_shallow(value: &Dynamic) -> bool {
    shallow(value, DEPTH)
}

fn shallow(value: &Dynamic, depth: usize) -> bool {
    let Some(inside) = depth.checked_sub(1) else {
        return false;
    };
    if let Ok(items) = value.as_array_ref() {
        return items.iter().all(|item| shallow(item, inside));
    }
    if let Ok(fields) = value.as_map_ref() {
        return fields.values().all(|field| shallow(field, inside));
    }
    true
}

struct Writer {
    /// What is left.
    text: usize,
    most: usize,
}

impl Writer {
    fn value(&mut self, value: &Dynamic, depth: usize) -> Result<Value> {
        if let Ok(number) = value.as_int() {
            return Ok(Value::from(number));
        }
        if let Ok(number) = value.as_float() {
            return Ok(Number::from_f64(number).map_or(Value::Null, Value::Number));
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            self.charge(text.len())?;
            return Ok(Value::String(text.to_string()));
        }
        if value.is_unit() {
            return Ok(Value::Null);
        }
        if let Ok(flag) = value.as_bool() {
            return Ok(Value::Bool(flag));
        }
        if let Ok(letter) = value.as_char() {
            return Ok(Value::String(letter.into()));
        }
        self.nested(value, depth)
    }

    fn nested(&mut self, value: &Dynamic, depth: usize) -> Result<Value> {
        let inside = depth.checked_sub(1).ok_or_else(too_deep)?;
        if let Ok(items) = value.as_array_ref() {
            let items = items.iter().map(|item| self.value(item, inside));
            return items.collect::<Result<Vec<_>>>().map(Value::Array);
        }
        if let Ok(fields) = value.as_map_ref() {
            let mut object = serde_json::Map::with_capacity(fields.len());
            for (name, value) in fields.iter() {
                self.charge(name.len())?;
                object.insert(name.to_string(), self.value(value, inside)?);
            }
            return Ok(Value::Object(object));
        }
        self.other(value)
    }

    fn other(&mut self, value: &Dynamic) -> Result<Value> {
        if let Some(bytes) = value.read_lock::<Blob>() {
            self.charge(bytes.len().saturating_mul(2))?;
            return Ok(Value::String(STANDARD.encode(&*bytes)));
        }
        if let Some(time) = value.read_lock::<Time>() {
            return Ok(Value::String(time.to_string()));
        }
        if let Some(start) = value.read_lock::<Instant>() {
            return Ok(Value::from(start.elapsed().as_secs_f64()));
        }
        if let Some(raised) = value.read_lock::<Raised>() {
            let error = &raised.0;
            return Ok(serde_json::json!({ "code": error.code(), "message": error.detail() }));
        }
        Err(not_a_value(value.type_name()))
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        self.text = self.text.checked_sub(bytes).ok_or_else(|| too_much_text(self.most))?;
        Ok(())
    }
}

pub(super) fn too_deep() -> Error {
    let detail = format!("a value of the script is nested more than {DEPTH} levels deep");
    Error::new(Kind::Invalid, "script_depth", detail)
}

fn too_much_text(most: usize) -> Error {
    let detail = format!("a value of the script holds more than {most} bytes of text");
    Error::new(Kind::Invalid, "script_size", detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..8)
                    .prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_equal(value in any_json()) {
            prop_assert_eq!(from_dynamic(&to_dynamic(&value)).unwrap(), value);
        }
    }

    #[test]
    fn numbers_keep_their_kind_as_far_as_they_can() {
        assert!(to_dynamic(&json!(9_007_199_254_740_993_i64)).is_int());
        assert!(to_dynamic(&json!(u64::MAX)).as_float().unwrap() > 1.8e19);
        assert_eq!(from_dynamic(&Dynamic::from_float(f64::NAN)).unwrap(), Value::Null);
        assert_eq!(from_dynamic(&Dynamic::from_float(f64::INFINITY)).unwrap(), Value::Null);
        assert_eq!(from_dynamic(&Dynamic::from_char('é')).unwrap(), json!("é"));
        assert_eq!(from_dynamic(&Dynamic::from(Time(0))).unwrap(), json!(Time(0).to_string()));
        assert_eq!(from_dynamic(&Dynamic::from_blob(vec![1, 2])).unwrap(), json!("AQI="));
    }

    #[test]
    fn a_function_is_not_a_value_and_is_named() {
        let pointer = Dynamic::from(rhai::FnPtr::new("f").unwrap());
        let error = from_dynamic(&Dynamic::from_array(vec![pointer])).unwrap_err();
        assert_eq!(error.code(), "not_a_value");
        assert!(error.detail().contains("Fn"), "{}", error.detail());
    }

    #[test]
    fn a_value_that_is_too_deep_or_too_wide_is_refused() {
        let deep = (0..200).fold(Dynamic::UNIT, |inner, _| Dynamic::from_array(vec![inner]));
        assert_eq!(from_dynamic(&deep).unwrap_err().code(), "script_depth");
        let text: Dynamic = "x".repeat(1 << 20).into();
        let wide = Dynamic::from_array(vec![text; 100]);
        assert_eq!(from_dynamic(&wide).unwrap_err().code(), "script_size");
    }
}
