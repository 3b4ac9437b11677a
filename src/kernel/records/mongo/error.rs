//! What went wrong between us and MongoDB, said so that people know what to do.

use std::time::Duration;

use mongodb::error::{Error as Driver, ErrorKind, TRANSIENT_TRANSACTION_ERROR};

use crate::kernel::error::{Error, Kind};

/// What the driver tells in a long list of servers, said shortly.
const NO_PRIMARY: &str = "cannot be reached, or has no primary now";
/// When a caller may try again after the store was away.
const AGAIN: Duration = Duration::from_secs(1);

/// A duplicate key: in a transaction, another's row that the snapshot did not show.
const DUPLICATE: i32 = 11000;
const CONFLICT: i32 = 112;
const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
const DISK_FULL: i32 = 14031;
/// A transaction that does not fit into the server's cache.
const TOO_LARGE: i32 = 388;
/// The moment that a read wants is not there: right after a collection was made, or long after.
const NO_SNAPSHOT: [i32; 2] = [246, 239];

/// A call that did not go well.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The driver or the server said so.
    Driver(Driver),
    /// A write was refused inside of an answer that is otherwise good.
    Write {
        /// The server's number for it.
        code: i32,
        /// What the server says.
        message: String,
    },
    /// No answer came in this time.
    Late(Duration),
    /// The server was found to be away.
    Away(String),
    /// What the server keeps is not what was written there.
    Damaged(Error),
}

impl From<Driver> for Trouble {
    fn from(error: Driver) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Damaged(error)
    }
}

impl Trouble {
    /// Whether a transaction that was not committed may go well when it is tried again.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Driver(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => true,
            Self::Driver(error) if is_lost_connection(error) => true,
            other => other.is_conflict(),
        }
    }

    /// The server's number for it, where there is one.
    pub(super) fn code(&self) -> Option<i32> {
        match self {
            Self::Driver(error) => code(error),
            Self::Write { code, .. } => Some(*code),
            Self::Late(_) | Self::Away(_) | Self::Damaged(_) => None,
        }
    }

    /// Whether no primary was found in the time that finding one may take.
    pub(super) fn is_no_primary(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        matches!(*error.kind, ErrorKind::ServerSelection { .. })
    }

    /// Whether another writer was faster.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.code(), Some(CONFLICT | DUPLICATE))
    }

    /// Whether a read may go well when it is tried again at once.
    pub(super) fn is_no_snapshot(&self) -> bool {
        self.code().is_some_and(|code| NO_SNAPSHOT.contains(&code))
    }

    /// Whether the user or the password is wrong, or may not do this.
    pub(super) fn is_denied(&self) -> bool {
        let is_refused = matches!(self, Self::Driver(error)
            if matches!(*error.kind, ErrorKind::Authentication { .. }));
        is_refused || matches!(self.code(), Some(UNAUTHORIZED | AUTHENTICATION_FAILED))
    }

    /// The error for whoever called.
    pub(super) fn tell(self, place: &str) -> Error {
        if self.is_denied() {
            return denied(place, Kind::Unavailable);
        }
        match self {
            Self::Driver(error) => {
                let (kind, word) = match code(&error) {
                    Some(DISK_FULL) => (Kind::Full, "disk_full"),
                    Some(TOO_LARGE) => (Kind::TooLarge, "set_too_large"),
                    _ => (Kind::Unavailable, "store_away"),
                };
                let detail = format!("{place} {}", sentence(&error));
                Error::new(kind, word, detail).retry_after(AGAIN).caused_by(error)
            }
            Self::Write { code, message } => {
                is_away(format!("{place} refused a write: {message} (code {code})"))
            }
            Self::Late(time) => {
                is_away(format!("{place} gave no answer within {} s", time.as_secs()))
            }
            Self::Away(why) => is_away(why),
            Self::Damaged(error) => error,
        }
    }
}

/// The store is away, and why.
pub(super) fn is_away(why: String) -> Error {
    Error::new(Kind::Unavailable, "store_away", why).retry_after(AGAIN)
}

/// Why the store is away when no primary is found.
pub(super) fn no_primary(place: &str) -> String {
    format!("{place} {NO_PRIMARY}")
}

/// The user and the password of the URL do not open the door.
pub(super) fn denied(place: &str, kind: Kind) -> Error {
    let detail = format!(
        "{place} does not let the user of the URL in, or not as far as needed: check user, password \
         and `authSource`, and give the user the role `readWrite` on the database"
    );
    Error::new(kind, "store_denied", detail)
}

fn code(error: &Driver) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(mongodb::error::WriteFailure::WriteError(write)) => Some(write.code),
        _ => None,
    }
}

/// Before a commit was sent, a lost connection has written nothing.
fn is_lost_connection(error: &Driver) -> bool {
    matches!(*error.kind, ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. })
}

fn sentence(error: &Driver) -> String {
    match &*error.kind {
        ErrorKind::ServerSelection { .. } => NO_PRIMARY.to_owned(),
        ErrorKind::Io(source) => format!("broke the connection: {source}"),
        ErrorKind::ConnectionPoolCleared { .. } => "lost its connections".to_owned(),
        ErrorKind::Command(command) => {
            format!("refused: {} (code {})", command.message, command.code)
        }
        ErrorKind::DnsResolve { message, .. } => format!("cannot be looked up: {message}"),
        other => format!("failed: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(code: i32) -> Trouble {
        Trouble::Write { code, message: "told by the server".into() }
    }

    #[test]
    fn a_write_that_met_anothers_is_tried_again_and_other_refusals_are_not() {
        assert!(write(DUPLICATE).is_passing() && write(CONFLICT).is_passing());
        assert!(!write(DISK_FULL).is_passing() && !Trouble::Late(AGAIN).is_passing());
        assert!(write(246).is_no_snapshot() && !write(CONFLICT).is_no_snapshot());
        assert!(write(UNAUTHORIZED).is_denied());
    }

    #[test]
    fn a_store_that_is_away_says_where_why_and_when_to_come_back() {
        let late = Trouble::Late(Duration::from_secs(10)).tell("MongoDB at db:27017");
        assert_eq!((late.kind(), late.code()), (Kind::Unavailable, "store_away"));
        assert_eq!(late.detail(), "MongoDB at db:27017 gave no answer within 10 s");
        assert_eq!(late.wait(), Some(AGAIN));
        let denied = write(UNAUTHORIZED).tell("MongoDB at db:27017");
        assert_eq!((denied.kind(), denied.code()), (Kind::Unavailable, "store_denied"));
    }
}
