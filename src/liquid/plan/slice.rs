//! A part of a plan: from some nodes on, up to some nodes, those with a tag.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::{Plan, Step};
use crate::kernel::error::Fault;
use crate::kernel::name::nearest;

/// Which part of a pipeline to run; all of it when nothing is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slice {
    /// These nodes and all that come after them.
    pub from: Vec<String>,
    /// These nodes and all that come before them.
    pub to: Vec<String>,
    /// The nodes with any of these tags.
    pub tags: Vec<String>,
}

impl Slice {
    /// Whether it asks for everything.
    pub fn is_whole(&self) -> bool {
        self.from.is_empty() && self.to.is_empty() && self.tags.is_empty()
    }
}

impl Plan {
    /// The part that `slice` asks for. What it needs and does not make becomes an input.
    pub fn slice(&self, slice: &Slice) -> Result<Self, Vec<Fault>> {
        if slice.is_whole() {
            return Ok(self.clone());
        }
        let mut faults = Vec::new();
        let from = self.find("from", &slice.from, &mut faults);
        let to = self.find("to", &slice.to, &mut faults);
        for (index, tag) in slice.tags.iter().enumerate() {
            if !self.steps.iter().any(|step| step.node.tags.contains(tag)) {
                let detail = format!("no node has the tag `{tag}`");
                faults.push(Fault::new(format!("/tags/{index}"), detail));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut chosen: BTreeSet<usize> = (0..self.steps.len()).collect();
        if !from.is_empty() {
            let reached = self.reach(from, |step| &step.feeds);
            chosen.retain(|index| reached.contains(index));
        }
        if !to.is_empty() {
            let reached = self.reach(to, |step| &step.needs);
            chosen.retain(|index| reached.contains(index));
        }
        if !slice.tags.is_empty() {
            let tagged = |step: &Step| step.node.tags.iter().any(|tag| slice.tags.contains(tag));
            chosen.retain(|index| self.steps.get(*index).is_some_and(tagged));
        }
        if chosen.is_empty() {
            return Err(vec![Fault::new(
                "/from",
                "no node is left: there is no way between these",
            )]);
        }
        let parts = chosen.iter().filter_map(|index| self.steps.get(*index));
        let (nodes, arguments): (Vec<_>, Vec<_>) =
            parts.map(|step| (step.node.clone(), step.arguments.clone())).unzip();
        let order: Vec<usize> = (0..nodes.len()).collect();
        Ok(Self::ordered(nodes, arguments, &order))
    }

    fn find(&self, field: &str, names: &[String], faults: &mut Vec<Fault>) -> Vec<usize> {
        let known = || self.steps.iter().map(|step| step.node.name.as_str());
        let mut found = Vec::new();
        for (index, name) in names.iter().enumerate() {
            if let Some(place) = known().position(|known| known == name) {
                found.push(place);
                continue;
            }
            let hint = nearest(name, known()).map(|near| format!(": did you mean `{near}`?"));
            let detail = format!("there is no node `{name}`{}", hint.unwrap_or_default());
            faults.push(Fault::new(format!("/{field}/{index}"), detail));
        }
        found
    }

    fn reach(&self, start: Vec<usize>, along: impl Fn(&Step) -> &Vec<usize>) -> HashSet<usize> {
        let mut reached: HashSet<usize> = start.iter().copied().collect();
        let mut left = start;
        while let Some(index) = left.pop() {
            for next in self.steps.get(index).map(&along).into_iter().flatten() {
                if reached.insert(*next) {
                    left.push(*next);
                }
            }
        }
        reached
    }
}
