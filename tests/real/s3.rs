#![cfg(test)]
//! The S3 listener, driven by the clients that people have: boto3, aws-cli, minio-py.

use std::path::Path;
use std::process::Command;

use super::super::support::daemon::{Daemon, Home, program};
use super::super::support::real_venv;
use super::token;

const PAIR: (&str, &str) = ("drip-access", "drip-secret-0123456789");

fn daemon(home: &Home) -> Daemon {
    home.settings(&format!(
        "[cask.s3]\nlisten = \"127.0.0.1:0\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\n",
        PAIR.0, PAIR.1
    ));
    home.serve()
}

fn run(suite: &str) {
    let Some(venv) = real_venv(suite) else { return };
    let home = Home::with_admin();
    let daemon = daemon(&home);
    let address = daemon.s3().expect("the daemon says where S3 clients are answered");
    let jwt = daemon.login();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/real/{suite}.py"));
    let status = Command::new(venv.join("bin/python"))
        .arg("-B")
        .arg(script)
        .env("SUITE_URL", format!("http://{}", daemon.address()))
        .env("SUITE_PASSWORD", "")
        .env("SUITE_TOKEN", token(&daemon, &jwt, "admin"))
        .env("SUITE_FOLDER", home.path())
        .env("SUITE_PROGRAM", program())
        .env("SUITE_S3", format!("http://{address}"))
        .env("SUITE_S3_KEY", PAIR.0)
        .env("SUITE_S3_SECRET", PAIR.1)
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .status()
        .unwrap();
    assert!(status.success(), "{suite}: {status}\n{}", daemon.log());
    let ended = daemon.stop();
    assert!(ended.status.success(), "{suite}: the daemon ended with {ended:?}");
}

#[test]
fn s3_by_boto3() {
    run("s3_boto3");
}

#[test]
fn s3_by_aws_cli() {
    run("s3_aws");
}

#[test]
fn s3_by_minio_py() {
    run("s3_minio");
}
