//! From declared nodes to an order of running. Pure: the same nodes give the same plan.
//!
//! Values are joined to nodes by name: a value that a node makes goes to every node that takes it.
//! What is taken and not made is an input of the pipeline, what is made and not taken an output.

mod check;
mod slice;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::node::{Node, NodeInfo, Signature};
use crate::kernel::error::Fault;

pub use slice::Slice;

/// The most nodes of one pipeline.
pub const NODES_MAX: usize = 10_000;

/// A node at its place in the order.
#[derive(Debug, Clone)]
pub struct Step {
    /// The node.
    pub node: Node,
    /// The parameters of its function, where it takes its values by name.
    pub arguments: Vec<String>,
    /// The steps whose values it takes.
    pub needs: Vec<usize>,
    /// The steps that take its values.
    pub feeds: Vec<usize>,
}

/// Nodes in an order in which each comes after those it needs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Values that are taken and not made.
    pub inputs: Vec<String>,
    /// Values that are made and not taken.
    pub outputs: Vec<String>,
}

/// An arrow of the graph: a value on its way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Edge {
    /// The node that makes the value; none for an input of the pipeline.
    pub from: Option<String>,
    /// The node that takes it; none for an output of the pipeline.
    pub to: Option<String>,
    /// The value's name.
    pub value: String,
}

impl Plan {
    /// Checks the nodes against each other and against the script's functions. The error names
    /// every fault.
    pub fn of(nodes: Vec<Node>, functions: &[Signature]) -> Result<Self, Vec<Fault>> {
        let mut faults = check::nodes(&nodes, functions);
        let order = match order(&nodes) {
            Ok(order) => order,
            Err(cycles) => {
                faults.extend(cycles);
                Vec::new()
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        let arguments = nodes.iter().map(|node| check::arguments(node, functions)).collect();
        Ok(Self::ordered(nodes, arguments, &order))
    }

    fn ordered(nodes: Vec<Node>, arguments: Vec<Vec<String>>, order: &[usize]) -> Self {
        let mut waiting: Vec<Option<(Node, Vec<String>)>> =
            nodes.into_iter().zip(arguments).map(Some).collect();
        let mut steps: Vec<Step> = order
            .iter()
            .filter_map(|index| waiting.get_mut(*index)?.take())
            .map(|(node, arguments)| Step { node, arguments, needs: vec![], feeds: vec![] })
            .collect();
        join(&mut steps);
        let made: HashSet<&str> =
            steps.iter().flat_map(|step| step.node.outputs.values()).collect();
        let taken: HashSet<&str> =
            steps.iter().flat_map(|step| step.node.inputs.values()).collect();
        let inputs = distinct(
            steps.iter().flat_map(|step| step.node.inputs.values()).filter(|v| !made.contains(v)),
        );
        let outputs = distinct(
            steps.iter().flat_map(|step| step.node.outputs.values()).filter(|v| !taken.contains(v)),
        );
        Self { steps, inputs, outputs }
    }

    /// Every value that is taken or made.
    pub fn values(&self) -> Vec<String> {
        distinct(self.steps.iter().flat_map(|step| {
            step.node.inputs.values().into_iter().chain(step.node.outputs.values())
        }))
    }

    /// The values that its nodes take.
    pub fn taken(&self) -> HashSet<&str> {
        self.steps.iter().flat_map(|step| &step.arguments).map(String::as_str).collect()
    }

    /// The values that its nodes make.
    pub fn made(&self) -> HashSet<&str> {
        self.steps.iter().flat_map(|step| step.node.outputs.values()).collect()
    }

    /// The nodes as they are shown, in order.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.steps.iter().map(|step| NodeInfo::from(&step.node)).collect()
    }

    /// The arrows between nodes, from the inputs and to the outputs.
    pub fn edges(&self) -> Vec<Edge> {
        let maker: HashMap<&str, &str> = self
            .steps
            .iter()
            .flat_map(|step| {
                step.node.outputs.values().into_iter().map(|value| (value, step.node.name.as_str()))
            })
            .collect();
        let taken = self.steps.iter().flat_map(|step| {
            let to = &step.node.name;
            distinct(step.node.inputs.values().into_iter()).into_iter().map(|value| Edge {
                from: maker.get(value.as_str()).map(|name| (*name).to_owned()),
                to: Some(to.clone()),
                value,
            })
        });
        let given = self.outputs.iter().map(|value| Edge {
            from: maker.get(value.as_str()).map(|name| (*name).to_owned()),
            to: None,
            value: value.clone(),
        });
        taken.chain(given).collect()
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = HashSet::new();
    names.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}

/// Which node makes each value; the first where several claim it.
fn makers<'a>(nodes: impl Iterator<Item = &'a Node>) -> HashMap<&'a str, usize> {
    let mut makers = HashMap::new();
    for (index, node) in nodes.enumerate() {
        for value in node.outputs.values() {
            makers.entry(value).or_insert(index);
        }
    }
    makers
}

