#![cfg(test)]
//! `kill -9` and failing disks, against the real daemon.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::json;

use super::accounts::{Accounts, put_user};
use crate::support::daemon::{Daemon, Home, PASSWORD};
use crate::support::kill_loop::{KillLoop, look_twice};
use crate::support::number_from_env;
use crate::support::oracle::Oracle;
use crate::support::shim::{Class, Fault, Shim};

/// A folder with an admin, whose token is answered: the starting point of every crash.
pub(super) fn start() -> (Home, String) {
    let home = Home::with_admin();
    let daemon = home.serve();
    let token = daemon.make_admin_token();
    daemon.stop();
    (home, token)
}

/// The syncs to be killed at: every one when `CRASH_STEP` is 1, a handful when it is not set. The
/// first and the second stand for themselves: there a store is being made.
pub(super) fn walk(count: u64) -> impl Iterator<Item = u64> {
    let everyday = usize::try_from(count / 5).unwrap().max(1);
    let step = number_from_env("CRASH_STEP", everyday).max(1);
    let is_due = move |at: &u64| (*at - 1).is_multiple_of(step as u64) || *at == 2;
    (1..=count).filter(is_due)
}

/// A fixed piece of work; it ends early when the daemon is gone.
fn piece(accounts: &Accounts, daemon: &Daemon, oracle: &Oracle) -> Option<()> {
    let http = accounts.http(daemon);
    let with_password = json!({"role": "viewer", "password": PASSWORD});
    put_user(&http, oracle, "mia", &with_password)?;
    for round in 0..3 {
        let role = ["publisher", "viewer"][round % 2];
        put_user(&http, oracle, "mia", &json!({"role": role}))?;
        put_user(&http, oracle, "mia", &json!({"role": "no such role"}))?;
        for name in ["a", "b"] {
            let name = format!("{name}{round}");
            accounts.make_token(&http, oracle, &name).then_some(())?;
        }
        let name = format!("a{round}");
        accounts.revoke(&http, oracle, &name).then_some(())?;
    }
    Some(())
}

#[test]
fn kill_at_the_nth_sync_loses_nothing_that_was_acknowledged() {
    let (origin, token) = start();
    let count = {
        let home = origin.copy();
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill);
        let daemon = home.serve_under(&shim).unwrap();
        let oracle = Oracle::open(&home.path().join("journal"));
        let done = piece(&Accounts::new(token.clone()), &daemon, &oracle);
        assert!(done.is_some(), "nothing kills here: {}", daemon.log());
        let counts = oracle.counts();
        assert_eq!((counts.sent, counts.ok, counts.failed), (16, 13, 3));
        shim.count(Class::Sync)
    };
    assert!(count >= 13, "{count} syncs for 13 acknowledged changes");
    let mut killed = 0;
    for at in walk(count) {
        let home = origin.copy();
        let accounts = Accounts::new(token.clone());
        let oracle = Oracle::open(&home.path().join("journal"));
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill).at(at);
        let ended = match home.serve_under(&shim) {
            Ok(daemon) if piece(&accounts, &daemon, &oracle).is_none() => Some(daemon.ended()),
            // Syncs that were shared are fewer: then it comes to no harm this time.
            Ok(daemon) => {
                daemon.kill();
                None
            }
            Err(ended) => Some(ended),
        };
        if let Some(ended) = ended {
            assert_eq!(ended.status.signal(), Some(9), "sync {at}: {}", ended.log);
            killed += 1;
        }
        let broken = look_twice(&home, &accounts, &oracle);
        assert!(broken.is_empty(), "sync {at}:\n{}", broken.join("\n"));
    }
    assert!(killed > 3, "only {killed} of {count} syncs were hit");
}

/// A folder that a crash caught while it was being made is made the next time.
#[test]
fn a_first_start_that_is_killed_at_the_nth_sync_can_be_repeated() {
    let count = {
        let home = Home::new();
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill);
        let daemon = home.serve_under(&shim).unwrap();
        daemon.kill();
        shim.count(Class::Sync)
    };
    let mut killed = 0;
    for at in walk(count) {
        let home = Home::new();
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill).at(at);
        match home.serve_under(&shim) {
            // Syncs that were shared are fewer: then it comes to no harm this time.
            Ok(daemon) => daemon.kill(),
            Err(ended) => {
                assert_eq!(ended.status.signal(), Some(9), "sync {at}: {}", ended.log);
                killed += 1;
            }
        }
        home.serve().stop();
    }
    assert!(killed > 3, "only {killed} of {count} syncs were hit");
}

#[test]
fn kill_at_random_moments_loses_nothing_that_was_acknowledged() {
    let (home, token) = start();
    let counts = KillLoop::default().run(&home, &Accounts::new(token));
    assert!(counts.ok > 0, "nothing was acknowledged: nothing was shown");
}

/// A failed sync closes the store: no 2xx after it, and after a restart all that had one is there.
#[test]
fn a_failed_sync_is_never_acknowledged() {
    let (origin, token) = start();
    for fault in [Fault::Eio, Fault::EioForever] {
        let home = origin.copy();
        let accounts = Accounts::new(token.clone());
        let oracle = Oracle::open(&home.path().join("journal"));
        let shim = Shim::new(&home.data(), Class::Sync, fault);
        let daemon = home.serve_under(&shim).unwrap();
        assert!(piece(&accounts, &daemon, &oracle).is_some());
        let acknowledged = oracle.counts().ok;
        let http = accounts.http(&daemon);
        let user = |role: &str| json!({ "role": role });
        shim.arm(1);
        for role in ["viewer", "publisher", "viewer"] {
            let status = put_user(&http, &oracle, "mia", &user(role));
            assert_eq!(status, Some(503), "{fault:?}");
        }
        assert_eq!(oracle.counts().ok, acknowledged);
        let ready = http.get("/readyz").unwrap().expect(503);
        assert!(ready.text().contains("access"), "{}", ready.text());
        http.get("/api/v1/users/mia").unwrap().expect(200);
        daemon.kill();
        let broken = look_twice(&home, &accounts, &oracle);
        assert!(broken.is_empty(), "{fault:?}:\n{}", broken.join("\n"));
    }
}

/// A full disk refuses what it cannot keep, and nothing that was acknowledged suffers.
#[test]
fn a_full_disk_is_never_acknowledged() {
    let (home, token) = start();
    let accounts = Accounts::new(token);
    let oracle = Oracle::open(&home.path().join("journal"));
    let shim = Shim::new(&home.data(), Class::Write, Fault::EnospcForever);
    let daemon = home.serve_under(&shim).unwrap();
    assert!(piece(&accounts, &daemon, &oracle).is_some());
    let http = accounts.http(&daemon);
    shim.arm(1);
    for role in ["viewer", "publisher", "viewer"] {
        let status = put_user(&http, &oracle, "mia", &json!({ "role": role }));
        assert!(matches!(status, Some(503 | 507)), "{status:?}");
    }
    http.get("/api/v1/users/mia").unwrap().expect(200);
    daemon.kill();
    let broken = look_twice(&home, &accounts, &oracle);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
