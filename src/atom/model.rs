//! Datasets and operators, as people write and read them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error;
use crate::kernel::fields::Fields;
use crate::kernel::name::nearest;
use crate::kernel::table::Column;
use crate::kernel::{Error, Fault, Kind, Result, Time};

/// On which revision a change depends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guard {
    /// Only when the current revision is this one.
    pub revision: Option<u64>,
    /// Only when there is none yet.
    pub create_only: bool,
}

impl Guard {
    /// Refuses unless the revision that was found fits.
    pub(super) fn check(self, what: &str, found: Option<u64>) -> Result<()> {
        match (found, self) {
            (Some(_), Self { create_only: true, .. }) => Err(error::exists(what)),
            (found, Self { revision: Some(wanted), .. }) if found != Some(wanted) => {
                Err(error::stale(what, wanted, found))
            }
            _ => Ok(()),
        }
    }
}

/// What people say about a dataset or an operator to find it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Label {
    /// A word to find it by.
    pub tag: Option<String>,
    /// Where it belongs to.
    pub belong: Option<String>,
    /// What it is called elsewhere; its name unless told otherwise.
    pub object_name: Option<String>,
    /// What else there is to say.
    pub remarks: Option<String>,
}

/// The longest label, in bytes.
const LABEL_BYTES: usize = 4_096;

impl Label {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let all = [
            ("tag", &self.tag),
            ("belong", &self.belong),
            ("object_name", &self.object_name),
            ("remarks", &self.remarks),
        ];
        all.into_iter()
            .filter(|(_, text)| text.as_ref().is_some_and(|text| text.len() > LABEL_BYTES))
            .map(|(name, _)| Fault::new(format!("/{name}"), "is longer than 4096 bytes"))
            .collect()
    }

    pub(super) fn or_name(mut self, name: &str) -> Self {
        self.object_name.get_or_insert_with(|| name.to_owned());
        self
    }
}

/// What is said about a dataset when it is put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetMeta {
    /// How to find it again.
    pub label: Label,
    /// The units of columns, by name.
    pub units: Vec<(String, String)>,
}

impl DatasetMeta {
    /// Reads parameters `tag belong object_name remarks unit.COLUMN`; names every fault.
    pub fn read(params: Vec<(String, String)>) -> Result<Self> {
        const KNOWN: [&str; 4] = ["tag", "belong", "object_name", "remarks"];
        let mut meta = Self::default();
        let mut faults = Vec::new();
        for (name, value) in params {
            let value = Some(value).filter(|value| !value.is_empty());
            match (name.as_str(), name.strip_prefix("unit.")) {
                ("tag", _) => meta.label.tag = value,
                ("belong", _) => meta.label.belong = value,
                ("object_name", _) => meta.label.object_name = value,
                ("remarks", _) => meta.label.remarks = value,
                (_, Some(column)) => {
                    meta.units.extend(value.map(|unit| (column.to_owned(), unit)));
                }
                (other, None) => {
                    let hint = nearest(other, KNOWN).map_or_else(
                        || "tag, belong, object_name, remarks and unit.COLUMN are".to_owned(),
                        |near| format!("did you mean `{near}`?"),
                    );
                    let shown: String = other.chars().take(60).collect();
                    faults.push(Fault::new(shown, format!("is not known here: {hint}")));
                }
            }
        }
        faults.extend(meta.label.faults());
        if faults.is_empty() { Ok(meta) } else { Err(error::bad_dataset(faults)) }
    }
}

/// A dataset as it is answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct DatasetInfo {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes its Parquet file has.
    pub bytes: u64,
    /// Its columns.
    #[cfg_attr(feature = "http", schema(value_type = Vec<Object>))]
    pub schema: Vec<Column>,
    /// How to find it again.
    #[serde(flatten)]
    pub label: Label,
    /// The SHA-256 of its Parquet file.
    pub sha256: String,
    /// The SHA-256 of what was sent.
    pub source_sha256: String,
    /// The format of what was sent.
    pub source_format: String,
    /// How often it was changed.
    pub revision: u64,
    /// When it was made.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_at: Time,
    /// When it was changed last.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub updated_at: Time,
    /// Who changed it last.
    pub saved_by: String,
}

