//! What a channel answers.

use axum::http::Method;
use bytes::Bytes;
use drip::dashare::Config;
use drip::kernel::table::read::{Limits, table};
use drip::kernel::table::{Format, Table};
use serde_json::{Value, json};

use super::{CHANNEL, GRANT, Stand, ada, bob, channel, publisher, viewer};

fn keys(row: &Value) -> Vec<&str> {
    row.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn data_are_cut_by_time_entity_and_columns() {
    let stand = Stand::open().await;
    let all = stand.data("").await;
    assert_eq!((all.items().len(), all.json()["next_cursor"].clone()), (24, Value::Null));
    assert_eq!(keys(&all.items()[0]), ["time", "turbine", "power", "wind"]);
    assert_eq!(all.header("content-type"), Some("application/json"));
    assert_eq!((all.header("drip-truncated"), all.header("drip-quota-remaining")), (None, None));
    // The start belongs to the range, the end does not.
    let day = stand.data("start=2014-01-02&end=2014-01-03T00:00:00Z&entity=R2").await.items();
    assert_eq!(day.len(), 4);
    assert_eq!(day[0]["time"], "2014-01-02T00:00:00.000000Z");
    assert_eq!(day[3]["time"], "2014-01-02T18:00:00.000000Z");
    let offset = stand.data("start=2014-01-02T01:00:00%2B01:00&end=2014-01-02T00:01:00Z").await;
    assert_eq!(offset.items().len(), 2);
    let some = stand.data("columns=wind&entity=R1,R2&entity=R3").await.items();
    assert_eq!((some.len(), keys(&some[0])), (24, vec!["time", "turbine", "wind"]));
    assert!(stand.data("entity=R9").await.items().is_empty());
    assert!(stand.data("start=2020-01-01").await.items().is_empty());
}

#[tokio::test]
async fn bad_requests_name_every_fault_and_cost_nothing() {
    let stand = Stand::open().await;
    stand.quota("requests", 5, "day").await.expect(201);
    for (query, at) in [
        ("start=2014-01-02&end=2014-01-01", vec!["start"]),
        ("start=2014-01-02&end=2014-01-02", vec!["start"]),
        ("start=soon&end=31.12.2014", vec!["start", "end"]),
        ("columns=power,secret,nothing", vec!["columns", "columns"]),
        ("limit=0", vec!["limit"]),
        ("limit=-1", vec!["limit"]),
        ("limit=many&format=xml", vec!["limit", "format"]),
        ("strat=2014-01-01", vec!["strat"]),
    ] {
        let answer = stand.data(query).await;
        assert_eq!(answer.refusal(), (422, "bad_query".to_owned()), "{query}");
        assert_eq!(answer.pointers(), at, "{query}");
    }
    assert_eq!(stand.data("cursor=made-up").await.refusal(), (400, "bad_cursor".to_owned()));
    let quota = stand.call_as(ada(), Method::GET, super::QUOTA, None).await.items();
    assert_eq!(quota[0]["used"], 0);
    let head = stand.call_as(ada(), Method::HEAD, &format!("{CHANNEL}/data"), None).await;
    assert_eq!(head.status.as_u16(), 405);
}

#[tokio::test]
async fn every_format_has_its_media_type_and_the_same_rows() {
    let stand = Stand::open().await;
    let wanted = stand.data("entity=R1").await.items();
    for format in [Format::Csv, Format::Ndjson, Format::Parquet, Format::Arrow, Format::Json] {
        let answer = stand.data(&format!("entity=R1&format={}", format.name())).await;
        assert_eq!(answer.header("content-type"), Some(format.content_type()));
        assert_eq!(answer.header("drip-rows"), Some("12"));
        let body = if format == Format::Json {
            json!({ "items": answer.items() }).to_string().into_bytes()
        } else {
            answer.body
        };
        let rows = table(format, Bytes::from(body), &Limits::default()).unwrap();
        assert_eq!(rows.to_rows(), wanted, "{format:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_goes_on_with_its_cursor() {
    let stand = Stand::open().await;
    let whole = stand.data("entity=R1").await.items();
    let mut found = Vec::new();
    let mut cursor = String::new();
    for page in 0.. {
        let answer = stand.data(&format!("entity=R1&limit=5&cursor={cursor}")).await;
        found.extend(answer.items());
        let next = answer.json()["next_cursor"].clone();
        assert_eq!(next.as_str(), answer.header("drip-cursor"));
        assert_eq!(answer.header("drip-truncated"), next.as_str().map(|_| "true"));
        let Some(next) = next.as_str() else {
            assert_eq!(page, 2);
            break;
        };
        next.clone_into(&mut cursor);
    }
    assert_eq!(found, whole);
    // Exactly as many as there are is not cut.
    assert_eq!(stand.data("limit=24").await.header("drip-truncated"), None);
    // A cursor of one request does not open another.
    let other = stand.data(&format!("entity=R2&cursor={cursor}")).await;
    assert_eq!(other.refusal(), (400, "bad_cursor".to_owned()));
    stand.shelf.put("scada@2014", super::scada().slice(0, 20).unwrap());
    let changed = stand.data(&format!("entity=R1&cursor={cursor}")).await;
    assert_eq!(changed.refusal(), (400, "bad_cursor".to_owned()));
}

#[tokio::test]
async fn a_grant_narrows_columns_and_times() {
    let stand = Stand::open().await;
    let grant = json!({"columns": ["wind"], "from": "2014-01-02", "to": "2014-01-03"});
    stand.put(GRANT, grant).await.expect(200);
    let rows = stand.data("start=2014-01-01").await.items();
    assert_eq!((rows.len(), keys(&rows[0])), (8, vec!["time", "turbine", "wind"]));
    let refused = stand.data("columns=power").await;
    assert_eq!((refused.refusal().0, refused.pointers()), (422, vec!["columns".to_owned()]));
    assert!(stand.data("start=2014-01-03").await.items().is_empty());
    // Whoever may read everything is not held to grants.
    let path = format!("{CHANNEL}/data");
    assert_eq!(stand.call_as(viewer(), Method::GET, &path, None).await.items().len(), 24);
    assert_eq!(stand.call_as(bob(), Method::GET, &path, None).await.refusal().0, 403);
    let unknown = stand.call_as(bob(), Method::GET, "/api/v1/channels/no/no/data", None).await;
    assert_eq!(unknown.refusal(), (403, "not_granted".to_owned()));
    let unknown = stand.get("/api/v1/channels/no/no/data").await;
    assert_eq!(unknown.refusal(), (404, "channel_not_found".to_owned()));
}

#[tokio::test]
async fn a_rate_lets_a_burst_through_and_then_says_when() {
    let stand = Stand::open().await;
    let mut body = channel();
    body["rate"] = json!("2/h");
    body["burst"] = json!(3);
    stand.put(CHANNEL, body).await.expect(200);
    for left in ["2", "1", "0"] {
        let answer = stand.data("limit=1").await;
        assert_eq!(answer.status.as_u16(), 200);
        assert_eq!(answer.header("ratelimit-limit"), Some("3"));
        assert_eq!(answer.header("ratelimit-remaining"), Some(left));
        assert!(answer.header("ratelimit-reset").unwrap().parse::<u64>().unwrap() > 0);
    }
    let answer = stand.data("limit=1").await;
    assert_eq!(answer.refusal(), (429, "rate_limited".to_owned()));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1_700..=1_800).contains(&wait), "{wait}");
    // Another user has a burst of its own.
    let path = format!("{CHANNEL}/data");
    assert_eq!(stand.call_as(viewer(), Method::GET, &path, None).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_channel_over_sql_is_cut_like_any_other() {
    let stand = Stand::new();
    let body = json!({
        "sql": "select time, turbine, power * 2 as double from \"scada@2014\"; -- twice\n",
        "time_column": "time", "entity_column": "turbine",
    });
    let refused = stand.put(CHANNEL, body).await;
    assert_eq!(refused.status.as_u16(), 422, "a comment after the semicolon hides the rest");
    let body = json!({
        "sql": "select time, turbine, power * 2 as double from \"scada@2014\" -- twice",
        "time_column": "time", "entity_column": "turbine", "unit": "days",
    });
    stand.put(CHANNEL, body).await.expect(201);
    stand.put(GRANT, json!({})).await.expect(201);
    let rows = stand.data("start=2014-01-02&end=2014-01-03&entity=R1").await.items();
    assert_eq!(rows.len(), 4);
    assert_eq!(
        rows[1],
        json!({"time": "2014-01-02T06:00:00.000000Z", "turbine": "R1", "double": 10})
    );
    assert_eq!(stand.data("").await.items().len(), 24);
    assert!(stand.data("start=2020-01-01&end=2020-01-02").await.items().is_empty());
    for sql in ["select nowhere from \"scada@2014\"", "select 1 from nowhere", "delete from x"] {
        let answer = stand.put("/api/v1/channels/wind/bad", json!({ "sql": sql })).await;
        assert_eq!(answer.status.as_u16(), 422, "{sql}: {}", answer.json());
    }
}

#[tokio::test]
async fn a_channel_whose_data_changed_says_so() {
    let stand = Stand::open().await;
    let without = Table::from_rows(&[json!({"time": "2014-01-01T00:00:00Z", "turbine": "R1"})]);
    stand.shelf.put("scada@2014", without.unwrap());
    assert_eq!(stand.data("").await.refusal(), (409, "channel_broken".to_owned()));
    stand.shelf.0.write().unwrap().clear();
    assert_eq!(stand.data("").await.refusal(), (404, "dataset_not_found".to_owned()));
}

#[tokio::test]
async fn an_answer_that_grows_too_large_is_refused_and_not_charged() {
    let stand = Stand::with(Config { max_rows: 10, ..Config::default() });
    stand.put(CHANNEL, channel()).await.expect(201);
    stand.put(GRANT, json!({})).await.expect(201);
    stand.quota("rows", 100, "day").await.expect(201);
    assert_eq!(stand.data("").await.refusal(), (413, "answer_too_large".to_owned()));
    assert_eq!(stand.data("limit=11").await.refusal(), (413, "answer_too_large".to_owned()));
    assert_eq!(stand.data("limit=10").await.items().len(), 10);
    let quota = stand.call_as(ada(), Method::GET, super::QUOTA, None).await.items();
    assert_eq!(quota[0]["used"], 10);
}

#[tokio::test]
async fn sql_reads_datasets_for_viewers() {
    let stand = Stand::new();
    let sql = |body: Value| stand.call_as(viewer(), Method::POST, "/api/v1/sql", Some(body));
    let body = json!({
        "query": "select turbine, sum(power) as total from \"scada@2014\" where power > ? group by turbine order by turbine",
        "params": [9],
    });
    let rows = sql(body).await.items();
    assert_eq!(
        rows,
        [json!({"turbine": "R1", "total": 21}), json!({"turbine": "R2", "total": 21})]
    );
    let csv = sql(json!({"query": "select 1 as one", "format": "csv"})).await;
    assert_eq!(
        (csv.header("content-type"), csv.body.as_slice()),
        (Some("text/csv"), b"one\n1\n".as_slice())
    );
    for body in [
        json!({"query": "select * from nowhere"}),
        json!({"query": "drop table x"}),
        json!({"query": ""}),
        json!({"query": "select 1", "format": "xml"}),
        json!({"query": "select ?", "params": []}),
        json!({"sql": "select 1"}),
    ] {
        let answer = sql(body.clone()).await;
        assert_eq!(answer.status.as_u16(), 422, "{body}: {}", answer.json());
    }
    assert_eq!(
        stand
            .call_as(publisher(), Method::POST, "/api/v1/sql", Some(json!({"query": "select 1"})))
            .await
            .status
            .as_u16(),
        200
    );
}
