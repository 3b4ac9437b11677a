//! Values of a run as they are kept, so that it can go on where it was: data as JSON, tables as
//! Parquet, bytes as they are. What would not come back as it was (a function, NaN, a time, something larger than
//! [`VALUE_MAX`]) is not kept, and its node runs again where the value is needed.

use rhai::{Blob, Dynamic, FnPtr};
use serde_json::{Value, json};

use super::format::ValueRow;
use crate::kernel::error::{Error, Result};
use crate::kernel::script::{from_dynamic, to_dynamic};

/// The most bytes of one value that is kept.
pub(super) const VALUE_MAX: usize = 8 << 20;
/// How much of a small value is shown with its node.
const SHOWN_MAX: usize = 200;
/// How deeply a value may be nested that is kept.
const DEPTH_MAX: usize = 64;

const JSON: u8 = 0;
#[cfg(feature = "table")]
const TABLE: u8 = 1;
const BYTES: u8 = 2;

/// The value as it is kept; none where it cannot be.
pub(super) fn keep(value: &Dynamic) -> Option<ValueRow> {
    #[cfg(feature = "table")]
    if let Some(table) = value.read_lock::<crate::kernel::table::Table>() {
        use crate::kernel::table::{Format, write};
        if table.bytes() > 4 * VALUE_MAX {
            return None;
        }
        let bytes = write::to_bytes(&table, Format::Parquet).ok()?;
        return (bytes.len() <= VALUE_MAX).then_some(ValueRow { form: TABLE, bytes });
    }
    if let Some(bytes) = value.read_lock::<Blob>() {
        let fits = bytes.len() <= VALUE_MAX;
        return fits.then(|| ValueRow { form: BYTES, bytes: bytes.clone() });
    }
    if !is_plain(value, DEPTH_MAX) {
        return None;
    }
    let bytes = serde_json::to_vec(&from_dynamic(value).ok()?).ok()?;
    (bytes.len() <= VALUE_MAX).then_some(ValueRow { form: JSON, bytes })
}

/// The value that was kept.
pub(super) fn restore(row: &ValueRow) -> Result<Dynamic> {
    match row.form {
        JSON => {
            let value: Value = serde_json::from_slice(&row.bytes).map_err(damaged)?;
            Ok(to_dynamic(&value))
        }
        #[cfg(feature = "table")]
        TABLE => {
            use crate::kernel::table::{Limits, read};
            let bytes = bytes::Bytes::from(row.bytes.clone());
            Ok(Dynamic::from(read::parquet(bytes, &Limits::default())?))
        }
        BYTES => Ok(Dynamic::from_blob(row.bytes.clone())),
        other => Err(damaged(format!("its form is {other}"))),
    }
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::internal(format!("a value of a run cannot be read: {why}"))
}

/// Whether JSON says the same.
fn is_plain(value: &Dynamic, depth: usize) -> bool {
    let Some(inside) = depth.checked_sub(1) else {
        return false;
    };
    if let Ok(items) = value.as_array_ref() {
        return items.iter().all(|item| is_plain(item, inside));
    }
    if let Ok(fields) = value.as_map_ref() {
        return fields.values().all(|field| is_plain(field, inside));
    }
    value.is_unit()
        || value.is_bool()
        || value.is_int()
        || value.is_string()
        || value.as_float().is_ok_and(f64::is_finite)
}

/// A value in short: its type, its size, and itself where it is small.
pub(super) fn summary(value: &Dynamic) -> Value {
    if let Some(opaque) = opaque(value) {
        return opaque;
    }
    if let Some(bytes) = value.read_lock::<Blob>() {
        return json!({ "type": "bytes", "len": bytes.len() });
    }
    if let Ok(items) = value.as_array_ref() {
        return small(value, "array", items.len());
    }
    if let Ok(fields) = value.as_map_ref() {
        return small(value, "map", fields.len());
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return small(value, "text", text.len());
    }
    match from_dynamic(value) {
        Ok(shown) => json!({ "type": kind(value), "value": shown }),
        Err(_no_data) => json!({ "type": kind(value) }),
    }
}

