//! The values of a run, by name. A value goes when its last reader has it; what the caller asked
//! for stays until the end.

use std::collections::{HashMap, HashSet};

use rhai::Dynamic;

use super::plan::Plan;

/// The values that are there now, and how many readers each still waits for.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    values: HashMap<String, Dynamic>,
    readers: HashMap<String, usize>,
    kept: HashSet<String>,
}

impl Catalog {
    /// An empty catalog for the steps of `plan` that are not `done`, which keeps `kept` to the end.
    pub(super) fn new(plan: &Plan, done: &HashSet<usize>, kept: HashSet<String>) -> Self {
        let mut readers: HashMap<String, usize> = HashMap::new();
        let open = plan.steps.iter().enumerate().filter(|(index, _)| !done.contains(index));
        for value in open.flat_map(|(_, step)| &step.arguments) {
            *readers.entry(value.clone()).or_default() += 1;
        }
        Self { values: HashMap::new(), readers, kept }
    }

    /// A value that nobody will ask for is not taken in.
    pub(super) fn put(&mut self, name: String, value: Dynamic) {
        if self.kept.contains(&name) || self.readers.contains_key(&name) {
            self.values.insert(name, value);
        }
    }

    /// What one reader takes: the value itself for the last one, else a copy.
    pub(super) fn take(&mut self, name: &str) -> Option<Dynamic> {
        let left = self.readers.get(name).copied().unwrap_or(0).saturating_sub(1);
        if left > 0 {
            self.readers.insert(name.to_owned(), left);
            return self.values.get(name).cloned();
        }
        self.readers.remove(name);
        if self.kept.contains(name) {
            return self.values.get(name).cloned();
        }
        self.values.remove(name)
    }

    /// What is left: the values that were to be kept.
    pub(super) fn into_kept(self) -> HashMap<String, Dynamic> {
        self.values
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liquid::node::{Inputs, Node, Outputs, Signature};

    #[test]
    fn a_value_goes_with_its_last_reader_and_not_before() {
        let node = |name: &str, inputs: &[&str]| Node {
            name: name.into(),
            function: format!("f{}", inputs.len()),
            inputs: Inputs::InOrder(inputs.iter().map(|i| (*i).to_owned()).collect()),
            outputs: Outputs::Whole(Some(format!("{name}-out"))),
            ..Node::default()
        };
        let functions = [1_usize, 2].map(|n| Signature {
            name: format!("f{n}"),
            params: (0..n).map(|p| p.to_string()).collect(),
        });
        let nodes = vec![node("one", &["x", "x"]), node("two", &["x"]), node("three", &["y"])];
        let plan = Plan::of(nodes, &functions).unwrap();
        let mut catalog = Catalog::new(&plan, &HashSet::new(), HashSet::from(["y".to_owned()]));
        for name in ["x", "y", "nobody asks for this"] {
            catalog.put(name.into(), Dynamic::from(name.to_owned()));
        }
        assert_eq!(catalog.len(), 2);
        for left in [2, 2, 1] {
            assert!(catalog.take("x").is_some());
            assert_eq!(catalog.len(), left);
        }
        assert!(catalog.take("x").is_none());
        assert!(catalog.take("y").is_some());
        assert_eq!(catalog.into_kept().into_keys().collect::<Vec<_>>(), ["y"]);
    }
}
