//! What Atom keeps, and under which keys. Names hold no `/`, so keys cannot meet.

use bincode::{Decode, Encode};

use super::model::{DatasetInfo, Label, OperatorInfo, OperatorSpec, Port};
use crate::kernel::blobs::BlobRef;
use crate::kernel::format::{Nothing, Versioned};
use crate::kernel::records::Row;
use crate::kernel::table::{Column, ColumnType};
use crate::kernel::{Digest, Time};

pub(super) fn dataset_key(name: &str, version: &str) -> String {
    format!("dataset/{name}/{version}")
}

pub(super) fn operator_key(name: &str, version: &str) -> String {
    format!("operator/{name}/{version}")
}

pub(super) fn grant_key(name: &str, version: &str, user: &str) -> String {
    format!("grant/{name}/{version}/{user}")
}

/// A row here says that a dataset names a chunk: the sweeper asks for it.
pub(super) fn chunk_key(chunk: Digest, name: &str, version: &str) -> String {
    format!("chunk/{chunk}/{name}/{version}")
}

pub(super) fn chunk_prefix(chunk: Digest) -> String {
    format!("chunk/{chunk}/")
}

/// The name and version in a row's key.
pub(super) fn named(row: &Row) -> (&str, &str) {
    let mut parts = row.key.splitn(3, '/').skip(1);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct LabelRow {
    tag: Option<String>,
    belong: Option<String>,
    object_name: Option<String>,
    remarks: Option<String>,
}

impl From<Label> for LabelRow {
    fn from(label: Label) -> Self {
        let Label { tag, belong, object_name, remarks } = label;
        Self { tag, belong, object_name, remarks }
    }
}

impl LabelRow {
    fn shown(self) -> Label {
        let Self { tag, belong, object_name, remarks } = self;
        Label { tag, belong, object_name, remarks }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct ColumnRow {
    name: String,
    kind: u8,
    unit: Option<String>,
}

const KINDS: [ColumnType; 5] =
    [ColumnType::Int, ColumnType::Float, ColumnType::Bool, ColumnType::Text, ColumnType::Time];

impl ColumnRow {
    pub(super) fn of(column: &Column) -> Self {
        let kind = KINDS.iter().position(|kind| *kind == column.kind).unwrap_or(3);
        Self {
            name: column.name.clone(),
            kind: u8::try_from(kind).unwrap_or(3),
            unit: column.unit.clone(),
        }
    }

    fn shown(self) -> Column {
        let kind = KINDS.get(usize::from(self.kind)).copied().unwrap_or(ColumnType::Text);
        Column { name: self.name, kind, unit: self.unit }
    }
}

/// A dataset.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct DatasetRow {
    pub(super) blob: BlobRef,
    pub(super) rows: u64,
    pub(super) columns: Vec<ColumnRow>,
    pub(super) label: LabelRow,
    /// What was sent, its format and the units that were told: the same again changes nothing.
    pub(super) source: Digest,
    pub(super) source_format: String,
    pub(super) units: Vec<(String, String)>,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) saved_by: String,
}

impl Versioned for DatasetRow {
    const MARKER: &'static str = "dataset.v1";
    type Previous = Nothing;
}

impl DatasetRow {
    pub(super) fn shown(self, name: &str, version: &str, revision: u64) -> DatasetInfo {
        DatasetInfo {
            name: name.to_owned(),
            version: version.to_owned(),
            rows: self.rows,
            bytes: self.blob.size,
            schema: self.columns.into_iter().map(ColumnRow::shown).collect(),
            label: self.label.shown(),
            sha256: self.blob.digest.to_hex(),
            source_sha256: self.source.to_hex(),
            source_format: self.source_format,
            revision,
            created_at: self.created_at,
            updated_at: self.updated_at,
            saved_by: self.saved_by,
        }
    }
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct OperatorRow {
    pub(super) source: String,
    pub(super) inputs: Vec<Port>,
    pub(super) output: Port,
    pub(super) datasets: Vec<String>,
    pub(super) label: LabelRow,
    pub(super) created_at: Time,
    pub(super) updated_at: Time,
    pub(super) saved_by: String,
}

impl Versioned for OperatorRow {
    const MARKER: &'static str = "operator.v1";
    type Previous = Nothing;
}

impl OperatorRow {
    pub(super) fn new(
        spec: OperatorSpec,
        inputs: Vec<Port>,
        (created_at, updated_at): (Time, Time),
        by: &str,
    ) -> Self {
        Self {
            source: spec.source,
            inputs,
            output: spec.output,
            datasets: spec.datasets,
            label: spec.label.into(),
            created_at,
            updated_at,
            saved_by: by.to_owned(),
        }
    }

    /// Whether another row says the same, whoever said it when.
    pub(super) fn same(&self, other: &Self) -> bool {
        (&self.source, &self.inputs, &self.output, &self.datasets, &self.label)
            == (&other.source, &other.inputs, &other.output, &other.datasets, &other.label)
    }

    pub(super) fn shown(self, name: &str, version: &str, revision: u64) -> OperatorInfo {
        OperatorInfo {
            name: name.to_owned(),
            version: version.to_owned(),
            sha256: Digest::of(self.source.as_bytes()).to_hex(),
            source: self.source,
            inputs: self.inputs,
            output: self.output,
            datasets: self.datasets,
            label: self.label.shown(),
            revision,
            created_at: self.created_at,
            updated_at: self.updated_at,
            saved_by: self.saved_by,
        }
    }
}

/// A user's leave to compute with an operator.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct GrantRow {
    pub(super) granted_at: Time,
    pub(super) granted_by: String,
}

impl Versioned for GrantRow {
    const MARKER: &'static str = "operator-grant.v1";
    type Previous = Nothing;
}
