//! `dripctl cask …`: packages on this machine, objects and packages of a daemon.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::client::CaskClient;
use crate::kernel::Result;
use crate::kernel::cli::Output;
use crate::kernel::client::Client;

#[cfg(feature = "s3-store")]
mod import;
#[cfg(feature = "s3")]
mod keys;
mod local;
mod remote;
mod requirement;
mod store;
mod transfer;

/// Artifacts and packages.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a workspace here: `.cask` with objects, scripts, configs and logs.
    CreateWorkspace {
        /// The folder; this one unless told otherwise.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Copy files and folders into the workspace; folders keep their structure.
    Add(AddArgs),
    /// Pack the workspace into NAME-VERSION.caskpkg in this folder.
    GeneratePackage(PackageArgs),
    /// Show what a package file holds.
    Inspect {
        /// The `.caskpkg` file.
        file: PathBuf,
    },
    /// Check a package file against its own RECORD; without one, every byte that the daemon keeps.
    Verify {
        /// The `.caskpkg` file.
        file: Option<PathBuf>,
    },
    /// Unpack a package into a folder.
    InstallPackage(InstallArgs),
    /// Send a package file to the daemon.
    Push {
        /// The `.caskpkg` file.
        file: PathBuf,
        /// Its name, where the package does not say it.
        #[arg(long)]
        name: Option<String>,
        /// Its version, where the package does not say it.
        #[arg(long)]
        version: Option<String>,
    },
    /// Fetch a package from the daemon into NAME-VERSION.caskpkg.
    Pull {
        /// NAME, NAME@VERSION or a range such as 'wind-power>=1.2,<2'; the highest that there is.
        package: String,
        /// Where to write it.
        #[arg(long)]
        to: Option<PathBuf>,
    },
    /// List the buckets, the objects of one, or packages.
    Ls {
        /// BUCKET or BUCKET/PREFIX; the buckets when nothing is given.
        place: Option<String>,
        /// Packages, with this in their name or summary.
        #[arg(long, num_args = 0..=1, default_missing_value = "", conflicts_with = "place")]
        packages: Option<String>,
    },
    /// Put a file into a bucket.
    Put {
        /// BUCKET/KEY.
        place: String,
        /// The file; `-` for standard input.
        file: String,
        /// Its media type.
        #[arg(long, default_value = "application/octet-stream")]
        content_type: String,
    },
    /// Fetch an object.
    Get {
        /// BUCKET/KEY.
        place: String,
        /// A version of it; the newest unless one is named.
        #[arg(long)]
        version: Option<String>,
        /// Where to write it; the last part of its key in this folder unless told otherwise.
        #[arg(long)]
        to: Option<PathBuf>,
    },
    /// Copy an object without sending its bytes again.
    Cp {
        /// BUCKET/KEY.
        from: String,
        /// BUCKET/KEY.
        to: String,
        /// A version of it; the newest unless one is named.
        #[arg(long)]
        version: Option<String>,
    },
    /// Move an object to another key or bucket.
    Mv {
        /// BUCKET/KEY.
        from: String,
        /// BUCKET/KEY.
        to: String,
    },
    /// Show what the keys of a bucket hold and held.
    Versions {
        /// BUCKET or BUCKET/PREFIX.
        place: String,
    },
    /// Make a bucket, or change what it allows; show it when nothing is to be changed.
    Bucket(BucketArgs),
    /// The pairs of keys that S3 clients sign with.
    #[cfg(feature = "s3")]
    #[command(subcommand)]
    Key(KeyCommand),
    /// Delete an object, or with --package NAME@VERSION a version of a package.
    Rm {
        /// BUCKET/KEY.
        #[arg(required_unless_present = "package")]
        place: Option<String>,
        /// One version of the object, for good.
        #[arg(long, conflicts_with = "package")]
        version: Option<String>,
        /// NAME@VERSION.
        #[arg(long, conflicts_with = "place")]
        package: Option<String>,
    },
    /// Take in a bucket of another S3 store, such as MinIO. What is here already is not sent again.
    #[cfg(feature = "s3-store")]
    Import(ImportArgs),
    /// Put a file into a bucket under its own name.
    UploadFile {
        /// The file.
        file: PathBuf,
        /// The bucket.
        #[arg(long, default_value = "models")]
        bucket: String,
        /// The key; the file's name unless told otherwise.
        #[arg(long)]
        key: Option<String>,
    },
    /// Fetch an object of a bucket.
    DownloadFile {
        /// The key.
        key: String,
        /// The bucket.
        #[arg(long, default_value = "models")]
        bucket: String,
        /// Where to write it; the last part of its key in this folder unless told otherwise.
        #[arg(long)]
        to: Option<PathBuf>,
    },
}

/// What goes into the workspace.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true)]
pub struct AddArgs {
    /// Models, tables: things that are used.
    #[arg(long, num_args = 1.., group = "what")]
    objects: Vec<PathBuf>,
    /// What is run.
    #[arg(long, num_args = 1.., group = "what")]
    scripts: Vec<PathBuf>,
    /// What sets it up.
    #[arg(long, num_args = 1.., group = "what")]
    configs: Vec<PathBuf>,
    /// Move instead of copying.
    #[arg(long = "move")]
    take_away: bool,
    /// The folder of the workspace.
    #[arg(long, default_value = ".")]
    workspace: PathBuf,
}

