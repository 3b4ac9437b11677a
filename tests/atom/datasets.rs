//! Datasets through their routes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use drip::kernel::feed;
use drip::kernel::table::{Format, Scan, Table, TableCatalog, write};
use serde_json::json;
use tokio::task::block_in_place;

use super::{Notes, Stand, consumer, viewer};

const CSV: &str = "name,time,power\nR1,2014-01-01T00:00:00Z,1.5\nR2,2014-01-01T00:10:00Z,\n";

#[tokio::test]
async fn a_csv_becomes_a_dataset_with_a_schema_and_labels() {
    let stand = Stand::new();
    let path = "scada/2014?tag=wind&belong=demo&remarks=the%20raw%20table&unit.power=kW";
    let info = stand.put_csv(path, CSV).await.expect(201);
    assert_eq!(
        info["schema"],
        json!([
            {"name": "name", "type": "text", "unit": null},
            {"name": "time", "type": "time", "unit": null},
            {"name": "power", "type": "float", "unit": "kW"},
        ])
    );
    assert_eq!((&info["rows"], &info["version"]), (&json!(2), &json!("2014")));
    assert_eq!(
        (&info["tag"], &info["belong"], &info["remarks"], &info["object_name"]),
        (&json!("wind"), &json!("demo"), &json!("the raw table"), &json!("scada"))
    );
    assert!(info["bytes"].as_u64().unwrap() > 0);
    let again = stand.call_as(viewer(), Method::GET, "/api/v1/datasets/scada/latest", None).await;
    assert_eq!(again.headers["etag"], "\"1\"");
    assert_eq!(again.expect(200), info);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_changes_nothing_and_other_content_is_a_new_revision() {
    let notes = Arc::new(Notes::default());
    let stand = Stand::with(|parts| parts.listener = Some(notes.clone()));
    let first = stand.put_csv("scada/2014?tag=a", CSV).await.expect(201);
    stand.clock.advance(Duration::from_mins(1));
    assert_eq!(stand.put_csv("scada/2014?tag=a", CSV).await.expect(200), first);
    // The same rows in another format are the same content.
    let table = block_in_place(|| stand.atom.table("scada").unwrap().unwrap().scan(&Scan::all()));
    let table = table.unwrap();
    let ndjson = write::to_bytes(&table, Format::Ndjson).unwrap();
    let same = stand.put_bytes("scada/2014?tag=a", "application/x-ndjson", ndjson).await;
    assert_eq!(same.expect(200)["revision"], 1);
    let label = stand.put_csv("scada/2014?tag=b", CSV).await.expect(200);
    assert_eq!((&label["revision"], &label["sha256"]), (&json!(2), &first["sha256"]));
    let other = stand.put_csv("scada/2014?tag=b", "name,power\nR1,7.0\n").await.expect(200);
    assert_eq!((&other["revision"], &other["rows"]), (&json!(3), &json!(1)));
    assert_eq!(other["created_at"], first["created_at"]);
    let kept = block_in_place(|| stand.atom.table("scada@2014").unwrap().unwrap());
    assert_eq!(kept.rows(), 1);
    let events: Vec<_> = feed::read(stand.records.as_ref(), 0, 10)
        .unwrap()
        .iter()
        .map(|event| format!("{} {} {}", event.event, event.subject, event.payload["revision"]))
        .collect();
    assert_eq!(
        events,
        ["dataset.put scada@2014 1", "dataset.put scada@2014 2", "dataset.put scada@2014 3"]
    );
    // The listener hears of each put, also of those that changed nothing.
    assert_eq!(notes.0.lock().unwrap().len(), 5);
    assert_eq!(notes.0.lock().unwrap()[0], "pia scada@2014 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_is_taken_and_others_are_refused() {
    let stand = Stand::new();
    let table = Table::from_rows(&[json!({"a": 1, "b": "x"}), json!({"a": 2, "b": null})]).unwrap();
    for format in [Format::Csv, Format::Ndjson, Format::Parquet, Format::Arrow] {
        let bytes = write::to_bytes(&table, format).unwrap();
        let path = format!("{}/1.0.0", format.name());
        let info = stand.put_bytes(&path, format.content_type(), bytes).await.expect(201);
        assert_eq!((&info["rows"], &info["source_format"]), (&json!(2), &json!(format.name())));
        let kept = block_in_place(|| {
            stand.atom.table(format.name()).unwrap().unwrap().scan(&Scan::all()).unwrap()
        });
        assert_eq!(kept.to_rows(), table.to_rows());
    }
    for media_type in ["application/json", "image/png", "nonsense"] {
        let answer = stand.put_bytes("x/1", media_type, b"{}".to_vec()).await;
        assert_eq!(answer.refusal(), (415, "unsupported_media_type".to_owned()));
    }
    let bare = Request::put("/api/v1/datasets/x/1").body(Body::from(CSV)).unwrap();
    assert_eq!(stand.send(super::publisher(), bare).await.status.as_u16(), 415);
    let broken = stand.put_bytes("x/1", Format::Parquet.content_type(), b"PAR1....PAR1".to_vec());
    assert_eq!(broken.await.status.as_u16(), 422);
}

#[tokio::test]
async fn faults_of_a_csv_are_named_with_their_lines() {
    let stand = Stand::new();
    let answer = stand.put_csv("bad/1", "a,b\n1,2\n3\n4,5,6\n").await;
    assert_eq!(answer.status.as_u16(), 422);
    let at = answer.pointers();
    assert!(at.iter().any(|at| at.contains("line 3")), "{at:?}");
    assert!(at.iter().any(|at| at.contains("line 4")), "{at:?}");
    assert_eq!(stand.put_csv("bad/1", "").await.status.as_u16(), 422);
    let unit = stand.put_csv("bad/1?unit.powr=kW", CSV).await;
    assert_eq!((unit.status.as_u16(), unit.pointers()), (422, vec!["unit.powr".to_owned()]));
    let query = stand.put_csv("bad/1?tga=x", CSV).await;
    assert_eq!((query.status.as_u16(), query.pointers()), (422, vec!["tga".to_owned()]));
    assert_eq!(stand.put_csv("bad/latest", CSV).await.refusal().1, "bad_version");
    assert_eq!(stand.put_csv("a%2Fb/1", CSV).await.refusal().1, "bad_name");
    let missing = stand.call(Method::GET, "/api/v1/datasets/bad/1", None).await;
    assert_eq!(missing.refusal(), (404, "dataset_not_found".to_owned()));
}

#[tokio::test]
async fn a_dataset_that_is_too_large_is_refused_with_or_without_its_length() {
    let stand = Stand::with(|parts| parts.config.max_dataset = 40);
    assert_eq!(stand.put_csv("big/1", CSV).await.refusal(), (413, "body_too_large".to_owned()));
    let told = Request::put("/api/v1/datasets/big/1")
        .header("content-type", "text/csv")
        .header("content-length", "1000000000000")
        .body(Body::from("a\n1\n"))
        .unwrap();
    assert_eq!(stand.send(super::publisher(), told).await.status.as_u16(), 413);
    stand.put_csv("small/1", "a\n1\n").await.expect(201);
}

#[tokio::test]
async fn a_body_that_is_cut_off_leaves_nothing() {
    let stand = Stand::new();
    let pieces = futures::stream::iter([Ok("a,b\n1,2\n"), Err(std::io::Error::other("gone"))]);
    let request = Request::put("/api/v1/datasets/cut/1")
        .header("content-type", "text/csv")
        .body(Body::from_stream(pieces))
        .unwrap();
    let answer = stand.send(super::publisher(), request).await;
    assert_eq!(answer.refusal(), (400, "body_cut_off".to_owned()));
    assert!(stand.atom.table("cut").unwrap().is_none());
}

#[tokio::test]
async fn conditions_guard_a_dataset() {
    let stand = Stand::new();
    let put = |header: &'static str, value: &'static str, csv: &'static str| {
        let request = Request::put("/api/v1/datasets/a/1")
            .header("content-type", "text/csv")
            .header(header, value)
            .body(Body::from(csv));
        stand.send(super::publisher(), request.unwrap())
    };
    assert_eq!(put("if-match", "\"1\"", "a\n1\n").await.status.as_u16(), 412);
    assert_eq!(put("if-none-match", "*", "a\n1\n").await.status.as_u16(), 201);
    assert_eq!(put("if-none-match", "*", "a\n2\n").await.status.as_u16(), 412);
    assert_eq!(put("if-match", "\"7\"", "a\n2\n").await.status.as_u16(), 412);
    assert_eq!(put("if-match", "\"1\"", "a\n2\n").await.expect(200)["revision"], 2);
}

#[tokio::test]
async fn rows_and_figures_can_be_looked_at() {
    let stand = Stand::new();
    stand.put_csv("scada/1?unit.power=kW", CSV).await.expect(201);
    let get = |path: &'static str| stand.call(Method::GET, path, None);
    let preview = get("/api/v1/datasets/scada/1/preview?limit=1").await.expect(200);
    let row = json!({"name": "R1", "time": "2014-01-01T00:00:00.000000Z", "power": 1.5});
    assert_eq!(preview["items"], json!([row]));
    assert_eq!(preview["schema"][2]["unit"], "kW");
    assert_eq!(get("/api/v1/datasets/scada/1/preview?limit=0").await.status.as_u16(), 422);
    let stats = get("/api/v1/datasets/scada/latest/stats").await.expect(200);
    assert_eq!(stats["rows"], 2);
    let power = &stats["columns"][2];
    assert_eq!((&power["count"], &power["nulls"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&power["min"], &power["max"], &power["mean"]),
        (&json!(1.5), &json!(1.5), &json!(1.5))
    );
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let stand = Stand::new();
    for (at, tag) in [("a/1", "x"), ("a/2", "y"), ("b/1", "x")] {
        stand.put_csv(&format!("{at}?tag={tag}"), &format!("n\n{}\n", at.len())).await.expect(201);
    }
    let page = stand.call(Method::GET, "/api/v1/datasets?limit=2", None).await.expect(200);
    assert_eq!(names(&page), ["a@1", "a@2"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/api/v1/datasets?limit=2&cursor={cursor}");
    let rest = stand.call(Method::GET, &path, None).await.expect(200);
    assert_eq!((names(&rest), &rest["next_cursor"]), (vec!["b@1".to_owned()], &json!(null)));
    let tagged = stand.call(Method::GET, "/api/v1/datasets?tag=x", None).await.expect(200);
    assert_eq!(names(&tagged), ["a@1", "b@1"]);
    let named = stand.call(Method::GET, "/api/v1/datasets?name=a&tag=y", None).await.expect(200);
    assert_eq!(names(&named), ["a@2"]);
}

fn names(page: &serde_json::Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    let name = |item: &serde_json::Value| {
        format!("{}@{}", item["name"].as_str().unwrap(), item["version"].as_str().unwrap())
    };
    items.iter().map(name).collect()
}

#[tokio::test]
async fn a_deleted_dataset_is_gone_and_its_bytes_are_swept() {
    let stand = Stand::new();
    // Large enough not to live inside its record.
    let rows: Vec<String> = (0..20_000_u64)
        .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12).to_string())
        .collect();
    let rows = rows.join("\n");
    stand.put_csv("big/1", &format!("n\n{rows}")).await.expect(201);
    stand.put_csv("copy/1", &format!("n\n{rows}")).await.expect(201);
    let later = || stand.clock.set(drip::kernel::Time(i64::MAX / 2));
    let get = |path: &'static str| stand.call(Method::DELETE, path, None);
    assert_eq!(get("/api/v1/datasets/big/latest").await.refusal().1, "bad_version");
    assert_eq!(get("/api/v1/datasets/big/1").await.status.as_u16(), 204);
    assert_eq!(get("/api/v1/datasets/big/1").await.status.as_u16(), 404);
    later();
    // The other dataset names the same chunks.
    let atom = stand.atom.clone();
    let sweep = move |atom: drip::atom::Atom| {
        tokio::task::spawn_blocking(move || atom.sweep(Duration::from_hours(1)).unwrap())
    };
    assert_eq!(sweep(atom.clone()).await.unwrap().removed, 0);
    let reader = tokio::task::spawn_blocking({
        let atom = atom.clone();
        move || atom.table("copy").unwrap().unwrap()
    });
    let reader = reader.await.unwrap();
    assert_eq!(get("/api/v1/datasets/copy/1").await.status.as_u16(), 204);
    // Someone still reads it.
    assert_eq!(sweep(atom.clone()).await.unwrap().removed, 0);
    drop(reader);
    assert!(sweep(atom.clone()).await.unwrap().removed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_finds_datasets_by_name_and_version() {
    let stand = Stand::new();
    stand.put_csv("scada/1.9.0", "n\n1\n").await.expect(201);
    stand.put_csv("scada/1.10.0", "n\n1\n2\n").await.expect(201);
    stand.put_csv("at@home/1", "n\n1\n2\n3\n").await.expect(201);
    let catalog: &dyn TableCatalog = &stand.atom;
    let rows =
        |name: &str| block_in_place(|| catalog.table(name).unwrap().map(|table| table.rows()));
    assert_eq!(rows("scada"), Some(2));
    assert_eq!(rows("scada@1.9.0"), Some(1));
    assert_eq!(rows("scada@latest"), Some(2));
    assert_eq!(rows("at@home"), Some(3));
    assert_eq!(rows("scada@2"), None);
    assert_eq!(catalog.names(), ["at@home", "scada"]);
}

#[tokio::test]
async fn consumers_do_not_see_datasets_and_viewers_do_not_write_them() {
    let stand = Stand::new();
    for path in ["", "/a/1", "/a/1/preview", "/a/1/stats"] {
        let path = format!("/api/v1/datasets{path}");
        let answer = stand.call_as(consumer(), Method::GET, &path, None).await;
        assert_eq!(answer.refusal(), (403, "not_allowed".to_owned()), "{path}");
    }
    let request = Request::put("/api/v1/datasets/a/1").header("content-type", "text/csv");
    let answer = stand.send(viewer(), request.body(Body::from("a\n1\n")).unwrap()).await;
    assert_eq!(answer.refusal(), (403, "not_allowed".to_owned()));
}
