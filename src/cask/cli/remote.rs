//! Objects and packages of a daemon.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::requirement::{self, Requirement};
use super::{InstallArgs, local, transfer};
use crate::cask::client::CaskClient;
use crate::cask::error;
use crate::cask::package::{self, file_name, name_from_file};
use crate::kernel::cli::Output;
use crate::kernel::name::new_id;
use crate::kernel::{Result, off_thread};

/// BUCKET/KEY.
pub(super) fn split(place: &str) -> Result<(&str, &str)> {
    place
        .split_once('/')
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        .ok_or_else(|| error::usage(format!("`{place}` names no object: write BUCKET/KEY")))
}

/// The one package that NAME, NAME@VERSION or a range means: the highest version that there is.
async fn find(cask: &CaskClient, package: &str) -> Result<(String, String)> {
    let wanted = Requirement::read(package)?;
    let (name, range) = match wanted {
        Requirement::Exactly { name, version } => {
            // The version that is looked up, not `latest` again: another may come meanwhile.
            let says = cask.metadata(&name, &version).await?;
            return Ok((says.name, says.version));
        }
        Requirement::Within { name, range } => (name, range),
    };
    let all = cask.packages(&name).await?;
    let text = |package: &Value, field: &str| package.get(field)?.as_str().map(str::to_owned);
    let same = all.iter().filter(|package| text(package, "name").as_deref() == Some(&name));
    let versions: Vec<String> = same.filter_map(|package| text(package, "version")).collect();
    match requirement::highest(&versions, &range) {
        Some(version) => Ok((name, version)),
        None => Err(error::no_version_within(&name, &range.to_string(), &versions)),
    }
}

pub(super) async fn push(
    cask: &CaskClient,
    file: &Path,
    name: Option<String>,
    version: Option<String>,
    out: Output,
) -> Result<()> {
    let path = file.to_owned();
    let contents = off_thread(move || package::inspect(local::open(&path)?)).await?;
    let told = contents.metadata.map(|says| (says.name, says.version));
    let from_file = || name_from_file(file.file_name()?.to_str()?);
    let guess = told.or_else(from_file);
    let name = name.or_else(|| guess.as_ref().map(|(name, _)| name.clone()));
    let version = version.or_else(|| guess.map(|(_, version)| version));
    let (Some(name), Some(version)) = (name, version) else {
        return Err(error::usage(
            "the package does not say its name and version: give --name and --version",
        ));
    };
    let sending = transfer::sending(file, out).await?;
    let pushed = cask.push(&name, &version, sending).await?;
    out.done(&format!("pushed {name} {version} ({})", pushed.item.sha256), &pushed)
}

pub(super) async fn pull(
    cask: &CaskClient,
    package: &str,
    to: Option<PathBuf>,
    out: Output,
) -> Result<()> {
    let (name, version) = find(cask, package).await?;
    let to = to.unwrap_or_else(|| PathBuf::from(file_name(&name, &version)));
    let receiving = cask.pull(&name, &version).await?;
    let size = transfer::receive(receiving, &to, out).await?;
    let shown = to.display().to_string();
    out.done(
        &format!("fetched {name} {version} into {shown} ({size} bytes)"),
        &json!({"name": name, "version": version, "file": shown, "bytes": size}),
    )
}

pub(super) async fn install(cask: &CaskClient, args: InstallArgs, out: Output) -> Result<()> {
    let InstallArgs { package, to, force, run_scripts } = args;
    let file = PathBuf::from(&package);
    if file.is_file() {
        return off_thread(move || local::install(&file, &to, force, run_scripts, out)).await;
    }
    if package.ends_with(".caskpkg") {
        return Err(error::no_such_file(&file));
    }
    let (name, version) = find(cask, &package).await?;
    let receiving = cask.pull(&name, &version).await?;
    let staged = std::env::temp_dir().join(format!("drip-{}.caskpkg", new_id()));
    transfer::receive(receiving, &staged, out).await?;
    let fetched = staged.clone();
    let outcome = off_thread(move || local::install(&fetched, &to, force, run_scripts, out)).await;
    // What was fetched only to be installed is of no use to anyone.
    let _gone = std::fs::remove_file(&staged);
    outcome
}

pub(super) async fn list(
    cask: &CaskClient,
    place: Option<String>,
    packages: Option<String>,
    out: Output,
) -> Result<()> {
    if let Some(query) = packages {
        let found = cask.packages(&query).await?;
        let fields = ["name", "version", "size", "summary", "pushed_at", "pushed_by"];
        let empty = "no packages: make one with `dripctl cask generate-package` and push it";
        return out.rows(&found, &fields, empty);
    }
    let Some(place) = place else {
        let fields = ["name", "objects", "used_bytes", "max_bytes", "ttl"];
        return out.rows(&cask.buckets().await?, &fields, "no buckets");
    };
    let (bucket, prefix) = place.split_once('/').unwrap_or((&place, ""));
    let found = cask.list(bucket, prefix).await?;
    let empty = format!("nothing here: put something with `dripctl cask put {bucket}/KEY FILE`");
    out.rows(&found, &["key", "size", "content_type", "updated_at"], &empty)
}

pub(super) async fn put(
    cask: &CaskClient,
    place: &str,
    file: &str,
    content_type: &str,
    out: Output,
) -> Result<()> {
    let (bucket, key) = split(place)?;
    let sending = transfer::sending(Path::new(file), out).await?;
    let kept = cask.put(bucket, key, content_type, sending).await?;
    let told = format!("put {bucket}/{key} ({} bytes, {})", kept.size, kept.sha256);
    out.done(&told, &kept)
}

pub(super) async fn upload(
    cask: &CaskClient,
    file: &Path,
    bucket: &str,
    key: Option<String>,
    out: Output,
) -> Result<()> {
    let own = || Some(file.file_name()?.to_str()?.to_owned());
    let key = key
        .or_else(own)
        .ok_or_else(|| error::usage("the file has no name to use as key: give --key"))?;
    let place = format!("{bucket}/{key}");
    let file = file.display().to_string();
    put(cask, &place, &file, crate::cask::OCTETS, out).await
}

pub(super) async fn get(
    cask: &CaskClient,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    to: Option<PathBuf>,
    out: Output,
) -> Result<()> {
    let own = || key.rsplit('/').next().filter(|name| !name.is_empty() && *name != "..");
    let to = to
        .or_else(|| own().map(PathBuf::from))
        .ok_or_else(|| error::usage("the key ends in no file name: give --to"))?;
    let receiving = cask.get(bucket, key, version).await?;
    let size = transfer::receive(receiving, &to, out).await?;
    let shown = to.display().to_string();
    out.done(
        &format!("fetched {bucket}/{key} into {shown} ({size} bytes)"),
        &json!({"bucket": bucket, "key": key, "file": shown, "bytes": size}),
    )
}

pub(super) async fn remove(
    cask: &CaskClient,
    place: Option<String>,
    version: Option<String>,
    package: Option<String>,
    out: Output,
) -> Result<()> {
    if let Some(package) = package {
        let (name, version) = package
            .rsplit_once('@')
            .ok_or_else(|| error::usage("name the version to delete: NAME@VERSION"))?;
        cask.delete_package(name, version).await?;
        let told = format!("deleted {name} {version}");
        return out.done(&told, &json!({"deleted": package}));
    }
    let place = place.unwrap_or_default();
    let (bucket, key) = split(&place)?;
    cask.delete(bucket, key, version.as_deref()).await?;
    out.done(&format!("deleted {place}"), &json!({"deleted": place}))
}
