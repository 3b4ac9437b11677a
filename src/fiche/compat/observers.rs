//! `/observer/*`: 0.1 kept who wanted to be told, and never told anyone: its observers have no
//! address. They are kept apart from those that are notified, so that its clients find what they
//! added.

use axum::Json;
use axum::extract::State;
use bincode::{Decode, Encode};
use serde_json::{Value, json};

use super::params::Query;
use super::well_done;
use crate::fiche::Fiche;
use crate::kernel::access::Caller;
use crate::kernel::feed::{self, Audit};
use crate::kernel::format::{Nothing, Versioned, decode, encode};
use crate::kernel::http::off_thread;
use crate::kernel::records::{ChangeSet, Expect};
use crate::kernel::{Error, Kind, Name, Result, Time};

/// An observer of 0.1, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct ObserverV1 {
    name: String,
    version: String,
    summary: String,
    config: String,
    remark: String,
    time: Time,
}

impl Versioned for ObserverV1 {
    const MARKER: &'static str = "compat-observer.v1";
    type Previous = Nothing;
}

impl ObserverV1 {
    fn answer(&self) -> Value {
        json!({
            "name": self.name, "version": self.version, "summary": self.summary,
            "config": self.config, "remark": self.remark, "time": self.time.without_zone(),
        })
    }
}

/// What names an observer.
struct Key {
    name: Name,
    version: Name,
}

impl Key {
    fn read(query: &Query) -> Result<Self> {
        let (name, version) = query.names("observer_name", "observer_version")?;
        Ok(Self { name, version })
    }

    fn row(&self) -> String {
        format!("compat-observer/{}/{}", self.name, self.version)
    }

    fn subject(&self) -> String {
        format!("observer/{}/{}", self.name, self.version)
    }

    fn not_found(&self) -> Error {
        let detail = format!("there is no observer `{}` of version `{}`", self.name, self.version);
        Error::new(Kind::NotFound, "observer_not_found", detail)
    }
}

/// `/observer/add_observer`: adding again makes it anew.
pub(super) async fn add(
    State(fiche): State<Fiche>,
    caller: Caller,
    query: Query,
) -> Result<Json<Value>> {
    off_thread(move || {
        let key = Key::read(&query)?;
        let now = fiche.inner.clock.now();
        let row = ObserverV1 {
            name: key.name.to_string(),
            version: key.version.to_string(),
            summary: "default summary".to_owned(),
            config: "default config".to_owned(),
            remark: "default remark".to_owned(),
            time: now,
        };
        let set = ChangeSet::new().put(key.row(), Expect::Any, encode(&row)?);
        let set = feed::audit(set, &line(&caller, now, "compat.observer.added", &key))?;
        fiche.records().apply(set)
    })
    .await?;
    Ok(Json(well_done("Add observer")))
}

/// `/observer/query_observer`
pub(super) async fn query(State(fiche): State<Fiche>, query: Query) -> Result<Json<Value>> {
    let found = off_thread(move || {
        let key = Key::read(&query)?;
        let row = fiche.records().get(&key.row())?.ok_or_else(|| key.not_found())?;
        decode::<ObserverV1>(&row.value)
    })
    .await?;
    Ok(Json(json!({ "data": found.answer() })))
}

/// `/observer/remove_observer`
pub(super) async fn remove(
    State(fiche): State<Fiche>,
    caller: Caller,
    query: Query,
) -> Result<Json<Value>> {
    off_thread(move || {
        let key = Key::read(&query)?;
        let now = fiche.inner.clock.now();
        let set = ChangeSet::new().delete(key.row(), Expect::Present);
        let set = feed::audit(set, &line(&caller, now, "compat.observer.removed", &key))?;
        match fiche.records().apply(set) {
            Err(missing) if missing.code() == "row_missing" => Err(key.not_found()),
            other => other,
        }
    })
    .await?;
    Ok(Json(well_done("Remove observer")))
}

fn line(caller: &Caller, at: Time, action: &str, key: &Key) -> Audit {
    Audit {
        at,
        who: caller.name.clone(),
        action: action.to_owned(),
        subject: key.subject(),
        outcome: "done".to_owned(),
    }
}
