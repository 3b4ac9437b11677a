//! `dripctl config …`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::context::Context;
use crate::app;
use crate::kernel::config::{import, sample};
use crate::kernel::error::Result;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Every setting, its value, and where the value came from
    Show,
    /// A drip.toml with every setting, its default and why it is there
    Sample,
    /// Turn the YAML settings of the original platform into a drip.toml, on standard output
    Import {
        /// drip_config.yaml, and the modules' own files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(super) fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Show => {
            let rows = context.settings(Vec::new())?.show();
            context.out.rows(&rows, &["key", "value", "source"], "there are no settings")
        }
        Command::Sample => context.out.line(sample(&app::schema()).trim_end()),
        Command::Import { files } => {
            let imported = import::import(&files, &app::schema())?;
            if context.out.is_json() {
                let shown = json!({"drip_toml": imported.toml, "notes": imported.notes});
                return context.out.done("", &shown);
            }
            context.out.line(imported.toml.trim_end())?;
            let mut notes = imported.notes.iter();
            notes.try_for_each(|note| context.out.line(&format!("# note: {note}")))
        }
    }
}
