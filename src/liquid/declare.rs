//! The words of a pipeline script: `node`, `pipeline` and `+`.
//!
//! A wrong call does not end the script: its fault is kept beside the node, so that all of them are
//! told at once when the script is checked.

use std::sync::Arc;
use std::time::Duration;

use rhai::{Array, Dynamic, FnPtr, FuncRegistration, Map, Module, NativeCallContext};

use super::node::{Inputs, Node, Outputs, Task};
use super::params::Parameter;
use super::process::is_plain;
use crate::kernel::clock::parse_duration;
use crate::kernel::error::Fault;
use crate::kernel::name::nearest;

/// The most times that a node may be tried again.
const RETRIES_MAX: i64 = 100;
const OPTIONS: [&str; 7] =
    ["retries", "timeout", "tags", "backoff", "jitter", "cache", "concurrency"];
/// How long cached values are good where a node only says `cache: true`.
const CACHED: Duration = Duration::from_hours(24 * 30);
/// The longest word that nodes may share.
const WORD_MAX: usize = 100;

/// What a script declared: nodes, and what was wrong with them.
#[derive(Debug, Clone, Default)]
pub(super) struct Declared {
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) faults: Vec<Fault>,
    pub(super) is_pipeline: bool,
    /// Whether its runs go on by themselves after they were cut off.
    pub(super) resumes: bool,
    /// What it says of its inputs.
    pub(super) parameters: Vec<Parameter>,
}

type Context<'a> = NativeCallContext<'a>;

/// The functions that the top level of a script may call.
pub(super) fn module() -> Module {
    let mut module = Module::new();
    let at = |name: &str| FuncRegistration::new(name).in_global_namespace();
    at("node").set_into_module(
        &mut module,
        |c: Context<'_>, f: Dynamic, i: Dynamic, o: Dynamic| {
            node(&c, f, i, o, Dynamic::UNIT, Dynamic::UNIT)
        },
    );
    at("node").set_into_module(
        &mut module,
        |c: Context<'_>, f: Dynamic, i: Dynamic, o: Dynamic, name: Dynamic| {
            let (name, options) =
                if name.is_map() { (Dynamic::UNIT, name) } else { (name, Dynamic::UNIT) };
            node(&c, f, i, o, name, options)
        },
    );
    at("node").set_into_module(&mut module, node_with_options);
    at("pipeline").set_into_module(&mut module, |c: Context<'_>, parts: Array| pipeline(&c, parts));
    at("pipeline").set_into_module(&mut module, |c: Context<'_>, parts: Array, more: Dynamic| {
        let mut all = pipeline(&c, parts);
        options(&c, more, &mut all);
        all
    });
    at("+").set_into_module(&mut module, |one: Declared, other: Declared| add(one, other));
    for kind in ["sql", "process", "operator"] {
        at(kind).set_into_module(
            &mut module,
            move |c: Context<'_>, what: Dynamic, i: Dynamic, o: Dynamic| {
                task(&c, kind, what, [i, o], Dynamic::UNIT, Dynamic::UNIT)
            },
        );
        at(kind).set_into_module(
            &mut module,
            move |c: Context<'_>, what: Dynamic, i: Dynamic, o: Dynamic, name: Dynamic| {
                let (name, options) =
                    if name.is_map() { (Dynamic::UNIT, name) } else { (name, Dynamic::UNIT) };
                task(&c, kind, what, [i, o], name, options)
            },
        );
        at(kind).set_into_module(
            &mut module,
            move |c: Context<'_>, w: Dynamic, i: Dynamic, o: Dynamic, n: Dynamic, more: Dynamic| {
                task(&c, kind, w, [i, o], n, more)
            },
        );
    }
    module
}

fn node_with_options(
    context: Context<'_>,
    function: Dynamic,
    inputs: Dynamic,
    outputs: Dynamic,
    name: Dynamic,
    options: Dynamic,
) -> Declared {
    node(&context, function, inputs, outputs, name, options)
}

/// A node that is no function: a query, an operator, a program.
fn task(
    context: &Context<'_>,
    kind: &str,
    what: Dynamic,
    ports: [Dynamic; 2],
    name: Dynamic,
    options: Dynamic,
) -> Declared {
    let mut said = Said { faults: Vec::new() };
    let (task, own) = said.task(kind, what);
    let name = if name.is_unit() { own } else { said.name(name, &own) };
    let [inputs, outputs] = ports;
    declare(context, said, (name, String::new(), task), inputs, outputs, options)
}

