//! A JSON object taken apart field by field, so that every fault of a body is named at once: what
//! is missing, what has the wrong type, what nobody knows.

use serde_json::{Map, Value};

use super::error::{Error, Fault, Result};
use super::name::nearest;

/// The fields of a body. Take what is known, then [`Fields::finish`].
#[derive(Debug)]
pub struct Fields {
    map: Map<String, Value>,
    asked: Vec<&'static str>,
    faults: Vec<Fault>,
    base: String,
}

impl Fields {
    /// The fields of a body, which must be an object.
    pub fn of(body: Value) -> Result<Self> {
        Self::at("", body).map_err(|fault| {
            Error::invalid("bad_body", format!("the body {}", fault.detail), vec![fault])
        })
    }

    /// The fields of an object that stands at `base` inside a body.
    pub fn at(base: impl Into<String>, value: Value) -> std::result::Result<Self, Fault> {
        let base = base.into();
        match value {
            Value::Object(map) => Ok(Self { map, asked: Vec::new(), faults: Vec::new(), base }),
            other => Err(Fault::new(base, format!("is {}, not an object", kind(&other)))),
        }
    }

    /// Fields that may be there and are not read: those that an answer has and a request repeats.
    pub fn ignore(mut self, names: &[&str]) -> Self {
        for name in names {
            self.map.remove(*name);
        }
        self
    }

    /// A field as it came; `null` counts as absent.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => self.wrong(name, "a text", &other),
        }
    }

    /// A text that must be there and not empty.
    pub fn must_text(&mut self, name: &'static str) -> Option<String> {
        let faults = self.faults.len();
        let text = self.text(name);
        match text {
            Some(text) if !text.trim().is_empty() => Some(text),
            _ if self.faults.len() > faults => None,
            _ => {
                self.fault(name, "is missing");
                None
            }
        }
    }

    /// A list of texts; one text counts as a list of it.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let items = match self.take(name)? {
            Value::String(text) => return Some(vec![text]),
            Value::Array(items) => items,
            other => return self.wrong(name, "a list of texts", &other),
        };
        let mut texts = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => {
                    self.fault(&format!("{name}/{at}"), format!("is {}, not a text", kind(&other)));
                }
            }
        }
        Some(texts)
    }

    /// A whole number from 0 on.
    pub fn whole(&mut self, name: &'static str) -> Option<u64> {
        let value = self.take(name)?;
        let number = value.as_u64();
        if number.is_none() {
            let shown: String = value.to_string().chars().take(40).collect();
            self.fault(name, format!("is {shown}, not a whole number from 0 on"));
        }
        number
    }

    /// A list of anything.
    pub fn list(&mut self, name: &'static str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(items) => Some(items),
            other => self.wrong(name, "a list", &other),
        }
    }

    /// What a text means, or a fault with the sentence that says why it means nothing.
    pub fn parsed<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(name, error.detail().to_owned());
                None
            }
        }
    }

    /// Notes a fault of a field; `name` may lead inwards with slashes.
    pub fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(format!("{}/{name}", self.base), detail));
    }

    /// Takes over faults that were found elsewhere.
    pub fn faults(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.extend(faults);
    }

    /// Every fault, those of fields that nobody asked for included.
    pub fn into_faults(mut self) -> Vec<Fault> {
        for name in self.map.keys() {
            let hint = nearest(name, self.asked.iter().copied())
                .map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
            let shown: String = name.chars().take(60).collect();
            self.faults.push(Fault::new(
                format!("{}/{shown}", self.base),
                format!("is not a field of this{hint}"),
            ));
        }
        self.faults
    }

    /// Refuses if anything was wrong.
    pub fn finish(self, code: &'static str, what: &str) -> Result<()> {
        let faults = self.into_faults();
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(code, format!("{what} is not right"), faults))
    }

    fn wrong<T>(&mut self, name: &str, wanted: &str, found: &Value) -> Option<T> {
        self.fault(name, format!("is {}, not {wanted}", kind(found)));
        None
    }
}

/// What a JSON value is, in words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fault_of_a_body_is_named() {
        let body =
            json!({"unit": 3, "limit": -1, "columns": ["a", 1], "perid": "day", "name": "x"});
        let mut fields = Fields::of(body).unwrap().ignore(&["name"]);
        assert_eq!(fields.text("unit"), None);
        assert_eq!(fields.whole("limit"), None);
        assert_eq!(fields.texts("columns"), Some(vec!["a".to_owned()]));
        assert_eq!(fields.text("period"), None);
        assert_eq!(fields.must_text("channel"), None);
        let error = fields.finish("bad_quota", "the quota").unwrap_err();
        let pointers: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/unit", "/limit", "/columns/1", "/channel", "/perid"]);
        assert!(error.faults()[4].detail.contains("`period`"));
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        assert_eq!(Fields::of(json!([1])).unwrap_err().code(), "bad_body");
    }
}
