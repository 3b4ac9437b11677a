//! What access keeps.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use super::caller::{Role, Scope};
use crate::kernel::clock::Time;
use crate::kernel::format::{Nothing, Versioned};
use crate::kernel::name::Digest;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct UserRow {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The password as a PHC string; none for an account that only has tokens.
    pub phc: Option<String>,
    /// Goes up when the password or the role changes: older sessions end.
    pub generation: u64,
    /// When it was made.
    pub created_at: Time,
}

/// A session: a web cookie or a login's JWT.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct SessionRow {
    /// Whose.
    pub user: String,
    /// The account's generation when it was made.
    pub generation: u64,
    /// When it was made.
    pub created_at: Time,
    /// When it ends.
    pub expires_at: Time,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct TokenRow {
    /// Names it in lists.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is: it may do no more than this account.
    pub user: String,
    /// What it narrows that to.
    pub scopes: BTreeSet<Scope>,
    /// The SHA-256 of its text.
    pub digest: Digest,
    /// When it was made.
    pub created_at: Time,
    /// When it ends.
    pub expires_at: Time,
}

/// Failed sign-ins of one account or one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct FailuresRow {
    /// How many in a row.
    pub count: u32,
    /// When the last one was.
    pub last: Time,
}

macro_rules! kept_as {
    ($type:ty, $marker:literal) => {
        impl Versioned for $type {
            const MARKER: &'static str = $marker;
            type Previous = Nothing;
        }
    };
}
kept_as!(UserRow, "user.v1");
kept_as!(SessionRow, "session.v1");
kept_as!(TokenRow, "token.v1");
kept_as!(FailuresRow, "failures.v1");
