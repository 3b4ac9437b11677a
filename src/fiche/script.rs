//! What Rhai may call: `fiche::save`, `get`, `search`, `stage`, `lineage`. A script does what its
//! caller may do, and no more.

use std::time::Duration;

use rhai::{Array, Dynamic, EvalAltResult, FuncRegistration, Map, Module};
use serde_json::Value;

use super::{Conditions, Direction, Fiche, Search};
use crate::kernel::access::Needs;
use crate::kernel::script::{ScriptContext, from_dynamic, raise, to_dynamic};
use crate::kernel::{Error, Result};

type Answer<T> = std::result::Result<T, Box<EvalAltResult>>;

const READ: Needs = Needs::Read("fiche");
const WRITE: Needs = Needs::Write("fiche");
/// How many cards a search gives a script.
const SEARCH_MAX: usize = 1000;
/// How long a search waits for what was saved just before it.
const SETTLING: Duration = Duration::from_secs(1);

/// The module `fiche`.
pub fn module(fiche: Fiche) -> Module {
    let mut module = Module::new();
    let own = fiche.clone();
    add("save", &mut module, move |card: Map| save(&own, card).map_err(raise));
    let own = fiche.clone();
    FuncRegistration::new("get").with_volatility(true).set_into_module(
        &mut module,
        move |kind: &str, name: &str, version: &str| -> Answer<Dynamic> {
            get(&own, kind, name, version).map_err(raise)
        },
    );
    let own = fiche.clone();
    FuncRegistration::new("get").with_volatility(true).set_into_module(
        &mut module,
        move |kind: &str, name: &str| -> Answer<Dynamic> {
            get(&own, kind, name, "latest").map_err(raise)
        },
    );
    let own = fiche.clone();
    FuncRegistration::new("search")
        .with_volatility(true)
        .set_into_module(&mut module, move |q: &str| -> Answer<Array> {
            search(&own, q).map_err(raise)
        });
    let own = fiche.clone();
    FuncRegistration::new("lineage").with_volatility(true).set_into_module(
        &mut module,
        move |kind: &str, name: &str, version: &str| -> Answer<Dynamic> {
            lineage(&own, kind, name, version).map_err(raise)
        },
    );
    add_stage(&mut module, fiche);
    module
}

fn add(
    name: &'static str,
    module: &mut Module,
    f: impl Fn(Map) -> Answer<Dynamic> + Send + Sync + 'static,
) {
    FuncRegistration::new(name).with_volatility(true).set_into_module(module, f);
}

fn add_stage(module: &mut Module, fiche: Fiche) {
    let own = fiche.clone();
    FuncRegistration::new("stage").with_volatility(true).set_into_module(
        module,
        move |kind: &str, name: &str, version: &str, to: &str| -> Answer<Dynamic> {
            stage(&own, [kind, name, version], to, "").map_err(raise)
        },
    );
    FuncRegistration::new("stage").with_volatility(true).set_into_module(
        module,
        move |kind: &str, name: &str, version: &str, to: &str, comment: &str| -> Answer<Dynamic> {
            stage(&fiche, [kind, name, version], to, comment).map_err(raise)
        },
    );
}

fn save(fiche: &Fiche, card: Map) -> Result<Dynamic> {
    let caller = ScriptContext::caller_with(WRITE)?;
    let draft = fiche.draft(from_dynamic(&Dynamic::from_map(card))?)?;
    let saved = fiche.save(&caller, &draft, Conditions::default())?;
    Ok(to_dynamic(&saved.card.document()))
}

fn get(fiche: &Fiche, kind: &str, name: &str, version: &str) -> Result<Dynamic> {
    ScriptContext::caller_with(READ)?;
    let card = fiche.get(fiche.kind(kind)?, name, version)?;
    Ok(to_dynamic(&card.document()))
}

fn search(fiche: &Fiche, q: &str) -> Result<Array> {
    ScriptContext::caller_with(READ)?;
    // A script that saves a card and looks for it finds it, as far as the index keeps up.
    fiche.wait_indexed(fiche.last_number()?, SETTLING);
    let found =
        fiche.search(&Search { q: q.to_owned(), limit: SEARCH_MAX, ..Search::default() })?;
    Ok(found.items.iter().map(|hit| to_dynamic(&hit.card.document())).collect())
}

fn stage(fiche: &Fiche, card: [&str; 3], to: &str, comment: &str) -> Result<Dynamic> {
    let caller = ScriptContext::caller_with(WRITE)?;
    let [kind, name, version] = card;
    let key = fiche.resolve(fiche.kind(kind)?, name, version)?;
    let card = fiche.stage(&caller, &key, to.parse()?, comment)?;
    Ok(to_dynamic(&card.document()))
}

fn lineage(fiche: &Fiche, kind: &str, name: &str, version: &str) -> Result<Dynamic> {
    ScriptContext::caller_with(READ)?;
    let key = fiche.resolve(fiche.kind(kind)?, name, version)?;
    let lineage = fiche.lineage(&key, Direction::Both, None)?;
    let value: Value = serde_json::to_value(lineage)
        .map_err(|source| Error::internal(format!("a lineage: {source}")))?;
    Ok(to_dynamic(&value))
}
