#![cfg(test)]
//! Records in MongoDB, against a server that speaks its protocol, with user and password.

use std::time::Duration;

use mongodb::bson::{Document, doc};

use crate::support::mongo::{MongoServer, PASSWORD, shared};
use crate::support::real_venv;

/// Asks the server how it is, as the driver does.
fn hello(url: &str) -> mongodb::error::Result<Document> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = runtime.block_on(async {
        let client = mongodb::Client::with_uri_str(url).await?;
        let database = client.default_database().unwrap();
        let call = async { database.run_command(doc! { "hello": 1 }).await };
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        tokio::time::timeout(Duration::from_secs(5), call).await.map_err(late)?
    });
    runtime.shutdown_background();
    asked
}

#[test]
fn the_server_of_tests_asks_for_a_password() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    let url = server.url(&server.new_database());
    assert_eq!(hello(&url).unwrap().get_str("setName").unwrap(), "secantus");
    assert!(hello(&url.replace(PASSWORD, "wrong")).is_err());
    let alone = MongoServer::start_standalone(&venv);
    let url = format!("mongodb://{}/x", alone.address());
    assert!(!hello(&url).unwrap().contains_key("setName"));
}

#[test]
fn the_server_of_tests_is_killed_and_held_and_comes_back() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = MongoServer::start(&venv);
    let url = server.url("x") + "&serverSelectionTimeoutMS=500&connectTimeoutMS=500";
    hello(&url).unwrap();
    server.kill();
    assert!(hello(&url).is_err());
    server.start_again();
    hello(&url).unwrap();
    server.hold();
    assert!(hello(&url).is_err());
    server.go_on();
    hello(&url).unwrap();
}
