//! Pipelines: saved as revisions, checked before they are kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::format::PipelineRow;
use super::model::{Expected, Graph, Pipeline};
use super::node::NodeInfo;
use super::params::Parameter;
use super::scripts::Ready;
use super::{Liquid, error, lock, lost_race};
use crate::kernel::access::Caller;
use crate::kernel::error::Result;
use crate::kernel::feed::{self, Audit, Event};
use crate::kernel::format::{decode, encode};
use crate::kernel::name::Name;
use crate::kernel::records::{ChangeSet, Expect, Row, Scan};

/// Checked pipelines that are kept in memory.
const READY_MAX: usize = 64;
/// How often a save is tried when others save at the same time.
const TRIES: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
struct Shape {
    nodes: Vec<NodeInfo>,
    inputs: Vec<String>,
    #[serde(default)]
    parameters: Vec<Parameter>,
    outputs: Vec<String>,
}

fn key(name: &str) -> String {
    format!("pipeline/{name}")
}

fn history(name: &str) -> String {
    format!("pipeline-revision/{name}/")
}

fn shown(name: &str, row: PipelineRow) -> Result<Pipeline> {
    let shape: Shape = serde_json::from_str(&row.shape_json)
        .map_err(|source| crate::kernel::Error::internal(format!("pipeline shape: {source}")))?;
    Ok(Pipeline {
        name: name.to_owned(),
        revision: row.revision,
        nodes: shape.nodes,
        inputs: shape.inputs,
        parameters: shape.parameters,
        outputs: shape.outputs,
        source: Some(row.source),
        saved_at: row.saved_at,
        saved_by: row.saved_by,
    })
}

impl Liquid {
    /// Checks a script without keeping it; the error names every fault.
    pub fn check(&self, source: &str) -> Result<Pipeline> {
        let ready = self.0.scripts.read(source)?;
        let row = row(source, &ready, 0, self.now(), "")?;
        shown("", row)
    }

    /// Saves a pipeline; answers it, and whether it is new. The same script again is no revision.
    pub fn save_pipeline(
        &self,
        name: &Name,
        source: &str,
        caller: &Caller,
        expected: Expected,
    ) -> Result<(Pipeline, bool)> {
        let ready = Arc::new(self.0.scripts.read(source)?);
        for _try in 0..TRIES {
            let found = self.0.records.get(&key(name.as_str()))?;
            let current =
                found.as_ref().map(|row| decode::<PipelineRow>(&row.value)).transpose()?;
            meets(name, current.as_ref(), expected)?;
            if let Some(current) = current.as_ref().filter(|current| current.source == source) {
                return Ok((shown(name.as_str(), current.clone())?, false));
            }
            let last = match &current {
                Some(current) => current.revision,
                None => self.last_revision(name.as_str())?,
            };
            let row = row(source, &ready, last + 1, self.now(), &caller.name)?;
            match self.keep(name, &row, found.as_ref()) {
                Ok(()) => {
                    self.remember(name.as_str(), row.revision, ready);
                    return Ok((shown(name.as_str(), row)?, current.is_none()));
                }
                Err(refused) if lost_race(&refused) => {}
                Err(refused) => return Err(refused),
            }
        }
        Err(error::busy("pipeline", name.as_str()))
    }

    fn keep(&self, name: &Name, row: &PipelineRow, found: Option<&Row>) -> Result<()> {
        let bytes = encode(row)?;
        let expect = found.map_or(Expect::Absent, |row| Expect::Revision(row.revision));
        let set = ChangeSet::new().put(key(name.as_str()), expect, bytes.clone()).put(
            format!("{}{:020}", history(name.as_str()), row.revision),
            Expect::Absent,
            bytes,
        );
        let payload = serde_json::json!({ "name": name, "revision": row.revision });
        let event = Event::new("pipeline.saved", name.as_str(), row.saved_at, payload);
        let set = feed::tell(set, &event)?;
        let set = feed::audit(set, &self.audited(&row.saved_by, "pipeline.save", name.as_str()))?;
        self.0.records.apply(set)?;
        self.publish(&event);
        Ok(())
    }

    fn last_revision(&self, name: &str) -> Result<u64> {
        let newest = self.0.records.scan(&Scan::prefix(history(name)).reverse().limit(1))?;
        newest.first().map_or(Ok(0), |row| Ok(decode::<PipelineRow>(&row.value)?.revision))
    }

    /// A pipeline: the current revision, or the one asked for.
    pub fn pipeline(&self, name: &Name, revision: Option<u64>) -> Result<Pipeline> {
        shown(name.as_str(), self.pipeline_row(name.as_str(), revision)?)
    }

