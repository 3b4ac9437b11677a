//! An index that is found wanting, and mends itself.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drip::fiche::{Filter, Search};
use drip::kernel::access::Caller;
use drip::kernel::records::MemoryRecords;

use super::{PATIENCE, find, key, open_over, save, settle, small};
use crate::support::pause;

/// Opens the index over the same records again after `harm` was done to its folder, and expects
/// every card to be found.
fn mends_after(harm: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let records = Arc::new(MemoryRecords::new());
    let fiche = open_over(records.clone(), Some(folder.path()));
    for n in 0..20 {
        save(&fiche, small(&format!("m{n}"))).unwrap();
    }
    settle(&fiche);
    fiche.close();
    drop(fiche);
    harm(&folder.path().join("index"));
    for _ in 0..2 {
        let fiche = open_over(records.clone(), Some(folder.path()));
        settle(&fiche);
        assert_eq!(find(&fiche, "").len(), 20);
        assert_eq!(find(&fiche, "m7"), ["m7@1"]);
        fiche.close();
    }
}

fn files(index: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(index).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    assert!(!found.is_empty(), "no .{extension} in the index");
    found
}

#[test]
fn an_index_that_is_whole_is_used_as_it_is() {
    mends_after(|_| {});
}

#[test]
fn a_deleted_index_is_made_anew() {
    mends_after(|index| std::fs::remove_dir_all(index).unwrap());
}

#[test]
fn a_torn_index_is_made_anew() {
    mends_after(|index| std::fs::write(index.join("meta.json"), "{").unwrap());
    mends_after(|index| std::fs::write(index.join("meta.json"), "").unwrap());
    mends_after(|index| {
        for file in files(index, "term") {
            let bytes = std::fs::read(&file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }
    });
    mends_after(|index| {
        for file in files(index, "store") {
            std::fs::remove_file(file).unwrap();
        }
    });
}

#[test]
fn an_index_with_turned_bytes_is_made_anew() {
    mends_after(|index| {
        for file in files(index, "idx") {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 3;
            bytes[middle] ^= 0xFF;
            std::fs::write(file, bytes).unwrap();
        }
    });
}

#[test]
fn every_bit_that_is_turned_in_an_index_is_noticed() {
    for extension in ["term", "pos", "store", "fast", "fieldnorm"] {
        mends_after(|index| {
            for file in files(index, extension) {
                let mut bytes = std::fs::read(&file).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(file, bytes).unwrap();
            }
        });
    }
}

#[test]
fn an_index_of_another_schema_is_made_anew() {
    mends_after(|index| {
        let meta = index.join("meta.json");
        let text = std::fs::read_to_string(&meta).unwrap();
        let older = text.replacen("fiche 2 ", "fiche 1 ", 1);
        assert_ne!(older, text, "the mark is not where it was");
        std::fs::write(meta, older).unwrap();
    });
    mends_after(|index| {
        let meta = index.join("meta.json");
        let text = std::fs::read_to_string(&meta).unwrap();
        let other = text.replacen("whole_name", "whale_name", 1);
        assert_ne!(other, text, "the schema is not where it was");
        std::fs::write(meta, other).unwrap();
    });
}

/// Harms an index while it is used, and expects every card to be found again without a restart.
fn mends_while_it_runs(harm: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let fiche = open_over(Arc::new(MemoryRecords::new()), Some(folder.path()));
    for n in 0..20 {
        save(&fiche, small(&format!("m{n}"))).unwrap();
    }
    settle(&fiche);
    harm(&folder.path().join("index"));
    let start = Instant::now();
    for n in 0.. {
        // Searches may fail while it is made anew, with a word that says so; cards are served.
        save(&fiche, small(&format!("late{n}"))).unwrap();
        let search = Search { q: "m7".to_owned(), limit: 10, ..Search::default() };
        let found = fiche.search(&search);
        let is_there = found.as_ref().is_ok_and(|found| found.total == 1);
        if let Err(why) = found {
            assert_eq!(why.code(), "index_unavailable");
        }
        if is_there && n > 5 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it does not mend");
        pause(Duration::from_millis(50));
    }
    settle(&fiche);
    assert!(find(&fiche, "m7") == ["m7@1"] && find(&fiche, "late0") == ["late0@1"]);
}

#[test]
fn an_index_that_is_harmed_while_it_runs_is_mended_while_it_runs() {
    mends_while_it_runs(|index| std::fs::write(index.join("meta.json"), "{").unwrap());
    mends_while_it_runs(|index| std::fs::remove_file(index.join("meta.json")).unwrap());
    mends_while_it_runs(|index| {
        for file in files(index, "store") {
            std::fs::remove_file(file).unwrap();
        }
    });
}

#[test]
fn a_saved_card_is_found_within_a_second_and_a_deleted_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let fiche = open_over(Arc::new(MemoryRecords::new()), Some(folder.path()));
    save(&fiche, small("first")).unwrap();
    settle(&fiche);
    let mut waits = Vec::new();
    for n in 0..20 {
        let name = format!("card{n}");
        save(&fiche, small(&name)).unwrap();
        let start = Instant::now();
        while find(&fiche, &name).is_empty() {
            assert!(start.elapsed() < PATIENCE);
            pause(Duration::from_millis(5));
        }
        waits.push(start.elapsed());
        let conditions = drip::fiche::Conditions::default();
        fiche.delete(&Caller::system(), &key("model", &name, "1"), conditions).unwrap();
        assert_eq!(find(&fiche, &name), [""; 0]);
    }
    waits.sort();
    // A machine that is busy with other things may be late once.
    assert!(waits[waits.len() / 2] < Duration::from_secs(1), "{waits:?}");
}

