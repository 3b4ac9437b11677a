//! The least recently used objects: which they are, and that they go when a bucket is full.
//!
//! When an object was last read is kept in memory, for buckets that evict; after a start, the time of
//! its writing stands for it. It is a cache: what goes can be made again.

use std::collections::HashMap;
use std::sync::Mutex;

use super::format::{BucketRow, ObjectRow};
use super::objects::{info, told};
use super::store::{Change, object_key, raced};
use super::{Inner, lock};
use crate::kernel::access::Caller;
use crate::kernel::blobs::BlobRef;
use crate::kernel::format::decode;
use crate::kernel::records::Scan;
use crate::kernel::{Result, Time, feed};

/// So many objects are remembered; with more, what was read longest ago is forgotten.
const REMEMBERED: usize = 100_000;
/// So many objects go in one commit.
const TOGETHER: usize = 64;
/// So much of a full bucket is freed beyond what is needed, so that not every write has to: a tenth.
const SLACK: u64 = 10;
/// So many rows are looked at in one go.
const BATCH: usize = 256;

/// When objects were last read.
#[derive(Default)]
pub(super) struct Recency(Mutex<HashMap<String, Time>>);

impl Recency {
    /// Remembers that an object is read. Buckets that do not evict never ask.
    pub(super) fn note(&self, bucket: &str, key: &str, now: Time) {
        let mut all = lock(&self.0);
        if all.len() >= REMEMBERED {
            let mut times: Vec<Time> = all.values().copied().collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            all.retain(|_, when| *when > median);
        }
        all.insert(object_key(bucket, key), now);
    }

    fn last(&self, owner: &str) -> Option<Time> {
        lock(&self.0).get(owner).copied()
    }

    fn forget(&self, owner: &str) {
        lock(&self.0).remove(owner);
    }
}

/// An object that may go.
struct Candidate {
    used: Time,
    owner: String,
    revision: u64,
    row: ObjectRow,
}

impl Inner {
    /// Frees `growth` bytes of a full bucket, and a little more, by what was not used for longest.
    pub(super) fn evict(&self, bucket: &str, settings: &BucketRow, growth: u64) -> Result<()> {
        let Some(max_bytes) = settings.max_bytes.filter(|most| growth <= *most) else {
            return Ok(());
        };
        let used = u64::try_from(self.usage(bucket)?.bytes).unwrap_or(0);
        let aim = (max_bytes - growth).saturating_sub(max_bytes / SLACK);
        let mut excess = used.saturating_sub(aim);
        let mut going = Vec::new();
        for candidate in self.by_use(bucket)? {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(candidate.row.blob.size);
            going.push(candidate);
        }
        for some in going.chunks(TOGETHER) {
            match self.evict_all(bucket, some) {
                Err(error) if raced(&error) => {
                    for one in some {
                        match self.evict_all(bucket, std::slice::from_ref(one)) {
                            Err(error) if !raced(&error) => return Err(error),
                            _ => {}
                        }
                    }
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// All objects of a bucket, what was not used for longest first. Their small bytes are left out.
    fn by_use(&self, bucket: &str) -> Result<Vec<Candidate>> {
        let mut all = Vec::new();
        let mut scan = Scan::prefix(object_key(bucket, "")).limit(BATCH);
        loop {
            let rows = self.records.scan(&scan)?;
            let is_last = rows.len() < BATCH;
            scan.after = rows.last().map(|row| row.key.clone());
            for row in rows {
                let object: ObjectRow = decode(&row.value)?;
                let used = self.recency.last(&row.key).unwrap_or(object.updated_at);
                let row_of = ObjectRow { blob: without_bytes(object.blob), ..object };
                let used = used.max(object.updated_at);
                all.push(Candidate { used, owner: row.key, revision: row.revision, row: row_of });
            }
            if is_last {
                break;
            }
        }
        all.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.owner.cmp(&b.owner)));
        Ok(all)
    }

    fn evict_all(&self, bucket: &str, going: &[Candidate]) -> Result<()> {
        let Some(first) = going.first() else {
            return Ok(());
        };
        let (caller, now) = (Caller::system(), self.now());
        let start = object_key(bucket, "").len();
        let mut books = self.books(&first.owner);
        let mut events = Vec::new();
        for Candidate { owner, revision, row, .. } in going {
            books = books.change(Change {
                bucket,
                owner,
                old: Some((*revision, &row.blob)),
                new: None,
                is_object: true,
            });
            let key = owner.get(start..).unwrap_or_default();
            let subject = format!("{bucket}/{key}");
            events.push(told("artifact.evicted", &subject, &caller, &info(bucket, key, row), now));
        }
        let mut set = self.audit(books.close()?, &caller, "artifact.evict", bucket)?;
        for event in &events {
            set = feed::tell(set, event)?;
        }
        let receipt = self.records.apply(set)?;
        for (event, number) in events.iter_mut().zip(receipt.numbers) {
            event.number = number;
            self.bus.publish(event);
        }
        for candidate in going {
            self.recency.forget(&candidate.owner);
        }
        Ok(())
    }
}

/// The same blob for who asks for its chunks and its size alone.
fn without_bytes(blob: BlobRef) -> BlobRef {
    use crate::kernel::blobs::Body;
    let body = match blob.body {
        Body::Inline(_) => Body::Inline(Vec::new()),
        body => body,
    };
    BlobRef { body, ..blob }
}
