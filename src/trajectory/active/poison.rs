//! A door that closes for good. After a failed sync the kernel may call pages clean that never
//! reached the medium, so trying again would acknowledge what is lost: nothing is written any more
//! until the store is opened anew and reads back what is really there.

use std::sync::OnceLock;

use super::super::error;
use crate::kernel::error::Result;

/// Open until [`Door::close`] is called once.
#[derive(Debug, Default)]
pub(crate) struct Door(OnceLock<String>);

impl Door {
    /// Closes it; the first reason stays.
    pub(crate) fn close(&self, why: String) {
        if self.0.set(why.clone()).is_ok() {
            tracing::error!(%why, "the log takes no more records until it is opened anew");
        }
    }

    /// Refuses when it is closed.
    pub(crate) fn pass(&self) -> Result<()> {
        match self.0.get() {
            Some(why) => Err(error::closed(why)),
            None => Ok(()),
        }
    }

    /// Why it is closed, if it is.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}
