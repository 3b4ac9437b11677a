//! Operators: checked, kept, served.
//!
//! What is served is a snapshot that is swapped as a whole after the change is durable: a call sees
//! the operators as they were before it or after it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use serde_json::json;

use super::error;
use super::format::{OperatorRow, named, operator_key};
use super::model::{Guard, OperatorInfo, OperatorSpec, Port, PortType};
use super::version::{LATEST, latest};
use super::{Atom, may_read, may_write};
use crate::kernel::access::Caller;
use crate::kernel::format::{decode, encode};
use crate::kernel::name::nearest;
use crate::kernel::records::{ChangeSet, Expect, Records, Scan};
use crate::kernel::script::{Program, ScriptEngine};
use crate::kernel::{Fault, Name, Result};

/// The function that an operator's source must have.
pub(super) const COMPUTE: &str = "compute";

/// An operator that is served.
pub(super) struct Operator {
    pub(super) info: OperatorInfo,
    /// The program, or why there is none: a newer Drip may refuse what an older one kept.
    pub(super) program: Result<Arc<Program>, String>,
    /// For each parameter of the function, which input it is.
    pub(super) order: Vec<usize>,
}

/// Every operator that is served, by name and version.
#[derive(Default, Clone)]
pub(super) struct Served {
    by_name: HashMap<String, BTreeMap<String, Arc<Operator>>>,
}

impl Served {
    pub(super) fn find(&self, name: &str, version: &str) -> Option<&Arc<Operator>> {
        let versions = self.by_name.get(name)?;
        if version != LATEST {
            return versions.get(version);
        }
        versions.get(latest_of(versions)?)
    }

    /// Whether a version is the latest one.
    pub(super) fn is_latest(&self, name: &str, version: &str) -> bool {
        self.by_name.get(name).and_then(latest_of) == Some(version)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.by_name.keys().cloned().collect();
        names.sort();
        names
    }

    fn with(&self, operator: Operator) -> Self {
        let mut next = self.clone();
        let versions = next.by_name.entry(operator.info.name.clone()).or_default();
        versions.insert(operator.info.version.clone(), Arc::new(operator));
        next
    }

    fn without(&self, name: &str, version: &str) -> Self {
        let mut next = self.clone();
        if let Some(versions) = next.by_name.get_mut(name) {
            versions.remove(version);
            if versions.is_empty() {
                next.by_name.remove(name);
            }
        }
        next
    }
}

fn latest_of(versions: &BTreeMap<String, Arc<Operator>>) -> Option<&str> {
    latest(versions.iter().map(|(version, found)| (version.as_str(), found.info.created_at)))
}

/// Reads and compiles every operator that is kept. One that does not compile is served as broken.
pub(super) fn load(records: &dyn Records, engine: &ScriptEngine) -> Result<Served> {
    let mut served = Served::default();
    for row in records.scan(&Scan::prefix("operator/"))? {
        let (name, version) = named(&row);
        let kept: OperatorRow = decode(&row.value)?;
        let info = kept.shown(name, version, row.revision);
        let compiled = compile(engine, &info.source, Some(&info.inputs));
        let (program, order) = match compiled {
            Ok(compiled) => (Ok(compiled.program), compiled.order),
            Err(error) => {
                tracing::warn!(operator = %format!("{name}@{version}"), %error, "an operator cannot be served");
                (Err(error.to_string()), Vec::new())
            }
        };
        let versions = served.by_name.entry(name.to_owned()).or_default();
        versions.insert(version.to_owned(), Arc::new(Operator { info, program, order }));
    }
    Ok(served)
}

struct Compiled {
    program: Arc<Program>,
    inputs: Vec<Port>,
    order: Vec<usize>,
}

/// Parses a source and compares its function with the inputs; names every fault.
fn compile(engine: &ScriptEngine, source: &str, inputs: Option<&[Port]>) -> Result<Compiled> {
    let program = engine.compile(source)?;
    let found: Vec<_> =
        program.functions().iter().filter(|function| function.name == COMPUTE).collect();
    let params = match found.as_slice() {
        [one] => one.params.clone(),
        [] => return Err(error::bad_operator(vec![no_compute(&program)])),
        _ => {
            let fault = Fault::new("/source", "has more than one function `compute`: keep one");
            return Err(error::bad_operator(vec![fault]));
        }
    };
    let inputs = inputs.map_or_else(
        || params.iter().map(|name| Port::new(name, PortType::Any)).collect(),
        <[Port]>::to_vec,
    );
    let faults = input_faults(&params, &inputs);
    if !faults.is_empty() {
        return Err(error::bad_operator(faults));
    }
    let order = params
        .iter()
        .filter_map(|param| inputs.iter().position(|input| input.name == *param))
        .collect();
    Ok(Compiled { program, inputs, order })
}

fn no_compute(program: &Program) -> Fault {
    let names = program.functions().iter().map(|function| function.name.as_str());
    let hint =
        nearest(COMPUTE, names).map_or_else(String::new, |near| format!(": is `{near}` meant?"));
    Fault::new("/source", format!("has no function `compute`{hint}"))
}

