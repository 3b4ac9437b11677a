#![cfg(test)]
//! Daemons that share a store: one of them tells an observer, and another takes over.

use std::sync::Arc;

use drip::kernel::Result;
use drip::kernel::records::{ChangeSet, MemoryRecords, Receipt, Records, Row, Scan};
use serde_json::json;

use super::receiver::{Mode, Receiver};
use super::{observe, open_over, quick, save_many, wait_until};

/// Records that say of themselves that others write to them.
struct Shared(Arc<MemoryRecords>);

impl Records for Shared {
    fn get(&self, key: &str) -> Result<Option<Row>> {
        self.0.get(key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>> {
        self.0.scan(scan)
    }

    fn apply(&self, set: ChangeSet) -> Result<Receipt> {
        self.0.apply(set)
    }

    fn is_shared(&self) -> bool {
        true
    }
}

#[test]
fn of_daemons_that_share_a_store_one_tells_an_observer_and_another_takes_over() {
    let rows = Arc::new(MemoryRecords::new());
    let receiver = Receiver::new(Mode::Answers(200));
    let one = open_over(Arc::new(Shared(rows.clone())), quick());
    // It is open before there is an observer, and hears of it only by looking.
    let other = open_over(Arc::new(Shared(rows.clone())), quick());
    observe(&one, "hq", &receiver.url(), json!({}));
    save_many(&one, 1..=5);
    receiver.wait_taken(5);
    save_many(&other, 6..=9);
    // The clock stands, so the first one keeps its place for as long as it is there.
    save_many(&one, 10..=10);
    receiver.wait_taken(10);
    assert_eq!(receiver.taken(), (1..=10).collect::<Vec<_>>());
    wait_until(&one, "hq", "it is on record", |hq| hq.state.cursor == 10);
    one.close();
    save_many(&other, 11..=12);
    receiver.wait_taken(12);
    assert_eq!(receiver.taken(), (1..=12).collect::<Vec<_>>());
    other.close();
}
