//! The settings of fiche.

use super::kinds::Kinds;
use super::moves::Moves;
use crate::kernel::config::{Key, KeyKind, Rule, Secret, Settings};
#[cfg(feature = "client")]
use crate::kernel::push::Terms;
use crate::kernel::{Error, Kind, Name, Result};

/// What `drip.toml` may say under `[fiche]` and `[observers]`, and where the old paths of fiche are.
pub const KEYS: &[Key] = &[
    Key::secret(
        "fiche.records",
        "Where cards are kept, when not in the data folder: \"mongodb://user:password@host/database\".",
    ),
    Key::optional(
        "fiche.upstream.url",
        KeyKind::Text,
        "Another Drip that the cards are pushed to, such as \"https://drip.example.org\".",
    ),
    Key::secret(
        "fiche.upstream.token",
        "An API token of that Drip, made there with the scope fiche:write.",
    ),
    Key::optional(
        "fiche.upstream.node",
        KeyKind::Text,
        "The name of this node, which pushed cards keep; the host's name unless told.",
    ),
    Key::new(
        "fiche.kinds",
        KeyKind::Table,
        "{}",
        "Kinds of one's own: { site = { fields = [\"region\"], references = { data = [\"dataset\"] } } }.",
    ),
    Key::new(
        "fiche.stages",
        KeyKind::Table,
        "{}",
        "Where a card may go from a stage: { experiment = [\"development\"] }; what is not named stays.",
    ),
    Key::new(
        "compat.fiche",
        KeyKind::Text,
        r#""127.0.0.1:11811""#,
        "Where the paths of fiche in Drip 0.1 are: /info_manager and /observer.",
    )
    .must(Rule::Address),
    Key::new(
        "observers.allow_private",
        KeyKind::Bool,
        "false",
        "Let observers be at loopback, private and link-local addresses.",
    ),
];

/// The settings, read.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The URL of the store for the records; none for one in the data folder.
    pub records: Option<Secret>,
    /// Where cards are pushed to.
    pub upstream: Upstream,
    /// The kinds of cards.
    pub kinds: Kinds,
    /// Where a card may go from each stage.
    pub stages: Moves,
    /// On which terms observers are told.
    #[cfg(feature = "client")]
    pub push: Terms,
}

/// Where cards are pushed to, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    /// The address of another Drip; none to push to none.
    pub url: Option<String>,
    /// An API token of it.
    pub token: Option<Secret>,
    /// The name of this node; the host's name unless told.
    pub node: Option<Name>,
}

impl Upstream {
    fn read(settings: &Settings) -> Result<Self> {
        let text =
            |key: &str| Ok::<_, Error>(settings.given(key, Settings::text)?.map(str::to_owned));
        let url = text("fiche.upstream.url")?.filter(|url| !url.is_empty());
        let token = settings.given("fiche.upstream.token", Settings::secret)?.cloned();
        let node = text("fiche.upstream.node")?
            .map(|name| Name::new(&name).map_err(|bad| wrong("fiche.upstream.node", bad.detail())));
        if let Some(url) = &url {
            check_url(url)?;
            if token.is_none() {
                let why = "is missing: make one at the upstream with `dripctl token create NAME --scope fiche:write`";
                return Err(wrong("fiche.upstream.token", why));
            }
        }
        Ok(Self { url, token, node: node.transpose()? })
    }
}

fn check_url(url: &str) -> Result<()> {
    const KEY: &str = "fiche.upstream.url";
    if !cfg!(feature = "client") {
        return Err(wrong(KEY, "is set, and this build leaves pushing out"));
    }
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if !host.is_some_and(|host| host.starts_with(|c: char| c.is_alphanumeric() || c == '[')) {
        return Err(wrong(KEY, "must be an address such as https://drip.example.org"));
    }
    if url.contains(['?', '#', '@', ' ']) {
        return Err(wrong(KEY, "must hold a host, a port and a path only; the token stands apart"));
    }
    if url.starts_with("https://") && !cfg!(feature = "tls") {
        return Err(wrong(KEY, "says https, and this build leaves TLS out: go by a proxy near by"));
    }
    Ok(())
}

fn wrong(key: &str, why: &str) -> Error {
    Error::new(Kind::Config, "bad_upstream", format!("{key} {why}"))
}

impl Config {
    /// Reads them.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            records: settings.given("fiche.records", Settings::secret)?.cloned(),
            upstream: Upstream::read(settings)?,
            kinds: Kinds::read(settings.table("fiche.kinds")?)?,
            stages: Moves::read(settings.table("fiche.stages")?)?,
            #[cfg(feature = "client")]
            push: Terms {
                allow_private: settings.bool("observers.allow_private")?,
                ..Terms::default()
            },
        })
    }
}

#[cfg(test)]
#[cfg(feature = "client")]
mod tests {
    use super::*;
    use crate::kernel::config::LoadOptions;

    fn read(variables: &[(&str, &str)]) -> Result<Upstream> {
        let all = variables
            .iter()
            .map(|(name, value)| (format!("DRIP_FICHE__UPSTREAM__{name}"), (*value).to_owned()));
        let settings = Settings::load(LoadOptions::new(&[KEYS]).env(all))?;
        Upstream::read(&settings)
    }

    #[test]
    fn an_upstream_needs_an_address_and_a_token_and_never_shows_it() {
        let good = read(&[("URL", "http://10.0.0.1:22315"), ("TOKEN", "drip_x"), ("NODE", "风场")]);
        let good = good.unwrap();
        assert_eq!(good.node.as_ref().unwrap().as_str(), "风场");
        assert!(!format!("{good:?}").contains("drip_x"));
        for (variables, word) in [
            (vec![("URL", "http://centre")], "token"),
            (vec![("URL", "ftp://centre"), ("TOKEN", "t")], "url"),
            (vec![("URL", "centre:22315"), ("TOKEN", "t")], "url"),
            (vec![("URL", "http://"), ("TOKEN", "t")], "url"),
            (vec![("URL", "http://ada:secret@centre"), ("TOKEN", "t")], "url"),
            (vec![("NODE", "a/b")], "node"),
            (vec![("NODE", "a\u{7}")], "node"),
        ] {
            let refused = read(&variables).unwrap_err();
            assert_eq!((refused.kind(), refused.code()), (Kind::Config, "bad_upstream"));
            assert!(refused.detail().starts_with(&format!("fiche.upstream.{word}")), "{refused}");
        }
        assert_eq!(read(&[]).unwrap().url, None);
    }
}
