//! What a package says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cask::error;
use crate::kernel::{Fault, Name, Result};

/// The most bytes of `METADATA.toml`.
pub(super) const METADATA_MAX: u64 = 64 << 10;

/// The content of `.cask/METADATA.toml`. Further fields are kept as they come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Metadata {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line of what it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// How to reach them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub authoremail: String,
    /// Where it lives.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// Under which licence it may be used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// What it needs: `name@version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// The file that is run or read first, under `.cask/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The program that wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Whatever else it says.
    #[serde(flatten)]
    #[cfg_attr(feature = "http", schema(value_type = Object))]
    pub more: BTreeMap<String, Value>,
}

impl Metadata {
    /// Metadata that says a name and a version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            created_by: concat!("dripctl ", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Self::default()
        }
    }

    /// Reads `METADATA.toml`; every fault of name and version is named.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_bad| error::bad_metadata("it is not UTF-8".to_owned()))?;
        let metadata: Self =
            toml::from_str(text).map_err(|bad| error::bad_metadata(bad.to_string()))?;
        metadata.check()?;
        Ok(metadata)
    }

    /// Whether name and version are ones that a package may have.
    pub(super) fn check(&self) -> Result<()> {
        let mut faults = Vec::new();
        for (field, text) in [("name", &self.name), ("version", &self.version)] {
            if let Err(wrong) = Name::new(text) {
                faults.push(Fault::new(format!("/{field}"), wrong.detail()));
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(error::bad_metadata("its name or version cannot be used".to_owned())
            .with_faults(faults))
    }

    pub(super) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|bad| error::bad_metadata(bad.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_goes_both_ways_with_what_it_does_not_know() {
        let text = "name = \"a\"\nversion = \"1.0.0\"\nrequires = [\"b@1\"]\ncolour = \"blue\"\n[site]\ncode = \"XJJX\"\n";
        let metadata = Metadata::parse(text.as_bytes()).unwrap();
        assert_eq!(metadata.more["site"]["code"], "XJJX");
        let again = Metadata::parse(metadata.to_toml().unwrap().as_bytes()).unwrap();
        assert_eq!(again, metadata);
    }

    #[test]
    fn bad_metadata_names_every_fault() {
        let refused = Metadata::parse(b"name = \"../a\"\nversion = \"\"\n").unwrap_err();
        assert_eq!(refused.code(), "bad_metadata");
        assert_eq!(refused.faults().len(), 2);
        assert!(Metadata::parse(b"name = ").is_err());
        assert!(Metadata::parse(&[0xff]).is_err());
        assert!(Metadata::parse(b"version = \"1\"").is_err());
    }
}