fn fault(context: &Context<'_>, what: impl Into<String>) -> Fault {
    Fault::new(place(line(context)), what)
}

fn line(context: &Context<'_>) -> Option<usize> {
    context.call_position().line()
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(|| "pipeline".into(), |line| format!("line {line}"))
}

fn pipeline(context: &Context<'_>, parts: Array) -> Declared {
    let mut all = Declared { is_pipeline: true, ..Declared::default() };
    for (index, part) in parts.into_iter().enumerate() {
        let kind = part.type_name();
        match part.try_cast::<Declared>() {
            Some(part) => {
                all.nodes.extend(part.nodes);
                all.faults.extend(part.faults);
                all.resumes |= part.resumes;
                all.parameters.extend(part.parameters);
            }
            None => all.faults.push(fault(
                context,
                format!(
                    "part {} of the pipeline is a {kind}: it takes nodes and pipelines",
                    index + 1
                ),
            )),
        }
    }
    all
}

/// Reads what a pipeline says of its runs.
fn options(context: &Context<'_>, given: Dynamic, all: &mut Declared) {
    let Some(map) = given.try_cast::<Map>() else {
        let what = "the options of a pipeline are a map: `pipeline([…], #{resume: true})`";
        return all.faults.push(fault(context, what));
    };
    for (key, value) in map {
        match (key.as_str(), value.as_bool()) {
            ("resume", Ok(resumes)) => all.resumes = resumes,
            ("resume", Err(_)) => {
                all.faults.push(fault(context, "`resume` of a pipeline is true or false"));
            }
            ("params", _) => parameters(context, value, all),
            (other, _) => {
                let what = format!(
                    "`{other}` is no option of a pipeline: it may say `resume` and `params`"
                );
                all.faults.push(fault(context, what));
            }
        }
    }
}

/// Reads what a pipeline says of its inputs.
fn parameters(context: &Context<'_>, given: Dynamic, all: &mut Declared) {
    let Some(map) = given.try_cast::<Map>() else {
        let what =
            "`params` is a map of the inputs: `#{days: 30}`, or `#{days: #{value: 30, min: 1}}`";
        return all.faults.push(fault(context, what));
    };
    for (name, said) in map {
        match Parameter::declare(&name, said) {
            Ok(parameter) => all.parameters.push(parameter),
            Err(faults) => {
                all.faults.extend(faults.into_iter().map(|what| fault(context, what)));
            }
        }
    }
}

fn add(mut one: Declared, other: Declared) -> Declared {
    one.nodes.extend(other.nodes);
    one.faults.extend(other.faults);
    one.is_pipeline |= other.is_pipeline;
    one.resumes |= other.resumes;
    one.parameters.extend(other.parameters);
    one
}

fn node(
    context: &Context<'_>,
    function: Dynamic,
    inputs: Dynamic,
    outputs: Dynamic,
    name: Dynamic,
    options: Dynamic,
) -> Declared {
    let mut said = Said { faults: Vec::new() };
    let function = said.function(function);
    let name = said.name(name, &function);
    declare(context, said, (name, function, Task::Function), inputs, outputs, options)
}

fn declare(
    context: &Context<'_>,
    mut said: Said,
    (name, function, task): (String, String, Task),
    inputs: Dynamic,
    outputs: Dynamic,
    options: Dynamic,
) -> Declared {
    let inputs = match said.ports("inputs", inputs) {
        Ports::List(values) => Inputs::InOrder(values),
        Ports::Pairs(pairs) => Inputs::ByName(pairs),
    };
    let outputs = match said.ports("outputs", outputs) {
        Ports::List(values) if values.len() < 2 => Outputs::Whole(values.into_iter().next()),
        Ports::List(values) => Outputs::Several(values),
        Ports::Pairs(pairs) => Outputs::ByField(pairs),
    };
    if matches!(task, Task::Process(_)) {
        said.files(&inputs, &outputs);
    }
    let options = said.options(options, &task);
    let line = line(context);
    let told = |what: String| Fault::new(place(line), format!("`{name}`: {what}"));
    let faults = said.faults.into_iter().map(told).collect();
    let node = Node {
        name: name.clone(),
        function,
        task,
        inputs,
        outputs,
        tags: options.tags,
        retries: options.retries,
        timeout: options.timeout,
        backoff: options.backoff,
        jitter: options.jitter,
        cache: options.cache,
        concurrency: options.concurrency,
        environment: options.environment,
        line,
    };
    Declared { nodes: vec![Arc::new(node)], faults, ..Declared::default() }
}

