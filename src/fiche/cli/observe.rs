//! `dripctl fiche observe`, `observers` and `observer …`: who is told of changes.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{FicheClient, read_config};
use crate::fiche::{Delivery, DeliveryState, Observer};
use crate::kernel::cli::{Output, read_input};
use crate::kernel::{Error, Kind, Result};

/// Whom to tell, and of what.
#[derive(Debug, Args)]
pub struct ObserveArgs {
    /// The observer's name
    name: String,
    /// Where messages are posted: http or https
    url: String,
    /// Only cards of these kinds
    #[arg(long, value_delimiter = ',', value_name = "KIND,…")]
    kinds: Vec<String>,
    /// Only these of card.saved, card.deleted, card.staged, card.conflicted
    #[arg(long, value_delimiter = ',', value_name = "EVENT,…")]
    events: Vec<String>,
    /// Only cards whose names fit one of these, such as 'wind-*'
    #[arg(long, value_delimiter = ',', value_name = "PATTERN,…")]
    names: Vec<String>,
    /// Only cards that are in one of these stages then
    #[arg(long, value_delimiter = ',', value_name = "STAGE,…")]
    stages: Vec<String>,
    /// Read what messages are signed with from standard input
    #[arg(long)]
    secret_stdin: bool,
    /// What it is, in a sentence
    #[arg(long)]
    summary: Option<String>,
    /// What else there is to say
    #[arg(long)]
    remark: Option<String>,
    /// Text or JSON; @FILE reads a file
    #[arg(long)]
    config: Option<String>,
    /// Keep it, and tell it nothing yet
    #[arg(long)]
    paused: bool,
}

/// What to do with one observer.
#[derive(Debug, Subcommand)]
pub enum ObserverCommand {
    /// Show an observer, and how it stands
    Show {
        /// Its name
        name: String,
    },
    /// Tell it nothing until it is resumed; what happens waits for it
    Pause {
        /// Its name
        name: String,
    },
    /// Go on telling it, at once
    Resume {
        /// Its name
        name: String,
    },
    /// Show what was sent to it and what failed, newest first
    Deliveries {
        /// Its name
        name: String,
        /// delivered, failed or pending
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Tell it again what it was told
    Redeliver {
        /// Its name
        name: String,
        /// From this number of the feed on
        #[arg(long)]
        from: u64,
        /// Up to this one; up to the last that was told unless given
        #[arg(long)]
        to: Option<u64>,
    },
    /// Delete it, with its log
    #[command(visible_alias = "delete")]
    Rm {
        /// Its name
        name: String,
    },
}

pub(super) async fn observe(fiche: &FicheClient, args: ObserveArgs, out: Output) -> Result<()> {
    let name = args.name.clone();
    let observer = fiche.observe(&name, &args.document()?, None).await?;
    let signed = if observer.has_secret { "signed" } else { "not signed: --secret-stdin" };
    let said = format!(
        "{name} is told from change {} on at {} ({signed})",
        observer.state.cursor + 1,
        observer.url
    );
    out.done(&said, &observer)
}

impl ObserveArgs {
    fn document(self) -> Result<Value> {
        let mut document = Map::new();
        document.insert("url".to_owned(), self.url.into());
        let lists = [
            ("kinds", self.kinds),
            ("events", self.events),
            ("names", self.names),
            ("stages", self.stages),
        ];
        for (field, list) in lists {
            document.insert(field.to_owned(), list.into());
        }
        for (field, text) in [("summary", self.summary), ("remark", self.remark)] {
            if let Some(text) = text {
                document.insert(field.to_owned(), text.into());
            }
        }
        if let Some(config) = self.config {
            document.insert("config".to_owned(), read_config(&config)?);
        }
        if self.secret_stdin {
            document.insert("secret".to_owned(), read_secret()?.into());
        }
        document.insert("enabled".to_owned(), (!self.paused).into());
        Ok(Value::Object(document))
    }
}

/// One line, without its end.
fn read_secret() -> Result<String> {
    let text = String::from_utf8_lossy(&read_input("-")?).into_owned();
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Error::new(
            Kind::Usage,
            "no_secret",
            "standard input holds no secret: write one line into it",
        )),
    }
}

pub(super) async fn list(fiche: &FicheClient, out: Output) -> Result<()> {
    let mut observers = fiche.observers().await?;
    if !out.is_json() {
        observers.iter_mut().for_each(flatten);
    }
    let fields = ["name", "status", "behind", "delivered", "failures", "last_error", "url"];
    out.rows(&observers, &fields, "no observers; make one with `dripctl fiche observe NAME URL`")
}

/// How it stands, beside what it is.
fn flatten(observer: &mut Value) {
    if let Some(fields) = observer.as_object_mut()
        && let Some(Value::Object(state)) = fields.shift_remove("state")
    {
        fields.extend(state);
    }
}

fn show(observer: &Observer, out: Output) -> Result<()> {
    let mut shown = document_of(observer)?;
    if !out.is_json() {
        flatten(&mut shown);
    }
    out.object(&shown)
}

fn document_of(observer: &Observer) -> Result<Value> {
    serde_json::to_value(observer)
        .map_err(|source| Error::internal(format!("an observer: {source}")))
}

pub(super) async fn one(fiche: &FicheClient, what: ObserverCommand, out: Output) -> Result<()> {
    match what {
        ObserverCommand::Show { name } => show(&fiche.observer(&name).await?, out),
        ObserverCommand::Pause { name } => enable(fiche, &name, false, out).await,
        ObserverCommand::Resume { name } => enable(fiche, &name, true, out).await,
        ObserverCommand::Deliveries { name, state, limit } => {
            let state = state.as_deref().map(str::parse).transpose()?;
            deliveries(&fiche.deliveries(&name, state, limit).await?, state, out)
        }
        ObserverCommand::Redeliver { name, from, to } => {
            let again = fiche.redeliver(&name, from, to).await?;
            let said = format!("{name} is told {} changes again", again.events);
            out.done(&said, &again)
        }
        ObserverCommand::Rm { name } => {
            fiche.forget_observer(&name).await?;
            out.done(&format!("deleted the observer {name}"), &json!({ "deleted": name }))
        }
    }
}

/// Everything as it is but for that; the secret stays, since it is left out.
async fn enable(fiche: &FicheClient, name: &str, enabled: bool, out: Output) -> Result<()> {
    let observer = Observer { enabled, ..fiche.observer(name).await? };
    let saved = fiche.observe(name, &document_of(&observer)?, Some(observer.revision)).await?;
    let did = if enabled { "is told again" } else { "is told nothing until it is resumed" };
    out.done(&format!("{name} {did}"), &saved)
}

fn deliveries(found: &[Delivery], state: Option<DeliveryState>, out: Output) -> Result<()> {
    let fields = match state {
        Some(DeliveryState::Pending) => &["number", "event", "card"][..],
        _ => &["number", "event", "card", "state", "tries", "at", "status", "error"][..],
    };
    out.rows(found, fields, "nothing was sent yet")
}
