//! Quotas and rates, also under many requests at once.

use std::sync::Arc;

use axum::http::Method;
use drip::dashare::{DataQuery, Period, QuotaSpec, Unit};
use drip::kernel::{Name, Time};
use serde_json::{Value, json};

use super::{CHANNEL, QUOTA, Stand, ada, bob, publisher, viewer};

async fn quota(stand: &Stand) -> Value {
    stand.call_as(ada(), Method::GET, QUOTA, None).await.items()[0].clone()
}

#[tokio::test]
async fn a_request_larger_than_what_is_left_is_refused_whole() {
    let stand = Stand::open().await;
    let put = stand.quota("rows", 20, "day").await.expect(201);
    assert_eq!(
        put["items"],
        json!([{
            "channel": "wind/scada", "unit": "rows", "limit": 20, "period": "day", "used": 0,
            "remaining": 20, "resets_at": "2014-03-31T00:00:00.000000Z",
        }])
    );
    let answer = stand.data("entity=R1").await;
    assert_eq!((answer.items().len(), answer.header("drip-quota-remaining")), (12, Some("8")));
    let refused = stand.data("entity=R1").await;
    assert_eq!(refused.refusal(), (429, "quota_exhausted".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("50400"));
    let rest = stand.data("entity=R1&limit=8").await;
    assert_eq!((rest.items().len(), rest.header("drip-quota-remaining")), (8, Some("0")));
    // What brings nothing costs nothing in rows.
    assert_eq!(stand.data("entity=R9").await.status.as_u16(), 200);
    stand.clock.set(Time::parse("2014-03-31T00:00:00Z").unwrap());
    assert_eq!(quota(&stand).await["remaining"], 20);
    assert_eq!(stand.data("entity=R1").await.status.as_u16(), 200);
}

#[tokio::test]
async fn days_are_those_of_the_range_or_of_the_rows() {
    let stand = Stand::open().await;
    stand.quota("days", 100, "total").await.expect(201);
    let mut used = 0;
    for (query, days) in [
        ("start=2014-01-01&end=2014-01-02", 1),
        ("start=2014-01-01T06:00:00Z&end=2014-01-01T07:00:00Z", 1),
        ("start=2014-01-01T23:00:00Z&end=2014-01-02T01:00:00Z", 2),
        ("start=2014-01-01&end=2014-01-11", 10),
        // Without both bounds, or cut: the days that the rows lie on.
        ("start=2014-01-02", 2),
        ("", 3),
        ("start=2014-01-01&end=2014-01-11&limit=9", 2),
        ("entity=R9", 0),
    ] {
        assert_eq!(stand.data(query).await.status.as_u16(), 200, "{query}");
        used += days;
        assert_eq!(quota(&stand).await["used"], used, "{query}");
    }
    let refused = stand.data("start=2014-01-01&end=2015-01-01").await;
    assert_eq!(refused.refusal(), (429, "quota_exhausted".to_owned()));
    assert_eq!(refused.header("retry-after"), None, "a total never comes back");
}

#[tokio::test]
async fn bytes_are_those_of_the_body_and_requests_are_answers() {
    let stand = Stand::open().await;
    stand.quota("bytes", 100_000, "month").await.expect(201);
    let size = stand.data("format=csv").await.body.len();
    assert_eq!(quota(&stand).await["used"], size);
    assert_eq!(quota(&stand).await["resets_at"], "2014-04-01T00:00:00.000000Z");
    // The same quota in another unit knows what was used in it.
    stand.quota("requests", 2, "month").await.expect(200);
    assert_eq!(stand.data("").await.header("drip-quota-remaining"), Some("0"));
    assert_eq!(stand.data("").await.refusal(), (429, "quota_exhausted".to_owned()));
}

#[tokio::test]
async fn a_put_does_not_reset_what_was_used() {
    let stand = Stand::open().await;
    stand.quota("rows", 30, "day").await.expect(201);
    stand.data("").await.items();
    let answer = stand.quota("rows", 40, "day").await.expect(200);
    assert_eq!(
        (&answer["items"][0]["used"], &answer["items"][0]["remaining"]),
        (&json!(24), &json!(16))
    );
    let answer = stand.quota("rows", 10, "day").await.expect(200);
    assert_eq!(
        (&answer["items"][0]["used"], &answer["items"][0]["remaining"]),
        (&json!(24), &json!(0))
    );
    let answer = stand.quota("rows", 100, "total").await.expect(200);
    assert_eq!(
        (&answer["items"][0]["used"], &answer["items"][0]["resets_at"]),
        (&json!(24), &json!(null))
    );
}

#[tokio::test]
async fn quotas_are_read_strictly() {
    let stand = Stand::open().await;
    let put = |body: Value| stand.put(QUOTA, body);
    for (limit, status) in [
        (json!(0), 201),
        (json!(i64::MAX), 200),
        (json!(-1), 422),
        (json!(u64::MAX), 422),
        (json!(1e300), 422),
        (json!("ten"), 422),
        (json!(null), 422),
    ] {
        let answer = put(json!({"channel": "wind/scada", "limit": limit})).await;
        assert_eq!(answer.status.as_u16(), status, "{limit}");
    }
    put(json!({"channel": "wind/scada", "limit": 0, "period": "total"})).await.expect(200);
    let none = stand.data("limit=1").await;
    assert_eq!(none.refusal(), (429, "quota_exhausted".to_owned()));
    let answer =
        put(json!({"channel": "wind", "limit": 1.5, "unit": "weeks", "period": "year"})).await;
    assert_eq!(answer.refusal(), (422, "bad_quota".to_owned()));
    assert_eq!(answer.pointers(), ["/channel", "/unit", "/period", "/limit"]);
    let answer = put(json!({"channel": "wind/none", "limit": 1})).await;
    assert_eq!(answer.refusal(), (404, "channel_not_found".to_owned()));
    let nobody =
        stand.put("/api/v1/users/nobody/quota", json!({"channel": "wind/scada", "limit": 1})).await;
    assert_eq!(nobody.refusal(), (404, "user_not_found".to_owned()));
}

#[tokio::test]
async fn usage_is_kept_by_channel_and_day_and_read_by_its_owner() {
    let stand = Stand::open().await;
    stand.data("start=2014-01-01&end=2014-01-03").await.items();
    stand.data("entity=R1&limit=1").await.items();
    stand.clock.set(Time::parse("2014-03-31T01:00:00Z").unwrap());
    stand.data("limit=2").await.items();
    let usage = "/api/v1/users/ada/usage";
    let rows = stand.call_as(ada(), Method::GET, usage, None).await.items();
    let shape = |row: &Value| {
        (row["day"].clone(), row["requests"].clone(), row["rows"].clone(), row["days"].clone())
    };
    let shapes: Vec<_> = rows.iter().map(shape).collect();
    assert_eq!(
        shapes,
        [
            (json!("2014-03-30"), json!(2), json!(17), json!(3)),
            (json!("2014-03-31"), json!(1), json!(2), json!(1)),
        ]
    );
    assert_eq!(rows[0]["channel"], "wind/scada");
    let page =
        stand.call_as(viewer(), Method::GET, &format!("{usage}?limit=1"), None).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = stand.get(&format!("{usage}?limit=1&cursor={cursor}")).await.expect(200);
    assert_eq!(
        (&next["items"][0]["day"], &next["next_cursor"]),
        (&json!("2014-03-31"), &json!(null))
    );
    let late = stand.get(&format!("{usage}?from=2014-03-31&channel=wind/scada")).await.items();
    assert_eq!(late.len(), 1);
    for path in [usage, QUOTA] {
        let other = stand.call_as(bob(), Method::GET, path, None).await;
        assert_eq!(other.refusal(), (403, "not_allowed".to_owned()));
        assert_eq!(stand.call_as(viewer(), Method::GET, path, None).await.status.as_u16(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_requests_that_race_never_pass_the_quota() {
    let stand = Stand::open().await;
    let spec = QuotaSpec {
        group: Name::new("wind").unwrap(),
        name: Name::new("scada").unwrap(),
        unit: Some(Unit::Rows),
        limit: 100,
        period: Period::Day,
    };
    stand.dashare.put_quota(&publisher(), &Name::new("ada").unwrap(), &spec).unwrap();
    let gate = Arc::new(std::sync::Barrier::new(64));
    let threads: Vec<_> = (0..64)
        .map(|n| {
            let (dashare, gate) = (stand.dashare.clone(), gate.clone());
            std::thread::spawn(move || {
                let query = DataQuery { limit: Some(1 + n % 5), ..DataQuery::default() };
                gate.wait();
                dashare.data(&ada(), ("wind", "scada"), &query).map_or_else(
                    |error| {
                        assert_eq!(error.code(), "quota_exhausted");
                        0
                    },
                    |answer| answer.rows,
                )
            })
        })
        .collect();
    let given: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(given > 95 && given <= 100, "{given}");
    let state = stand.call_as(ada(), Method::GET, QUOTA, None).await.items()[0].clone();
    assert_eq!(state["used"], given);
    let usage = stand.call_as(ada(), Method::GET, "/api/v1/users/ada/usage", None).await.items();
    assert_eq!(usage[0]["rows"], given);
    assert!(
        stand
            .get(&format!("{CHANNEL}/data?limit=1"))
            .await
            .header("drip-quota-remaining")
            .is_none()
    );
}
