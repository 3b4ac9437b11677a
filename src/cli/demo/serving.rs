//! The second half of the story: a consumer with a quota, the forecast online, the cards.

use std::fmt::Write as _;
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use super::data::Wind;
use super::steps::VERSION;
use super::story::Story;
use crate::kernel::access::random_password;
use crate::kernel::client::{Client, segment};
use crate::kernel::error::{Error, Kind, Result};

const CONSUMER: &str = "grid-desk";
const CHANNEL: &str = "wind/forecast";
const QUOTA_DAYS: u64 = 7;
/// The turbine that the consumer asks for.
const TURBINE: &str = "R80711";

/// Shares the forecast beside the measured power with one consumer, and fetches it as that consumer
/// until the quota says no.
pub(super) async fn share(client: &Client, outputs: &Value, story: &mut Story) -> Result<()> {
    let rows = put_forecast(client, outputs).await?;
    open_channel(client).await?;
    let consumer = client.with_token(consumer_token(client).await?);
    let mut details = vec![format!(
        "{CHANNEL}: {rows} rows of forecast and measured power; `{CONSUMER}` may read {QUOTA_DAYS} days in all"
    )];
    let mut refused = None;
    for (start, end) in
        [("2014-03-01", "2014-03-04"), ("2014-03-04", "2014-03-07"), ("2014-03-07", "2014-03-10")]
    {
        let path =
            format!("/api/v1/channels/{CHANNEL}/data?entity={TURBINE}&start={start}&end={end}");
        match consumer.send(consumer.request(Method::GET, &path)).await {
            Ok(answer) => {
                let left =
                    answer.headers().get("drip-quota-remaining").and_then(|v| v.to_str().ok());
                let left = left.unwrap_or("?").to_owned();
                let data: Value = answer.json().await.map_err(|source| {
                    Error::new(
                        Kind::Internal,
                        "bad_answer",
                        format!("the channel's answer: {source}"),
                    )
                })?;
                let count = data.get("items").and_then(Value::as_array).map_or(0, Vec::len);
                let days = if left == "1" { "day" } else { "days" };
                details
                    .push(format!("{TURBINE}, {start} to {end}: {count} rows, {left} {days} left"));
            }
            Err(error) if error.code() == "quota_exhausted" => {
                details.push(format!("{TURBINE}, {start} to {end}: refused, {}", error.detail()));
                refused = Some(error.detail().to_owned());
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let Some(refused) = refused else {
        return Err(Error::new(
            Kind::Internal,
            "quota_not_kept",
            "the quota let more through than it should",
        ));
    };
    story.step(
        "opened a data channel for one consumer, and fetched from it until its quota said no",
        &details,
        json!({"rows": rows, "refused": refused}),
    )
}

/// The forecast of the run as a dataset of its own. The same rows again change nothing.
async fn put_forecast(client: &Client, outputs: &Value) -> Result<usize> {
    let rows = outputs
        .get("forecast")
        .and_then(Value::as_array)
        .ok_or_else(|| Error::new(Kind::Internal, "no_forecast", "the run kept no forecast"))?;
    let mut lines = String::new();
    for row in rows {
        let _infallible = writeln!(lines, "{row}");
    }
    let remarks = "Forecast and measured power, March 2014 预测与实测功率";
    let request = client
        .request(Method::PUT, &format!("/api/v1/datasets/wind-forecast/{VERSION}"))
        .query(&[("tag", "wind"), ("belong", "demo"), ("remarks", remarks)])
        .header("content-type", "application/x-ndjson")
        .body(lines);
    client.json::<Value>(request).await?;
    Ok(rows.len())
}

async fn open_channel(client: &Client) -> Result<()> {
    let channel = json!({
        "dataset": format!("wind-forecast@{VERSION}"), "time_column": "time", "entity_column": "turbine",
        "columns": ["forecast_kw", "measured_kw"], "unit": "days", "rate": "10/s", "burst": 20,
    });
    client.put::<Value>(&format!("/api/v1/channels/{CHANNEL}"), &channel).await?;
    let user = format!("/api/v1/users/{CONSUMER}");
    if client.get::<Value>(&user).await.is_err() {
        // The consumer signs in with tokens only: nobody knows this password.
        let account = json!({"role": "consumer", "password": random_password()?});
        client.put::<Value>(&user, &account).await?;
    }
    client
        .put::<Value>(&format!("/api/v1/channels/{CHANNEL}/grants/{CONSUMER}"), &json!({}))
        .await?;
    let quota = json!({"channel": CHANNEL, "unit": "days", "limit": QUOTA_DAYS, "period": "total"});
    client.put::<Value>(&format!("{user}/quota"), &quota).await.map(drop)
}

/// A fresh token for the consumer; those of earlier demos end.
async fn consumer_token(client: &Client) -> Result<String> {
    for token in client.all("/api/v1/tokens").await? {
        let is_ours = token.get("user") == Some(&json!(CONSUMER))
            && token.get("name") == Some(&json!("demo"));
        if let Some(id) = token.get("id").and_then(Value::as_str).filter(|_| is_ours) {
            client.delete(&format!("/api/v1/tokens/{}", segment(id))).await?;
        }
    }
    let wanted =
        json!({"name": "demo", "user": CONSUMER, "scopes": ["dashare:read"], "expires_in": "30d"});
    let made: Value = client.post("/api/v1/tokens", &wanted).await?;
    made.get("token")
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| Error::new(Kind::Internal, "no_token", "the daemon answered no token"))
}

/// Serves the model as an operator, and asks it for one row and for a thousand.
pub(super) async fn compute(
    client: &Client,
    wind: &Wind,
    outputs: &Value,
    story: &mut Story,
) -> Result<()> {
    let model = outputs.get("model").cloned().unwrap_or_default();
    let operator = json!({
        "source": forecast_source(&model)?,
        "inputs": [
            {"name": "turbine", "type": "text"}, {"name": "u_100", "type": "float"}, {"name": "v_100", "type": "float"},
            {"name": "t_2m", "type": "float"}, {"name": "surf_pres", "type": "float"},
        ],
        "output": {"type": "float"}, "datasets": ["era5@2014"], "tag": "wind", "belong": "demo",
        "remarks": "Power in kW from forecast weather 风电功率预测",
    });
    client.put::<Value>(&format!("/api/v1/operators/wind-forecast/{VERSION}"), &operator).await?;
    let turbines = model.get("forecast").and_then(Value::as_object);
    let turbine = turbines.and_then(|turbines| turbines.keys().next().cloned()).unwrap_or_default();
    let rows = wind.weather(&turbine, 1000)?;
    let path = "/api/v1/operators/wind-forecast/latest/compute";
    let begun = Instant::now();
    let one = ask(client, path, &json!({"inputs": rows.first()})).await?;
    let one_took = begun.elapsed();
    let begun = Instant::now();
    let many = ask(client, path, &json!({"rows": rows})).await?;
    let many_took = begun.elapsed();
    let outputs = many.get("outputs").and_then(Value::as_array).cloned().unwrap_or_default();
    let output = one.get("output").and_then(Value::as_f64).unwrap_or_default();
    let sum: f64 = outputs.iter().filter_map(Value::as_f64).sum();
    story.step(
        "computed the forecast online with an operator made from the model",
        &[
            format!("one row: {output:.0} kW for {turbine}, {:.1} ms", one_took.as_secs_f64() * 1e3),
            format!("{} rows: {:.0} MWh in all, {:.1} ms", outputs.len(), sum / 1000.0, many_took.as_secs_f64() * 1e3),
        ],
        json!({"one_ms": one_took.as_secs_f64() * 1e3, "many_ms": many_took.as_secs_f64() * 1e3, "rows": outputs.len(), "output": output}),
    )
}

/// Asks an operator. Operators have a limit of wall time, and a machine that stands still for a
/// moment uses it up: then it is asked again.
async fn ask(client: &Client, path: &str, body: &Value) -> Result<Value> {
    for _ in 0..5 {
        match client.post(path, body).await {
            Err(error) if error.kind() == Kind::TimedOut => {}
            answered => return answered,
        }
    }
    client.post(path, body).await
}

/// The model as an operator: its factors and bins as literals of a Rhai function.
fn forecast_source(model: &Value) -> Result<String> {
    let mut source = String::from(
        "// The forecast of the model wind-power: made from its artifact, not by hand.\nfn compute(turbine, u_100, v_100, t_2m, surf_pres) {\n    let model = switch turbine {\n",
    );
    let turbines = model.get("forecast").and_then(Value::as_object).into_iter().flatten();
    for (turbine, bins) in turbines {
        let factors = model.pointer(&format!("/sector_factors/{turbine}")).ok_or_else(|| {
            Error::new(
                Kind::Internal,
                "bad_model",
                format!("the model has no factors for {turbine}"),
            )
        })?;
        let _infallible = writeln!(
            source,
            "        {} => #{{factors: {}, bins: {}}},",
            json!(turbine),
            floats(factors),
            floats(bins)
        );
    }
    source.push_str(FORECAST);
    Ok(source)
}

const FORECAST: &str = r"        _ => throw `the model knows no turbine ${turbine}`,
    };
    let direction = to_degrees(atan2(-u_100, -v_100)) + 360.0;
    let sector = floor(direction / 30.0 + 0.5).to_int() % 12;
    let density = surf_pres / (287.05 * t_2m);
    let wind = hypot(u_100, v_100) * (density / 1.225) ** (1.0 / 3.0) * model.factors[sector];
    let bins = model.bins;
    let before = bins[0];
    if wind <= before[0] {
        return max(before[1], 0.0);
    }
    for bin in bins {
        if wind < bin[0] {
            let part = (wind - before[0]) / (bin[0] - before[0]);
            return clamp(before[1] + part * (bin[1] - before[1]), 0.0, 2050.0);
        }
        before = bin;
    }
    min(before[1], 2050.0)
}
";

