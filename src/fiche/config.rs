//! The settings of fiche.

use super::kinds::Kinds;
use super::moves::Moves;
use crate::kernel::Result;
use crate::kernel::config::{Key, KeyKind, Rule, Settings};

/// What `drip.toml` may say under `[fiche]`, and where the old paths of fiche are.
pub const KEYS: &[Key] = &[
    Key::optional(
        "fiche.records",
        KeyKind::Text,
        "Where cards are kept, when not in the data folder.",
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
];

/// The settings, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The URL of the store for the records; none for one in the data folder.
    pub records: Option<String>,
    /// The kinds of cards.
    pub kinds: Kinds,
    /// Where a card may go from each stage.
    pub stages: Moves,
}

impl Config {
    /// Reads them.
    pub fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            records: settings.given("fiche.records", Settings::text)?.map(str::to_owned),
            kinds: Kinds::read(settings.table("fiche.kinds")?)?,
            stages: Moves::read(settings.table("fiche.stages")?)?,
        })
    }
}
