//! What every command needs to know: the settings, the daemon's address, the credential.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::app;
use crate::kernel::cli::Output;
use crate::kernel::client::Client;
use crate::kernel::config::{LoadOptions, Settings};
use crate::kernel::disk;
use crate::kernel::error::{Error, Kind, Result};

/// What was given on the command line beside the command.
pub(super) struct Context {
    pub(super) url: Option<String>,
    pub(super) token: Option<String>,
    pub(super) config: Option<PathBuf>,
    pub(super) out: Output,
}

impl Context {
    /// The settings of all layers; `flags` are the topmost.
    pub(super) fn settings(&self, flags: Vec<(&'static str, String)>) -> Result<Settings> {
        let schema = app::schema();
        let options = LoadOptions::new(&schema)
            .file(self.config.clone())
            .default_file("drip.toml")
            .env(std::env::vars())
            .flags(flags);
        Settings::load(options)
    }

    /// The daemon's address: as given, or where a daemon with these settings would listen.
    pub(super) fn address(&self) -> Result<String> {
        match &self.url {
            Some(url) => Ok(url.trim_end_matches('/').to_owned()),
            None => Ok(format!("http://{}", self.settings(Vec::new())?.text("server.listen")?)),
        }
    }

    /// A client with the token that was given, or the one that `login` kept for this address.
    pub(super) fn client(&self) -> Result<Client> {
        let address = self.address()?;
        let token = match &self.token {
            Some(token) => Some(token.clone()),
            None => Kept::load()?.tokens.remove(&address),
        };
        Client::new(&address, token)
    }
}

/// The tokens that `login` keeps, by address, in a file that only its owner reads.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Kept {
    #[serde(default)]
    pub(super) tokens: BTreeMap<String, String>,
}

impl Kept {
    pub(super) fn load() -> Result<Self> {
        let Some(path) = kept_path() else {
            return Ok(Self::default());
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|source| {
                Error::new(Kind::Config, "bad_credentials", format!("{}: {source}", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io(format!("read {}", path.display()), error)),
        }
    }

    pub(super) fn save(&self) -> Result<()> {
        let path = kept_path().ok_or_else(|| {
            let why = "neither XDG_CONFIG_HOME nor HOME is set: give --token each time";
            Error::new(Kind::Config, "no_home", why)
        })?;
        if let Some(folder) = path.parent() {
            disk::make_folder(folder)?;
        }
        let text = toml::to_string(self)
            .map_err(|source| Error::internal(format!("write credentials: {source}")))?;
        disk::replace_file(&path, text.as_bytes(), 0o600)
    }
}

fn kept_path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = folder("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| folder("HOME").map(|home| Path::new(&home).join(".config")))?;
    Some(base.join("drip").join("credentials.toml"))
}
