//! `dripctl atom`: datasets, operators, computing.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::AtomClient;
use super::version::{LATEST, split};
use crate::kernel::cli::{Output, pairs, read_input};
use crate::kernel::client::Client;
use crate::kernel::table::Format;
use crate::kernel::table::read::{Limits, table};
use crate::kernel::{Error, Kind, Result};

/// Datasets and operators
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Datasets: versions of tables
    #[command(subcommand)]
    Dataset(Dataset),
    /// Operators: versions of a function that computes
    #[command(subcommand)]
    Operator(Operator),
    /// Compute with an operator
    Compute(Compute),
}

/// What can be done with datasets.
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Keep a table
    Put(DatasetPut),
    /// Show what a dataset is
    Get {
        /// The dataset: NAME, or NAME@VERSION
        dataset: String,
    },
    /// List datasets
    List(Filter),
    /// Show the first rows
    Preview {
        /// The dataset: NAME, or NAME@VERSION
        dataset: String,
        /// How many rows
        #[arg(long, default_value_t = 10)]
        rows: usize,
    },
    /// Show count, nulls, min, max and mean of each column
    Stats {
        /// The dataset: NAME, or NAME@VERSION
        dataset: String,
    },
    /// Delete a version
    Delete {
        /// The dataset: NAME@VERSION
        dataset: String,
    },
}

/// What is said about something to find it again.
#[derive(Debug, Args)]
pub struct Labels {
    /// A word to find it by
    #[arg(long)]
    tag: Option<String>,
    /// Where it belongs to
    #[arg(long)]
    belong: Option<String>,
    /// What it is called elsewhere
    #[arg(long)]
    object_name: Option<String>,
    /// What else there is to say
    #[arg(long)]
    remarks: Option<String>,
}

