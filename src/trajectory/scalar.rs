//! The value of a field: a number, a text, or JSON as text where it is neither. It is what a client
//! sent, without being taken apart and put together again.
//!
//! ```text
//! value = tag u8 | what the tag says
//!  0 null   1 false   2 true   3 integer, zigzag varint   4 integer above i64, varint
//!  5 number, f64   6 text   7 an array or object as JSON, text
//! ```

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::varint::{Reader, put_text, put_varint, unzigzag, zigzag};

/// See the module's first line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer above the largest signed one.
    Uint(u64),
    Float(f64),
    Text(Cow<'a, str>),
    /// An array or an object.
    Json(Cow<'a, str>),
}

impl<'a> Scalar<'a> {
    pub(crate) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(is) => Self::Bool(*is),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Number(number) => Self::of_number(number),
            Value::Array(_) | Value::Object(_) => Self::Json(Cow::Owned(value.to_string())),
        }
    }

    fn of_number(number: &Number) -> Self {
        match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), ..) => Self::Int(whole),
            (None, Some(large), _) => Self::Uint(large),
            (None, None, float) => Self::Float(float.unwrap_or_default()),
        }
    }

    /// The same, borrowed from nobody.
    pub(crate) fn into_owned(self) -> Scalar<'static> {
        match self {
            Self::Null => Scalar::Null,
            Self::Bool(is) => Scalar::Bool(is),
            Self::Int(number) => Scalar::Int(number),
            Self::Uint(number) => Scalar::Uint(number),
            Self::Float(number) => Scalar::Float(number),
            Self::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
            Self::Json(text) => Scalar::Json(Cow::Owned(text.into_owned())),
        }
    }

    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(is) => Value::Bool(is),
            Self::Int(number) => number.into(),
            Self::Uint(number) => number.into(),
            Self::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::String(text.into_owned()),
            Self::Json(text) => {
                serde_json::from_str(&text).unwrap_or(Value::String(text.into_owned()))
            }
        }
    }

    /// As it is compared with what a query asks for: a text as it is, anything else as JSON.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed("null"),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Int(number) => Cow::Owned(number.to_string()),
            Self::Uint(number) => Cow::Owned(number.to_string()),
            Self::Float(number) => Cow::Owned(
                Number::from_f64(*number).map_or_else(|| "null".to_owned(), |n| n.to_string()),
            ),
            Self::Text(text) | Self::Json(text) => Cow::Borrowed(text),
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            _ => 20,
        }
    }

    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        match self {
            Self::Null => to.push(0),
            Self::Bool(is) => to.push(1 + u8::from(*is)),
            Self::Int(number) => {
                to.push(3);
                put_varint(to, zigzag(*number));
            }
            Self::Uint(number) => {
                to.push(4);
                put_varint(to, *number);
            }
            Self::Float(number) => {
                to.push(5);
                to.extend_from_slice(&number.to_le_bytes());
            }
            Self::Text(text) => {
                to.push(6);
                put_text(to, text);
            }
            Self::Json(text) => {
                to.push(7);
                put_text(to, text);
            }
        }
    }

    pub(crate) fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(match from.byte()? {
            0 => Self::Null,
            1 => Self::Bool(false),
            2 => Self::Bool(true),
            3 => Self::Int(unzigzag(from.varint()?)),
            4 => Self::Uint(from.varint()?),
            5 => Self::Float(f64::from_le_bytes(from.array()?)),
            6 => Self::Text(Cow::Borrowed(from.text()?)),
            7 => Self::Json(Cow::Borrowed(from.text()?)),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_come_back_as_they_were() {
        for value in [
            json!(null),
            json!(true),
            json!(false),
            json!(-7),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1.5),
            json!(-0.0),
            json!(1e300),
            json!("风"),
            json!([1, {"a": null}]),
            json!({"b": [2.5]}),
        ] {
            let mut bytes = Vec::new();
            Scalar::of(&value).put(&mut bytes);
            let mut reader = Reader(&bytes);
            let back = Scalar::read(&mut reader).unwrap();
            assert!(reader.is_empty());
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(back.shown(), shown);
            assert_eq!(back.into_value(), value);
        }
        assert_eq!(Scalar::read(&mut Reader(&[9])), None);
    }
}
