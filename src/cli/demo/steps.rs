//! The first half of the story: data, package, operators, pipeline, schedule.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::Months;
use super::data::{Wind, objects};
use super::story::Story;
use crate::cask::package::{Metadata, Parcel, Section};
use crate::kernel::client::{Client, segment};
use crate::kernel::error::{Error, Kind, Result};

/// The version of everything that the demo makes.
pub(super) const VERSION: &str = "1.0.0";
const SCADA: &str = "scada@2014q1";
const ERA5: &str = "era5@2014";
const PIPELINE: &str = include_str!("../../../scripts/pipelines/wind-power.rhai");

/// The operators: name, source, inputs, what they are.
const OPERATORS: &[(&str, &str, &[&str], &str)] = &[
    (
        "air-density",
        include_str!("../../../scripts/operators/air-density.rhai"),
        &["temperature", "pressure"],
        "Density of dry air in kg/m3 空气密度",
    ),
    (
        "wind-speed",
        include_str!("../../../scripts/operators/wind-speed.rhai"),
        &["u", "v"],
        "Wind speed from its components 风速",
    ),
    (
        "wind-direction",
        include_str!("../../../scripts/operators/wind-direction.rhai"),
        &["u", "v"],
        "Wind direction from its components 风向",
    ),
    (
        "power-curve",
        include_str!("../../../scripts/operators/power-curve.rhai"),
        &["wind", "density", "curve"],
        "Expected power in kW 功率曲线",
    ),
];

/// Registers the tables as datasets, and the columns and the turbines as parameter cards.
pub(super) async fn register_data(client: &Client, wind: &Wind, story: &mut Story) -> Result<()> {
    let scada = put_dataset(
        client,
        "scada/2014q1",
        &wind.scada,
        "SCADA of La Haute Borne, 10 minutes, January to March 2014 风电场运行数据 (ENGIE, Open License 2.0)",
    )
    .await?;
    let era5 = put_dataset(
        client,
        "era5/2014",
        &wind.era5,
        "ERA5 reanalysis at the site, hourly, 2014 再分析气象数据 (modified Copernicus Climate Change Service information)",
    )
    .await?;
    let turbines = objects(&wind.turbines, b',')?;
    let columns = objects(&wind.columns, b';')?;
    put_parameter(
        client,
        "turbines",
        "The turbines of La Haute Borne 风电机组参数",
        json!(turbines),
    )
    .await?;
    put_parameter(client, "columns", "What the SCADA columns mean 字段说明", json!(columns))
        .await?;
    let rows = |dataset: &Value| dataset.get("rows").and_then(Value::as_u64).unwrap_or(0);
    story.step(
        "registered two tables as datasets, and the turbines and columns as parameter cards",
        &[
            format!("{SCADA}: {} rows; {ERA5}: {} rows", rows(&scada), rows(&era5)),
            format!("{} turbines, {} columns", turbines.len(), columns.len()),
        ],
        json!({"scada_rows": rows(&scada), "era5_rows": rows(&era5)}),
    )
}

pub(super) async fn put_dataset(
    client: &Client,
    path: &str,
    csv: &str,
    remarks: &str,
) -> Result<Value> {
    let request = client
        .request(Method::PUT, &format!("/api/v1/datasets/{path}"))
        .query(&[("tag", "wind"), ("belong", "demo"), ("remarks", remarks)])
        .header("content-type", "text/csv")
        .body(csv.to_owned());
    client.json(request).await
}

async fn put_parameter(client: &Client, name: &str, summary: &str, config: Value) -> Result<()> {
    let card = json!({
        "summary": summary, "datatype": "table", "config": config,
        "requiredby": [format!("dataset:{SCADA}")], "labels": {"site": "la-haute-borne"},
    });
    let path = format!("/api/v1/cards/parameter/{}/{VERSION}", segment(name));
    client.put::<Value>(&path, &card).await.map(drop)
}

/// Packs the scripts of the example and pushes the package, which becomes an algorithm card.
pub(super) async fn push_package(client: &Client, story: &mut Story) -> Result<()> {
    let mut metadata = Metadata::new("wind-power", VERSION);
    metadata.summary = "Power curves by the method of bins, IEC 61400-12-1 风电功率曲线算法".into();
    metadata.license = "MIT".into();
    let mut parcel = Parcel::new(metadata);
    parcel.add_bytes(Section::Scripts, "pipelines/wind-power.rhai", PIPELINE.into())?;
    for (name, source, ..) in OPERATORS {
        parcel.add_bytes(Section::Scripts, &format!("operators/{name}.rhai"), (*source).into())?;
    }
    let bytes = parcel.to_bytes()?;
    let size = bytes.len();
    let path = format!("/api/v1/packages/wind-power/{VERSION}");
    let kept: Value = client.put_bytes(&path, "application/gzip", bytes).await?;
    let card: Value = client.get(&format!("/api/v1/cards/algorithm/wind-power/{VERSION}")).await?;
    let digest = kept.get("sha256").and_then(Value::as_str).unwrap_or_default();
    story.step(
        "packed the scripts and pushed the package, which has an algorithm card now",
        &[
            format!(
                "wind-power-{VERSION}.caskpkg: {size} bytes, sha256 {}…",
                digest.get(..12).unwrap_or(digest)
            ),
            format!(
                "card algorithm:wind-power@{VERSION}, revision {}",
                card.get("revision").unwrap_or(&Value::Null)
            ),
        ],
        json!({"bytes": size, "sha256": digest}),
    )
}