#[derive(Default)]
struct Options {
    retries: u32,
    timeout: Option<Duration>,
    tags: Vec<String>,
    backoff: Option<Duration>,
    jitter: f64,
    cache: Option<Duration>,
    concurrency: Option<String>,
    environment: Vec<(String, String)>,
}

enum Ports {
    List(Vec<String>),
    Pairs(Vec<(String, String)>),
}

/// Reads what a call of `node` was given and collects what is wrong with it.
struct Said {
    faults: Vec<String>,
}

impl Said {
    fn function(&mut self, given: Dynamic) -> String {
        if let Some(pointer) = given.clone().try_cast::<FnPtr>() {
            if pointer.is_curried() {
                self.faults.push(
                    "its function captures a variable: give it what it needs as an input".into(),
                );
            }
            return pointer.fn_name().to_owned();
        }
        let kind = given.type_name();
        given.into_string().unwrap_or_else(|_other| {
            self.faults.push(format!("its first part is a {kind}: give the name of a function"));
            String::new()
        })
    }

    fn name(&mut self, given: Dynamic, function: &str) -> String {
        if given.is_unit() {
            if function.starts_with(super::node::CLOSURE) {
                self.faults.push("a closure has no name: give the node one (4th part)".into());
                return "closure".into();
            }
            return function.to_owned();
        }
        let kind = given.type_name();
        given.into_string().unwrap_or_else(|_other| {
            self.faults.push(format!("its name is a {kind}, not a text"));
            function.to_owned()
        })
    }

    fn ports(&mut self, what: &str, given: Dynamic) -> Ports {
        if given.is_unit() {
            return Ports::List(Vec::new());
        }
        if given.is_map() {
            let pairs = given.cast::<Map>().into_iter();
            return Ports::Pairs(
                pairs.map(|(key, value)| (key.to_string(), self.text(what, value))).collect(),
            );
        }
        if given.is_array() {
            let items = given.cast::<Array>().into_iter();
            return Ports::List(items.map(|item| self.text(what, item)).collect());
        }
        Ports::List(vec![self.text(what, given)])
    }

    fn text(&mut self, what: &str, given: Dynamic) -> String {
        let kind = given.type_name();
        given.into_string().unwrap_or_else(|_other| {
            self.faults.push(format!("its {what} hold a {kind}: names are texts"));
            "?".into()
        })
    }

    /// What a node that is no function does, and what it is called unless told.
    fn task(&mut self, kind: &str, what: Dynamic) -> (Task, String) {
        if kind == "process" {
            let command = match self.ports("command", what) {
                Ports::List(command) => command,
                Ports::Pairs(_) => {
                    self.faults.push("its command is a map: write a list".into());
                    Vec::new()
                }
            };
            let program = command.first().cloned().unwrap_or_default();
            if program.is_empty() {
                self.faults.push("its command names no program".into());
            }
            let name = program.rsplit('/').next().unwrap_or_default().to_owned();
            return (Task::Process(command), name);
        }
        let type_name = what.type_name();
        let text = what.into_string().unwrap_or_else(|_other| {
            self.faults.push(format!("`{kind}(…)` begins with a text, not with a {type_name}"));
            String::new()
        });
        match kind {
            "sql" => (Task::Sql(text), "sql".to_owned()),
            _ => (Task::Operator(text.clone()), text),
        }
    }

    /// The names of files that a process takes and makes.
    fn files(&mut self, inputs: &Inputs, outputs: &Outputs) {
        let given: Vec<&str> = match inputs {
            Inputs::ByName(pairs) => pairs.iter().map(|(file, _)| file.as_str()).collect(),
            Inputs::InOrder(names) => names.iter().map(String::as_str).collect(),
        };
        let made: Vec<&str> = match outputs {
            Outputs::ByField(pairs) => pairs.iter().map(|(file, _)| file.as_str()).collect(),
            other => other.values(),
        };
        for file in given.into_iter().chain(made).filter(|file| !is_plain(file)) {
            self.faults.push(format!("`{file}` is no name of a file"));
        }
    }

