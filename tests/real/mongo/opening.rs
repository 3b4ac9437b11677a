#![cfg(test)]
//! What keeps a store from being opened is said, soon, and without the password.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use drip::kernel::records::{MongoRecords, open};
use drip::kernel::{Error, Kind};

use crate::support::mongo::{MongoServer, PASSWORD, shared};
use crate::support::real_venv;

/// Opens what cannot be opened; answers why, and checks that it took no long time.
fn refused(url: &str) -> Error {
    let start = Instant::now();
    let error = MongoRecords::open(url, "cards").err().expect("it must be refused");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}: {error}", start.elapsed());
    let told = format!("{error} {error:?}");
    assert!(!told.contains(PASSWORD), "{told}");
    error
}

#[test]
fn a_server_without_transactions_is_refused_with_what_to_do() {
    let Some(venv) = real_venv("mongo") else { return };
    let alone = MongoServer::start_standalone(&venv);
    let error = refused(&format!("mongodb://{}/x", alone.address()));
    assert_eq!((error.kind(), error.code()), (Kind::Config, "no_transactions"));
    assert!(error.detail().contains("mongod --replSet rs0"), "{error}");
}

#[test]
fn a_wrong_password_and_no_password_are_wrong_settings() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    let url = server.url(&server.new_database());
    for url in [
        url.replace(PASSWORD, &format!("{PASSWORD}x")),
        format!("mongodb://{}/x", server.address()),
    ] {
        let error = refused(&url);
        assert_eq!((error.kind(), error.code()), (Kind::Config, "store_denied"), "{error}");
        assert!(error.detail().contains("authSource"), "{error}");
    }
}

#[test]
fn a_server_that_is_not_there_or_says_nothing_is_told_of_within_seconds() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [address, gone] {
        let error = refused(&format!("mongodb://app:{PASSWORD}@{address}/x?authSource=admin"));
        assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "store_away"));
        assert!(error.detail().contains(&address.to_string()), "{error}");
    }
}

#[test]
fn the_url_chooses_the_store() {
    let Some(venv) = real_venv("mongo") else { return };
    let server = shared(&venv);
    let store = open(&server.url(&server.new_database())).unwrap();
    assert!(store.is_shared());
    assert!(!open("memory:").unwrap().is_shared());
}
