#![cfg(test)]
//! `dripctl serve`: who may hold a folder, how it ends, what it refuses.

use std::net::TcpListener;
use std::process::Output;

use serde_json::json;

use crate::support::daemon::{Daemon, Home};

/// The exit code of a command that was refused, and what it said.
fn refused(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn a_second_daemon_on_a_folder_is_told_who_holds_it() {
    let home = Home::with_admin();
    let daemon = home.serve();
    let (pid, address) = (daemon.pid().to_string(), daemon.address().to_owned());
    for arguments in [
        &["serve", "--data", "data", "--listen", "127.0.0.1:0"][..],
        &["create-admin", "--username", "eve", "--password-stdin", "--data", "data"],
    ] {
        let (code, said) = refused(&home.run(arguments));
        assert_eq!(code, Some(73), "{said}");
        assert!(said.contains(&pid) && said.contains(&address), "{said}");
    }
    daemon.http().get("/readyz").unwrap().expect(200);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    // Its holder is gone: the folder is free, also after an end without ceremony.
    home.serve().kill();
    home.serve().stop();
}

#[test]
fn a_folder_of_a_newer_format_is_refused_untouched() {
    let home = Home::new();
    std::fs::write(home.data().join("FORMAT"), "drip 99\n").unwrap();
    let (code, said) = refused(&home.run(&["serve", "--data", "data", "--listen", "127.0.0.1:0"]));
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("99"), "{said}");
    let names: Vec<_> =
        std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["FORMAT"]);
    let format = std::fs::read_to_string(home.data().join("FORMAT")).unwrap();
    assert_eq!(format, "drip 99\n");
}

#[test]
fn a_port_in_use_is_told_as_such() {
    let home = Home::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let (code, said) = refused(&home.run(&["serve", "--data", "data", "--listen", &address]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[test]
fn settings_that_were_named_and_are_missing_or_wrong_are_refused() {
    let home = Home::new();
    let serve = ["serve", "--data", "data", "--listen", "127.0.0.1:0"];
    let missing = [&serve[..], &["--config", "nowhere.toml"]].concat();
    let (code, said) = refused(&home.run(&missing));
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("nowhere.toml"), "{said}");

    std::fs::write(home.path().join("drip.toml"), "[server]\nlisen = \"x\"\n").unwrap();
    let (code, said) = refused(&home.run(&serve));
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("lisen") && said.contains("listen"), "{said}");
    assert_eq!(std::fs::read_dir(home.data()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn two_fresh_folders_share_no_key() {
    let homes = [Home::with_admin(), Home::with_admin()];
    let daemons = homes.each_ref().map(Home::serve);
    let tokens = daemons.each_ref().map(Daemon::login);
    for (from, token) in tokens.iter().enumerate() {
        for (to, daemon) in daemons.iter().enumerate() {
            let http = daemon.http().with_token(token);
            let answer = http.get("/api/v1/whoami").unwrap();
            let status = if from == to { 200 } else { 401 };
            let body = answer.expect(status).json();
            if from == to {
                assert_eq!(body["name"], json!("admin"));
            }
        }
    }
}

#[test]
fn a_store_that_is_gone_is_missed_and_not_begun_anew() {
    let home = Home::with_admin();
    home.serve().stop();
    let store = home.data().join("fiche/fiche.redb");
    let kept = std::fs::read(&store).unwrap();
    std::fs::remove_file(&store).unwrap();
    let serve = ["serve", "--data", "data", "--listen", "127.0.0.1:0"];
    let (code, said) = refused(&home.run(&serve));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("fiche.redb is missing") && said.contains("backup"), "{said}");
    std::fs::write(&store, "").unwrap();
    let (code, said) = refused(&home.run(&serve));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("fiche.redb is empty"), "{said}");
    std::fs::write(&store, kept).unwrap();
    home.serve().stop();
}

#[test]
fn what_is_kept_is_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::with_admin();
    home.serve().stop();
    let mode = |path: &str| {
        std::fs::metadata(home.data().join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("."), mode("access/access.redb")), (0o700, 0o600));
}
