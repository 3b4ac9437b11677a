#![cfg(test)]
//! The walk over syncs: the same piece of work again and again, killed at the first sync, at the
//! second, and so on; after each, the oracle is asked.

use std::os::unix::process::ExitStatusExt as _;

use super::daemon::{Daemon, Home};
use super::kill_loop::{Work, look_twice};
use super::number_from_env;
use super::oracle::{Counts, Oracle};
use super::shim::{Class, Fault, Shim};

/// The syncs to be killed at: every one when `CRASH_STEP` is 1, a handful when it is not set. The
/// first and the second stand for themselves: there a store is being made.
pub(crate) fn walk(count: u64) -> impl Iterator<Item = u64> {
    let everyday = usize::try_from(count / 5).unwrap().max(1);
    let step = number_from_env("CRASH_STEP", everyday).max(1);
    let is_due = move |at: &u64| (*at - 1).is_multiple_of(step as u64) || *at == 2;
    (1..=count).filter(is_due)
}

/// Kills `piece` at its syncs, each time on a copy of `origin`. `piece` is a fixed piece of work that
/// ends early, with nothing, when the daemon is gone. Answers what the oracle counted where nothing
/// was killed.
pub(crate) fn at_its_syncs<W: Work>(
    origin: &Home,
    work: impl Fn() -> W,
    piece: impl Fn(&W, &Daemon, &Oracle) -> Option<()>,
) -> Counts {
    let (count, counts) = {
        let home = origin.copy();
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill);
        let daemon = home.serve_under(&shim).unwrap();
        let oracle = Oracle::open(&home.path().join("journal"));
        let done = piece(&work(), &daemon, &oracle);
        assert!(done.is_some(), "nothing kills here: {}", daemon.log());
        (shim.count(Class::Sync), oracle.counts())
    };
    assert!(count >= counts.ok, "{count} syncs for {} acknowledged changes", counts.ok);
    let mut killed = 0;
    for at in walk(count) {
        let home = origin.copy();
        let work = work();
        let oracle = Oracle::open(&home.path().join("journal"));
        let shim = Shim::new(&home.data(), Class::Sync, Fault::Kill).at(at);
        let ended = match home.serve_under(&shim) {
            Ok(daemon) if piece(&work, &daemon, &oracle).is_none() => Some(daemon.ended()),
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
        let broken = look_twice(&home, &work, &oracle);
        assert!(broken.is_empty(), "sync {at}:\n{}", broken.join("\n"));
    }
    assert!(killed > 3, "only {killed} of {count} syncs were hit");
    counts
}
