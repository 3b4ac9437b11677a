#![cfg(test)]
//! `kill -9` and failing disks, against the real daemon.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::json;

use super::accounts::{Accounts, put_user};
use crate::support::daemon::{Daemon, Home, PASSWORD};
use crate::support::kill_loop::{KillLoop, look_twice};
use crate::support::oracle::Oracle;
use crate::support::shim::{Class, Fault, Shim};
use crate::support::sync_walk::{at_its_syncs, walk};

/// A folder with an admin, whose token is answered: the starting point of every crash.
pub(super) fn start() -> (Home, String) {
    let home = Home::with_admin();
    let daemon = home.serve();
    let token = daemon.make_admin_token();
    daemon.stop();
    (home, token)
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
    let counts = at_its_syncs(&origin, || Accounts::new(token.clone()), piece);
    assert_eq!((counts.sent, counts.ok, counts.failed), (16, 13, 3));
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