#[test]
fn an_index_catches_up_with_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let records = Arc::new(MemoryRecords::new());
    let fiche = open_over(records.clone(), Some(folder.path()));
    save(&fiche, small("a")).unwrap();
    settle(&fiche);
    fiche.close();
    save(&fiche, small("b")).unwrap();
    fiche
        .delete(&Caller::system(), &key("model", "a", "1"), drip::fiche::Conditions::default())
        .unwrap();
    drop(fiche);
    let fiche = open_over(records, Some(folder.path()));
    settle(&fiche);
    assert_eq!(find(&fiche, ""), ["b@1"]);
}

#[test]
fn an_index_of_other_records_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        let fiche = open_over(Arc::new(MemoryRecords::new()), Some(folder.path()));
        save(&fiche, small(name)).unwrap();
        save(&fiche, small(&format!("{name}-more"))).unwrap();
        settle(&fiche);
        assert_eq!(find(&fiche, ""), [format!("{name}-more@1"), format!("{name}@1")]);
        fiche.close();
    }
    let empty = open_over(Arc::new(MemoryRecords::new()), Some(folder.path()));
    assert_eq!(find(&empty, ""), [""; 0]);
}

#[test]
fn an_index_folder_that_cannot_be_made_is_told_and_cards_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, "x").unwrap();
    let fiche = open_over(Arc::new(MemoryRecords::new()), Some(&file));
    save(&fiche, small("a")).unwrap();
    assert!(!fiche.wait_indexed(1, Duration::from_millis(300)));
    let refused = fiche.search(&Search { limit: 1, ..Search::default() }).unwrap_err();
    assert_eq!(refused.code(), "index_unavailable");
    assert_eq!(fiche.list(&Filter::default(), None, 10).unwrap().len(), 1);
    std::fs::remove_file(&file).unwrap();
    assert!(fiche.wait_indexed(1, PATIENCE), "it is tried again until it can be made");
    assert_eq!(find(&fiche, ""), ["a@1"]);
}

#[test]
fn an_index_that_vanishes_while_it_is_used_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let fiche = open_over(Arc::new(MemoryRecords::new()), Some(folder.path()));
    save(&fiche, small("a")).unwrap();
    settle(&fiche);
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    save(&fiche, small("b")).unwrap();
    settle(&fiche);
    assert_eq!(find(&fiche, ""), ["a@1", "b@1"]);
}

#[cfg(feature = "redb")]
#[test]
fn cards_are_there_and_found_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let path = folder.path().join("fiche.redb");
        let records = drip::kernel::records::open(path.to_str().unwrap()).unwrap();
        open_over(records, Some(folder.path()))
    };
    let fiche = open();
    save(&fiche, small("a")).unwrap();
    drop(fiche);
    let fiche = open();
    settle(&fiche);
    assert_eq!(find(&fiche, "a"), ["a@1"]);
    assert_eq!(fiche.changes(0, 10).unwrap()[0].card.key, key("model", "a", "1"));
}
