//! The data of the demo: built in, or from a folder of the same files.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Map, Value};

use super::is_wind_folder;
use crate::kernel::error::{Error, Kind, Result};

/// The tables of the wind farm, as CSV.
pub(super) struct Wind {
    pub(super) scada: Cow<'static, str>,
    pub(super) era5: Cow<'static, str>,
    pub(super) turbines: Cow<'static, str>,
    pub(super) columns: Cow<'static, str>,
}

impl Wind {
    /// What is built in, or the same files from `folder`.
    pub(super) fn load(folder: Option<&Path>) -> Result<Self> {
        let Some(folder) = folder else {
            return Ok(Self {
                scada: include_str!("../../../data/wind/scada-2014q1.csv").into(),
                era5: include_str!("../../../data/wind/era5-2014.csv").into(),
                turbines: include_str!("../../../data/wind/turbines.csv").into(),
                columns: include_str!("../../../data/wind/columns.csv").into(),
            });
        };
        if !is_wind_folder(folder) {
            return Err(Error::new(
                Kind::NotFound,
                "no_wind_data",
                format!(
                    "{} has no scada-2014q1.csv: name a folder with the files of data/wind",
                    folder.display()
                ),
            ));
        }
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .map(Cow::Owned)
                .map_err(|source| Error::io(format!("read {}", path.display()), source))
        };
        Ok(Self {
            scada: read("scada-2014q1.csv")?,
            era5: read("era5-2014.csv")?,
            turbines: read("turbines.csv")?,
            columns: read("columns.csv")?,
        })
    }

    /// The first hours of the reanalysis, as inputs of the forecast operator for one turbine.
    pub(super) fn weather(&self, turbine: &str, hours: usize) -> Result<Vec<Value>> {
        let rows = objects(&self.era5, b',')?;
        let number = |row: &Map<String, Value>, name: &str| {
            let text = row.get(name).and_then(Value::as_str).unwrap_or_default();
            text.parse::<f64>().map(Value::from).map_err(|source| {
                Error::new(Kind::Invalid, "bad_weather", format!("`{name}` = `{text}`: {source}"))
            })
        };
        let input = |row: &Map<String, Value>| {
            let mut input = Map::new();
            input.insert("turbine".into(), turbine.into());
            for name in ["u_100", "v_100", "t_2m", "surf_pres"] {
                input.insert(name.into(), number(row, name)?);
            }
            Ok(Value::Object(input))
        };
        rows.iter().take(hours).map(input).collect()
    }
}

/// A CSV with a header as one object a row, every value a text.
pub(super) fn objects(csv: &str, separator: u8) -> Result<Vec<Map<String, Value>>> {
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(csv.as_bytes());
    let bad = |source: csv::Error| Error::new(Kind::Invalid, "bad_csv", source.to_string());
    let header = reader.headers().map_err(bad)?.clone();
    let object = |record: csv::Result<csv::StringRecord>| {
        let record = record.map_err(bad)?;
        let pairs = header.iter().zip(record.iter());
        Ok(pairs.map(|(name, value)| (name.to_owned(), Value::from(value))).collect())
    };
    reader.records().map(object).collect()
}