    pub(super) fn pipeline_row(&self, name: &str, revision: Option<u64>) -> Result<PipelineRow> {
        let (key, missing) = match revision {
            None => (key(name), error::pipeline_not_found(name)),
            Some(number) => {
                (format!("{}{number:020}", history(name)), error::revision_not_found(name, number))
            }
        };
        let row = self.0.records.get(&key)?.ok_or(missing)?;
        decode(&row.value)
    }

    /// Pipelines by name, after `after`.
    pub fn pipelines(&self, after: Option<&str>, limit: usize) -> Result<Vec<Pipeline>> {
        let mut scan = Scan::prefix(key("")).limit(limit);
        scan.after = after.map(key);
        let rows = self.0.records.scan(&scan)?;
        let name = |row: &Row| row.key.trim_start_matches("pipeline/").to_owned();
        let short = |row: &Row| {
            let shown = shown(&name(row), decode(&row.value)?)?;
            Ok(Pipeline { source: None, ..shown })
        };
        rows.iter().map(short).collect()
    }

    /// Forgets a pipeline. Its revisions stay readable, and a later save goes on from the last.
    pub fn delete_pipeline(&self, name: &Name, caller: &Caller) -> Result<()> {
        let row = self.pipeline_row(name.as_str(), None)?;
        let payload = serde_json::json!({ "name": name, "revision": row.revision });
        let event = Event::new("pipeline.deleted", name.as_str(), self.now(), payload);
        let set = ChangeSet::new().delete(key(name.as_str()), Expect::Present);
        let set = feed::tell(set, &event)?;
        let set = feed::audit(set, &self.audited(&caller.name, "pipeline.delete", name.as_str()))?;
        match self.0.records.apply(set) {
            Err(refused) if lost_race(&refused) => {
                return Err(error::pipeline_not_found(name.as_str()));
            }
            outcome => outcome?,
        };
        self.publish(&event);
        Ok(())
    }

    /// The graph of a pipeline.
    pub fn graph(&self, name: &Name) -> Result<Graph> {
        let row = self.pipeline_row(name.as_str(), None)?;
        let plan = &self.ready(name.as_str(), &row)?.plan;
        Ok(Graph {
            name: name.as_str().to_owned(),
            revision: row.revision,
            nodes: plan.nodes(),
            edges: plan.edges(),
            inputs: plan.inputs.clone(),
            outputs: plan.outputs.clone(),
        })
    }

    /// The checked pipeline of a row: from memory, or read again.
    pub(super) fn ready(&self, name: &str, row: &PipelineRow) -> Result<Arc<Ready>> {
        let key = (name.to_owned(), row.revision);
        if let Some(ready) = lock(&self.0.ready).get(&key) {
            return Ok(ready.clone());
        }
        let ready = Arc::new(self.0.scripts.read(&row.source)?);
        self.remember(name, row.revision, ready.clone());
        Ok(ready)
    }

    fn remember(&self, name: &str, revision: u64, ready: Arc<Ready>) {
        let mut kept = lock(&self.0.ready);
        if kept.len() >= READY_MAX {
            // Reading a script again costs little; which one goes does not matter.
            let gone = kept.keys().next().cloned();
            gone.map(|key| kept.remove(&key));
        }
        kept.insert((name.to_owned(), revision), ready);
    }

    pub(super) fn audited(&self, who: &str, action: &str, subject: &str) -> Audit {
        Audit {
            at: self.now(),
            who: who.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: "done".into(),
        }
    }
}

fn meets(name: &Name, current: Option<&PipelineRow>, expected: Expected) -> Result<()> {
    if expected.create_only && current.is_some() {
        return Err(error::exists("pipeline", name.as_str()));
    }
    let found = current.map_or(0, |current| current.revision);
    match expected.revision {
        Some(wanted) if wanted != found => {
            Err(error::stale("pipeline", name.as_str(), wanted, found))
        }
        _ => Ok(()),
    }
}

fn row(
    source: &str,
    ready: &Ready,
    revision: u64,
    at: crate::kernel::Time,
    by: &str,
) -> Result<PipelineRow> {
    let plan = &ready.plan;
    let shape = Shape {
        nodes: plan.nodes(),
        inputs: plan.inputs.clone(),
        parameters: ready.parameters.clone(),
        outputs: plan.outputs.clone(),
    };
    let shape_json = serde_json::to_string(&shape)
        .map_err(|source| crate::kernel::Error::internal(format!("pipeline shape: {source}")))?;
    Ok(PipelineRow {
        revision,
        source: source.to_owned(),
        shape_json,
        saved_at: at,
        saved_by: by.to_owned(),
    })
}
