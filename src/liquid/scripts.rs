//! Pipelines as programs: from a source to a plan, and calls of its functions. The only file of
//! this slice that runs scripts.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rhai::{Dynamic, Map, Module, Shared};

use super::declare::{self, Declared};
use super::error;
use super::node::{Inputs, Node, Signature, Task};
use super::params::Parameter;
use super::plan::{Plan, Step};
use super::process::{self, Processes};
use crate::kernel::error::{Error, Fault, Result};
use crate::kernel::name::{Digest, nearest};
use crate::kernel::script::{Call, Fence, Printed, Program, ScriptContext, ScriptEngine};

/// What the top level of a script may use: it only declares.
const DECLARING: (u64, Duration) = (5_000_000, Duration::from_secs(5));

/// The two engines of this slice: one in which scripts declare, one in which they work.
#[derive(Debug)]
pub(super) struct Scripts {
    declaring: ScriptEngine,
    working: ScriptEngine,
    processes: Option<Processes>,
    /// Whether a program that is not allowed is a fault: not where scripts are only checked.
    strict: bool,
}

/// What nodes do that are no functions: through the modules that scripts have.
const SQL: &str = "fn run(query, values) { table::sql(query, values) }";
const OPERATOR: &str = "fn run(name, values) { atom::compute(name, values) }";

/// A pipeline that was checked and can run.
#[derive(Debug)]
pub(super) struct Ready {
    program: Arc<Program>,
    /// Its nodes, in order.
    pub(super) plan: Plan,
    /// Whether a run of it that was cut off goes on by itself.
    pub(super) resumes: bool,
    /// What it says of its inputs.
    pub(super) parameters: Vec<Parameter>,
}

impl Ready {
    /// The SHA-256 of its script.
    pub(super) fn digest(&self) -> Digest {
        self.program.digest()
    }
}

impl Scripts {
    pub(super) fn open(
        fence: Fence,
        modules: Vec<(String, Shared<Module>)>,
        processes: Option<Processes>,
        strict: bool,
    ) -> Result<Self> {
        // The top level has no modules: checking a script must not save or send anything.
        let declaring =
            ScriptEngine::builder().fence(fence.clone()).global(declare::module()).build()?;
        let working = modules
            .into_iter()
            .fold(ScriptEngine::builder().fence(fence), |builder, (name, module)| {
                builder.module(name, module)
            })
            .build()?;
        Ok(Self { declaring, working, processes, strict })
    }

    /// Parses a script, lets it declare its nodes, and plans them.
    pub(super) fn read(&self, source: &str) -> Result<Ready> {
        let program = self.working.compile(source)?;
        let call = Call::new().operations(DECLARING.0).within(DECLARING.1);
        let value = self
            .declaring
            .eval(&program, Vec::<(String, Dynamic)>::new(), &call)
            .map_err(|failed| hint(failed, &program))?;
        let kind = value.type_name();
        let declared = value.try_cast::<Declared>().filter(|declared| declared.is_pipeline);
        let declared = declared.ok_or_else(|| error::no_pipeline(kind))?;
        let nodes = declared.nodes.iter().map(|node| (**node).clone()).collect();
        let mut faults = declared.faults;
        faults.extend(declared.nodes.iter().filter_map(|node| self.forbidden(node)));
        match Plan::of(nodes, &signatures(&program)) {
            Ok(plan) => {
                faults.extend(unfit(&declared.parameters, &plan));
                if !faults.is_empty() {
                    return Err(error::bad_pipeline(faults));
                }
                let Declared { resumes, parameters, .. } = declared;
                Ok(Ready { program, plan, resumes, parameters })
            }
            Err(more) => {
                faults.extend(more);
                Err(error::bad_pipeline(faults))
            }
        }
    }

    /// Why a node's program may not be started.
    fn forbidden(&self, node: &Node) -> Option<Fault> {
        let Task::Process(command) = &node.task else { return None };
        if !self.strict || command.is_empty() {
            return None;
        }
        let why = match &self.processes {
            Some(processes) => processes.fault(command)?,
            None => process::not_allowed(command.first()?, &[]).detail().to_owned(),
        };
        let place = node.line.map_or_else(|| "pipeline".into(), |line| format!("line {line}"));
        Some(Fault::new(place, format!("`{}`: {why}", node.name)))
    }

