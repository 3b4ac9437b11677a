//! Pipelines and runs as they are shown.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::Fields;
use super::node::NodeInfo;
use super::params::Parameter;
use super::plan::{Edge, Slice};
use crate::kernel::clock::Time;
use crate::kernel::error::{Error, Fault, Result};

/// A pipeline, as one revision has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// How often its script changed.
    pub revision: u64,
    /// Its nodes, in an order in which they can run.
    pub nodes: Vec<NodeInfo>,
    /// Values that a run must be given.
    pub inputs: Vec<String>,
    /// What it says of them: types, defaults, limits.
    pub parameters: Vec<Parameter>,
    /// Values that no node takes: what a run answers.
    pub outputs: Vec<String>,
    /// Its script; a list leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When this revision was saved.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub saved_at: Time,
    /// Who saved it.
    pub saved_by: String,
}

/// The graph of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Graph {
    /// The pipeline.
    pub name: String,
    /// Its revision.
    pub revision: u64,
    /// Its nodes, in order.
    pub nodes: Vec<NodeInfo>,
    /// The values on their way.
    pub edges: Vec<Edge>,
    /// Values that come from outside.
    pub inputs: Vec<String>,
    /// Values that nobody takes.
    pub outputs: Vec<String>,
}

/// What must be true of what is being replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// Only when the current revision is this one.
    pub revision: Option<u64>,
    /// Only when there is none yet.
    pub create_only: bool,
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
        #[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
        #[serde(rename_all = "lowercase")]
        pub enum $type { $($(#[$variant_doc])* $variant),+ }

        impl $type {
            /// Every word for it.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            /// As a word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The state of a run. It moves from left to right; one that ended without success may be resumed.
    RunState {
        /// It waits for its turn.
        Queued = "queued",
        /// It runs.
        Running = "running",
        /// Every node is done.
        Succeeded = "succeeded",
        /// A node failed.
        Failed = "failed",
        /// Someone ended it.
        Cancelled = "cancelled",
        /// The daemon ended before it did.
        Interrupted = "interrupted",
    }
}

words! {
    /// The state of a node in a run.
    NodeState {
        /// It has not begun.
        Pending = "pending",
        /// It runs.
        Running = "running",
        /// It is done.
        Succeeded = "succeeded",
        /// It failed, after all its tries.
        Failed = "failed",
        /// It was ended.
        Cancelled = "cancelled",
        /// It never began, because the run ended.
        Skipped = "skipped",
        /// The daemon ended while it ran.
        Interrupted = "interrupted",
    }
}

words! {
    /// How the nodes of a run are taken.
    Runner {
        /// One after the other.
        Sequential = "sequential",
        /// As many at a time as there are cores.
        Parallel = "parallel",
    }
}

impl RunState {
    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl FromStr for RunState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, state)| *state);
        found.ok_or_else(|| {
            let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| *word).collect();
            let detail = format!("`state` is one of {}", words.join(", "));
            Error::invalid("bad_query", detail.clone(), vec![Fault::new("state", detail)])
        })
    }
}

/// A node in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct NodeRun {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: NodeState,
    /// When its first try began.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub started_at: Option<Time>,
    /// When its last try ended.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub finished_at: Option<Time>,
    /// How often it was tried, also before the run was resumed.
    pub tries: u32,
    /// Whether its values were taken from an earlier run instead of computed.
    pub cached: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// The values that it makes.
    pub outputs: Vec<String>,
    /// What it made, in short, by the values' names: the type, and a small value itself.
    #[cfg_attr(feature = "http", schema(value_type = Object))]
    pub made: Map<String, Value>,
}

/// A run of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Run {
    /// Its id.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// The revision that runs.
    pub revision: u64,
    /// How it stands.
    pub state: RunState,
    /// What it was given.
    #[cfg_attr(feature = "http", schema(value_type = Object))]
    pub inputs: Map<String, Value>,
    /// What it made; empty before it succeeded.
    #[cfg_attr(feature = "http", schema(value_type = Object))]
    pub outputs: Map<String, Value>,
    /// Its nodes, in order.
    pub nodes: Vec<NodeRun>,
    /// The firing that it stands for, when a schedule started it.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub scheduled_at: Option<Time>,
    /// Why it runs: `manual`, `schedule:<name>` or `backfill:<name>`.
    pub cause: String,
    /// Why it failed.
    pub error: Option<String>,
    /// How its nodes are taken.
    pub runner: Runner,
    /// How often it was resumed.
    pub resumes: u32,
    /// The part of the pipeline that runs.
    #[serde(flatten)]
    #[cfg_attr(feature = "http", schema(value_type = Object))]
    pub slice: Slice,
    /// On whose behalf.
    pub started_by: String,
    /// When it was asked for.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub created_at: Time,
    /// When it began.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub started_at: Option<Time>,
    /// When it ended.
    #[cfg_attr(feature = "http", schema(value_type = Option<String>))]
    pub finished_at: Option<Time>,
}

/// What a run is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunRequest {
    /// Values for the pipeline's inputs.
    pub inputs: Map<String, Value>,
    /// How its nodes are taken; one after the other unless told.
    pub runner: Option<Runner>,
    /// The part of the pipeline to run.
    pub slice: Slice,
    /// Values to answer besides those that no node takes.
    pub outputs: Vec<String>,
}

impl RunRequest {
    /// Reads a body; the error names every fault.
    pub fn read(body: &Map<String, Value>) -> Result<Self> {
        let known = ["inputs", "runner", "from", "to", "tags", "outputs"];
        let mut fields = Fields::of(body, &known);
        let request = Self {
            inputs: fields.object("inputs"),
            runner: fields.word("runner", Runner::WORDS),
            slice: Slice {
                from: fields.texts("from"),
                to: fields.texts("to"),
                tags: fields.texts("tags"),
            },
            outputs: fields.texts("outputs"),
        };
        fields.finish("bad_run", "request for a run")?;
        Ok(request)
    }
}
