//! Tags, changed without touching the object's bytes, version or time.

use std::collections::BTreeMap;

use super::{check_tags, expired, info};
use crate::cask::format::ObjectRow;
use crate::cask::model::ObjectInfo;
use crate::cask::store::{Change, Found, TRIES, object_key, raced};
use crate::cask::{Cask, error};
use crate::kernel::access::Caller;
use crate::kernel::format::encode;
use crate::kernel::{Event, Result};

impl Cask {
    /// Gives an object these tags, and no others.
    pub fn set_tags(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<ObjectInfo> {
        check_tags(tags)?;
        let inner = &self.inner;
        let owner = object_key(bucket, key);
        let _turn = inner.turn(&owner);
        for _ in 0..TRIES {
            let settings = inner.bucket_row(bucket)?;
            let now = inner.now();
            let found: Option<Found<ObjectRow>> = inner.find(&owner)?;
            let Some(old) = found.filter(|old| !expired(&settings, &old.row, now)) else {
                return Err(error::object_not_found(bucket, key));
            };
            let mut row = old.row.clone();
            row.face.tags = tags.clone().into_iter().collect();
            let books = inner.books(&owner).change(Change {
                bucket,
                owner: &owner,
                old: Some((old.revision, &old.row.blob)),
                new: Some((encode(&row)?, &row.blob)),
                is_object: true,
            });
            let subject = format!("{bucket}/{key}");
            let set = inner.audit(books.close()?, caller, "artifact.tag", &subject)?;
            let payload = serde_json::json!({
                "bucket": bucket, "key": key, "tags": tags, "by": caller.name,
            });
            match inner.commit(set, Event::new("artifact.tagged", subject, now, payload)) {
                Ok(_) => return Ok(info(bucket, key, &row)),
                Err(error) if raced(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error::busy(&owner))
    }
}
