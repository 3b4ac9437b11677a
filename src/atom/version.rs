//! Which version is the latest: the highest by semver, else the newest.

use crate::kernel::Time;

/// The word that stands for the latest version. No version may be called so.
pub(super) const LATEST: &str = "latest";

/// The latest of some versions, each with the time it was made. A version that is semver is before
/// one that is not.
pub(super) fn latest<'a>(versions: impl Iterator<Item = (&'a str, Time)>) -> Option<&'a str> {
    versions
        .max_by_key(|(version, made)| (semver::Version::parse(version).ok(), *made, *version))
        .map(|(version, _)| version)
}

/// A dataset as a query names it: `scada@2014`, or `scada` for the latest version.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('@').unwrap_or((name, LATEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_the_highest_by_semver_else_the_newest() {
        let of = |versions: &[(&'static str, i64)]| {
            latest(versions.iter().map(|(version, made)| (*version, Time(*made))))
        };
        assert_eq!(of(&[("1.10.0", 1), ("1.9.0", 2)]), Some("1.10.0"));
        assert_eq!(of(&[("1.0.0-rc.1", 2), ("1.0.0", 1)]), Some("1.0.0"));
        assert_eq!(of(&[("2014", 2), ("2015", 1)]), Some("2014"));
        assert_eq!(of(&[("2014", 9), ("0.1.0", 1)]), Some("0.1.0"));
        assert_eq!(of(&[]), None);
        assert_eq!(split("scada@2014"), ("scada", "2014"));
        assert_eq!(split("scada"), ("scada", LATEST));
    }
}
