//! What earlier attempts of a run left, so that it goes on from there.

use std::collections::HashSet;

use rhai::Dynamic;

use super::book::Book;
use super::format::NodeRow;
use super::model::NodeState;
use super::plan::Plan;
use super::{Liquid, store, values};
use crate::kernel::error::Result;

/// What earlier attempts of a run left.
#[derive(Default)]
pub(super) struct Left {
    pub(super) done: HashSet<usize>,
    pub(super) values: Vec<(String, Dynamic)>,
}

impl Liquid {
    /// What earlier attempts of a run left: the nodes that need not run again, and their values as
    /// far as anything still needs them. A node whose value was not kept runs again.
    pub(super) fn left(
        &self,
        id: &str,
        plan: &Plan,
        keep: &HashSet<String>,
        book: &Book,
    ) -> Result<Left> {
        let is_done = |node: &NodeRow| node.state == NodeState::Succeeded;
        let mut done: HashSet<usize> = book.look(|state| {
            let nodes = state.nodes.iter().enumerate();
            nodes.filter(|(_, node)| is_done(node)).map(|(place, _)| place).collect()
        });
        if done.is_empty() {
            return Ok(Left::default());
        }
        let rows = store::values(&*self.0.records, id)?;
        let mut values = Vec::new();
        // From the end: whether a node's values are needed hangs on the nodes after it.
        for (place, step) in plan.steps.iter().enumerate().rev() {
            if !done.contains(&place) {
                continue;
            }
            let taken = |name: &str| {
                let takes = |next: &usize| {
                    !done.contains(next)
                        && plan
                            .steps
                            .get(*next)
                            .is_some_and(|step| step.arguments.iter().any(|a| a == name))
                };
                keep.contains(name) || step.feeds.iter().any(takes)
            };
            let names = step.node.outputs.values();
            let needed = names.iter().enumerate().filter(|(_, name)| taken(name));
            let restored: Option<Vec<_>> = needed
                .map(|(output, name)| {
                    let value = values::restore(rows.get(&(place, output))?).ok()?;
                    Some(((*name).to_owned(), value))
                })
                .collect();
            if let Some(restored) = restored {
                values.extend(restored);
            } else {
                done.remove(&place);
                book.note(place, Vec::new(), NodeRow::reset);
            }
        }
        Ok(Left { done, values })
    }
}
