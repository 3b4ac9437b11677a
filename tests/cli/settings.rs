#![cfg(test)]
//! The settings that ship.

use std::path::Path;

use drip::app;
use drip::kernel::config::{LoadOptions, Settings, sample};

#[test]
fn the_sample_is_up_to_date_and_says_nothing_but_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("drip.toml");
    let schema = app::schema();
    let rendered = sample(&schema);
    if std::env::var_os("UPDATE_SAMPLE").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let shipped = std::fs::read_to_string(&path).unwrap();
    assert!(shipped == rendered, "drip.toml is out of date: run this test with UPDATE_SAMPLE=1");

    // A setting without a default stands there empty, to be filled in.
    let commented = |line: &str| {
        line.strip_prefix('#')
            .filter(|l| !l.starts_with(' ') && !l.ends_with("# no default"))
            .map(str::to_owned)
    };
    let given: Vec<String> =
        rendered.lines().map(|line| commented(line).unwrap_or_else(|| line.to_owned())).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drip.toml");
    std::fs::write(&file, given.join("\n")).unwrap();
    let from_sample = Settings::load(LoadOptions::new(&schema).file(Some(file))).unwrap().show();
    let defaults = Settings::load(LoadOptions::new(&schema)).unwrap().show();
    assert_eq!(from_sample.len(), defaults.len());
    for (line, default) in from_sample.iter().zip(&defaults) {
        assert_eq!((line.key, &line.value), (default.key, &default.value));
    }
}