/// Registers the operators.
pub(super) async fn register_operators(client: &Client, story: &mut Story) -> Result<()> {
    for (name, source, inputs, remarks) in OPERATORS {
        let inputs: Vec<Value> = inputs.iter().map(|input| operator_input(input)).collect();
        let operator = json!({
            "source": source, "inputs": inputs, "output": {"type": "float"},
            "datasets": [SCADA, ERA5], "tag": "wind", "belong": "demo", "remarks": remarks,
        });
        let path = format!("/api/v1/operators/{name}/{VERSION}");
        client.put::<Value>(&path, &operator).await?;
    }
    let asked = json!({"inputs": {"temperature": 5.0, "pressure": 97_000.0}});
    let density: Value =
        client.post("/api/v1/operators/air-density/latest/compute", &asked).await?;
    let density = density.get("output").and_then(Value::as_f64).unwrap_or_default();
    let names: Vec<_> = OPERATORS.iter().map(|(name, ..)| *name).collect();
    story.step(
        "registered four operators in Rhai",
        &[names.join(", "), format!("air at 5 °C and 970 hPa weighs {density:.4} kg/m³")],
        json!({"operators": names}),
    )
}

fn operator_input(name: &str) -> Value {
    let kind = if name == "curve" { "array" } else { "float" };
    json!({"name": name, "type": kind})
}

/// The inputs of the pipeline.
pub(super) fn inputs(months: &Months) -> Value {
    json!({
        "scada": SCADA, "era5": ERA5, "version": VERSION,
        "train_from": months.train_from, "train_to": months.train_to,
        "test_from": months.test_from, "test_to": months.test_to,
    })
}

/// Saves the pipeline and runs it, or finds the run that it already had with these inputs. Answers
/// the run's outputs.
pub(super) async fn run_pipeline(
    client: &Client,
    months: &Months,
    story: &mut Story,
) -> Result<Value> {
    let source = client.request(Method::PUT, "/api/v1/pipelines/wind-power");
    let source = source.header("content-type", "text/plain").body(PIPELINE);
    let pipeline: Value = client.json(source).await?;
    let inputs = inputs(months);
    let (run, again) = match finished_run(client, &pipeline, &inputs).await? {
        Some(run) => (run, true),
        None => (new_run(client, &inputs).await?, false),
    };
    let outputs = run.get("outputs").cloned().unwrap_or_default();
    let figures = outputs.get("figures").cloned().unwrap_or_default();
    let nodes = run.get("nodes").and_then(Value::as_array).map_or(0, Vec::len);
    let id = run.get("id").and_then(Value::as_str).unwrap_or_default();
    let verb = if again { "found the finished run of" } else { "ran" };
    let mut details = vec![format!(
        "run {id}, {nodes} nodes, learnt from {} to {}",
        months.train_from, months.train_to
    )];
    details.extend(clean_line(&outputs));
    details.extend(figure_lines(&figures));
    story.step(
        &format!("{verb} the pipeline wind-power"),
        &details,
        json!({"run": id, "figures": figures}),
    )?;
    Ok(outputs)
}

async fn finished_run(client: &Client, pipeline: &Value, inputs: &Value) -> Result<Option<Value>> {
    let runs = client.all("/api/v1/runs?pipeline=wind-power&state=succeeded").await?;
    let same = |run: &&Value| {
        run.get("inputs") == Some(inputs) && run.get("revision") == pipeline.get("revision")
    };
    let Some(id) = runs.iter().find(same).and_then(|run| run.get("id")?.as_str()) else {
        return Ok(None);
    };
    // The list may leave large outputs out; the run itself has them.
    let run: Value = client.get(&format!("/api/v1/runs/{}", segment(id))).await?;
    // The run was durable before its last card was, and a later run with other months may have
    // taken its place: only with the model's card of these months is it the one that stands.
    let card = client.get::<Value>(&format!("/api/v1/cards/model/wind-power/{VERSION}")).await;
    let complete = run.pointer("/outputs/figures").is_some()
        && card.is_ok_and(|card| is_learnt_from(&card, inputs));
    Ok(complete.then_some(run))
}

/// Whether the model's card tells of these months.
fn is_learnt_from(card: &Value, inputs: &Value) -> bool {
    let months = [
        ("trained/from", "train_from"),
        ("trained/to", "train_to"),
        ("tested/from", "test_from"),
        ("tested/to", "test_to"),
    ];
    months.iter().all(|(told, asked)| card.pointer(&format!("/config/{told}")) == inputs.get(asked))
}

