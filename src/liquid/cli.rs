//! `dripctl liquid …`: pipelines, runs and schedules of a daemon, and scripts on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::LiquidClient;
use super::{Expected, Graph, Liquid, Parts, RunRequest, diff, draw};
use crate::kernel::access::Caller;
use crate::kernel::cli::{Output, pairs, read_input};
use crate::kernel::client::Client;
use crate::kernel::clock::SystemClock;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::name::Name;
use crate::kernel::records::MemoryRecords;

/// Pipelines, runs and schedules
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a script on this machine, without a daemon
    Check {
        /// The script; `-` for standard input
        file: String,
    },
    /// Show the nodes and values of a pipeline, or of a script on this machine
    Graph {
        /// A pipeline, or a file that ends in `.rhai`
        pipeline: String,
        /// As a drawing, to standard output: `… --svg > pipeline.svg`
        #[arg(long)]
        svg: bool,
    },
    /// Run a pipeline; a file that ends in `.rhai` runs here, without a daemon and its modules
    Run(RunArgs),
    /// Save scripts as pipelines: the name is the file's, without `.rhai`
    Apply {
        /// A script, or a folder of scripts
        path: PathBuf,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// List pipelines
    List,
    /// List runs, newest first
    Runs {
        /// Runs of this pipeline
        #[arg(long)]
        pipeline: Option<String>,
        /// Runs in this state: queued, running, succeeded, failed, cancelled, interrupted
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show a run, or a pipeline's script
    Show {
        /// The id of a run, or the name of a pipeline
        what: String,
    },
    /// End a run
    Cancel {
        /// The id of the run
        id: String,
    },
    /// Go on with a run that failed, was cancelled or interrupted: nodes that are done stay done
    Resume {
        /// The id of the run
        id: String,
        /// Wait for the end: at most so long, such as 30s; 10m unless told
        #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10m")]
        wait: Option<String>,
    },
    /// Schedules: when pipelines run by themselves
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Run past firings of a schedule that have no run
    Backfill {
        /// The schedule
        name: String,
        /// The first instant, such as 2026-03-01T00:00:00Z
        #[arg(long)]
        from: String,
        /// The instant after the last
        #[arg(long)]
        to: String,
    },
    /// Forget a pipeline; its revisions stay
    Delete {
        /// The pipeline
        name: String,
    },
}

/// What a run is asked for.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A pipeline, or a file that ends in `.rhai`
    pipeline: String,
    /// A value for an input, as NAME=VALUE; JSON is taken as such
    #[arg(long = "input", short = 'i', value_name = "NAME=VALUE")]
    inputs: Vec<String>,
    /// One node after the other, or several at a time
    #[arg(long, value_parser = ["sequential", "parallel"])]
    runner: Option<String>,
    /// This node and all that come after it
    #[arg(long, value_name = "NODE")]
    from: Vec<String>,
    /// This node and all that come before it
    #[arg(long, value_name = "NODE")]
    to: Vec<String>,
    /// The nodes with this tag
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A value to answer besides those that no node takes
    #[arg(long = "output", value_name = "VALUE")]
    outputs: Vec<String>,
    /// Wait for the end: at most so long, such as 30s; 10m unless told
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10m")]
    wait: Option<String>,
}

/// What can be done with schedules.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Make or change a schedule
    Put(Box<ScheduleArgs>),
    /// List schedules
    List,
    /// Show a schedule
    Show {
        /// The schedule
        name: String,
    },
    /// Show the next firings
    Next {
        /// The schedule
        name: String,
        /// How many
        #[arg(short, default_value_t = 5)]
        n: usize,
        /// After this time; now unless told
        #[arg(long)]
        after: Option<String>,
    },
    /// Forget a schedule; its runs stay
    Delete {
        /// The schedule
        name: String,
    },
}