impl Labels {
    fn given(self) -> impl Iterator<Item = (&'static str, String)> {
        [
            ("tag", self.tag),
            ("belong", self.belong),
            ("object_name", self.object_name),
            ("remarks", self.remarks),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Which ones to list.
#[derive(Debug, Args)]
pub struct Filter {
    /// Only of this name
    #[arg(long)]
    name: Option<String>,
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only what belongs there
    #[arg(long)]
    belong: Option<String>,
}

impl Filter {
    fn given(self) -> Vec<(&'static str, String)> {
        [("name", self.name), ("tag", self.tag), ("belong", self.belong)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// A table to keep.
#[derive(Debug, Args)]
pub struct DatasetPut {
    /// The dataset: NAME@VERSION
    dataset: String,
    /// The file; `-` for standard input
    file: String,
    /// csv, ndjson, parquet or arrow; told by the file's name if not given
    #[arg(long)]
    format: Option<String>,
    /// What a column is measured in: COLUMN=UNIT
    #[arg(long = "unit")]
    units: Vec<String>,
    #[command(flatten)]
    labels: Labels,
}

/// What can be done with operators.
#[derive(Debug, Subcommand)]
pub enum Operator {
    /// Check and keep an operator; it is served at once
    Put(OperatorPut),
    /// Show what an operator is
    Get {
        /// The operator: NAME, or NAME@VERSION
        operator: String,
    },
    /// List operators
    List(Filter),
    /// Delete a version
    Delete {
        /// The operator: NAME@VERSION
        operator: String,
    },
    /// Let a consumer compute with an operator
    Grant {
        /// The operator: NAME@VERSION, or NAME for whichever version is the latest
        operator: String,
        /// The account's name
        user: String,
    },
    /// Take a grant back
    Revoke {
        /// The operator: NAME@VERSION, or NAME for whichever version is the latest
        operator: String,
        /// The account's name
        user: String,
    },
}

/// An operator to keep.
#[derive(Debug, Args)]
pub struct OperatorPut {
    /// The operator: NAME@VERSION
    operator: String,
    /// The file with `fn compute(…)`; `-` for standard input
    file: String,
    /// An input: NAME:TYPE, once for each; the function's parameters if not given
    #[arg(long = "input")]
    inputs: Vec<String>,
    /// What it answers: float, int, bool, text, array, map or any
    #[arg(long, default_value = "any")]
    output: String,
    /// The datasets that it belongs to, with commas
    #[arg(long, value_delimiter = ',')]
    datasets: Vec<String>,
    #[command(flatten)]
    labels: Labels,
}

/// What to compute.
#[derive(Debug, Args)]
pub struct Compute {
    /// The operator: NAME, or NAME@VERSION
    operator: String,
    /// The inputs: name=value
    inputs: Vec<String>,
    /// Many rows from a file instead: csv, ndjson, json, parquet or arrow by its name; `-` for NDJSON
    /// from standard input
    #[arg(long, conflicts_with = "inputs")]
    rows: Option<String>,
}

/// Does what a command says.
pub async fn run(command: Command, client: &Client, out: Output) -> Result<()> {
    let atom = AtomClient::new(client.clone());
    match command {
        Command::Dataset(command) => dataset(command, &atom, out).await,
        Command::Operator(command) => operator(command, &atom, out).await,
        Command::Compute(command) => compute(command, &atom, out).await,
    }
}

/// `name@version`, where the version must be told.
fn exact(text: &str) -> Result<(&str, &str)> {
    match split(text) {
        (_, LATEST) => Err(Error::new(
            Kind::Usage,
            "no_version",
            format!("`{text}` names no version: write {text}@1.0.0"),
        )),
        both => Ok(both),
    }
}

async fn dataset(command: Dataset, atom: &AtomClient, out: Output) -> Result<()> {
    match command {
        Dataset::Put(put) => put_dataset(put, atom, out).await,
        Dataset::Get { dataset } => {
            let (name, version) = split(&dataset);
            out.object(&atom.dataset(name, version).await?)
        }
        Dataset::List(filter) => {
            let fields = ["name", "version", "rows", "bytes", "tag", "belong", "remarks"];
            let empty =
                "no datasets yet: keep one with `dripctl atom dataset put NAME@VERSION FILE`";
            out.rows(&atom.datasets(&filter.given()).await?, &fields, empty)
        }
        Dataset::Preview { dataset, rows } => {
            let (name, version) = split(&dataset);
            let preview = atom.preview(name, version, rows).await?;
            let names = items(&preview, "schema");
            let names: Vec<&str> =
                names.iter().filter_map(|column| column.get("name")?.as_str()).collect();
            // A column may have a dot in its name, which would lead inwards.
            if out.is_json() || names.iter().any(|name| name.contains('.')) {
                return out.object(&preview);
            }
            out.rows(&items(&preview, "items"), &names, "the dataset has no rows")
        }
        Dataset::Stats { dataset } => {
            let (name, version) = split(&dataset);
            let stats = atom.stats(name, version).await?;
            let fields = ["name", "type", "unit", "count", "nulls", "min", "max", "mean"];
            out.rows(&items(&stats, "columns"), &fields, "the dataset has no columns")
        }
        Dataset::Delete { dataset } => {
            let (name, version) = exact(&dataset)?;
            atom.delete_dataset(name, version).await?;
            out.done(&format!("the dataset `{dataset}` is gone"), &json!({ "deleted": dataset }))
        }
    }
}

fn items(answer: &Value, field: &str) -> Vec<Value> {
    answer.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
}

async fn put_dataset(put: DatasetPut, atom: &AtomClient, out: Output) -> Result<()> {
    let (name, version) = exact(&put.dataset)?;
    let format = match &put.format {
        Some(format) => Format::from_name(format)?,
        None => Format::from_file_name(&put.file).ok_or_else(|| {
            Error::new(
                Kind::Usage,
                "no_format",
                format!("the name `{}` tells no format: say it with --format", put.file),
            )
        })?,
    };
    let mut params: Vec<(String, String)> =
        put.labels.given().map(|(name, value)| (name.to_owned(), value)).collect();
    for unit in &put.units {
        let (column, unit) = unit.split_once('=').ok_or_else(|| {
            Error::new(Kind::Usage, "bad_unit", format!("`{unit}` is no unit: write COLUMN=UNIT"))
        })?;
        params.push((format!("unit.{column}"), unit.to_owned()));
    }
    let bytes = read_input(&put.file)?;
    let info = atom.put_dataset((name, version), &params, format.content_type(), bytes).await?;
    let figure = |field: &str| info.get(field).and_then(Value::as_u64).unwrap_or(0);
    let said = format!(
        "the dataset `{}` has {} rows in {} columns, {} bytes",
        put.dataset,
        figure("rows"),
        items(&info, "schema").len(),
        figure("bytes")
    );
    out.done(&said, &info)
}

async fn operator(command: Operator, atom: &AtomClient, out: Output) -> Result<()> {
    match command {
        Operator::Put(put) => put_operator(put, atom, out).await,
        Operator::Get { operator } => {
            let (name, version) = split(&operator);
            out.object(&atom.operator(name, version).await?)
        }
        Operator::List(filter) => {
            let fields = ["name", "version", "tag", "belong", "datasets", "remarks"];
            let empty = "no operators yet: keep one with `dripctl atom operator put NAME@VERSION FILE.rhai`";
            out.rows(&atom.operators(&filter.given()).await?, &fields, empty)
        }
        Operator::Delete { operator } => {
            let (name, version) = exact(&operator)?;
            atom.delete_operator(name, version).await?;
            out.done(&format!("the operator `{operator}` is gone"), &json!({ "deleted": operator }))
        }
        Operator::Grant { operator, user } => {
            let (name, version) = split(&operator);
            let grant = atom.grant(name, version, &user).await?;
            out.done(&format!("`{user}` may compute with `{operator}`"), &grant)
        }
        Operator::Revoke { operator, user } => {
            let (name, version) = split(&operator);
            atom.revoke(name, version, &user).await?;
            let gone = json!({ "operator": operator, "user": user });
            out.done(&format!("`{user}` may not compute with `{operator}` any more"), &gone)
        }
    }
}

async fn put_operator(put: OperatorPut, atom: &AtomClient, out: Output) -> Result<()> {
    let (name, version) = exact(&put.operator)?;
    let source = String::from_utf8(read_input(&put.file)?).map_err(|_bytes| {
        Error::new(Kind::Invalid, "not_text", format!("`{}` is not text in UTF-8", put.file))
    })?;
    let mut body = Map::new();
    body.insert("source".to_owned(), json!(source));
    body.insert("output".to_owned(), json!({ "type": put.output }));
    if !put.inputs.is_empty() {
        let inputs: Vec<Value> = put
            .inputs
            .iter()
            .map(|input| {
                let (name, kind) = input.split_once(':').unwrap_or((input, "any"));
                json!({ "name": name, "type": kind })
            })
            .collect();
        body.insert("inputs".to_owned(), json!(inputs));
    }
    if !put.datasets.is_empty() {
        body.insert("datasets".to_owned(), json!(put.datasets));
    }
    body.extend(put.labels.given().map(|(name, value)| (name.to_owned(), json!(value))));
    let info = atom.put_operator(name, version, &Value::Object(body)).await?;
    out.done(&format!("the operator `{}` is served", put.operator), &info)
}

async fn compute(command: Compute, atom: &AtomClient, out: Output) -> Result<()> {
    let (name, version) = split(&command.operator);
    let Some(file) = &command.rows else {
        let inputs = Value::Object(pairs(&command.inputs)?);
        let answer = atom.compute(name, version, &inputs).await?;
        let output = answer.get("output").cloned().unwrap_or_default();
        return out.done(&output.to_string(), &answer);
    };
    let format = match file.as_str() {
        "-" => Format::Ndjson,
        name => Format::from_file_name(name).ok_or_else(|| {
            Error::new(Kind::Usage, "no_format", format!("the name `{name}` tells no format"))
        })?,
    };
    let rows = table(format, read_input(file)?.into(), &Limits::default())?;
    let answer = atom.compute_rows(name, version, &json!(rows.to_rows())).await?;
    if out.is_json() {
        return out.object(&answer);
    }
    for output in items(&answer, "outputs") {
        out.line(&output.to_string())?;
    }
    Ok(())
}
