//! The paths that the clients of Drip 0.1 call: `/info_manager/*` for cards and `/observer/*` for
//! observers, everything as `GET`, with the old answers. Off unless `[compat]` is enabled, and then
//! on a listener of its own.
//!
//! A card that is saved here is a card like any other. What 0.1 got wrong is answered rightly inside
//! the old shape: the newest save is the one that counts, and what is not there is a 404.

mod info;
mod observers;
mod params;

use serde_json::{Value, json};

use super::Fiche;
use super::model::CardKind;
use crate::kernel::access::Needs;
use crate::kernel::http::{Routes, get};

const READ: Needs = Needs::Read("fiche");
const WRITE: Needs = Needs::Write("fiche");

macro_rules! info {
    ($table:expr, $word:literal, $kind:expr) => {
        $table
            .add(
                get(
                    concat!("/info_manager/save_", $word, "_info"),
                    WRITE,
                    |state, caller, query| info::save($kind, state, caller, query),
                )
                .says(concat!("Save the card of a ", $word))
                .answers::<Value>(200),
            )
            .add(
                get(concat!("/info_manager/query_", $word, "_info"), READ, |state, query| {
                    info::query($kind, state, query)
                })
                .says(concat!("Read the card of a ", $word))
                .answers::<Value>(200),
            )
    };
}

/// The table of the old paths.
pub fn routes(fiche: Fiche) -> Routes {
    let table = Routes::new("fiche");
    let table = info!(table, "algorithm", CardKind::ALGORITHM);
    let table = info!(table, "model", CardKind::MODEL);
    let table = info!(table, "parameter", CardKind::PARAMETER);
    let table = info!(table, "application", CardKind::APPLICATION);
    let table = info!(table, "dataset", CardKind::DATASET);
    observers(table).with_state(fiche)
}

fn observers(table: Routes<Fiche>) -> Routes<Fiche> {
    table
        .add(
            get("/observer/add_observer", WRITE, observers::add)
                .says("Note an observer")
                .answers::<Value>(200),
        )
        .add(
            get("/observer/query_observer", READ, observers::query)
                .says("Read an observer")
                .answers::<Value>(200),
        )
        .add(
            get("/observer/remove_observer", WRITE, observers::remove)
                .says("Forget an observer")
                .answers::<Value>(200),
        )
}

/// How 0.1 said that something was done.
fn well_done(what: &str) -> Value {
    json!({ "info": format!("{what} well done!") })
}