/// What an operator's input or output may be.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub enum PortType {
    /// A number; a whole one is taken as such.
    Float,
    /// A whole number.
    Int,
    /// True or false.
    Bool,
    /// Text.
    Text,
    /// A list of anything.
    Array,
    /// An object.
    Map,
    /// Anything.
    Any,
}

impl PortType {
    const WORDS: [(&'static str, Self); 7] = [
        ("float", Self::Float),
        ("int", Self::Int),
        ("bool", Self::Bool),
        ("text", Self::Text),
        ("array", Self::Array),
        ("map", Self::Map),
        ("any", Self::Any),
    ];

    /// Reads the word, or one that other languages use for it.
    pub fn parse(text: &str) -> Result<Self> {
        let plain = match text {
            "double" | "number" | "f64" => "float",
            "integer" | "i64" => "int",
            "boolean" => "bool",
            "string" | "str" => "text",
            "list" => "array",
            "object" | "dict" => "map",
            other => other,
        };
        Self::WORDS.iter().find(|(word, _)| *word == plain).map(|(_, kind)| *kind).ok_or_else(
            || {
                let words = Self::WORDS.map(|(word, _)| word);
                let shown: String = text.chars().take(40).collect();
                let hint = nearest(text, words)
                    .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
                Error::new(
                    Kind::Invalid,
                    "bad_type",
                    format!("`{shown}` is no type{hint}: use {}", words.join(", ")),
                )
            },
        )
    }

    /// The word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("any", |(word, _)| word)
    }
}

/// An input of an operator, or its output, whose name may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Port {
    /// The name of the parameter; an output may have none.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: PortType,
    /// What it is measured in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remarks: Option<String>,
}

impl Port {
    /// A port without unit and remarks.
    pub fn new(name: impl Into<String>, kind: PortType) -> Self {
        Self { name: name.into(), kind, unit: None, remarks: None }
    }

    /// Reads an object, or the word of a type; an input must have a name.
    fn read(at: &str, value: Value, named: bool) -> Result<Self, Vec<Fault>> {
        if let Value::String(word) = &value {
            return match (PortType::parse(word), named) {
                (Ok(kind), false) => Ok(Self::new("", kind)),
                (_, true) => {
                    Err(vec![Fault::new(at, "is a text, not an object with `name` and `type`")])
                }
                (Err(error), false) => Err(vec![Fault::new(at, error.detail())]),
            };
        }
        let mut fields = Fields::at(at, value).map_err(|fault| vec![fault])?;
        let name = if named { fields.must_text("name") } else { fields.text("name") };
        let port = Self {
            name: name.unwrap_or_default(),
            kind: fields.parsed("type", PortType::parse).unwrap_or(PortType::Any),
            unit: fields.text("unit"),
            remarks: fields.text("remarks"),
        };
        let faults = fields.into_faults();
        if faults.is_empty() { Ok(port) } else { Err(faults) }
    }
}

/// An operator as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSpec {
    /// Rhai with a function `compute`.
    pub source: String,
    /// Its inputs; the function's parameters, of any type, when none are named.
    pub inputs: Option<Vec<Port>>,
    /// Its output; of any type when nothing is said.
    pub output: Port,
    /// The datasets that it belongs to.
    pub datasets: Vec<String>,
    /// How to find it again.
    pub label: Label,
}

/// What an answer has and a body may repeat.
const ANSWERED: &[&str] =
    &["name", "version", "revision", "sha256", "created_at", "updated_at", "saved_by"];

