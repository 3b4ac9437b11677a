//! The commands against a daemon on a free port.

use std::path::Path;

use clap::Parser;
use drip::cask::cli::{Command, run};
use drip::kernel::Result;
use drip::kernel::cli::Output;
use drip::kernel::client::Client;

use super::{Store, ada, noise};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// A daemon that takes everyone for ada, and a client of it.
async fn serve(store: &Store) -> Client {
    let routes = drip::cask::http::routes(store.cask.clone());
    let router = routes.into_router().layer(axum::middleware::from_fn(
        |mut request: axum::extract::Request, next: axum::middleware::Next| async {
            request.extensions_mut().insert(ada());
            next.run(request).await
        },
    ));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(&format!("http://{address}"), None).unwrap()
}

async fn cask(client: &Client, line: &[&str]) -> Result<()> {
    let line = std::iter::once("cask").chain(line.iter().copied());
    let Line { command } = Line::try_parse_from(line).unwrap();
    run(command, client, Output::new(true)).await
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_up_and_comes_down() {
    let store = Store::new();
    let client = serve(&store).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, back) = (folder.path().join("model 1.bin"), folder.path().join("back.bin"));
    std::fs::write(&file, noise(3 << 20, 1)).unwrap();
    cask(&client, &["upload-file", text(&file)]).await.unwrap();
    assert_eq!(store.cask.get("models", "model 1.bin").unwrap().size(), 3 << 20);
    cask(&client, &["download-file", "model 1.bin", "--to", text(&back)]).await.unwrap();
    assert_eq!(std::fs::read(&back).unwrap(), noise(3 << 20, 1));
    cask(&client, &["put", "datasets/a/b.csv", text(&file), "--content-type", "text/csv"])
        .await
        .unwrap();
    cask(&client, &["get", "datasets/a/b.csv", "--to", text(&back)]).await.unwrap();
    for line in [&["ls"][..], &["ls", "datasets/a"], &["ls", "--packages"]] {
        cask(&client, line).await.unwrap();
    }
    cask(&client, &["rm", "datasets/a/b.csv"]).await.unwrap();
    let gone = cask(&client, &["get", "datasets/a/b.csv", "--to", text(&back)]).await.unwrap_err();
    assert_eq!(gone.code(), "object_not_found");
    let wrong = cask(&client, &["rm", "datasets"]).await.unwrap_err();
    assert_eq!(wrong.kind().exit_code(), 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no part of a file stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_goes_from_a_workspace_to_another_folder() {
    let store = Store::new();
    let client = serve(&store).await;
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let script = "env | grep -c SECRET_OF_OURS > leaked; echo \"$PWD\" > ran\n";
    std::fs::write(at("install.sh"), script).unwrap();
    std::fs::write(at("model.bin"), noise(1000, 1)).unwrap();
    let workspace = at("w");
    cask(&client, &["create-workspace", text(&workspace)]).await.unwrap();
    let (model, install) = (at("model.bin"), at("install.sh"));
    let add = [
        "add",
        "--objects",
        text(&model),
        "--scripts",
        text(&install),
        "--workspace",
        text(&workspace),
    ];
    cask(&client, &add).await.unwrap();
    let metadata = drip::cask::package::Metadata::new("wind-power", "1.2.0");
    let bytes = drip::cask::package::pack(&workspace, metadata).unwrap();
    let package = at("wind-power-1.2.0.caskpkg");
    std::fs::write(&package, bytes).unwrap();
    for line in ["inspect", "verify", "push", "push"] {
        cask(&client, &[line, text(&package)]).await.unwrap();
    }
    let pulled = at("pulled.caskpkg");
    cask(&client, &["pull", "wind-power", "--to", text(&pulled)]).await.unwrap();
    assert_eq!(std::fs::read(&pulled).unwrap(), std::fs::read(&package).unwrap());

    let (plain, run) = (at("plain"), at("run"));
    cask(&client, &["install-package", text(&package), "--to", text(&plain)]).await.unwrap();
    assert!(!plain.join("ran").exists());
    let line = ["install-package", "wind-power@1.2.0", "--to", text(&run), "--run-scripts"];
    cask(&client, &line).await.unwrap();
    assert!(std::fs::read_to_string(run.join("ran")).unwrap().ends_with("/run\n"));
    let again = cask(&client, &line).await.unwrap_err();
    assert_eq!(again.code(), "target_not_empty");
    cask(&client, &["rm", "--package", "wind-power@1.2.0"]).await.unwrap();
    let gone = cask(&client, &["pull", "wind-power", "--to", text(&pulled)]).await.unwrap_err();
    assert_eq!(gone.code(), "package_not_found");
}