/// What a package says of itself.
#[derive(Debug, Args)]
pub struct PackageArgs {
    /// Its name.
    #[arg(long)]
    name: String,
    /// Its version.
    #[arg(long)]
    version: String,
    /// One line of what it is.
    #[arg(long, default_value = "")]
    summary: String,
    /// Who made it.
    #[arg(long, default_value = "")]
    author: String,
    /// How to reach them.
    #[arg(long, default_value = "")]
    authoremail: String,
    /// Where it lives.
    #[arg(long, default_value = "")]
    homepage: String,
    /// Under which licence it may be used.
    #[arg(long, default_value = "")]
    license: String,
    /// What it needs: NAME@VERSION, as often as needed.
    #[arg(long)]
    requires: Vec<String>,
    /// The file that is run or read first, under `.cask/`.
    #[arg(long)]
    entry: Option<String>,
    /// The folder of the workspace.
    #[arg(long, default_value = ".")]
    workspace: PathBuf,
}

/// What is installed where.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// A `.caskpkg` file, or NAME, NAME@VERSION or a range such as 'wind-power>=1.2,<2' of the daemon.
    package: String,
    /// The folder, which must be empty or new.
    #[arg(long)]
    to: PathBuf,
    /// Replace what the package brings where the folder is not empty; the rest stays.
    #[arg(long)]
    force: bool,
    /// Run `.cask/scripts/install.sh` afterwards, in a clean environment.
    #[arg(long)]
    run_scripts: bool,
}

/// Where a bucket of another store is, and where its objects go.
#[cfg(feature = "s3-store")]
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// s3://BUCKET or s3://BUCKET/PREFIX.
    source: String,
    /// The address of the store, such as `http://minio.example:9000`; Amazon's unless it is given.
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    endpoint: Option<String>,
    /// The region that requests are signed for.
    #[arg(long, env = "AWS_DEFAULT_REGION", default_value = "us-east-1")]
    region: String,
    /// The access key of the store.
    #[arg(long, env = "AWS_ACCESS_KEY_ID")]
    access_key: String,
    /// The secret key of the store; better in the environment than here.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: String,
    /// The bucket that takes them; the one of the same name unless it is given. It is made where it is
    /// missing.
    #[arg(long)]
    to: Option<String>,
    /// Only say what would be taken in.
    #[arg(long)]
    dry_run: bool,
}

/// What a bucket allows.
#[derive(Debug, Args)]
pub struct BucketArgs {
    /// Its name.
    bucket: String,
    /// The most bytes it may hold, such as 10GiB; `none` for no limit.
    #[arg(long)]
    max_bytes: Option<String>,
    /// How old an object may become, such as 30d; `none` for ever.
    #[arg(long)]
    ttl: Option<String>,
    /// How many previous versions of each object are kept.
    #[arg(long)]
    versions: Option<u32>,
    /// Whether the least recently used objects go when it is full.
    #[arg(long)]
    evict: Option<bool>,
    /// Delete the bucket, which must be empty.
    #[arg(long, conflicts_with_all = ["max_bytes", "ttl", "versions", "evict"])]
    delete: bool,
}

/// Pairs of keys.
#[cfg(feature = "s3")]
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a pair; its secret is shown this once.
    Add {
        /// What it is for.
        #[arg(default_value = "")]
        note: String,
        /// The access key; one is made up unless it is given.
        #[arg(long)]
        access_key: Option<String>,
        /// It may only read.
        #[arg(long)]
        read_only: bool,
    },
    /// List the pairs.
    List,
    /// Take a pair back.
    Remove {
        /// The access key.
        access_key: String,
    },
}

/// Runs a command.
pub async fn run(command: Command, client: &Client, out: Output) -> Result<()> {
    let cask = CaskClient::new(client);
    match command {
        Command::CreateWorkspace { folder } => local::create(&folder, out),
        Command::Add(args) => local::add(&args, out),
        Command::GeneratePackage(args) => local::generate(args, out),
        Command::Inspect { file } => local::inspect(&file, out),
        Command::Verify { file: Some(file) } => local::verify(&file, out),
        Command::Verify { file: None } => store::verify(&cask, out).await,
        Command::Cp { from, to, version } => store::copy(&cask, &from, &to, version, out).await,
        Command::Mv { from, to } => store::relocate(&cask, &from, &to, out).await,
        Command::Versions { place } => store::versions(&cask, &place, out).await,
        Command::Bucket(args) => store::bucket(&cask, args, out).await,
        #[cfg(feature = "s3")]
        Command::Key(command) => keys::run(&cask, command, out).await,
        Command::InstallPackage(args) => remote::install(&cask, args, out).await,
        Command::Push { file, name, version } => {
            remote::push(&cask, &file, name, version, out).await
        }
        Command::Pull { package, to } => remote::pull(&cask, &package, to, out).await,
        Command::Ls { place, packages } => remote::list(&cask, place, packages, out).await,
        Command::Put { place, file, content_type } => {
            remote::put(&cask, &place, &file, &content_type, out).await
        }
        Command::Get { place, version, to } => {
            let (bucket, key) = remote::split(&place)?;
            remote::get(&cask, bucket, key, version.as_deref(), to, out).await
        }
        Command::Rm { place, version, package } => {
            remote::remove(&cask, place, version, package, out).await
        }
        #[cfg(feature = "s3-store")]
        Command::Import(args) => import::run(&cask, args, out).await,
        Command::UploadFile { file, bucket, key } => {
            remote::upload(&cask, &file, &bucket, key, out).await
        }
        Command::DownloadFile { key, bucket, to } => {
            remote::get(&cask, &bucket, &key, None, to, out).await
        }
    }
}