/// What a schedule says.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// The schedule
    name: String,
    /// The pipeline that runs
    #[arg(long)]
    pipeline: String,
    /// When: `0 * * * *`, six fields with the second first, or @daily
    #[arg(long)]
    cron: String,
    /// The time zone, such as Europe/Paris
    #[arg(long, default_value = "UTC")]
    timezone: String,
    /// A value for an input of the pipeline, as NAME=VALUE; JSON is taken as such
    #[arg(long = "input", short = 'i', value_name = "NAME=VALUE")]
    inputs: Vec<String>,
    /// Missed firings: none, last or all
    #[arg(long, default_value = "last")]
    catchup: String,
    /// How far back missed firings are made up, such as 24h
    #[arg(long)]
    catchup_window: Option<String>,
    /// How many missed firings are made up
    #[arg(long)]
    catchup_max: Option<u64>,
    /// A firing during an earlier run: skip, queue, cancel, or a number that may run together
    #[arg(long, default_value = "skip")]
    overlap: String,
    /// Put firings off by up to this, such as 30s
    #[arg(long)]
    jitter: Option<String>,
    /// One node after the other, or several at a time
    #[arg(long, value_parser = ["sequential", "parallel"])]
    runner: Option<String>,
    /// Keep it without firing
    #[arg(long)]
    disabled: bool,
}

/// Carries out a command.
pub async fn run(command: Command, client: &Client, out: Output) -> Result<()> {
    let liquid = LiquidClient(client);
    match command {
        Command::Check { file } => check(&file, out),
        Command::Graph { pipeline, svg } => graph(&pipeline, svg, &liquid, out).await,
        Command::Run(args) => start(&args, &liquid, out).await,
        Command::Apply { path, dry_run } => apply(&path, dry_run, &liquid, out).await,
        Command::List => {
            let fields = ["name", "revision", "inputs", "outputs", "saved_at", "saved_by"];
            let empty = "No pipelines yet: save one with `dripctl liquid apply FILE.rhai`.";
            out.rows(&liquid.pipelines().await?, &fields, empty)
        }
        Command::Runs { pipeline, state, limit } => {
            let runs = liquid.runs(pipeline.as_deref(), state.as_deref(), limit).await?;
            let fields = ["id", "pipeline", "state", "cause", "created_at", "finished_at", "error"];
            out.rows(&runs, &fields, "No such runs: start one with `dripctl liquid run NAME`.")
        }
        Command::Show { what } => show(&what, &liquid, out).await,
        Command::Cancel { id } => {
            let run = liquid.cancel(&id).await?;
            out.done(&format!("{id} is {}.", text(&run, "state")), &run)
        }
        Command::Resume { id, wait } => {
            let run = liquid.resume(&id, wait.as_deref()).await?;
            show_run(&run, out)?;
            refuse_failed(&run)
        }
        Command::Schedule(command) => schedule(command, &liquid, out).await,
        Command::Backfill { name, from, to } => {
            let answer = liquid.backfill(&name, &from, &to).await?;
            let count = answer.get("items").and_then(Value::as_array).map_or(0, Vec::len);
            let had = answer.get("already").cloned().unwrap_or_default();
            out.done(&format!("{count} runs were started, {had} firings had one."), &answer)
        }
        Command::Delete { name } => {
            liquid.delete(&name).await?;
            out.done(&format!("{name} is forgotten."), &json!({ "deleted": name }))
        }
    }
}

fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn script(path: &str) -> Result<String> {
    String::from_utf8(read_input(path)?).map_err(|bad| {
        Error::new(Kind::Invalid, "bad_text", format!("`{path}` is not UTF-8")).caused_by(bad)
    })
}

/// A liquid of this process, which keeps nothing.
fn here() -> Result<Liquid> {
    let parts = Parts::new(Arc::new(MemoryRecords::new()), Arc::new(SystemClock));
    Liquid::open(Parts { only_checks: true, ..parts })
}

fn is_file(pipeline: &str) -> bool {
    Path::new(pipeline).extension().is_some_and(|end| end == "rhai")
}

fn check(file: &str, out: Output) -> Result<()> {
    let checked = here()?.check(&script(file)?)?;
    let (nodes, inputs, outputs) =
        (checked.nodes.len(), checked.inputs.join(", "), checked.outputs.join(", "));
    let said =
        format!("{file} is a pipeline of {nodes} nodes: it takes {inputs} and makes {outputs}.");
    let shown = json!({
        "nodes": checked.nodes, "inputs": checked.inputs, "parameters": checked.parameters,
        "outputs": checked.outputs,
    });
    out.done(&said, &shown)?;
    if !out.is_json() {
        for parameter in &checked.parameters {
            out.line(&format!("  {}", parameter.in_words()))?;
        }
    }
    Ok(())
}