/// For each node the nodes whose values it takes.
fn needs<'a>(nodes: impl Iterator<Item = &'a Node> + Clone) -> Vec<Vec<usize>> {
    let makers = makers(nodes.clone());
    nodes
        .map(|node| {
            let makers = node.inputs.values().into_iter().filter_map(|v| makers.get(v).copied());
            makers.collect::<BTreeSet<_>>().into_iter().collect()
        })
        .collect()
}

fn join(steps: &mut [Step]) {
    let all = needs(steps.iter().map(|step| &step.node));
    for (index, needs) in all.into_iter().enumerate() {
        for need in &needs {
            if let Some(maker) = steps.get_mut(*need) {
                maker.feeds.push(index);
            }
        }
        if let Some(step) = steps.get_mut(index) {
            step.needs = needs;
        }
    }
}

/// The order: each node after those it needs, and else as declared. The error names the cycles.
fn order(nodes: &[Node]) -> Result<Vec<usize>, Vec<Fault>> {
    let needs = needs(nodes.iter());
    let mut feeds: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    for (index, needs) in needs.iter().enumerate() {
        for need in needs {
            if let Some(feeds) = feeds.get_mut(*need) {
                feeds.push(index);
            }
        }
    }
    let mut ready: BTreeSet<usize> =
        open.iter().enumerate().filter(|(_, open)| **open == 0).map(|(index, _)| index).collect();
    let mut left: BTreeSet<usize> = (0..nodes.len()).collect();
    let mut order = Vec::with_capacity(nodes.len());
    let mut cycles = Vec::new();
    while !left.is_empty() {
        let Some(index) = ready.pop_first() else {
            // Nothing can start: there is a cycle. It is told and cut, so that others are found.
            let cycle = cycle(&needs, &left);
            cycles.push(check::cycle(nodes, &cycle));
            ready.extend(cycle);
            continue;
        };
        if !left.remove(&index) {
            continue;
        }
        order.push(index);
        for next in feeds.get(index).into_iter().flatten() {
            if let Some(open) = open.get_mut(*next) {
                *open = open.saturating_sub(1);
                if *open == 0 && left.contains(next) {
                    ready.insert(*next);
                }
            }
        }
    }
    if cycles.is_empty() { Ok(order) } else { Err(cycles) }
}

/// One cycle among `left`, where every node needs another one of them.
fn cycle(needs: &[Vec<usize>], left: &BTreeSet<usize>) -> Vec<usize> {
    let mut path: Vec<usize> = Vec::new();
    let mut place: HashMap<usize, usize> = HashMap::new();
    let mut at = left.first().copied();
    while let Some(index) = at {
        if let Some(start) = place.get(&index) {
            let mut cycle = path.split_off(*start);
            // Needs were followed backwards; people read in the direction of the values.
            cycle.reverse();
            let first = cycle.iter().min().and_then(|low| cycle.iter().position(|at| at == low));
            cycle.rotate_left(first.unwrap_or(0));
            return cycle;
        }
        place.insert(index, path.len());
        path.push(index);
        at = needs.get(index).into_iter().flatten().find(|need| left.contains(need)).copied();
    }
    path
}