    /// The stack that a thread needs which carries out a run: that of a call, and a little for the run.
    pub(super) fn stack(&self) -> usize {
        self.working.fence().stack().saturating_add(1 << 20)
    }

    /// Who starts processes.
    pub(super) fn processes(&self) -> Result<&Processes> {
        self.processes.as_ref().ok_or_else(|| {
            let detail =
                "processes run in a daemon whose `[liquid] allow_process` names their programs";
            Error::invalid("no_processes", detail, Vec::new())
        })
    }

    /// Asks SQL, or computes an operator.
    pub(super) fn ask(
        &self,
        step: &Step,
        arguments: Vec<Dynamic>,
        as_whom: &ScriptContext,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Dynamic> {
        let (source, what) = match &step.node.task {
            Task::Sql(query) => (SQL, query),
            Task::Operator(name) => (OPERATOR, name),
            Task::Function | Task::Process(_) => {
                return Err(Error::internal("this node is neither a query nor an operator"));
            }
        };
        let names: Vec<&String> = match &step.node.inputs {
            Inputs::InOrder(names) => names.iter().collect(),
            Inputs::ByName(pairs) => pairs.iter().map(|(name, _)| name).collect(),
        };
        let values: Map =
            names.into_iter().map(|name| name.as_str().into()).zip(arguments).collect();
        let program = self.working.compile(source)?;
        let mut call = Call::new().cancelled_by(cancel.clone()).tagged(as_whom.clone().into_tag());
        if let Some(limit) = step.node.timeout {
            call = call.within(limit.min(self.working.fence().time));
        }
        let arguments = vec![what.as_str().into(), Dynamic::from_map(values)];
        self.working.call(&program, "run", arguments, &call)
    }

    /// Calls the function of one step.
    pub(super) fn call(
        &self,
        ready: &Ready,
        step: &Step,
        arguments: Vec<Dynamic>,
        as_whom: &ScriptContext,
        cancel: &Arc<AtomicBool>,
        print: impl Fn(Printed<'_>) + Send + Sync + 'static,
    ) -> Result<Dynamic> {
        let mut call = Call::new()
            .cancelled_by(cancel.clone())
            .tagged(as_whom.clone().into_tag())
            .printing_to(print);
        if let Some(limit) = step.node.timeout {
            call = call.within(limit.min(self.working.fence().time));
        }
        self.working.call(&ready.program, &step.node.function, arguments, &call)
    }
}

/// Parameters that are no inputs of the plan, or are said twice.
fn unfit(parameters: &[Parameter], plan: &Plan) -> Vec<Fault> {
    let mut seen = HashSet::new();
    let faults = parameters.iter().filter_map(|parameter| {
        let name = &parameter.name;
        if !seen.insert(name) {
            return Some(format!("the parameter `{name}` is said twice"));
        }
        if plan.inputs.contains(name) {
            return None;
        }
        let near = nearest(name, plan.inputs.iter().map(String::as_str));
        let near = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        Some(format!("the parameter `{name}` is no input of the pipeline{near}"))
    });
    faults.map(|what| Fault::new("pipeline", what)).collect()
}

fn signatures(program: &Program) -> Vec<Signature> {
    let of = |function: &crate::kernel::script::Function| Signature {
        name: function.name.clone(),
        params: function.params.clone(),
    };
    program.functions().iter().map(of).collect()
}

/// A bare name that is no function is the usual slip; the engine knows it as a variable.
fn hint(failed: Error, program: &Program) -> Error {
    let Some(name) = failed.detail().split("Variable not found: ").nth(1) else {
        return failed;
    };
    let name = name.split([' ', '(']).next().unwrap_or_default();
    let known = program.functions().iter().map(|function| function.name.as_str());
    let near = nearest(name, known).map(|near| format!(": did you mean `{near}`?"));
    let detail = format!("the script has no function `{name}`{}", near.unwrap_or_default());
    Error::invalid("bad_pipeline", detail, failed.faults().to_vec())
}
