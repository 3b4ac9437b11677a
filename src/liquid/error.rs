//! What this slice refuses, and in which words.

use crate::kernel::error::{Error, Fault, Kind};

/// There is no such pipeline.
pub(super) fn pipeline_not_found(name: &str) -> Error {
    let detail = format!("the pipeline `{name}` does not exist");
    Error::new(Kind::NotFound, "pipeline_not_found", detail)
}

/// The pipeline has no such revision.
pub(super) fn revision_not_found(name: &str, revision: u64) -> Error {
    let detail = format!("the pipeline `{name}` has no revision {revision}");
    Error::new(Kind::NotFound, "pipeline_not_found", detail)
}

/// There is no such run.
pub(super) fn run_not_found(id: &str) -> Error {
    let shown: String = id.chars().take(60).collect();
    Error::new(Kind::NotFound, "run_not_found", format!("the run `{shown}` does not exist"))
}

/// There is no such schedule.
pub(super) fn schedule_not_found(name: &str) -> Error {
    let detail = format!("the schedule `{name}` does not exist");
    Error::new(Kind::NotFound, "schedule_not_found", detail)
}

/// Something of this name is there already, and the caller asked for a new one.
pub(super) fn exists(what: &str, name: &str) -> Error {
    let detail = format!("the {what} `{name}` exists already");
    Error::new(Kind::Stale, "already_there", detail)
}

/// The expected revision is not the current one.
pub(super) fn stale(what: &str, name: &str, expected: u64, found: u64) -> Error {
    let detail = format!(
        "the {what} `{name}` is at revision {found}, not at {expected}: read it again and decide"
    );
    Error::new(Kind::Stale, "stale_revision", detail)
}

/// Too many changed it at the same time.
pub(super) fn busy(what: &str, name: &str) -> Error {
    let detail = format!("the {what} `{name}` is being changed by others: try again");
    Error::new(Kind::Conflict, "busy", detail)
}

/// The script does not end in a pipeline.
pub(super) fn no_pipeline(kind: &str) -> Error {
    let found =
        if kind == "()" { "nothing".to_owned() } else { format!("a value of type `{kind}`") };
    let detail = format!(
        "the script ends in {found}: its last line is `pipeline([ node(function, inputs, outputs, name), … ])`"
    );
    Error::invalid("no_pipeline", detail, Vec::new())
}

/// The nodes do not fit each other.
pub(super) fn bad_pipeline(faults: Vec<Fault>) -> Error {
    let detail = match faults.as_slice() {
        [one] => format!("the pipeline has a fault: {}", one.detail),
        more => format!("the pipeline has {} faults", more.len()),
    };
    Error::invalid("bad_pipeline", detail, faults)
}

/// Values that a run needs and was not given.
pub(super) fn missing_inputs(pipeline: &str, names: &[String]) -> Error {
    let list: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let noun = if names.len() == 1 { "input" } else { "inputs" };
    let detail = format!("the pipeline `{pipeline}` needs the {noun} {}", list.join(", "));
    let faults = names.iter().map(|name| Fault::new(format!("/inputs/{name}"), "is missing"));
    Error::invalid("missing_inputs", detail, faults.collect())
}

/// The request for a run does not fit the pipeline.
pub(super) fn bad_run(pipeline: &str, faults: Vec<Fault>) -> Error {
    let detail = match faults.as_slice() {
        [one] => format!("the run of `{pipeline}` cannot start: {}", one.detail),
        more => format!("the run of `{pipeline}` cannot start: {} faults", more.len()),
    };
    Error::invalid("bad_run", detail, faults)
}

/// The body does not fit.
pub(super) fn bad_body(code: &'static str, what: &str, faults: Vec<Fault>) -> Error {
    let detail = match faults.as_slice() {
        [one] => format!("the {what} has a fault: `{}` {}", one.pointer, one.detail),
        more => format!("the {what} has {} faults", more.len()),
    };
    Error::invalid(code, detail, faults)
}

/// The run is over.
pub(super) fn run_finished(id: &str, state: &str) -> Error {
    let detail = format!("the run `{id}` is over ({state}): there is nothing to cancel");
    Error::new(Kind::Conflict, "run_finished", detail)
}

/// The run waits, runs or succeeded.
pub(super) fn not_resumable(id: &str, state: &str) -> Error {
    let detail = format!(
        "the run `{id}` is {state}: only one that failed, was cancelled or interrupted is resumed"
    );
    Error::new(Kind::Conflict, "run_not_resumable", detail)
}

/// The run's nodes are not those that its pipeline has in this version.
pub(super) fn other_nodes(id: &str) -> Error {
    let detail =
        format!("the run `{id}` began with other nodes than its pipeline has now: start a new run");
    Error::new(Kind::Conflict, "run_not_resumable", detail)
}

/// The queue is full.
pub(super) fn too_many_queued(limit: usize) -> Error {
    let detail = format!("{limit} runs wait already: try again later, or cancel some");
    Error::new(Kind::Limited, "too_many_queued", detail)
        .retry_after(std::time::Duration::from_secs(5))
}

/// A node's function returned another number of values than the node names.
pub(super) fn wrong_count(node: &str, named: usize, returned: usize) -> Error {
    let detail =
        format!("`{node}` names {named} outputs and its function returned {returned} values");
    Error::invalid("bad_output", detail, Vec::new())
}

/// A node names several outputs and its function returned one thing.
pub(super) fn not_several(node: &str, pairs: &[(String, String)], kind: &str) -> Error {
    let names: Vec<_> = pairs.iter().take(20).map(|(field, _)| format!("`{field}`")).collect();
    let detail = format!(
        "`{node}` makes {} and its function returned a value of type `{kind}`: return an array of \
         that length, or a map with these fields",
        names.join(", ")
    );
    Error::invalid("bad_output", detail, Vec::new())
}

/// A node's function returned a map that lacks fields.
pub(super) fn missing_fields(node: &str, fields: &[&str]) -> Error {
    let names: Vec<_> = fields.iter().take(20).map(|field| format!("`{field}`")).collect();
    let detail = format!("`{node}`: its function returned a map without {}", names.join(", "));
    Error::invalid("bad_output", detail, Vec::new())
}

/// An output of a run is nothing that can be kept.
pub(super) fn output_not_kept(name: &str, why: &Error) -> Error {
    let detail = format!("the output `{name}` cannot be kept: {}", why.detail());
    Error::invalid("output_not_kept", detail, Vec::new())
}

/// The outputs of a run are too large for a record.
pub(super) fn outputs_too_large(bytes: usize, limit: usize) -> Error {
    let detail = format!(
        "the outputs of the run take {bytes} bytes, at most {limit} are kept: put large values into \
         an artifact or a dataset"
    );
    Error::invalid("outputs_too_large", detail, Vec::new())
}

/// Backfill asks for too many firings.
pub(super) fn too_many_slots(limit: usize) -> Error {
    let detail = format!("there are more than {limit} firings in this range: choose a shorter one");
    Error::invalid("too_many_slots", detail, vec![Fault::new("/from", "choose a later time")])
}

/// What went wrong, for people who look at a run: the sentence, and where in the script.
pub(super) fn in_words(error: &Error) -> String {
    let places: Vec<String> = error
        .faults()
        .iter()
        .take(5)
        .map(|fault| {
            let within = fault.detail.split(": ").next().filter(|part| part.starts_with("in "));
            within
                .map_or_else(|| fault.pointer.clone(), |part| format!("{part}, {}", fault.pointer))
        })
        .collect();
    if places.is_empty() {
        error.detail().to_owned()
    } else {
        format!("{} ({})", error.detail(), places.join("; "))
    }
}
