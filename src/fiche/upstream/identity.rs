//! Which data folder this is: an id that is drawn once, kept with the cards, and drawn anew when the
//! folder turns out to be a copy.

use super::format::{SELF_ROW, SelfV1};
use crate::fiche::Fiche;
use crate::kernel::Result;
use crate::kernel::format::{decode, encode};
use crate::kernel::name::{Name, new_id};
use crate::kernel::records::{ChangeSet, Expect};

impl Fiche {
    /// The id of this feed.
    pub(super) fn feed_id(&self) -> Result<String> {
        loop {
            if let Some(row) = self.records().get(SELF_ROW)? {
                return Ok(decode::<SelfV1>(&row.value)?.feed);
            }
            match self.draw_feed_id(Expect::Absent) {
                // Another one drew at the same moment: that one holds.
                Err(raced) if raced.code() == "row_exists" => {}
                drawn => return drawn,
            }
        }
    }

    /// Draws a new id: the numbers of this feed are no longer those that the centre knows.
    #[cfg(feature = "client")]
    pub(super) fn renew_feed_id(&self) -> Result<String> {
        self.draw_feed_id(Expect::Any)
    }

    fn draw_feed_id(&self, expect: Expect) -> Result<String> {
        let row = SelfV1 { feed: new_id(), since: self.now() };
        self.records().apply(ChangeSet::new().put(SELF_ROW, expect, encode(&row)?))?;
        Ok(row.feed)
    }

    /// The name of this node.
    pub fn node(&self) -> &Name {
        &self.inner.upstream.node
    }
}
