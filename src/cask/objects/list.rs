//! Lists: a bucket in order of its keys, page by page.

use super::{BATCH, expired, info};
use crate::cask::Cask;
use crate::cask::format::ObjectRow;
use crate::cask::model::ObjectList;
use crate::cask::store::object_key;
use crate::kernel::Result;
use crate::kernel::format::decode;
use crate::kernel::records::Scan;

/// Behind every key that starts with what stands before it.
const BEHIND: char = char::MAX;

/// Which objects a list shows.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Only keys that start so.
    pub prefix: String,
    /// Keys with this behind the prefix are shown as one prefix.
    pub delimiter: Option<String>,
    /// Only what comes after this: the `after` of the page before.
    pub after: Option<String>,
    /// At most so many entries.
    pub limit: usize,
}

impl Cask {
    /// A page of a bucket in order of its keys.
    pub fn list(&self, bucket: &str, listing: &Listing) -> Result<(ObjectList, Option<String>)> {
        let settings = self.inner.bucket_row(bucket)?;
        let mut page = Page::new(listing);
        let start = object_key(bucket, "");
        let mut after = listing.after.as_ref().map(|key| format!("{start}{key}"));
        loop {
            let mut scan = Scan::prefix(format!("{start}{}", listing.prefix)).limit(BATCH);
            scan.after = after.take();
            let rows = self.inner.records.scan(&scan)?;
            let is_last = rows.len() < BATCH;
            let now = self.inner.now();
            for row in rows {
                let key = row.key.get(start.len()..).unwrap_or_default();
                let object: ObjectRow = decode(&row.value)?;
                if !expired(&settings, &object, now) {
                    if page.is_full() {
                        return Ok(page.finish(true));
                    }
                    if let Some(prefix) = page.show(bucket, key, &object) {
                        // Whatever else starts so is stepped over.
                        after = Some(format!("{start}{prefix}{BEHIND}"));
                        break;
                    }
                }
                after = Some(row.key);
            }
            // Asked every time: a step counts for the scan that it ended, and for no later one.
            let stepped = page.stepped();
            if is_last && !stepped {
                return Ok(page.finish(false));
            }
        }
    }
}

/// A page being filled.
struct Page<'a> {
    listing: &'a Listing,
    /// The prefix that the page before ended with, or that was shown last.
    last_prefix: Option<String>,
    stepped: bool,
    /// The last entry, and after what the next page starts.
    end: Option<String>,
    list: ObjectList,
}

impl<'a> Page<'a> {
    fn new(listing: &'a Listing) -> Self {
        let last_prefix = listing
            .after
            .as_deref()
            .and_then(|after| after.strip_suffix(BEHIND))
            .map(str::to_owned);
        Self {
            listing,
            last_prefix,
            stepped: false,
            end: None,
            list: ObjectList { items: Vec::new(), prefixes: Vec::new(), next_cursor: None },
        }
    }

    fn is_full(&self) -> bool {
        self.list.items.len() + self.list.prefixes.len() >= self.listing.limit.max(1)
    }

    /// Whether the last step went over a prefix; more may follow behind it.
    fn stepped(&mut self) -> bool {
        std::mem::take(&mut self.stepped)
    }

    /// Shows an object, or the prefix that stands for it, which is then answered.
    fn show(&mut self, bucket: &str, key: &str, row: &ObjectRow) -> Option<String> {
        let Some(prefix) = self.common(key) else {
            self.end = Some(key.to_owned());
            self.list.items.push(info(bucket, key, row));
            return None;
        };
        if self.last_prefix.as_ref() == Some(&prefix) {
            // A key beyond `BEHIND`: its prefix was shown already.
            return None;
        }
        self.stepped = true;
        self.end = Some(format!("{prefix}{BEHIND}"));
        self.last_prefix = Some(prefix.clone());
        self.list.prefixes.push(prefix.clone());
        Some(prefix)
    }

    fn common(&self, key: &str) -> Option<String> {
        let delimiter = self.listing.delimiter.as_deref().filter(|d| !d.is_empty())?;
        let rest = key.strip_prefix(self.listing.prefix.as_str())?;
        let at = rest.find(delimiter)?;
        let length = self.listing.prefix.len() + at + delimiter.len();
        key.get(..length).map(str::to_owned)
    }

    fn finish(self, more: bool) -> (ObjectList, Option<String>) {
        (self.list, self.end.filter(|_| more))
    }
}
