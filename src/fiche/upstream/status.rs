//! How pushing fares, for people: `GET /api/v1/upstream`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::format::{FOLLOWER, HELD, HeldV1, SUCCESS_ROW, SuccessV1, TROUBLES, TroubleV1};
use crate::fiche::Fiche;
use crate::fiche::config::Upstream;
#[cfg(feature = "client")]
use crate::kernel::Error;
use crate::kernel::feed;
use crate::kernel::format::decode;
#[cfg(feature = "client")]
use crate::kernel::format::encode;
use crate::kernel::records::Scan;
#[cfg(feature = "client")]
use crate::kernel::records::{ChangeSet, Expect};
use crate::kernel::{Name, Result, Time};

/// How many conflicts and refused cards are told of one by one.
const TOLD_MAX: usize = 100;

/// How pushing fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The Drip that this one pushes to; none when it pushes to none.
    pub url: Option<String>,
    /// The name of this node.
    pub node: String,
    /// The number that the centre has this feed up to, as it last said.
    pub cursor: u64,
    /// How many changes it does not have yet.
    pub behind: u64,
    /// When the centre last answered well.
    pub last_success_at: Option<Time>,
    /// Why the last try failed; none when it went well.
    pub last_error: Option<Failure>,
    /// When the next try is due, after one that failed.
    pub next_try_at: Option<Time>,
    /// How many of this node's cards stand otherwise at the centre.
    pub conflicts: u64,
    /// Those cards; the first hundred, where there are more.
    pub conflicting: Vec<Trouble>,
    /// Cards that the centre refused; the first hundred, where there are more. They are tried again.
    pub refused: Vec<Trouble>,
}

/// Why a try failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable word.
    pub code: String,
    /// The sentence.
    pub detail: String,
    /// When.
    pub at: Time,
}

/// One card that did not arrive as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The card: `model/wind-power/1.2.0`.
    pub card: String,
    /// Why.
    pub reason: String,
    /// The number of the change in this feed.
    pub number: u64,
    /// When the centre said so.
    pub at: Time,
}

/// What only the running daemon knows of its pushing.
pub(in crate::fiche) struct Live {
    pub(super) url: Option<String>,
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only a client shows it"))]
    pub(super) token: Option<crate::kernel::config::Secret>,
    pub(super) node: Name,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_success_at: Option<Time>,
    last_error: Option<Failure>,
    next_try_at: Option<Time>,
}

impl Live {
    pub(in crate::fiche) fn new(config: &Upstream) -> Result<Self> {
        let node = match &config.node {
            Some(node) => node.clone(),
            None => host_name()?,
        };
        let state = Mutex::default();
        Ok(Self { url: config.url.clone(), token: config.token.clone(), node, state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment: a panic leaves nothing half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A try failed; answers whether it failed otherwise than the one before.
    #[cfg(feature = "client")]
    pub(super) fn failed(&self, error: &Error, at: Time, next_try_at: Time) -> bool {
        let mut state = self.lock();
        let is_news = state.last_error.as_ref().is_none_or(|known| known.code != error.code());
        let (code, detail) = (error.code().to_owned(), error.to_string());
        state.last_error = Some(Failure { code, detail, at });
        state.next_try_at = Some(next_try_at);
        is_news
    }

    /// The centre answered well; answers whether the try before had failed.
    #[cfg(feature = "client")]
    pub(super) fn went_well(&self, at: Time) -> bool {
        let mut state = self.lock();
        state.last_success_at = Some(at);
        state.next_try_at = None;
        state.last_error.take().is_some()
    }
}

/// The machine's name, made fit to be one of a node.
fn host_name() -> Result<Name> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Name::new(text.trim()).or_else(|_unfit| Name::new("node"))
}

impl Fiche {
    /// How pushing to the upstream fares.
    pub fn upstream(&self) -> Result<Standing> {
        let live = &self.inner.upstream;
        let records = self.records().as_ref();
        let cursor = if live.url.is_some() { feed::cursor(records, FOLLOWER)? } else { 0 };
        let newest = self.last_number()?;
        let kept = records.get(SUCCESS_ROW)?;
        let kept = kept.map(|row| decode::<SuccessV1>(&row.value)).transpose()?;
        let kept = kept.filter(|kept| live.url.as_ref() == Some(&kept.url)).map(|kept| kept.at);
        let conflicts = records.count(TROUBLES)?;
        let (conflicting, refused) = (self.told(TROUBLES, trouble)?, self.told(HELD, held)?);
        let state = live.lock();
        Ok(Standing {
            url: live.url.clone(),
            node: live.node.to_string(),
            cursor,
            behind: if live.url.is_some() { newest.saturating_sub(cursor) } else { 0 },
            last_success_at: state.last_success_at.or(kept),
            last_error: state.last_error.clone(),
            next_try_at: state.next_try_at,
            conflicts,
            conflicting,
            refused,
        })
    }

    fn told(
        &self,
        prefix: &str,
        read: impl Fn(String, &[u8]) -> Result<Trouble>,
    ) -> Result<Vec<Trouble>> {
        let rows = self.records().scan(&Scan::prefix(prefix).limit(TOLD_MAX))?;
        rows.iter().map(|row| read(row.key.replace(prefix, ""), &row.value)).collect()
    }

    /// Remembers beyond this life that a push went through.
    #[cfg(feature = "client")]
    pub(super) fn note_success(&self, url: &str) -> Result<()> {
        let row = SuccessV1 { url: url.to_owned(), at: self.now() };
        let set = ChangeSet::new().put(SUCCESS_ROW, Expect::Any, encode(&row)?);
        self.records().apply(set).map(drop)
    }
}

fn trouble(card: String, bytes: &[u8]) -> Result<Trouble> {
    let row: TroubleV1 = decode(bytes)?;
    Ok(Trouble { card, reason: row.reason, number: row.number, at: row.at })
}

fn held(card: String, bytes: &[u8]) -> Result<Trouble> {
    let row: HeldV1 = decode(bytes)?;
    Ok(Trouble { card, reason: row.why, number: row.number, at: row.at })
}
