//! What can be wrong with settings, in the user's words.

use std::path::Path;

use super::value::short;
use crate::kernel::error::{Error, Fault, Kind};

/// How many faults are listed; the rest is counted.
const LISTED: usize = 100;

/// The file that was named cannot be had.
pub(super) fn missing(path: &Path, why: impl std::fmt::Display) -> Error {
    let shown = path.display();
    Error::new(
        Kind::Config,
        "config_missing",
        format!("the configuration file `{shown}` cannot be read: {why}"),
    )
}

/// Settings that nobody knows, and nothing else.
pub(super) fn unknown(faults: Vec<Fault>) -> Error {
    let count = faults.len();
    let what = if count == 1 { "a setting is".into() } else { format!("{count} settings are") };
    Error::new(Kind::Config, "config_unknown_key", format!("{what} not known to this Drip"))
        .with_faults(bounded(faults))
}

/// Settings that are wrong, of whatever kind.
pub(super) fn bad(faults: Vec<Fault>) -> Error {
    let count = faults.len();
    let what = if count == 1 { "a setting is".into() } else { format!("{count} settings are") };
    Error::new(Kind::Config, "config_bad_value", format!("{what} wrong"))
        .with_faults(bounded(faults))
}

/// A setting that someone needs and nobody gave.
pub(super) fn no_value(key: &str) -> Error {
    let variable = format!("DRIP_{}", key.replace('.', "__").to_ascii_uppercase());
    Error::new(
        Kind::Config,
        "config_bad_value",
        format!("the setting `{key}` has no value: give it in drip.toml or as `{variable}`"),
    )
}

/// A number that does not fit where it is used.
pub(super) fn out_of_range(key: &str, number: i64) -> Error {
    let detail = format!("the setting `{key}` is {number}, which is out of range");
    Error::new(Kind::Config, "config_bad_value", detail)
}

/// A setting that the code asks for and the schema does not have so.
pub(super) fn not_declared(key: &str, what: &str) -> Error {
    Error::internal(format!("the setting `{key}` is not declared as {what}"))
}

/// The sentence for a name that is not a setting.
pub(super) fn unknown_sentence(name: &str, suggestion: Option<&str>) -> String {
    let hint = suggestion.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
    format!("`{}` is not a setting{hint}", short(name))
}

fn bounded(mut faults: Vec<Fault>) -> Vec<Fault> {
    let more = faults.len().saturating_sub(LISTED);
    if more > 0 {
        faults.truncate(LISTED);
        faults.push(Fault::new("…", format!("and {more} more")));
    }
    faults
}
