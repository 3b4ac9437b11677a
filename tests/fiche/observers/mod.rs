#![cfg(test)]
//! Observers: told by push, in order, at least once, whatever their receivers do.

mod addresses;
mod calls;
#[cfg(all(feature = "cli", feature = "http", feature = "redb"))]
mod crash;
mod delivery;
mod receiver;
mod shared;

use std::sync::Arc;
use std::time::{Duration, Instant};

use drip::fiche::{Config, Delivery, Fiche, Observer, ObserverDraft, Parts};
use drip::kernel::access::{Caller, Role};
use drip::kernel::clock::{ManualClock, Time};
use drip::kernel::push::Terms;
use drip::kernel::records::{MemoryRecords, SharedRecords};
use drip::kernel::{Bus, Name};
use serde_json::{Value, json};

use super::{PATIENCE, save, small};
use crate::support::pause;

const SECRET: &str = "a secret that is shared";

/// Short waits, so that many of them fit into a test; nothing is asserted of how long they take.
fn quick() -> Terms {
    Terms {
        allow_private: true,
        time: Duration::from_millis(400),
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(40),
    }
}

/// Waits so long that what happens does not happen because of them.
fn patient() -> Terms {
    let hour = Duration::from_hours(1);
    Terms { allow_private: true, time: hour, first_wait: hour, longest_wait: hour }
}

fn open_over(records: SharedRecords, push: Terms) -> Fiche {
    Fiche::open(Parts {
        records,
        clock: ManualClock::at(Time(1_700_000_000_000_000)),
        bus: Bus::new(),
        folder: None,
        config: Config { push, ..Config::default() },
    })
    .unwrap()
}

fn open(push: Terms) -> Fiche {
    open_over(Arc::new(MemoryRecords::new()), push)
}

fn ada() -> Caller {
    Caller::new("ada", Role::Publisher)
}

fn observe(fiche: &Fiche, name: &str, url: &str, more: Value) -> Observer {
    let mut body = json!({"url": url, "secret": SECRET});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let draft = ObserverDraft::read(name, body, fiche.kinds()).unwrap();
    fiche.observe(&ada(), &draft, drip::fiche::Conditions::default()).unwrap().0
}

fn observer(fiche: &Fiche, name: &str) -> Observer {
    fiche.observer(&Name::new(name).unwrap()).unwrap()
}

/// Saves cards of these numbers: `m1`, `m2` and so on.
fn save_many(fiche: &Fiche, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        save(fiche, small(&format!("m{number}"))).unwrap();
    }
}

/// Waits until an observer stands as it should.
#[track_caller]
fn wait_until(
    fiche: &Fiche,
    name: &str,
    what: &str,
    is_so: impl Fn(&Observer) -> bool,
) -> Observer {
    let start = Instant::now();
    loop {
        let found = observer(fiche, name);
        if is_so(&found) {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}: {found:?}");
        pause(Duration::from_millis(5));
    }
}

/// Waits until all of it is on record: reading is allowed to lag behind by a moment.
#[track_caller]
fn wait_log(fiche: &Fiche, name: &str, enough: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
    let start = Instant::now();
    loop {
        let log = fiche.deliveries(&Name::new(name).unwrap(), None, None, 1000).unwrap();
        if enough(&log) {
            return log;
        }
        assert!(start.elapsed() < PATIENCE, "the log does not say so: {log:#?}");
        pause(Duration::from_millis(5));
    }
}

/// Every number from `first` to `last` was taken, and none before its turn: what comes again may go
/// back, and goes on from there without a gap.
#[track_caller]
fn assert_in_order(taken: &[u64], first: u64, last: u64) {
    let mut next = first;
    for number in taken {
        assert!(*number <= next, "{number} before {next}: {taken:?}");
        if *number == next {
            next += 1;
        }
    }
    assert_eq!(next, last + 1, "not all were taken: {taken:?}");
    for pair in taken.windows(2) {
        assert!(pair[1] <= pair[0] + 1, "a gap within a repeat: {taken:?}");
    }
}