async fn new_run(client: &Client, inputs: &Value) -> Result<Value> {
    let asked = json!({
        "inputs": inputs, "runner": "parallel", "outputs": ["figures", "forecast", "model", "counts"],
    });
    let mut run: Value = client.post("/api/v1/pipelines/wind-power/runs?wait=30s", &asked).await?;
    loop {
        let state = run.get("state").and_then(Value::as_str).unwrap_or_default().to_owned();
        match state.as_str() {
            "succeeded" => return Ok(run),
            "queued" | "running" => {}
            _ => {
                let why = run.get("error").map(ToString::to_string).unwrap_or_default();
                return Err(Error::new(
                    Kind::Conflict,
                    "run_failed",
                    format!("the run ended as {state}: {why}"),
                ));
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let id = run.get("id").and_then(Value::as_str).unwrap_or_default();
        run = client.get(&format!("/api/v1/runs/{}", segment(id))).await?;
    }
}

fn clean_line(outputs: &Value) -> Option<String> {
    let counts = outputs.get("counts")?.as_object()?;
    let shown: Vec<_> = counts.iter().map(|(flag, n)| format!("{n} {flag}")).collect();
    Some(format!("readings: {}", shown.join(", ")))
}

/// A small table: per turbine how far the curves are off.
fn figure_lines(figures: &Value) -> Vec<String> {
    let mut lines = vec![
        "RMSE in % of capacity; in brackets the same by one pooled, uncorrected curve. The forecast is".to_owned(),
        "made from reanalysis wind, which is known only afterwards: a weather forecast will do worse.".to_owned(),
        format!(
            "  {:<10} {:>20} {:>20}   persistence {:>6} {:>6} {:>6} {:>6}",
            "turbine", "with measured wind", "forecast", "1 h", "2 h", "3 h", "6 h"
        ),
    ];
    let measured = figures.get("measured").and_then(Value::as_object);
    for turbine in measured.into_iter().flat_map(Map::keys) {
        let percent = |path: &str| {
            let found = figures.pointer(&format!("/{path}/{turbine}/rmse_pct"));
            found.and_then(Value::as_f64).map_or_else(|| "-".to_owned(), |n| format!("{n:.2}"))
        };
        let both = |ours: &str, pooled: &str| format!("{} ({})", percent(ours), percent(pooled));
        lines.push(format!(
            "  {turbine:<10} {:>20} {:>20}   {:>11} {:>6} {:>6} {:>6} {:>6}",
            both("measured", "pooled"),
            both("forecast", "forecast_pooled"),
            "",
            percent("persistence/h1"),
            percent("persistence/h2"),
            percent("persistence/h3"),
            percent("persistence/h6"),
        ));
    }
    lines.push(beaten_from(figures));
    lines
}

/// From which horizon on the forecast beats persistence on every turbine.
fn beaten_from(figures: &Value) -> String {
    let rmse = |part: &str, ahead: u32, turbine: &str| {
        figures.pointer(&format!("/{part}/h{ahead}/{turbine}/rmse_pct")).and_then(Value::as_f64)
    };
    let turbines: Vec<&String> = figures
        .get("forecast")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    let beats = |ahead: &u32| {
        !turbines.is_empty()
            && turbines.iter().all(|turbine| {
                let forecast = rmse("forecast_at", *ahead, turbine);
                forecast
                    .zip(rmse("persistence", *ahead, turbine))
                    .is_some_and(|(ours, theirs)| ours < theirs)
            })
    };
    match [1, 2, 3, 6, 12, 24].iter().find(|ahead| beats(ahead)) {
        Some(hours) => {
            format!("the forecast beats persistence on every turbine from {hours} hours ahead")
        }
        None => "the forecast does not beat persistence on every turbine".to_owned(),
    }
}

/// Puts the pipeline on a schedule and shows when it fires across the next clock change.
pub(super) async fn schedule(client: &Client, months: &Months, story: &mut Story) -> Result<()> {
    let schedule = json!({
        "pipeline": "wind-power", "cron": "0 * * * *", "timezone": "Europe/Paris",
        "inputs": inputs(months), "catchup": "last", "overlap": "skip", "enabled": true,
    });
    client.put::<Value>("/api/v1/schedules/wind-power-hourly", &schedule).await?;
    let path = "/api/v1/schedules/wind-power-hourly/next";
    let soon: Value = client.get(&format!("{path}?n=2")).await?;
    // The hour that does not exist, in spring, and the one that comes twice, in autumn.
    let spring: Value = client.get(&format!("{path}?n=4&after=2027-03-27T23:30:00Z")).await?;
    let autumn: Value = client.get(&format!("{path}?n=5&after=2027-10-30T22:30:00Z")).await?;
    let local = |firings: &Value| -> Vec<String> {
        let items = firings.get("items").and_then(Value::as_array);
        let shown = items.into_iter().flatten().filter_map(|item| item.get("local")?.as_str());
        shown.map(|time| time.replace('T', " ")).collect()
    };
    story.step(
        "put it on a schedule: every hour, Europe/Paris",
        &[
            format!("next: {}", local(&soon).join(", ")),
            format!("in spring the hour from 2 to 3 does not exist: {}", local(&spring).join(", ")),
            format!("in autumn it comes twice: {}", local(&autumn).join(", ")),
        ],
        json!({"next": soon, "spring": spring, "autumn": autumn}),
    )
}
