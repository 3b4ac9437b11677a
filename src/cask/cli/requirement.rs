//! Which package is meant: by its name, with a version, or with a range of versions.

use semver::{Version, VersionReq};

use crate::cask::error;
use crate::kernel::Result;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Requirement {
    /// One version; `latest` for the highest.
    Exactly { name: String, version: String },
    /// The highest within a range, as semver has it: pre-releases only where the range names one.
    Within { name: String, range: VersionReq },
}

impl Requirement {
    /// Reads `NAME`, `NAME@VERSION`, or `NAME` with a range such as `>=1.2,<2`, `^1`, `~1.2`, `==1.2.0`.
    pub(super) fn read(text: &str) -> Result<Self> {
        let Some(at) = text.find(['<', '>', '=', '^', '~']) else {
            let (name, version) = text.rsplit_once('@').unwrap_or((text, "latest"));
            return Ok(Self::Exactly { name: name.to_owned(), version: version.to_owned() });
        };
        let (name, range) = text.split_at(at);
        let name = name.trim().trim_end_matches('@');
        if name.is_empty() {
            return Err(error::bad_requirement(text, "the name is missing"));
        }
        // As pip writes it.
        let range = range.replace("==", "=");
        let range = VersionReq::parse(&range).map_err(|why| error::bad_requirement(text, why))?;
        Ok(Self::Within { name: name.to_owned(), range })
    }
}

/// The highest version within a range. What is no semver is in no range.
pub(super) fn highest(versions: &[String], range: &VersionReq) -> Option<String> {
    let parsed = versions.iter().filter_map(|text| Some((Version::parse(text).ok()?, text)));
    parsed.filter(|(version, _)| range.matches(version)).max().map(|(_, text)| text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        let all = ["1.1.9", "1.2.0", "1.10.0", "2.0.0-rc.1", "2.0.0", "nightly"];
        let all: Vec<String> = all.map(str::to_owned).into();
        match Requirement::read(text).unwrap() {
            Requirement::Exactly { version, .. } => Some(version),
            Requirement::Within { name, range } => {
                assert_eq!(name, "wind-power");
                highest(&all, &range)
            }
        }
    }

    #[test]
    fn ranges_mean_the_highest_version_within() {
        for (text, version) in [
            ("wind-power>=1.2,<2", Some("1.10.0")),
            ("wind-power >= 1.2, < 2", Some("1.10.0")),
            ("wind-power<1.2", Some("1.1.9")),
            ("wind-power^1", Some("1.10.0")),
            ("wind-power~1.2", Some("1.2.0")),
            ("wind-power==1.2.0", Some("1.2.0")),
            ("wind-power@>=2", Some("2.0.0")),
            ("wind-power>=3", None),
            ("wind-power=2.0.0-rc.1", Some("2.0.0-rc.1")),
            ("wind-power@1.2.0", Some("1.2.0")),
            ("wind-power", Some("latest")),
        ] {
            assert_eq!(found(text).as_deref(), version, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_told() {
        for text in [">=1", "wind-power>=", "wind-power>=1.2<2", "wind-power>=x"] {
            assert_eq!(Requirement::read(text).unwrap_err().code(), "usage", "{text}");
        }
    }
}
