//! The sample `drip.toml`: every setting with its default and the line that says what it is for.

use std::fmt::Write as _;

use super::key::{Key, KeyKind};

const HEAD: &str = "\
# The settings of Drip. Each one stands here with its default: take the # away to change it.
#
# A variable wins over this file: `DRIP_SERVER__LISTEN` is `listen` under [server], and a list is
# written with commas. A flag wins over both. `dripctl config show` says what holds and where it
# came from. A setting that Drip does not know is an error.
";

/// Renders the sample for `schema`, section by section in its order.
pub fn sample(schema: &[&[Key]]) -> String {
    let mut text = HEAD.to_owned();
    for section in sections(schema) {
        if !section.is_empty() {
            let _infallible = write!(text, "\n[{section}]\n");
        }
        let inside = schema.iter().copied().flatten().filter(|key| key.split().0 == section);
        inside.for_each(|key| setting(&mut text, key));
    }
    text
}

/// The sections in the order of their first setting; settings outside of any come first, because
/// TOML has no way back out of a section.
fn sections(schema: &[&[Key]]) -> Vec<&'static str> {
    let mut sections = Vec::new();
    for key in schema.iter().copied().flatten() {
        let section = key.split().0;
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    sections.sort_by_key(|section| !section.is_empty());
    sections
}

fn setting(text: &mut String, key: &Key) {
    let name = key.split().1;
    let _infallible = writeln!(text, "# {}", key.doc);
    let _infallible = match key.default {
        Some(default) => writeln!(text, "#{name} = {default}"),
        None if key.secret => writeln!(
            text,
            "#{name} = \"\"  # no default\n# Or, better, the path of a file that holds it.\n#{name}_file = \"\"  # no default"
        ),
        None => writeln!(text, "#{name} = {}  # no default", shape(key.kind)),
    };
}

const fn shape(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Text | KeyKind::Duration | KeyKind::Bytes => "\"\"",
        KeyKind::Integer => "0",
        KeyKind::Float => "0.0",
        KeyKind::Bool => "false",
        KeyKind::List => "[]",
        KeyKind::Table => "{}",
    }
}
