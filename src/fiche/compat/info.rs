//! `/info_manager/*`: cards, saved and read as 0.1 did.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::params::{Query, read_names};
use super::well_done;
use crate::fiche::error;
use crate::fiche::model::{Card, CardKey, CardKind, Conditions};
use crate::fiche::{Fiche, TRIES, old};
use crate::kernel::access::Caller;
use crate::kernel::http::off_thread;
use crate::kernel::{Kind, Result};

/// `/info_manager/save_{kind}_info`
pub(super) async fn save(
    kind: CardKind,
    State(fiche): State<Fiche>,
    caller: Caller,
    query: Query,
) -> Result<Json<Value>> {
    off_thread(move || {
        let mut texts = query.take(["name", "version"].into_iter().chain(old::fields(kind)))?;
        let content = texts.split_off(2);
        let mut named = texts.iter().map(|(parameter, text)| (*parameter, text.as_str()));
        let (name, version) =
            read_names(named.next().unwrap_or_default(), named.next().unwrap_or_default())?;
        save_texts(&fiche, &caller, &CardKey { kind, name, version }, &content)
    })
    .await?;
    Ok(Json(well_done(&format!("Save {kind} info"))))
}

/// `/info_manager/query_{kind}_info`
pub(super) async fn query(
    kind: CardKind,
    State(fiche): State<Fiche>,
    query: Query,
) -> Result<Json<Value>> {
    let (name, version) = parameters(kind);
    let (name, version) = query.names(name, version)?;
    let card = off_thread(move || fiche.get(kind, name.as_str(), version.as_str())).await?;
    Ok(Json(json!({ "data": old::answer(&card) })))
}

/// What 0.1 called the name and the version where a card is read.
fn parameters(kind: CardKind) -> (&'static str, &'static str) {
    match kind.as_str() {
        "algorithm" => ("algorithm_name", "algorithm_version"),
        "model" => ("model_name", "model_version"),
        "parameter" => ("parameter_name", "parameter_version"),
        "application" => ("application_name", "application_version"),
        "dataset" => ("dataset_name", "dataset_version"),
        _ => ("name", "version"),
    }
}

/// Saves what 0.1 knows of a card over what is there, and nothing of what another writes meanwhile.
fn save_texts(
    fiche: &Fiche,
    caller: &Caller,
    key: &CardKey,
    texts: &[(&'static str, String)],
) -> Result<Card> {
    for _ in 0..TRIES {
        let before = match fiche.get(key.kind, key.name.as_str(), key.version.as_str()) {
            Ok(card) => Some(card),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        let draft = old::saved(key, before.as_ref(), texts)?;
        let conditions = Conditions {
            revision: before.as_ref().map(|card| card.revision),
            create_only: before.is_none(),
        };
        match fiche.save(caller, &draft, conditions) {
            Ok(saved) => return Ok(saved.card),
            Err(error) if error.kind() == Kind::Stale => {}
            Err(error) => return Err(error),
        }
    }
    Err(error::too_busy(&key.to_string()))
}
