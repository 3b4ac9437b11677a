//! The names inside an archive: relative, plain, and the same on every machine.

use unicode_normalization::UnicodeNormalization;

/// The longest path, in bytes.
const PATH_MAX: usize = 1024;
/// The longest part of a path, in bytes.
const PART_MAX: usize = 255;

/// Names that some systems take for devices, whatever follows the dot.
const DEVICES: &[&str] = &["con", "prn", "aux", "nul"];

/// Checks a path from an archive; none for the archive's own root (`.` or `./`). The error says
/// what is wrong.
pub(super) fn clean(bytes: &[u8], depth: usize) -> Result<Option<String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_bad| "is not UTF-8".to_owned())?;
    if text.starts_with('/') {
        return Err("is absolute".to_owned());
    }
    let mut rest = text;
    // `tar .` writes `./` in front of every path.
    while let Some(inner) = rest.strip_prefix("./") {
        rest = inner;
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest == "." || (rest.is_empty() && text.starts_with('.')) {
        return Ok(None);
    }
    if rest.len() > PATH_MAX {
        return Err(format!("is longer than {PATH_MAX} bytes"));
    }
    let parts: Vec<&str> = rest.split('/').collect();
    if parts.len() > depth {
        return Err(format!("is more than {depth} folders deep"));
    }
    for part in &parts {
        check_part(part)?;
    }
    Ok(Some(rest.to_owned()))
}

fn check_part(part: &str) -> Result<(), String> {
    let why = match part {
        "" => "has an empty part",
        "." | ".." => "has a part `.` or `..`",
        _ if part.len() > PART_MAX => "has a part longer than 255 bytes",
        _ if part.chars().any(char::is_control) => "contains a control character",
        _ if part.contains('\\') => "contains `\\`",
        _ if is_drive(part) => "names a drive",
        _ if is_device(part) => "names a device",
        _ if part.ends_with('.') || part.ends_with(' ') => {
            "has a part that ends in a dot or a space"
        }
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

fn is_drive(part: &str) -> bool {
    matches!(part.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end();
    let stem = stem.to_ascii_lowercase();
    let numbered = stem
        .strip_prefix("com")
        .or_else(|| stem.strip_prefix("lpt"))
        .is_some_and(|number| matches!(number.as_bytes(), [b'1'..=b'9']));
    numbered || DEVICES.contains(&stem.as_str())
}

/// What two paths have in common when some file system takes them for one.
pub(super) fn identity(path: &str) -> String {
    path.nfc().collect()
}

/// Every folder above a path, outermost first.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Option<String>, String> {
        clean(text.as_bytes(), 32)
    }

    #[test]
    fn plain_paths_pass_and_lose_their_leading_dot() {
        for (given, kept) in [
            ("a", "a"),
            ("./.cask/objects/a b.bin", ".cask/objects/a b.bin"),
            ("././x", "x"),
            (".cask/风电/模型.json", ".cask/风电/模型.json"),
            ("dir/", "dir"),
            ("console.log", "console.log"),
            ("..a/b..c", "..a/b..c"),
        ] {
            assert_eq!(checked(given), Ok(Some(kept.to_owned())), "{given}");
        }
        assert_eq!(checked("."), Ok(None));
        assert_eq!(checked("./"), Ok(None));
    }

    #[test]
    fn every_way_out_is_refused() {
        let long = "x".repeat(2000);
        let part = "y".repeat(256);
        let deep = "d/".repeat(40) + "f";
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "//etc",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "./../x",
            "a//b",
            "a/./b",
            "C:",
            "C:\\x",
            "c:/x",
            "a\\..\\b",
            "..\\x",
            "a\nb",
            "a\0b",
            "NUL",
            "nul.txt",
            "a/COM1",
            "lpt9.log",
            "aux ",
            "x.",
            "x /y",
            &long,
            &part,
            &deep,
        ] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
        assert!(clean(&[0xff, 0xfe], 32).is_err());
        assert!(clean(&[b'a', 0xc0, 0xaf], 32).is_err(), "an overlong slash");
    }

    #[test]
    fn parents_come_outermost_first() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(parents("a").count(), 0);
    }
}
