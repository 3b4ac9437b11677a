//! Packages over HTTP.

use axum::body::Body;
use drip::kernel::{Digest, feed};
use serde_json::{Value, json};

use super::http::Web;
use super::{Store, ada, parcel};

fn path(name: &str, version: &str) -> String {
    format!("/api/v1/packages/{name}/{version}")
}

#[tokio::test]
async fn a_package_is_pushed_once_and_never_changes() {
    let store = Store::new();
    let web = Web::over(&store);
    let bytes = parcel("wind-power", "1.0.0");
    let at = path("wind-power", "1.0.0");
    let first = web.ask("PUT", &at, &[], bytes.clone()).await;
    assert_eq!(first.status, 201, "{:?}", first.body);
    let said = first.json();
    assert_eq!(said["sha256"], json!(Digest::of(&bytes).to_hex()));
    assert_eq!(
        (&said["pushed_by"], &said["metadata"]["name"]),
        (&json!("ada"), &json!("wind-power"))
    );
    assert_eq!(web.ask("PUT", &at, &[], bytes.clone()).await.status, 200);
    let mut other =
        drip::cask::package::Parcel::new(drip::cask::package::Metadata::new("wind-power", "1.0.0"));
    other.add_bytes(drip::cask::package::Section::Logs, "x", b"x".to_vec()).unwrap();
    let other = other.to_bytes().unwrap();
    let refused = web.ask("PUT", &at, &[], other.clone()).await;
    assert_eq!(refused.code(), (409, "package_exists".into()));
    let got = web.get(&at).await;
    assert_eq!(got.body, bytes);
    assert!(got.header("content-disposition").contains("wind-power-1.0.0.caskpkg"));
    assert_eq!(
        web.get(&format!("{at}/metadata")).await.json()["summary"],
        "the summary of wind-power"
    );
    // The listener heard of it before each answer, and the feed tells it once.
    assert_eq!(store.heard.packages.lock().unwrap().len(), 2);
    let events = feed::read(store.records.as_ref(), 0, 10).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].payload["metadata"]["requires"], json!(["power-curve@1.0.0"]));

    assert_eq!(web.ask("DELETE", &at, &[], Body::empty()).await.status, 204);
    assert_eq!(web.get(&at).await.code(), (404, "package_not_found".into()));
    assert_eq!(web.ask("PUT", &at, &[], other).await.status, 409, "the version stays taken");
    assert_eq!(web.ask("PUT", &at, &[], bytes).await.status, 201);
}

#[tokio::test]
async fn what_is_no_package_is_not_kept() {
    let store = Store::new();
    let web = Web::over(&store);
    let good = parcel("a", "1.0.0");
    for (name, version, body, code) in [
        ("a", "1.0.0", b"not a package".to_vec(), "package_refused"),
        ("a", "1.0.0", good[..good.len() / 2].to_vec(), "package_refused"),
        ("a", "1.0.0", Vec::new(), "package_refused"),
        ("b", "1.0.0", good.clone(), "metadata_disagrees"),
        ("a", "2.0.0", good.clone(), "metadata_disagrees"),
        ("a", "latest", good.clone(), "bad_version"),
        ("%2e%2e", "1", good.clone(), "bad_name"),
    ] {
        let answer = web.ask("PUT", &path(name, version), &[], body).await;
        assert_eq!(answer.code(), (422, code.to_owned()), "{name} {version}");
    }
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    assert_eq!(web.ask("PUT", &path("a", "1.0.0"), &[], damaged).await.status, 422);
    let wrong = Digest::of(b"x").to_hex();
    let mismatch = web.ask("PUT", &path("a", "1.0.0"), &[("drip-sha256", &wrong)], good).await;
    assert_eq!(mismatch.code().1, "digest_mismatch");
    assert_eq!(web.get("/api/v1/packages").await.json()["items"], json!([]));
    assert!(store.heard.packages.lock().unwrap().is_empty());
    assert_eq!(store.cask.bucket("packages").unwrap().used_bytes, 0);
}

#[tokio::test]
async fn latest_is_the_highest_version_and_lists_are_searched() {
    let store = Store::new();
    let web = Web::over(&store);
    for (name, version) in
        [("a", "1.9.0"), ("a", "1.10.0"), ("a", "1.10.0-rc.1"), ("a", "old"), ("b", "0.1.0")]
    {
        let answer = web.ask("PUT", &path(name, version), &[], parcel(name, version)).await;
        assert_eq!(answer.status, 201);
    }
    assert_eq!(web.get(&path("a", "latest/metadata")).await.json()["version"], "1.10.0");
    assert_eq!(web.get(&path("none", "latest")).await.status, 404);
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|i| format!("{}@{}", i["name"].as_str().unwrap(), i["version"].as_str().unwrap()))
            .collect()
    };
    let all = web.get("/api/v1/packages").await.json();
    assert_eq!(names(&all), ["a@1.10.0", "a@1.10.0-rc.1", "a@1.9.0", "a@old", "b@0.1.0"]);
    for field in ["name", "version", "size", "sha256", "summary", "pushed_at", "pushed_by"] {
        assert!(all["items"][0].get(field).is_some(), "{field}");
    }
    assert_eq!(names(&web.get("/api/v1/packages?q=SUMMARY%20of%20b").await.json()), ["b@0.1.0"]);
    let first = web.get("/api/v1/packages?limit=2").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = web.get(&format!("/api/v1/packages?limit=3&cursor={cursor}")).await.json();
    assert_eq!(names(&second), ["a@1.9.0", "a@old", "b@0.1.0"]);
    assert_eq!(second["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_listener_that_fails_is_told_and_asked_again() {
    let store = Store::new();
    let web = Web::over(&store);
    *store.heard.refuse.lock().unwrap() = true;
    let at = path("a", "1.0.0");
    let answer = web.ask("PUT", &at, &[], parcel("a", "1.0.0")).await;
    assert_eq!(answer.code(), (503, "no_cards".into()));
    *store.heard.refuse.lock().unwrap() = false;
    assert_eq!(web.ask("PUT", &at, &[], parcel("a", "1.0.0")).await.status, 200);
    assert_eq!(store.heard.packages.lock().unwrap().len(), 1);
    // Whoever reads the feed by a cursor has missed nothing either, and hears it once.
    let mut names = Vec::new();
    let mut hear = |event: &feed::Event| {
        names.push(event.subject.clone());
        Ok(())
    };
    assert_eq!(store.cask.catch_up("cards", &mut hear).unwrap(), 1);
    assert_eq!(store.cask.catch_up("cards", &mut hear).unwrap(), 0);
    assert_eq!(names, ["a/1.0.0"]);
}

#[tokio::test]
async fn packages_count_against_their_bucket() {
    let store = Store::new();
    let web = Web::over(&store);
    let bytes = parcel("a", "1.0.0");
    let most = json!({"max_bytes": bytes.len() + 10}).to_string();
    web.ask("PUT", "/api/v1/buckets/packages", &[], most).await;
    assert_eq!(web.ask("PUT", &path("a", "1.0.0"), &[], bytes).await.status, 201);
    let full = web.ask("PUT", &path("b", "1.0.0"), &[], parcel("b", "1.0.0")).await;
    assert_eq!(full.code(), (507, "quota_reached".into()));
    store.cask.delete_package(&ada(), "a", "1.0.0").unwrap();
    assert_eq!(web.ask("PUT", &path("b", "1.0.0"), &[], parcel("b", "1.0.0")).await.status, 201);
}