/// Numbers as Rhai writes floats: an integer would be of another type.
fn floats(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(floats).collect::<Vec<_>>().join(", "))
        }
        other => format!("{:?}", other.as_f64().unwrap_or_default()),
    }
}

/// Finds the cards in both languages, and shows what the model was made from.
pub(super) async fn find(client: &Client, story: &mut Story) -> Result<()> {
    wait_for_model(client).await?;
    let mut details = Vec::new();
    let mut found = Vec::new();
    for words in ["power curve", "风电功率"] {
        let answer = search(client, &[("q", words)]).await?;
        let total = answer.get("total").and_then(Value::as_u64).unwrap_or(0);
        let items = answer.get("items").and_then(Value::as_array);
        let names = items.into_iter().flatten().filter_map(|item| {
            let card = item.get("card")?;
            Some(format!("{}:{}", card.get("kind")?.as_str()?, card.get("name")?.as_str()?))
        });
        let names: Vec<_> = names.take(3).collect();
        details.push(format!("`{words}`: {total} cards, first {}", names.join(", ")));
        found.push(json!({"q": words, "total": total}));
    }
    let path = format!("/api/v1/cards/model/wind-power/{VERSION}/lineage?direction=up&depth=3");
    let lineage: Value = client.get(&path).await?;
    details.push("the model wind-power was made from:".into());
    details.extend(lineage_lines(&lineage));
    story.step(
        "searched the cards in English and in Chinese, and followed the model up to the raw table",
        &details,
        json!({"found": found, "lineage": lineage}),
    )
}