async fn graph(pipeline: &str, svg: bool, liquid: &LiquidClient<'_>, out: Output) -> Result<()> {
    let graph = if is_file(pipeline) {
        let (local, name) = (here()?, Name::new("script")?);
        let source = script(pipeline)?;
        local.save_pipeline(&name, &source, &Caller::system(), Expected::default())?;
        serde_json::to_value(local.graph(&name)?)
            .map_err(|why| Error::internal(format!("graph: {why}")))?
    } else {
        liquid.graph(pipeline).await?
    };
    if svg {
        let graph: Graph = serde_json::from_value(graph)
            .map_err(|why| Error::internal(format!("the graph cannot be read: {why}")))?;
        return out.line(draw::svg(&graph).trim_end());
    }
    if out.is_json() {
        return out.object(&graph);
    }
    for node in graph.get("nodes").and_then(Value::as_array).into_iter().flatten() {
        let (inputs, outputs) = (list(node, "inputs"), list(node, "outputs"));
        out.line(&format!("{inputs} → {} → {outputs}", out.bold(&text(node, "name"))))?;
    }
    Ok(())
}

fn list(node: &Value, field: &str) -> String {
    let names = node.get(field).and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    if names.is_empty() { "·".into() } else { names.join(", ") }
}

async fn start(args: &RunArgs, liquid: &LiquidClient<'_>, out: Output) -> Result<()> {
    let mut body = Map::new();
    body.insert("inputs".into(), Value::Object(pairs(&args.inputs)?));
    if let Some(runner) = &args.runner {
        body.insert("runner".into(), json!(runner));
    }
    for (field, given) in
        [("from", &args.from), ("to", &args.to), ("tags", &args.tags), ("outputs", &args.outputs)]
    {
        if !given.is_empty() {
            body.insert(field.into(), json!(given));
        }
    }
    let run = if is_file(&args.pipeline) {
        run_here(&args.pipeline, &body)?
    } else {
        liquid.start(&args.pipeline, &Value::Object(body), args.wait.as_deref()).await?
    };
    show_run(&run, out)?;
    refuse_failed(&run)
}

/// Runs a script in this process, to its end.
fn run_here(file: &str, body: &Map<String, Value>) -> Result<Value> {
    let (local, name) = (here()?, Name::new("script")?);
    let caller = Caller::system();
    local.save_pipeline(&name, &script(file)?, &caller, Expected::default())?;
    let run = local.start(&name, RunRequest::read(body)?, &caller, None)?;
    let mut run = run;
    while !run.state.is_over() {
        run = local.wait(&run.id, Duration::from_hours(1))?;
    }
    serde_json::to_value(run).map_err(|why| Error::internal(format!("run: {why}")))
}

/// A run that did not succeed makes the command fail, so that a script notices.
fn refuse_failed(run: &Value) -> Result<()> {
    let state = text(run, "state");
    if matches!(state.as_str(), "succeeded" | "queued" | "running") {
        return Ok(());
    }
    let why = text(run, "error");
    let why = if why.is_empty() { format!("the run is {state}") } else { why };
    Err(Error::new(Kind::Conflict, "run_not_succeeded", why))
}

fn show_run(run: &Value, out: Output) -> Result<()> {
    if out.is_json() {
        return out.object(run);
    }
    let state = text(run, "state");
    out.line(&format!("{} {} {}", text(run, "id"), text(run, "pipeline"), out.bold(&state)))?;
    let nodes = run.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default();
    let fields = ["name", "state", "tries", "cached", "started_at", "finished_at", "error"];
    out.rows(&nodes, &fields, "It has no nodes.")?;
    for (name, value) in run.get("outputs").and_then(Value::as_object).into_iter().flatten() {
        let shown: String = value.to_string().chars().take(400).collect();
        out.line(&format!("{} = {shown}", out.bold(name)))?;
    }
    Ok(())
}

async fn show(what: &str, liquid: &LiquidClient<'_>, out: Output) -> Result<()> {
    match liquid.run(what, None).await {
        Ok(run) => show_run(&run, out),
        Err(missing) if missing.kind() == Kind::NotFound => {
            let pipeline = liquid.pipeline(what).await?;
            if out.is_json() {
                return out.object(&pipeline);
            }
            out.line(text(&pipeline, "source").trim_end())
        }
        Err(error) => Err(error),
    }
}

