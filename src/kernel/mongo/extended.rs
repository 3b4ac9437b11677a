//! MongoDB's extended JSON, in which `mongoexport` writes what JSON has no word for, and in which
//! everything else that is read from MongoDB comes here too: `{"$date": …}`, `{"$oid": …}`. Both of
//! its forms are read, and what older tools wrote.

use serde_json::{Map, Value};

use crate::kernel::clock::Time;

/// The same as plain JSON: times and ids as text, numbers as numbers.
pub fn plain(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Value::Object(fields) => match special(&fields) {
            Some(meant) => meant,
            None => Value::Object(
                fields.into_iter().map(|(field, value)| (field, plain(value))).collect(),
            ),
        },
        other => other,
    }
}

/// What an object with one `$word` stands for, where that has a plain form.
fn special(fields: &Map<String, Value>) -> Option<Value> {
    let mut fields_of_it = fields.iter();
    let (Some((word, value)), None) = (fields_of_it.next(), fields_of_it.next()) else {
        return None;
    };
    match (word.as_str(), value) {
        ("$date", value) => Some(time_of(value).map(Time::without_zone)?.into()),
        ("$undefined", _) => Some(Value::Null),
        ("$oid" | "$symbol" | "$uuid" | "$numberDecimal", Value::String(text)) => {
            Some(text.as_str().into())
        }
        ("$numberInt" | "$numberLong", Value::String(text)) => {
            Some(text.parse::<i64>().map_or_else(|_odd| text.as_str().into(), Value::from))
        }
        // Infinity and NaN are texts: JSON has no such numbers.
        ("$numberDouble", Value::String(text)) => {
            let number = text.parse().ok().and_then(serde_json::Number::from_f64);
            Some(number.map_or_else(|| text.as_str().into(), Value::Number))
        }
        ("$numberInt" | "$numberLong" | "$numberDouble", Value::Number(_)) => Some(value.clone()),
        _ => None,
    }
}

/// The time that a field `time` holds: a date, or a text that reads as one.
pub fn time(value: &Value) -> Option<Time> {
    match value {
        Value::String(text) => text_time(text),
        Value::Object(fields) if fields.len() == 1 => time_of(fields.get("$date")?),
        _ => None,
    }
}

fn time_of(date: &Value) -> Option<Time> {
    let millis = match date {
        Value::String(text) => return text_time(text),
        Value::Number(number) => number.as_i64()?,
        Value::Object(fields) => fields.get("$numberLong")?.as_str()?.parse().ok()?,
        _ => return None,
    };
    Some(Time(millis.checked_mul(1000)?))
}

/// RFC 3339, and the zone without a colon that older tools wrote.
fn text_time(text: &str) -> Option<Time> {
    if let Ok(time) = Time::parse(text) {
        return Some(time);
    }
    let (head, zone) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let is_zone = head.len() > 3 && zone.bytes().all(|byte| byte.is_ascii_digit());
    is_zone.then(|| Time::parse(&format!("{head}:{zone}")).ok()).flatten()
}

/// An id as people read it, and as it sorts: an `ObjectId` begins with the time it was made at.
pub fn id(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(value) => match plain(value.clone()) {
            Value::String(text) => text,
            other => other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_and_older_ones_become_plain_json() {
        for (given, meant) in [
            (json!({"$date": "2022-05-30T08:00:00.5Z"}), json!("2022-05-30T08:00:00.500000")),
            (json!({"$date": {"$numberLong": "1000"}}), json!("1970-01-01T00:00:01.000000")),
            (json!({"$date": 1000}), json!("1970-01-01T00:00:01.000000")),
            (json!({"$date": "2022-05-30T08:00:00.000+0800"}), json!("2022-05-30T00:00:00.000000")),
            (json!({"$date": "yesterday"}), json!({"$date": "yesterday"})),
            (json!({"$oid": "62942f00"}), json!("62942f00")),
            (json!({"$numberLong": "9007199254740993"}), json!(9_007_199_254_740_993_i64)),
            (json!({"$numberDouble": "2.5"}), json!(2.5)),
            (json!({"$numberDouble": "NaN"}), json!("NaN")),
            (json!({"$numberInt": "7"}), json!(7)),
            (json!({"$numberDecimal": "1.10"}), json!("1.10")),
            (json!({"$oid": "a", "more": 1}), json!({"$oid": "a", "more": 1})),
            (json!([{"deep": {"$oid": "a"}}]), json!([{"deep": "a"}])),
        ] {
            assert_eq!(plain(given.clone()), meant, "{given}");
        }
    }

    #[test]
    fn a_time_is_a_date_or_a_text_that_reads_as_one() {
        let micros = |value: Value| time(&value).map(|time| time.0);
        assert_eq!(micros(json!({"$date": 1})), Some(1000));
        assert_eq!(micros(json!("1970-01-01 00:00:01.500")), Some(1_500_000));
        for none in [json!("yesterday"), json!(7), json!(null), json!({"$date": {"$oid": "x"}})] {
            assert_eq!(time(&none), None, "{none}");
        }
        assert_eq!(micros(json!({"$date": i64::MAX})), None);
        for odd in ["", "é", "中文", "+00", "12"] {
            assert_eq!(time(&json!(odd)), None, "{odd}");
        }
    }
}
