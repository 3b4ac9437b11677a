//! What needs no daemon: workspaces and package files.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use super::{AddArgs, PackageArgs};
use crate::cask::error;
use crate::cask::package::{
    self, Contents, INSTALL_SCRIPT, Installed, Metadata, Section, Workspace, file_name,
};
use crate::kernel::cli::Output;
use crate::kernel::name::new_id;
use crate::kernel::{Error, Name, Result, disk};

pub(super) fn create(folder: &Path, out: Output) -> Result<()> {
    Workspace::create(folder)?;
    let shown = folder.join(package::FOLDER).display().to_string();
    let next = "fill it with `dripctl cask add`";
    out.done(&format!("made {shown}: {next}"), &json!({"workspace": shown}))
}

pub(super) fn add(args: &AddArgs, out: Output) -> Result<()> {
    let workspace = Workspace::open(&args.workspace)?;
    let mut count = 0;
    for (section, paths) in [
        (Section::Objects, &args.objects),
        (Section::Scripts, &args.scripts),
        (Section::Configs, &args.configs),
    ] {
        for path in paths {
            count += workspace.add(section, path, args.take_away)?;
        }
    }
    out.done(&format!("added {count} files"), &json!({"files": count}))
}

pub(super) fn generate(args: PackageArgs, out: Output) -> Result<()> {
    Name::new(&args.name)?;
    Name::new(&args.version)?;
    let workspace = Workspace::open(&args.workspace)?;
    let file = file_name(&args.name, &args.version);
    let metadata = Metadata {
        summary: args.summary,
        author: args.author,
        authoremail: args.authoremail,
        homepage: args.homepage,
        license: args.license,
        requires: args.requires,
        entry: args.entry,
        ..Metadata::new(args.name, args.version)
    };
    let parcel = workspace.parcel(metadata)?;
    let size = write_whole(Path::new(&file), |staged| {
        let staged = parcel.write(staged)?;
        let size = staged.metadata().map(|meta| meta.len());
        let synced = size.and_then(|size| staged.sync_all().map(|()| size));
        synced.map_err(|source| Error::io(format!("write {file}"), source))
    })?;
    out.done(
        &format!("wrote {file} ({size} bytes): send it with `dripctl cask push {file}`"),
        &json!({"file": file, "bytes": size}),
    )
}

/// Writes a file beside its place and moves it there when it is whole.
fn write_whole<T>(place: &Path, write: impl FnOnce(File) -> Result<T>) -> Result<T> {
    let staged = place.with_file_name(format!(".drip-{}.part", new_id()));
    let failed = |source| Error::io(format!("write {}", place.display()), source);
    let outcome = File::create_new(&staged).map_err(failed).and_then(write);
    let outcome = outcome.and_then(|answer| {
        std::fs::rename(&staged, place).map_err(failed)?;
        Ok(answer)
    });
    if outcome.is_err() {
        // The failure is what people must hear of, not that its remains could not be removed.
        let _gone = std::fs::remove_file(&staged);
    } else {
        disk::sync_parent(place)?;
    }
    outcome
}

pub(super) fn open(file: &Path) -> Result<File> {
    File::open(file).map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            error::no_such_file(file)
        } else {
            Error::io(format!("read {}", file.display()), source)
        }
    })
}

pub(super) fn inspect(file: &Path, out: Output) -> Result<()> {
    let contents = package::inspect(open(file)?)?;
    if out.is_json() {
        return out.object(&contents);
    }
    match &contents.metadata {
        Some(metadata) => out.object(metadata)?,
        None => out.line("the package says nothing of itself: an older tool wrote it")?,
    }
    out.line("")?;
    out.rows(&contents.files, &["path", "size", "sha256"], "it holds no files")
}

pub(super) fn verify(file: &Path, out: Output) -> Result<()> {
    let contents = package::verify(open(file)?)?;
    let Contents { files, bytes, .. } = &contents;
    let count = files.len();
    out.done(
        &format!("{}: {count} files, {bytes} bytes, all as RECORD says", file.display()),
        &json!({"files": count, "bytes": bytes, "verified": true}),
    )
}

pub(super) fn install(
    file: &Path,
    to: &Path,
    force: bool,
    run_scripts: bool,
    out: Output,
) -> Result<()> {
    let installed = package::install(open(file)?, to, force)?;
    let Installed { files, bytes, .. } = &installed;
    let mut told = format!("installed {files} files, {bytes} bytes into {}", to.display());
    if installed.has_script && !run_scripts {
        told += "; it has an install script, which was not run (--run-scripts runs it)";
    }
    out.done(&told, &installed)?;
    if installed.has_script && run_scripts {
        return run_script(&installed.folder);
    }
    Ok(())
}

/// Runs the install script with nothing of our environment but a path.
fn run_script(folder: &Path) -> Result<()> {
    let status = std::process::Command::new("sh")
        .arg(INSTALL_SCRIPT)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .status()
        .map_err(|source| Error::io("run the install script", source))?;
    if status.success() {
        Ok(())
    } else {
        Err(error::script_failed(&format!("ended with {status}")))
    }
}