fn input_faults(params: &[String], inputs: &[Port]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, input) in inputs.iter().enumerate() {
        let name = &input.name;
        if inputs.iter().take(at).any(|before| before.name == *name) {
            faults
                .push(Fault::new(format!("/inputs/{at}"), format!("`{name}` stands there twice")));
        } else if !params.contains(name) {
            faults.push(Fault::new(
                format!("/inputs/{at}"),
                format!("`compute({})` has no parameter `{name}`", params.join(", ")),
            ));
        }
    }
    for param in params {
        if !inputs.iter().any(|input| input.name == *param) {
            faults.push(Fault::new("/inputs", format!("has no input for the parameter `{param}`")));
        }
    }
    faults
}

/// Which operators to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorFilter {
    /// Only of this name.
    pub name: Option<String>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Only what belongs there.
    pub belong: Option<String>,
    /// Only with this object name.
    pub object_name: Option<String>,
    /// Only those tied to this dataset.
    pub dataset: Option<String>,
}

impl OperatorFilter {
    fn meets(&self, info: &OperatorInfo) -> bool {
        let same =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.name.as_ref().is_none_or(|name| *name == info.name)
            && same(&self.tag, &info.label.tag)
            && same(&self.belong, &info.label.belong)
            && same(&self.object_name, &info.label.object_name)
            && self.dataset.as_ref().is_none_or(|dataset| info.datasets.contains(dataset))
    }
}

impl Atom {
    /// The operators as they are served now.
    pub(super) fn served(&self) -> Arc<Served> {
        self.inner.served.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve(&self, served: Served) {
        *self.inner.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(served);
    }

    pub(super) fn must_serve(&self, name: &str, version: &str) -> Result<Arc<Operator>> {
        let served = self.served();
        let found = served.find(name, version).cloned();
        found.ok_or_else(|| error::no_operator(name, version, &served.names()))
    }

    /// Checks and keeps an operator; it is served when this answers. Answers it and whether it is
    /// new; the same again changes nothing.
    pub fn put_operator(
        &self,
        caller: &Caller,
        (name, version): (&Name, &Name),
        spec: OperatorSpec,
        guard: Guard,
    ) -> Result<(OperatorInfo, bool)> {
        may_write(caller)?;
        if version.as_str() == LATEST {
            return Err(error::latest_is_no_version());
        }
        let compiled = compile(&self.inner.engine, &spec.source, spec.inputs.as_deref())?;
        let (name, version) = (name.as_str(), version.as_str());
        let subject = format!("{name}@{version}");
        let _alone = self.one_at_a_time();
        let found = self.records().get(&operator_key(name, version))?;
        guard.check(&subject, found.as_ref().map(|row| row.revision))?;
        let before: Option<OperatorRow> =
            found.as_ref().map(|row| decode(&row.value)).transpose()?;
        let now = self.clock().now();
        let created = before.as_ref().map_or(now, |before| before.created_at);
        let spec = OperatorSpec { label: spec.label.or_name(name), ..spec };
        let row = OperatorRow::new(spec, compiled.inputs, (created, now), &caller.name);
        let revision = found.as_ref().map_or(0, |row| row.revision);
        if let Some(before) = before
            && before.same(&row)
        {
            return Ok((before.shown(name, version, revision), false));
        }
        let expect = if found.is_some() { Expect::Revision(revision) } else { Expect::Absent };
        let set = ChangeSet::new().put(operator_key(name, version), expect, encode(&row)?);
        let info = row.shown(name, version, revision + 1);
        self.commit(set, caller, "operator.put", &subject, json!(info))?;
        let operator =
            Operator { info: info.clone(), program: Ok(compiled.program), order: compiled.order };
        self.serve(self.served().with(operator));
        Ok((info, found.is_none()))
    }

    /// An operator; `latest` as a version is the highest by semver, else the newest.
    pub fn operator(&self, caller: &Caller, name: &str, version: &str) -> Result<OperatorInfo> {
        may_read(caller)?;
        Ok(self.must_serve(name, version)?.info.clone())
    }

    /// Operators by name and version, after a key `name/version`.
    pub fn operators(
        &self,
        caller: &Caller,
        filter: &OperatorFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<OperatorInfo>> {
        may_read(caller)?;
        let served = self.served();
        let mut found: Vec<(String, &Arc<Operator>)> = served
            .by_name
            .values()
            .flat_map(BTreeMap::values)
            .map(|operator| (format!("{}/{}", operator.info.name, operator.info.version), operator))
            .filter(|(key, operator)| {
                after.is_none_or(|after| key.as_str() > after) && filter.meets(&operator.info)
            })
            .collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found.into_iter().take(limit).map(|(_, operator)| operator.info.clone()).collect())
    }

    /// Deletes a version of an operator, and the grants of it.
    pub fn delete_operator(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        guard: Guard,
    ) -> Result<()> {
        may_write(caller)?;
        if version == LATEST {
            return Err(error::latest_is_no_version());
        }
        let _alone = self.one_at_a_time();
        let subject = format!("{name}@{version}");
        let served = self.served();
        let found = served.find(name, version);
        let found = found.ok_or_else(|| error::no_operator(name, version, &served.names()))?;
        Guard { create_only: false, ..guard }.check(&subject, Some(found.info.revision))?;
        let key = operator_key(name, version);
        let mut set = ChangeSet::new().delete(key, Expect::Revision(found.info.revision));
        for grant in self.records().scan(&Scan::prefix(format!("grant/{name}/{version}/")))? {
            set = set.delete(grant.key, Expect::Any);
        }
        let payload = json!({ "name": name, "version": version });
        self.commit(set, caller, "operator.deleted", &subject, payload)?;
        self.serve(served.without(name, version));
        Ok(())
    }
}
