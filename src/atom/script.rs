//! What scripts may call: `atom::compute`, `atom::compute_rows`, `atom::dataset`. A script may what
//! its caller may.

use rhai::{Array, Dynamic, EvalAltResult, ImmutableString, Map, Module};
use serde_json::Value;

use super::compute::Cancel;
use super::version::split;
use super::{Atom, MODULE};
use crate::kernel::access::{Caller, Needs};
use crate::kernel::script::{ScriptContext, from_dynamic, raise, to_dynamic};
use crate::kernel::{Error, Result};

type Answer = Result<Dynamic, Box<EvalAltResult>>;

/// The functions under the name `atom`. An operator or dataset is named `name@version`, or `name` for
/// its latest version.
pub fn module(atom: Atom) -> Module {
    let mut module = Module::new();
    let of = atom.clone();
    module.set_native_fn("compute", move |name: ImmutableString, inputs: Map| -> Answer {
        one(&of, &name, inputs).map_err(raise)
    });
    let of = atom.clone();
    module.set_native_fn("compute_rows", move |name: ImmutableString, rows: Array| -> Answer {
        many(&of, &name, rows).map_err(raise)
    });
    module.set_native_fn("dataset", move |name: ImmutableString| -> Answer {
        described(&atom, &name).map_err(raise)
    });
    module
}

fn caller() -> Result<Caller> {
    ScriptContext::caller_with(Needs::Granted(MODULE))
}

fn one(atom: &Atom, name: &str, inputs: Map) -> Result<Dynamic> {
    let (name, version) = split(name);
    let inputs = from_dynamic(&Dynamic::from_map(inputs))?;
    Ok(to_dynamic(&atom.compute(&caller()?, name, version, inputs)?.0))
}

fn many(atom: &Atom, name: &str, rows: Array) -> Result<Dynamic> {
    let (name, version) = split(name);
    let rows = rows.iter().map(from_dynamic).collect::<Result<Vec<Value>>>()?;
    let computed = atom.compute_rows(&caller()?, name, version, rows, &Cancel::default())?;
    Ok(to_dynamic(&Value::Array(computed.values)))
}

fn described(atom: &Atom, name: &str) -> Result<Dynamic> {
    let (name, version) = split(name);
    let info = atom.dataset(&caller()?, name, version)?;
    let info = serde_json::to_value(info)
        .map_err(|source| Error::internal(format!("describe a dataset: {source}")))?;
    Ok(to_dynamic(&info))
}