impl OperatorSpec {
    /// Reads a body; names every fault in it.
    pub fn read(body: Value) -> Result<Self> {
        let mut fields = Fields::of(body)?.ignore(ANSWERED);
        if fields.take("model").is_some() {
            fields.fault("model", "is not served yet: only operators with a `source` in Rhai are");
        }
        let source = fields.must_text("source");
        let mut faults = Vec::new();
        let mut keep = |port: Result<Port, Vec<Fault>>| match port {
            Ok(port) => Some(port),
            Err(found) => {
                faults.extend(found);
                None
            }
        };
        let inputs = fields.list("inputs").map(|items| {
            let items = items.into_iter().enumerate();
            items
                .filter_map(|(at, item)| keep(Port::read(&format!("/inputs/{at}"), item, true)))
                .collect()
        });
        let output =
            fields.take("output").and_then(|value| keep(Port::read("/output", value, false)));
        fields.faults(faults);
        let datasets = fields.texts("datasets").unwrap_or_default();
        let label = Label {
            tag: fields.text("tag"),
            belong: fields.text("belong"),
            object_name: fields.text("object_name"),
            remarks: fields.text("remarks"),
        };
        fields.faults(label.faults());
        fields.finish("bad_operator", "the operator")?;
        let output = output.unwrap_or_else(|| Port::new("", PortType::Any));
        Ok(Self { source: source.unwrap_or_default(), inputs, output, datasets, label })
    }
}

/// An operator as it is answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct OperatorInfo {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Rhai with a function `compute`.
    pub source: String,
    /// Its inputs.
    pub inputs: Vec<Port>,
    /// Its output.
    pub output: Port,
    /// The datasets that it belongs to.
    pub datasets: Vec<String>,
    /// How to find it again.
    #[serde(flatten)]
    pub label: Label,
    /// The SHA-256 of its source.
    pub sha256: String,
    /// How often it was changed.
    pub revision: u64,
    /// When it was made.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_at: Time,
    /// When it was changed last.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub updated_at: Time,
    /// Who changed it last.
    pub saved_by: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointers(error: &Error) -> Vec<&str> {
        error.faults().iter().map(|fault| fault.pointer.as_str()).collect()
    }

    #[test]
    fn an_operator_names_every_fault() {
        let body = json!({
            "model": "models/a.onnx", "inputs": [{"name": "a", "type": "flaot"}, {"type": "int"}, "b"],
            "output": 3, "datasets": [1], "tags": "x",
        });
        let error = OperatorSpec::read(body).unwrap_err();
        let at = [
            "/model",
            "/source",
            "/inputs/0/type",
            "/inputs/1/name",
            "/inputs/2",
            "/output",
            "/datasets/0",
            "/tags",
        ];
        assert_eq!(pointers(&error), at);
        assert!(error.faults()[2].detail.contains("`float`"));
    }

    #[test]
    fn what_was_answered_may_be_sent_again() {
        let body = json!({
            "name": "x", "version": "1", "revision": 3, "sha256": "…", "saved_by": "ada",
            "source": "fn compute(a) { a }", "inputs": [{"name": "a", "type": "number"}], "output": "float",
        });
        let spec = OperatorSpec::read(body).unwrap();
        assert_eq!(spec.inputs.unwrap(), [Port::new("a", PortType::Float)]);
        assert_eq!(spec.output.kind, PortType::Float);
    }

    #[test]
    fn a_mistyped_parameter_of_a_dataset_is_named() {
        let params = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let meta =
            DatasetMeta::read(params(&[("tag", "wind"), ("unit.P_avg", "kW"), ("remarks", "")]));
        let meta = meta.unwrap();
        assert_eq!(meta.label.tag.as_deref(), Some("wind"));
        assert_eq!(meta.label.remarks, None);
        assert_eq!(meta.units, [("P_avg".to_owned(), "kW".to_owned())]);
        let error = DatasetMeta::read(params(&[("tags", "wind"), ("remarks", &"x".repeat(5_000))]));
        assert_eq!(pointers(&error.unwrap_err()), ["tags", "/remarks"]);
    }
}
