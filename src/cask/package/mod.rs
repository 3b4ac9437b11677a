//! Packages as files: what a `.caskpkg` is, without a daemon and without a store.
//!
//! A package is a `tar.gz` whose content lies under `.cask/objects`, `.cask/scripts`,
//! `.cask/configs` and `.cask/logs`. `.cask/METADATA.toml` says what it is, `.cask/RECORD` lists
//! every file with its SHA-256 and size. Packages without those two, as older tools wrote them, are
//! read and installed as they are.
//!
//! - [`pack()`] and [`Parcel`] write one: the same content gives the same bytes.
//! - [`inspect`] reads one to its end and tells what it holds; [`verify`] also asks for a RECORD.
//! - [`install()`] unpacks one into a folder.
//!
//! An archive is hostile until it was read to its end: see [`Limits`] and the faults in
//! `package_refused`. Nothing here follows a link, keeps a mode, or writes outside its folder.
//!
//! ```
//! use drip::cask::package::{Metadata, Parcel, Section, inspect};
//!
//! let mut parcel = Parcel::new(Metadata::new("wind-power", "1.0.0"));
//! parcel.add_bytes(Section::Scripts, "curve.rhai", b"fn curve(x) { x }".to_vec())?;
//! let bytes = parcel.to_bytes()?;
//! let contents = inspect(bytes.as_slice())?;
//! assert_eq!(contents.files[0].path, ".cask/scripts/curve.rhai");
//! # Ok::<(), drip::kernel::Error>(())
//! ```

mod install;
mod metadata;
mod pack;
mod path;
mod read;
mod record;
mod walk;
mod workspace;

pub use install::{INSTALL_SCRIPT, Installed, install};
pub use metadata::Metadata;
pub use pack::{Parcel, pack};
pub use read::{Contents, FileInfo, inspect, inspect_within, name_from_file, verify};
pub use walk::Limits;
pub use workspace::{Workspace, file_name};

/// Where a package says what it is.
pub const METADATA_PATH: &str = ".cask/METADATA.toml";
/// Where a package lists its files.
pub const RECORD_PATH: &str = ".cask/RECORD";
/// The media type of a package.
pub const MEDIA_TYPE: &str = "application/vnd.drip.caskpkg";
/// The folder that holds all sections.
pub const FOLDER: &str = ".cask";

/// The parts of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Models, tables: things that are used.
    Objects,
    /// What is run.
    Scripts,
    /// What sets it up.
    Configs,
    /// What was written while it was made.
    Logs,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Configs, Self::Logs, Self::Objects, Self::Scripts];

    /// The name of its folder.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Objects => "objects",
            Self::Scripts => "scripts",
            Self::Configs => "configs",
            Self::Logs => "logs",
        }
    }
}