/// The scripts that a path names: the name of each pipeline, and its file.
fn scripts(path: &Path) -> Result<Vec<(String, PathBuf)>> {
    let unreadable = |error| Error::io(format!("read `{}`", path.display()), error);
    let mut files = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(unreadable)?;
        let entries: Vec<_> = entries.collect::<std::io::Result<_>>().map_err(unreadable)?;
        let files = entries.into_iter().map(|entry| entry.path());
        files.filter(|file| file.extension().is_some_and(|end| end == "rhai")).collect()
    } else {
        vec![path.to_owned()]
    };
    files.sort();
    if files.is_empty() {
        let detail = format!("`{}` holds no script that ends in .rhai", path.display());
        return Err(Error::new(Kind::NotFound, "no_scripts", detail));
    }
    let named = |file: PathBuf| {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        Ok((Name::new(stem)?.as_str().to_owned(), file))
    };
    files.into_iter().map(named).collect()
}

async fn apply(path: &Path, dry_run: bool, liquid: &LiquidClient<'_>, out: Output) -> Result<()> {
    let local = here()?;
    let mut sources = Vec::new();
    // All are checked before the first is saved.
    for (name, file) in scripts(path)? {
        let source = script(&file.to_string_lossy())?;
        local.check(&source).map_err(|error| error.context(file.display()))?;
        sources.push((name, source));
    }
    let mut report = Vec::new();
    for (name, source) in sources {
        let old = match liquid.pipeline(&name).await {
            Err(missing) if missing.kind() == Kind::NotFound => None,
            found => Some(text(&found?, "source")),
        };
        let change = match &old {
            None => "new",
            Some(old) if *old == source => "unchanged",
            Some(_) => "changed",
        };
        if !out.is_json() {
            out.line(&format!("{} {change}", out.bold(&name)))?;
            for line in old.iter().flat_map(|old| diff::lines(old, &source)) {
                let style = if line.starts_with('-') { "31" } else { "32" };
                out.line(&out.paint(style, &line))?;
            }
        }
        if !dry_run && change != "unchanged" {
            liquid.save(&name, &source).await?;
        }
        report.push(
            json!({ "name": name, "change": change, "saved": !dry_run && change != "unchanged" }),
        );
    }
    if out.is_json() {
        return out.rows(&report, &[], "");
    }
    if dry_run { out.line("Nothing was saved.") } else { Ok(()) }
}

async fn schedule(command: ScheduleCommand, liquid: &LiquidClient<'_>, out: Output) -> Result<()> {
    match command {
        ScheduleCommand::Put(args) => {
            let saved = liquid.save_schedule(&args.name, &body(&args)?).await?;
            let next = text(&saved, "next_at");
            let said = if next.is_empty() {
                format!("{} is kept and does not fire.", args.name)
            } else {
                format!("{} fires next at {next}.", args.name)
            };
            out.done(&said, &saved)
        }
        ScheduleCommand::List => {
            let fields = ["name", "pipeline", "cron", "timezone", "enabled", "next_at", "saved_by"];
            let empty = "No schedules yet: make one with `dripctl liquid schedule put NAME`.";
            out.rows(&liquid.schedules().await?, &fields, empty)
        }
        ScheduleCommand::Show { name } => out.object(&liquid.schedule(&name).await?),
        ScheduleCommand::Next { name, n, after } => {
            let firings = liquid.next(&name, n, after.as_deref()).await?;
            out.rows(&firings, &["at", "local"], "It does not fire any more.")
        }
        ScheduleCommand::Delete { name } => {
            liquid.delete_schedule(&name).await?;
            out.done(&format!("{name} is forgotten."), &json!({ "deleted": name }))
        }
    }
}

fn body(args: &ScheduleArgs) -> Result<Map<String, Value>> {
    let overlap = match args.overlap.parse::<u64>() {
        Ok(count) => json!({ "allow": count }),
        Err(_word) => json!(args.overlap),
    };
    let given = [
        ("pipeline", json!(args.pipeline)),
        ("cron", json!(args.cron)),
        ("timezone", json!(args.timezone)),
        ("inputs", Value::Object(pairs(&args.inputs)?)),
        ("catchup", json!(args.catchup)),
        ("catchup_window", json!(args.catchup_window)),
        ("catchup_max", json!(args.catchup_max)),
        ("overlap", overlap),
        ("jitter", json!(args.jitter)),
        ("runner", json!(args.runner)),
        ("enabled", json!(!args.disabled)),
    ];
    let given = given.into_iter().filter(|(_, value)| !value.is_null());
    Ok(given.map(|(field, value)| (field.to_owned(), value)).collect())
}
