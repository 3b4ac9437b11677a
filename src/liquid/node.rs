//! What a script declares: nodes, the values they take and the values they make.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::clock::show_duration;

/// What Rhai's own names for closures begin with.
pub const CLOSURE: &str = "anon$";

/// The values a node takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// One value for each parameter, in order.
    InOrder(Vec<String>),
    /// Parameter and value, by name.
    ByName(Vec<(String, String)>),
}

/// The values a node makes of what its function returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outputs {
    /// What is returned, whole; nothing when there is no name.
    Whole(Option<String>),
    /// The elements of a returned array in order, or the fields of a returned map by name.
    Several(Vec<String>),
    /// Fields of a returned map: the field and the value's name.
    ByField(Vec<(String, String)>),
}

/// What a node does with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// It calls a function of the script.
    Function,
    /// It asks SQL over the tables it takes.
    Sql(String),
    /// It computes an operator, `name` or `name@version`, of the values it takes.
    Operator(String),
    /// It starts a program: the program and its arguments.
    Process(Vec<String>),
}

/// One node, as it was declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The function it calls; a closure's name begins with [`CLOSURE`].
    pub function: String,
    /// What it does with its values.
    pub task: Task,
    /// The values it takes.
    pub inputs: Inputs,
    /// The values it makes.
    pub outputs: Outputs,
    /// Words to choose it by.
    pub tags: Vec<String>,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// The longest that one try may take.
    pub timeout: Option<Duration>,
    /// The first wait before another try; it doubles each time.
    pub backoff: Option<Duration>,
    /// By how much of itself a wait is shortened or lengthened by chance: 0 to 1.
    pub jitter: f64,
    /// How long its values may be taken again instead of computed, when nothing changed.
    pub cache: Option<Duration>,
    /// Nodes that share this word never run at the same time, whatever their run.
    pub concurrency: Option<String>,
    /// What a process finds in its environment besides.
    pub environment: Vec<(String, String)>,
    /// Where it was declared.
    pub line: Option<usize>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: String::new(),
            function: String::new(),
            task: Task::Function,
            inputs: Inputs::InOrder(Vec::new()),
            outputs: Outputs::Whole(None),
            tags: Vec::new(),
            retries: 0,
            timeout: None,
            backoff: None,
            jitter: 0.0,
            cache: None,
            concurrency: None,
            environment: Vec::new(),
            line: None,
        }
    }
}

impl Node {
    /// Whether its function has no name.
    pub fn is_closure(&self) -> bool {
        self.function.starts_with(CLOSURE)
    }
}

impl Task {
    /// Its word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Sql(_) => "sql",
            Self::Operator(_) => "operator",
            Self::Process(_) => "process",
        }
    }
}

/// What nodes are that an earlier version kept.
fn function() -> String {
    "function".to_owned()
}

/// A function of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Vec<String>,
}

impl Inputs {
    /// The names of the values, in the order given.
    pub fn values(&self) -> Vec<&str> {
        match self {
            Self::InOrder(values) => values.iter().map(String::as_str).collect(),
            Self::ByName(pairs) => pairs.iter().map(|(_, value)| value.as_str()).collect(),
        }
    }
}

impl Outputs {
    /// The names of the values, in the order given.
    pub fn values(&self) -> Vec<&str> {
        match self {
            Self::Whole(value) => value.iter().map(String::as_str).collect(),
            Self::Several(values) => values.iter().map(String::as_str).collect(),
            Self::ByField(pairs) => pairs.iter().map(|(_, value)| value.as_str()).collect(),
        }
    }
}

/// A node as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// `function`, `sql`, `operator` or `process`.
    #[serde(default = "function")]
    pub kind: String,
    /// The function it calls, the query, the operator or the command.
    pub function: String,
    /// The values it takes.
    pub inputs: Vec<String>,
    /// The values it makes.
    pub outputs: Vec<String>,
    /// Words to choose it by.
    pub tags: Vec<String>,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// The longest that one try may take.
    pub timeout: Option<String>,
    /// The first wait before another try.
    #[serde(default)]
    pub backoff: Option<String>,
    /// How long its values may be taken again.
    #[serde(default)]
    pub cache: Option<String>,
    /// Nodes that share this word never run at the same time.
    #[serde(default)]
    pub concurrency: Option<String>,
    /// The line on which it is declared.
    pub line: Option<usize>,
}

impl From<&Node> for NodeInfo {
    fn from(node: &Node) -> Self {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Self {
            name: node.name.clone(),
            kind: node.task.kind().to_owned(),
            function: if node.is_closure() { "closure".into() } else { node.function.clone() },
            inputs: owned(node.inputs.values()),
            outputs: owned(node.outputs.values()),
            tags: node.tags.clone(),
            retries: node.retries,
            timeout: node.timeout.map(show_duration),
            backoff: node.backoff.map(show_duration),
            cache: node.cache.map(show_duration),
            concurrency: node.concurrency.clone(),
            line: node.line,
        }
    }
}