fn small(value: &Dynamic, kind: &str, len: usize) -> Value {
    let mut summary = json!({ "type": kind, "len": len });
    if len <= SHOWN_MAX
        && let Ok(shown) = from_dynamic(value)
        && shown.to_string().len() <= SHOWN_MAX
        && let Some(fields) = summary.as_object_mut()
    {
        fields.insert("value".into(), shown);
    }
    summary
}

fn kind(value: &Dynamic) -> String {
    match value.type_name().rsplit("::").next().unwrap_or_default() {
        "i64" => "int".into(),
        "f64" => "float".into(),
        "()" => "nothing".into(),
        other => other.to_lowercase(),
    }
}

/// What is told of a value that is no data, such as a table; nothing of one that is.
pub(super) fn opaque(value: &Dynamic) -> Option<Value> {
    if value.is_array() || value.is_map() || value.is::<FnPtr>() {
        return None;
    }
    #[cfg(feature = "table")]
    if let Some(table) = value.read_lock::<crate::kernel::table::Table>() {
        let columns: Vec<&str> = table.schema().iter().map(|column| column.name.as_str()).collect();
        return Some(json!({ "type": "table", "rows": table.rows(), "columns": columns }));
    }
    match from_dynamic(value) {
        Err(why) if why.code() == "not_a_value" => Some(json!({ "type": kind(value) })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(value: &Value) -> Value {
        let kept = keep(&to_dynamic(value)).unwrap();
        from_dynamic(&restore(&kept).unwrap()).unwrap()
    }

    #[test]
    fn data_comes_back_as_it_was() {
        for value in [
            json!(null),
            json!(7),
            json!(7.0),
            json!("风电"),
            json!([1, 2.5, {"a": [true, null]}]),
            json!(i64::MIN),
        ] {
            assert_eq!(back(&value), value);
        }
        let kept = restore(&keep(&Dynamic::from_float(1.0)).unwrap()).unwrap();
        assert!(kept.is_float(), "a float stays one");
        let bytes = restore(&keep(&Dynamic::from_blob(vec![0, 255])).unwrap()).unwrap();
        assert_eq!(bytes.cast::<Blob>(), [0, 255]);
    }

    #[test]
    fn what_would_come_back_otherwise_is_not_kept() {
        for value in [
            Dynamic::from_float(f64::NAN),
            Dynamic::from(FnPtr::new("f").unwrap()),
            Dynamic::from_array(vec![Dynamic::from_float(f64::INFINITY)]),
            Dynamic::from("x".repeat(VALUE_MAX + 1)),
        ] {
            assert!(keep(&value).is_none(), "{value:?}");
        }
        assert!(restore(&ValueRow { form: 9, bytes: vec![] }).is_err());
        assert!(restore(&ValueRow { form: JSON, bytes: b"{".to_vec() }).is_err());
    }

    #[cfg(feature = "table")]
    #[test]
    fn a_table_comes_back_with_its_columns() {
        use crate::kernel::table::Table;
        let table =
            Table::from_rows(&[json!({"t": "2014-03-30T01:00:00Z", "p": 1.5, "n": 2})]).unwrap();
        let kept = keep(&Dynamic::from(table.clone())).unwrap();
        let back = restore(&kept).unwrap().cast::<Table>();
        assert_eq!((back.to_rows(), back.schema()), (table.to_rows(), table.schema()));
    }

    #[test]
    fn a_summary_shows_small_values_whole_and_large_ones_by_their_size() {
        assert_eq!(summary(&Dynamic::from_int(78)), json!({"type": "int", "value": 78}));
        let short = to_dynamic(&json!([1, 2]));
        assert_eq!(summary(&short), json!({"type": "array", "len": 2, "value": [1, 2]}));
        let long = to_dynamic(&json!("x".repeat(300)));
        assert_eq!(summary(&long), json!({"type": "text", "len": 300}));
        assert_eq!(summary(&Dynamic::from(FnPtr::new("f").unwrap()))["type"], json!("fn"));
    }
}
