//! The formats that tables come and go in, by name and by media type.

use serde::{Deserialize, Serialize};

use super::error;
use crate::kernel::{Error, Kind, Result};

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `{"items": [{…}, …]}`
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
    /// The stream format of Apache Arrow; reading knows the file format too.
    Arrow,
}

impl Format {
    const ALL: [Self; 5] = [Self::Json, Self::Csv, Self::Ndjson, Self::Parquet, Self::Arrow];

    /// The format that `?format=` names.
    pub fn from_name(name: &str) -> Result<Self> {
        let wanted = name.trim().to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|format| format.name() == wanted)
            .ok_or_else(|| error::bad_format(name))
    }

    /// The format of a `Content-Type`, whatever parameters follow it.
    pub fn from_content_type(header: &str) -> Result<Self> {
        let media = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media.as_str() {
            "application/json" => Ok(Self::Json),
            "text/csv" | "application/csv" => Ok(Self::Csv),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Ndjson),
            "application/vnd.apache.parquet" | "application/x-parquet" => Ok(Self::Parquet),
            "application/vnd.apache.arrow.stream" | "application/vnd.apache.arrow.file" => {
                Ok(Self::Arrow)
            }
            _ => Err(Error::new(
                Kind::Unsupported,
                "unsupported_media_type",
                format!(
                    "`{}` is not a type of table: send {}",
                    error::short(&media),
                    Self::ALL.map(Self::content_type).join(", ")
                ),
            )),
        }
    }

    /// The format that the end of a file's name tells.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "csv" | "tsv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "parquet" => Some(Self::Parquet),
            "arrow" | "arrows" | "feather" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// The name, as `?format=` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// The media type to answer with.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_name_and_by_media_type() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()).unwrap(), format);
            assert_eq!(Format::from_content_type(format.content_type()).unwrap(), format);
        }
        assert_eq!(Format::from_content_type("Text/CSV; charset=utf-8").unwrap(), Format::Csv);
        assert_eq!(Format::from_file_name("scada.2014.CSV"), Some(Format::Csv));
        assert_eq!(Format::from_content_type("image/png").unwrap_err().kind(), Kind::Unsupported);
        assert!(
            Format::from_name("parket").unwrap_err().detail().contains("did you mean `parquet`")
        );
    }
}