    /// What a process finds in its environment.
    fn environment(&mut self, given: Dynamic) -> Vec<(String, String)> {
        let Ports::Pairs(pairs) = self.ports("env", given) else {
            self.faults.push("its `env` is a list: write a map, #{NAME: \"value\"}".into());
            return Vec::new();
        };
        for (name, value) in &pairs {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(plain) || value.contains('\0') {
                self.faults.push(format!("`{name}` is no variable of an environment"));
            } else if name.starts_with("DRIP_")
                || ["PATH", "HOME", "TMPDIR", "LD_PRELOAD"].contains(&name.as_str())
            {
                self.faults.push(format!("its `env` may not set `{name}`"));
            }
        }
        pairs
    }

    fn options(&mut self, given: Dynamic, task: &Task) -> Options {
        let mut options = Options::default();
        if given.is_unit() {
            return options;
        }
        let kind = given.type_name();
        let Some(map) = given.try_cast::<Map>() else {
            self.faults.push(format!("its options are a {kind}: write a map, #{{retries: 2}}"));
            return options;
        };
        for (key, value) in map {
            match key.as_str() {
                "retries" => options.retries = self.retries(&value),
                "timeout" => options.timeout = self.time("timeout", value),
                "backoff" => options.backoff = self.time("backoff", value),
                "jitter" => options.jitter = self.jitter(&value),
                "cache" => options.cache = self.cache(value),
                "concurrency" => options.concurrency = self.word(value),
                "env" if matches!(task, Task::Process(_)) => {
                    options.environment = self.environment(value);
                }
                "tags" => match self.ports("tags", value) {
                    Ports::List(tags) => options.tags = tags,
                    Ports::Pairs(_) => self.faults.push("its tags are a map: write a list".into()),
                },
                other => self.unknown(other),
            }
        }
        options
    }

    fn unknown(&mut self, option: &str) {
        let why = if let Some(near) = nearest(option, OPTIONS) {
            format!("which is none: did you mean `{near}`?")
        } else {
            "which is none".to_owned()
        };
        self.faults.push(format!("it has the option `{option}`, {why} ({})", OPTIONS.join(", ")));
    }

    fn retries(&mut self, given: &Dynamic) -> u32 {
        let count = given.as_int().ok();
        let count = count.filter(|count| (0..=RETRIES_MAX).contains(count));
        if count.is_none() {
            self.faults.push(format!("`retries` is a whole number from 0 to {RETRIES_MAX}"));
        }
        count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    }

    fn jitter(&mut self, given: &Dynamic) -> f64 {
        let part = match (given.as_float(), given.as_int(), given.as_bool()) {
            (Ok(part), ..) => Some(part),
            (_, Ok(0), _) | (.., Ok(false)) => Some(0.0),
            (_, Ok(1), _) => Some(1.0),
            (.., Ok(true)) => Some(0.5),
            _ => None,
        };
        let part = part.filter(|part| (0.0..=1.0).contains(part));
        if part.is_none() {
            self.faults.push("`jitter` is a number from 0 to 1".into());
        }
        part.unwrap_or(0.0)
    }

    fn cache(&mut self, given: Dynamic) -> Option<Duration> {
        match given.as_bool() {
            Ok(true) => Some(CACHED),
            Ok(false) => None,
            Err(_other) => self.time("cache", given),
        }
    }

    fn word(&mut self, given: Dynamic) -> Option<String> {
        let word = given.into_string().ok().filter(|word| (1..=WORD_MAX).contains(&word.len()));
        if word.is_none() {
            self.faults.push("`concurrency` is a word that nodes share, such as \"gpu\"".into());
        }
        word
    }

    fn time(&mut self, what: &str, given: Dynamic) -> Option<Duration> {
        let read = match given.as_int() {
            Ok(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
            Err(_other) => given.into_string().ok().and_then(|text| parse_duration(&text).ok()),
        };
        let read = read.filter(|time| !time.is_zero());
        if read.is_none() {
            let or = if what == "cache" { "true, " } else { "" };
            self.faults
                .push(format!("`{what}` is {or}a time such as \"30s\", or a number of seconds"));
        }
        read
    }
}
