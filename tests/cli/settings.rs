#![cfg(test)]
//! The settings that ship.

use std::path::Path;

use drip::app;
use drip::kernel::config::{LoadOptions, Settings, import, sample};

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

#[test]
fn what_is_imported_from_0_1_loads_here_with_all_that_has_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = folder.path().join("drip_config.yaml");
    let text = "drip_webui_port: 22315\nfiche: {host: 127.0.0.1, port: 11811}\n\
                dashare: {host: 127.0.0.1, port: 11911, auto_approve: yes}\natom: {port: 11020}\n";
    std::fs::write(&yaml, text).unwrap();
    let schema = app::schema();
    let imported = import::import(&[yaml], &schema).unwrap();
    let file = folder.path().join("drip.toml");
    std::fs::write(&file, &imported.toml).unwrap();
    let settings = Settings::load(LoadOptions::new(&schema).file(Some(file))).unwrap();
    assert_eq!(settings.text("compat.fiche").unwrap(), "127.0.0.1:11811");
    assert!(!settings.bool("compat.enabled").unwrap());
    let notes = imported.notes.join("\n");
    assert!(notes.contains("compat.enabled = true"), "{notes}");
    for later in ["compat.dashare", "compat.atom", "compat.auto_approve"] {
        let told = notes.lines().any(|note| note.contains(later) && note.contains("comment"));
        assert_eq!(told, settings.source(later).is_none(), "{later}: {notes}");
    }
}
