//! The pairs of keys that S3 clients sign with.

use serde_json::json;

use super::KeyCommand;
use crate::cask::client::CaskClient;
use crate::cask::keys::NewKey;
use crate::kernel::Result;
use crate::kernel::cli::Output;

pub(super) async fn run(cask: &CaskClient, command: KeyCommand, out: Output) -> Result<()> {
    match command {
        KeyCommand::Add { note, access_key, read_only } => {
            let made = cask.make_key(&NewKey { access_key, note, read_only }).await?;
            let told = format!(
                "access key: {}\nsecret key: {}\nThe secret is shown this once.",
                made.key.access_key, made.secret_key
            );
            out.done(&told, &made)
        }
        KeyCommand::List => {
            let fields = ["access_key", "note", "read_only", "created_at", "created_by"];
            let empty =
                "no pairs but the one in drip.toml, if any: make one with `dripctl cask key add`";
            out.rows(&cask.keys().await?, &fields, empty)
        }
        KeyCommand::Remove { access_key } => {
            cask.delete_key(&access_key).await?;
            let told = format!("took the access key {access_key} back");
            out.done(&told, &json!({"deleted": access_key}))
        }
    }
}
