//! What is kept on disk for pushing and being pushed to.
//!
//! | key | value |
//! | --- | --- |
//! | `upstream/self` | which data folder this is: an id, drawn once |
//! | `upstream/success` | when a push last went through, and where to |
//! | `upstream/conflict/{kind}/{name}/{version}` | a conflict that the centre told of |
//! | `upstream/held/{kind}/{name}/{version}` | a card that the centre refused, and why |
//! | `cursor/upstream` | how far the centre has this feed, as it last said |
//! | `pusher/{feed}` | at the centre: how far it has a node's feed, and the mark of that event |
//! | `conflict/{node}/{kind}/{name}/{version}` | at the centre: what a node pushed beside the centre's card |

use bincode::{Decode, Encode};

use super::decide::Stand;
use crate::fiche::model::{CardKey, Stage};
use crate::kernel::format::{Nothing, Versioned};
use crate::kernel::name::Digest;
use crate::kernel::{Error, Result, Time};

pub(super) const SELF_ROW: &str = "upstream/self";
pub(super) const SUCCESS_ROW: &str = "upstream/success";
/// Under which cursor the node remembers how far the centre has its feed.
pub(super) const FOLLOWER: &str = "upstream";
pub(super) const TROUBLES: &str = "upstream/conflict/";
pub(super) const HELD: &str = "upstream/held/";

pub(super) fn pusher_row(feed: &str) -> String {
    format!("pusher/{feed}")
}

pub(super) fn conflict_row(node: &str, key: &CardKey) -> String {
    format!("conflict/{node}/{key}")
}

#[cfg(feature = "client")]
pub(super) fn trouble_row(subject: &str) -> String {
    format!("{TROUBLES}{subject}")
}

#[cfg(feature = "client")]
pub(super) fn held_row(subject: &str) -> String {
    format!("{HELD}{subject}")
}

#[derive(Debug, Encode, Decode)]
pub(super) struct SelfV1 {
    pub(super) feed: String,
    pub(super) since: Time,
}

impl Versioned for SelfV1 {
    const MARKER: &'static str = "self.v1";
    type Previous = Nothing;
}

#[derive(Debug, Encode, Decode)]
pub(super) struct SuccessV1 {
    pub(super) url: String,
    pub(super) at: Time,
}

impl Versioned for SuccessV1 {
    const MARKER: &'static str = "success.v1";
    type Previous = Nothing;
}

/// How far the centre has a node's feed.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct PusherV1 {
    pub(super) node: String,
    pub(super) cursor: u64,
    pub(super) mark: Digest,
    pub(super) at: Time,
}

impl Versioned for PusherV1 {
    const MARKER: &'static str = "pusher.v1";
    type Previous = Nothing;
}

/// A stand as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct StandV1 {
    pub(super) stage: String,
    pub(super) digest: Digest,
}

impl StandV1 {
    pub(super) fn of(stand: &Stand) -> Self {
        Self { stage: stand.stage.as_str().to_owned(), digest: stand.digest }
    }

    pub(super) fn read(&self) -> Result<Stand> {
        let stage = Stage::known(&self.stage)
            .ok_or_else(|| Error::internal(format!("a record names the stage `{}`", self.stage)))?;
        Ok(Stand { stage, digest: self.digest })
    }
}

/// What a node pushed beside the centre's card.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct ConflictV1 {
    /// The number of the event in the node's feed.
    pub(super) number: u64,
    pub(super) event: String,
    pub(super) reason: String,
    pub(super) at: Time,
    pub(super) by: String,
    pub(super) comment: String,
    /// The node that the content came from, where it is not the one that pushed it.
    pub(super) origin: String,
    pub(super) through: Vec<String>,
    /// None when the node deleted the card.
    pub(super) pushed: Option<StandV1>,
    pub(super) fields_json: String,
    /// The revision of the node's card.
    pub(super) revision: u64,
}

impl Versioned for ConflictV1 {
    const MARKER: &'static str = "conflict.v1";
    type Previous = Nothing;
}

/// A conflict as the node remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct TroubleV1 {
    pub(super) number: u64,
    pub(super) reason: String,
    pub(super) at: Time,
}

impl Versioned for TroubleV1 {
    const MARKER: &'static str = "trouble.v1";
    type Previous = Nothing;
}

/// A card that the centre refused.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct HeldV1 {
    /// The number of the newest event of it.
    pub(super) number: u64,
    /// How the centre last knew the card.
    pub(super) base: Option<StandV1>,
    pub(super) why: String,
    pub(super) at: Time,
}

impl Versioned for HeldV1 {
    const MARKER: &'static str = "held.v1";
    type Previous = Nothing;
}
