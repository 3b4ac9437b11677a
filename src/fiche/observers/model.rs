//! What an observer is, how it stands, and what was sent to it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fiche::error;
use crate::fiche::which::Which;
use crate::kernel::{Error, Result, Time};

/// An observer, as clients see it: its secret is never shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observer {
    /// Its name.
    pub name: String,
    /// Its version, where it has one.
    pub version: String,
    /// Where messages go.
    pub url: String,
    /// Which changes it hears of.
    #[serde(flatten)]
    pub which: Which,
    /// Whether it is told anything. While it is not, what happens waits for it.
    pub enabled: bool,
    /// What it is, in a sentence.
    pub summary: String,
    /// Text, or any JSON.
    pub config: Value,
    /// What else there is to say.
    pub remark: String,
    /// Whether its messages are signed.
    pub has_secret: bool,
    /// Counted from 1; every change is one.
    pub revision: u64,
    /// When it was made.
    pub created_at: Time,
    /// When it was changed.
    pub updated_at: Time,
    /// Who changed it.
    pub saved_by: String,
    /// How it stands.
    pub state: Standing,
}

/// In a word, how an observer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has heard everything.
    Current,
    /// It is being told what it has yet to hear.
    Behind,
    /// The last try failed; there will be another.
    Failing,
    /// Its receiver said that it is gone: it waits to be saved again, or for a redelivery.
    Stopped,
    /// It is not enabled.
    Disabled,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Behind => "behind",
            Self::Failing => "failing",
            Self::Stopped => "stopped",
            Self::Disabled => "disabled",
        }
    }
}

/// How an observer stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// In a word.
    pub status: Status,
    /// The number of the last change that it heard, or that it does not want to hear.
    pub cursor: u64,
    /// How many changes there are after that, wanted or not.
    pub behind: u64,
    /// The changes that are being told again: the first and the last number.
    pub replaying: Option<(u64, u64)>,
    /// How many messages it took.
    pub delivered: u64,
    /// How many tries failed in a row.
    pub failures: u32,
    /// Since when.
    pub failing_since: Option<Time>,
    /// What the last failure was, while it fails or is stopped.
    pub last_error: Option<String>,
    /// When it last took a message.
    pub last_success_at: Option<Time>,
    /// When the next try is due.
    pub next_try_at: Option<Time>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It was taken.
    Delivered,
    /// The last try failed.
    Failed,
    /// It was not tried yet.
    Pending,
}

impl DeliveryState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }
}

impl FromStr for DeliveryState {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        [Self::Delivered, Self::Failed, Self::Pending]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| {
                let why = format!("`{word}` is none of delivered, failed, pending");
                error::bad_parameter("bad_state", "state", why)
            })
    }
}

/// A message, and how it fared. All tries of it are one entry; when it is sent again because someone
/// asked for it, that is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The entry's number in the log, counted from 1; none before the first try.
    pub entry: Option<u64>,
    /// The number of the change.
    pub number: u64,
    /// What happened.
    pub event: String,
    /// To which card: `model:wind-power@1.2.0`.
    pub card: String,
    /// What became of it.
    pub state: DeliveryState,
    /// How many tries were made.
    pub tries: u32,
    /// When the first was made.
    pub first_at: Option<Time>,
    /// When the last was made.
    pub at: Option<Time>,
    /// What the receiver answered to the last.
    pub status: Option<u16>,
    /// What the last one that failed met.
    pub error: Option<String>,
    /// How long the last took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// When the next is due.
    pub next_try_at: Option<Time>,
    /// Whether it was sent again because someone asked for it.
    pub again: bool,
}

/// What will be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivery {
    /// From this number on.
    pub from: u64,
    /// Up to this one.
    pub to: u64,
    /// How many changes that are which the observer wants to hear of.
    pub events: u64,
}
