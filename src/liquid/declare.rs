//! The words of a pipeline script: `node`, `pipeline` and `+`.
//!
//! A wrong call does not end the script: its fault is kept beside the node, so that all of them are
//! told at once when the script is checked.

use std::sync::Arc;
use std::time::Duration;

use rhai::{
    Array, Dynamic, EvalAltResult, FnPtr, FuncRegistration, Map, Module, NativeCallContext,
};

use super::node::{Inputs, Node, Outputs};
use crate::kernel::clock::parse_duration;
use crate::kernel::error::{Error, Fault, Kind};
use crate::kernel::name::nearest;
use crate::kernel::script::raise;

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
}

type Context<'a> = NativeCallContext<'a>;
type Refused<T> = Result<T, Box<EvalAltResult>>;

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
    for name in ["sql", "process", "operator"] {
        at(name).set_into_module(&mut module, move |_what: Dynamic| later(name));
        at(name).set_into_module(&mut module, move |_what: Dynamic, _more: Dynamic| later(name));
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

fn later(name: &str) -> Refused<Declared> {
    let detail = format!(
        "`{name}(…)` is no kind of node in this version: a node is a function of the script, which \
         may call the modules it is given, such as `table::sql`"
    );
    Err(raise(Error::new(Kind::Invalid, "node_kind", detail)))
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
            (other, _) => {
                let what = format!("`{other}` is no option of a pipeline: it may say `resume`");
                all.faults.push(fault(context, what));
            }
        }
    }
}

fn add(mut one: Declared, other: Declared) -> Declared {
    one.nodes.extend(other.nodes);
    one.faults.extend(other.faults);
    one.is_pipeline |= other.is_pipeline;
    one.resumes |= other.resumes;
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
    let inputs = match said.ports("inputs", inputs) {
        Ports::List(values) => Inputs::InOrder(values),
        Ports::Pairs(pairs) => Inputs::ByName(pairs),
    };
    let outputs = match said.ports("outputs", outputs) {
        Ports::List(values) if values.len() < 2 => Outputs::Whole(values.into_iter().next()),
        Ports::List(values) => Outputs::Several(values),
        Ports::Pairs(pairs) => Outputs::ByField(pairs),
    };
    let options = said.options(options);
    let line = line(context);
    let told = |what: String| Fault::new(place(line), format!("`{name}`: {what}"));
    let faults = said.faults.into_iter().map(told).collect();
    let node = Node {
        name: name.clone(),
        function,
        inputs,
        outputs,
        tags: options.tags,
        retries: options.retries,
        timeout: options.timeout,
        backoff: options.backoff,
        jitter: options.jitter,
        cache: options.cache,
        concurrency: options.concurrency,
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

    fn options(&mut self, given: Dynamic) -> Options {
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