/// The index is derived and follows within a second; the demo waits for the model's card in it, as a
/// person would.
async fn wait_for_model(client: &Client) -> Result<()> {
    for _ in 0..50 {
        let found = search(client, &[("q", "wind-power"), ("kind", "model")]).await?;
        if found.get("total").and_then(Value::as_u64).unwrap_or(0) > 0 {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err(Error::new(
        Kind::Internal,
        "not_found",
        "the model's card was not found within five seconds",
    ))
}

async fn search(client: &Client, query: &[(&str, &str)]) -> Result<Value> {
    client.json(client.request(Method::GET, "/api/v1/cards").query(query)).await
}

fn lineage_lines(lineage: &Value) -> Vec<String> {
    let edges = lineage.get("edges").and_then(Value::as_array).into_iter().flatten();
    edges
        .map(|edge| {
            let end = |field: &str| match edge.get(field) {
                Some(Value::String(name)) => name.clone(),
                Some(card) => {
                    let text = |part: &str| {
                        card.get(part).and_then(Value::as_str).unwrap_or("?").to_owned()
                    };
                    format!("{}:{}@{}", text("kind"), text("name"), text("version"))
                }
                None => "?".into(),
            };
            let missing =
                if edge.get("missing") == Some(&Value::Bool(true)) { " (missing)" } else { "" };
            format!("  {} <- {}{missing}", end("from"), end("to"))
        })
        .collect()
}
