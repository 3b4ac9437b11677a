//! What can be wrong with declared nodes, each in a sentence that names it.

use std::collections::HashMap;

use super::super::node::{Inputs, Node, Signature, Task};
use super::{NODES_MAX, makers};
use crate::kernel::error::Fault;
use crate::kernel::name::{NAME_MAX_BYTES, nearest};

/// Every fault but cycles.
pub(super) fn nodes(nodes: &[Node], functions: &[Signature]) -> Vec<Fault> {
    if nodes.is_empty() {
        return vec![Fault::new("pipeline", "has no node: a pipeline has at least one")];
    }
    if nodes.len() > NODES_MAX {
        let count = nodes.len();
        return vec![Fault::new(
            "pipeline",
            format!("has {count} nodes, at most {NODES_MAX} are allowed"),
        )];
    }
    let mut faults = Vec::new();
    for node in nodes {
        faults.extend(names(node));
        faults.extend(call(node, functions));
    }
    faults.extend(twice(nodes));
    faults.extend(made_twice(nodes));
    faults
}

/// Where a node is declared.
pub(super) fn place(node: &Node) -> String {
    match node.line {
        Some(line) => format!("line {line}"),
        None => format!("node {}", node.name),
    }
}

fn names(node: &Node) -> Vec<Fault> {
    let named = std::iter::once(("the name of the node", node.name.as_str()))
        .chain(node.inputs.values().into_iter().map(|value| ("an input", value)))
        .chain(node.outputs.values().into_iter().map(|value| ("an output", value)))
        .chain(node.tags.iter().map(|tag| ("a tag", tag.as_str())));
    named
        .filter_map(|(what, name)| {
            let why = if name.trim().is_empty() {
                "is empty"
            } else if name.len() > NAME_MAX_BYTES {
                "is longer than 255 bytes"
            } else if name.chars().any(char::is_control) {
                "contains a control character"
            } else {
                return None;
            };
            Some(Fault::new(place(node), format!("`{}`: {what} {why}", short(&node.name))))
        })
        .collect()
}

fn short(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}

fn twice(nodes: &[Node]) -> Vec<Fault> {
    let mut first: HashMap<&str, &Node> = HashMap::new();
    let mut faults = Vec::new();
    for node in nodes {
        if let Some(earlier) = first.insert(&node.name, node) {
            let detail = format!(
                "two nodes are named `{}` (the other is at {}): give them names of their own",
                node.name,
                place(earlier)
            );
            faults.push(Fault::new(place(node), detail));
        }
    }
    faults
}

fn made_twice(nodes: &[Node]) -> Vec<Fault> {
    let makers = makers(nodes.iter());
    let mut faults = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let mut own = Vec::new();
        for value in node.outputs.values() {
            let maker = makers.get(value).and_then(|maker| nodes.get(*maker));
            let detail = match maker {
                _ if own.contains(&value) => format!("`{}` makes `{value}` twice", node.name),
                Some(maker) if makers.get(value) != Some(&index) => format!(
                    "`{value}` is made by `{}` and by `{}`: one node makes a value",
                    maker.name, node.name
                ),
                _ => {
                    own.push(value);
                    continue;
                }
            };
            faults.push(Fault::new(place(node), detail));
        }
    }
    faults
}

/// Whether the node's function exists and takes what it is given.
fn call(node: &Node, functions: &[Signature]) -> Vec<Fault> {
    let fault = |detail: String| vec![Fault::new(place(node), detail)];
    if node.task != Task::Function {
        return Vec::new();
    }
    if node.is_closure() {
        return match node.inputs {
            Inputs::InOrder(_) => Vec::new(),
            Inputs::ByName(_) => fault(format!(
                "`{}` is a closure, which takes its values in order: write a list",
                node.name
            )),
        };
    }
    let same: Vec<&Signature> = functions.iter().filter(|f| f.name == node.function).collect();
    if same.is_empty() {
        let near = nearest(&node.function, functions.iter().map(|f| f.name.as_str()));
        let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        return fault(format!(
            "the function `{}` of `{}` does not exist{hint}",
            node.function, node.name
        ));
    }
    let given = node.inputs.values().len();
    if same.iter().any(|f| f.params.len() == given) {
        return by_name(node, &same);
    }
    let takes: Vec<String> = same.iter().map(|f| f.params.len().to_string()).collect();
    let plural = if takes == ["1"] { "value" } else { "values" };
    fault(format!(
        "`{}` takes {} {plural} and `{}` gives it {given}",
        node.function,
        takes.join(" or "),
        node.name
    ))
}

fn by_name(node: &Node, same: &[&Signature]) -> Vec<Fault> {
    let Inputs::ByName(pairs) = &node.inputs else {
        return Vec::new();
    };
    let params = params(node, same);
    let unknown = pairs.iter().filter(|(param, _)| !params.contains(param));
    unknown
        .map(|(param, _)| {
            let detail = format!(
                "`{}` has no parameter `{param}`: it takes {}",
                node.function,
                params.join(", ")
            );
            Fault::new(place(node), detail)
        })
        .collect()
}

/// The parameters that the node's values are for.
fn params(node: &Node, same: &[&Signature]) -> Vec<String> {
    let given = node.inputs.values().len();
    let found = same.iter().find(|f| f.params.len() == given);
    found.map(|f| f.params.clone()).unwrap_or_default()
}

/// The values that the node's function is called with, in the order of its parameters.
pub(super) fn arguments(node: &Node, functions: &[Signature]) -> Vec<String> {
    match &node.inputs {
        Inputs::InOrder(values) => values.clone(),
        Inputs::ByName(pairs) if node.task != Task::Function => {
            pairs.iter().map(|(_, value)| value.clone()).collect()
        }
        Inputs::ByName(pairs) => {
            let same: Vec<&Signature> =
                functions.iter().filter(|f| f.name == node.function).collect();
            let value = |param: &String| pairs.iter().find(|(name, _)| name == param);
            let params = params(node, &same);
            params.iter().filter_map(value).map(|(_, value)| value.clone()).collect()
        }
    }
}

/// A circle of nodes, each of which needs a value of the one before.
pub(super) fn cycle(nodes: &[Node], circle: &[usize]) -> Fault {
    let of = |index: &usize| nodes.get(*index);
    let mut names: Vec<String> =
        circle.iter().filter_map(of).take(20).map(|node| format!("`{}`", node.name)).collect();
    if let Some(first) = names.first().cloned() {
        names.push(first);
    }
    let at = circle.iter().filter_map(of).min_by_key(|node| node.line).map(place);
    let detail = format!("the nodes wait for each other: {}", names.join(" → "));
    Fault::new(at.unwrap_or_else(|| "pipeline".into()), detail)
}
