//! `dripctl fiche …`: the cards of a daemon.

mod apply;
mod bulk;
mod collections;
mod nodes;
mod observe;
mod only;
mod show;
mod texts;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::FicheClient;
use super::draft::CardDraft;
use super::kinds::Kinds;
use super::lineage::Direction;
use super::model::{Card, CardKey, Conditions, Outcome, Stage};
use super::refs::Reference;
use super::search::Search;
use super::store::Filter;
use only::Only;

use crate::kernel::cli::{Output, pairs};
use crate::kernel::client::Client;
use crate::kernel::{Error, Fault, Kind, Name, Result};
pub use observe::{ObserveArgs, ObserverCommand};

/// Cards of algorithms, models, parameters, applications and datasets.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Save a card: a new revision when its content differs
    Save(Box<SaveArgs>),
    /// Show a card
    Get {
        /// `KIND NAME [VERSION]`, or `KIND:NAME@VERSION`; the latest version unless one is given
        #[arg(required = true, num_args = 1..=3, value_name = "CARD")]
        card: Vec<String>,
        /// An earlier revision, also of a deleted card
        #[arg(long)]
        revision: Option<u64>,
    },
    /// List the cards of a kind
    List {
        /// algorithm, model, parameter, application, dataset, or one of your own
        kind: String,
        /// Only cards of this name
        #[arg(long)]
        name: Option<String>,
        /// Which of them
        #[command(flatten)]
        only: Only,
    },
    /// Find cards by words, in Chinese and English
    Search {
        /// Words, "a phrase", field:word, word*, word~, AND, OR, NOT
        query: Vec<String>,
        /// Only cards of this kind; more than once for several
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// Which of them
        #[command(flatten)]
        only: Only,
        /// relevance, name, -name, updated, -updated, created or -created
        #[arg(long, default_value = "relevance", allow_hyphen_values = true)]
        sort: String,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show every revision of a card
    History {
        /// `KIND NAME [VERSION]`, or `KIND:NAME@VERSION`
        #[arg(required = true, num_args = 1..=3, value_name = "CARD")]
        card: Vec<String>,
    },
    /// Show what changed between two revisions
    Diff {
        /// `KIND NAME [VERSION]`, or `KIND:NAME@VERSION`
        #[arg(required = true, num_args = 1..=3, value_name = "CARD")]
        card: Vec<String>,
        /// The earlier revision; the one before `to` unless told
        #[arg(long)]
        from: Option<u64>,
        /// The later revision; the newest unless told
        #[arg(long)]
        to: Option<u64>,
    },
    /// Show what a card is made from, and what is made from it
    Lineage {
        /// `KIND NAME [VERSION]`, or `KIND:NAME@VERSION`
        #[arg(required = true, num_args = 1..=3, value_name = "CARD")]
        card: Vec<String>,
        /// up, down or both
        #[arg(long, default_value = "both")]
        direction: String,
        /// At most so many steps
        #[arg(long)]
        depth: Option<usize>,
    },
    /// Show what breaks if a card is retired or deleted, what is in use first
    Impact {
        /// `KIND NAME [VERSION]`, or `KIND:NAME@VERSION`
        #[arg(required = true, num_args = 1..=3, value_name = "CARD")]
        card: Vec<String>,
    },
    /// Move a card to another stage of its life
    Stage {
        /// The card as for `get`, then experiment, development, testing, deployed, accepted or retired
        #[arg(required = true, num_args = 2..=4, value_names = ["CARD", "STAGE"])]
        card_and_stage: Vec<String>,
        /// Why
        #[arg(long, short = 'm', default_value = "")]
        comment: String,
        /// Retire it even where deployed or accepted cards need it
        #[arg(long)]
        force: bool,
    },
    /// Delete a card; its history stays readable
    Delete {
        /// KIND NAME VERSION, or KIND:NAME@VERSION
        #[arg(required = true, num_args = 1..=3, value_name = "CARD")]
        card: Vec<String>,
        /// Even where deployed or accepted cards need it
        #[arg(long)]
        force: bool,
    },
    /// Tell someone of changes by signed pushes, from now on
    Observe(Box<ObserveArgs>),
    /// List who is told of changes, and how they stand
    Observers,
    /// Show, pause, resume or delete an observer; its deliveries
    Observer {
        /// What to do with it
        #[command(subcommand)]
        what: ObserverCommand,
    },
    /// Show what changed, in order
    Changes {
        /// Only changes after this number
        #[arg(long)]
        after: Option<u64>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Go on showing what changes, until interrupted
        #[arg(long, short = 'f')]
        follow: bool,
    },
    /// Save the cards of a file or a folder (JSON, NDJSON, TOML, YAML), all or none
    Apply {
        /// The file or the folder; `-` for JSON from standard input
        #[arg(long, short = 'f', required = true, value_name = "FILE")]
        file: Vec<String>,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Take in cards as NDJSON with the stages they have, or the collections of Drip 0.1
    Import {
        /// A file of cards, `-` for standard input; or what Drip 0.1 kept in MongoDB: its URL
        /// (mongodb://user@host/fiche?authSource=admin, which asks for the password where it has none),
        /// a folder of `mongodump`, or files of `mongoexport` named for their collections
        #[arg(value_name = "SOURCE")]
        source: String,
        /// Only show what would be taken in; for the collections of Drip 0.1
        #[arg(long)]
        dry_run: bool,
    },
    /// Write all cards as NDJSON
    Export {
        /// Only cards of this kind; more than once for several
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
        /// Which of them
        #[command(flatten)]
        only: Only,
        /// Where to; standard output unless told
        #[arg(long, short = 'o', value_name = "FILE")]
        output: Option<std::path::PathBuf>,
    },
    /// Show how pushing cards to the upstream fares
    Upstream,
    /// List, show and resolve the conflicts that nodes pushed
    Conflicts {
        /// list unless told
        #[command(subcommand)]
        command: Option<nodes::Conflicts>,
    },
}

/// What to save.
#[derive(Debug, Args)]
pub struct SaveArgs {
    /// KIND NAME VERSION, or KIND:NAME@VERSION, or a file that says it itself
    #[arg(num_args = 0..=3, value_name = "CARD")]
    card: Vec<String>,
    /// The card as a JSON, TOML or YAML file; `-` for JSON from standard input
    #[arg(long, short = 'f')]
    file: Option<String>,
    /// What it is, in a sentence
    #[arg(long)]
    summary: Option<String>,
    /// What else there is to say
    #[arg(long)]
    remark: Option<String>,
    /// Text or JSON; @FILE reads a file
    #[arg(long)]
    config: Option<String>,
    /// A label; more than once for several
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// What it needs: KIND:NAME@VERSION, with commas between several
    #[arg(long)]
    requires: Option<String>,
    /// The datasets that it was made from
    #[arg(long)]
    data: Option<String>,
    /// The algorithm that it was made by
    #[arg(long)]
    algorithm: Option<String>,
    /// Any other field; JSON is taken as such
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    fields: Vec<String>,
    /// Only when the card is at this revision
    #[arg(long)]
    if_match: Option<u64>,
    /// Only when there is no such card yet
    #[arg(long)]
    create: bool,
}

/// Does what a command says.
pub async fn run(command: Command, client: &Client, out: Output) -> Result<()> {
    let fiche = FicheClient::new(client.clone());
    match command {
        Command::Save(args) => save(&fiche, *args, out).await,
        Command::Get { card, revision } => {
            let card = fiche.get(&read_card(&card)?, revision).await?;
            show::card(&card, out)
        }
        Command::List { kind, name, only } => list(&fiche, &kind, name, only, out).await,
        Command::Search { query, kinds, only, sort, limit } => {
            let search = Search {
                q: query.join(" "),
                filter: only.filter(&kinds, None)?,
                sort: sort.parse()?,
                offset: 0,
                limit,
            };
            show::found(&fiche.search(&search).await?, out)
        }
        Command::History { card } => show::history(&fiche.history(&read_card(&card)?).await?, out),
        Command::Diff { card, from, to } => {
            show::diff(&fiche.diff(&read_card(&card)?, from, to).await?, out)
        }
        Command::Lineage { card, direction, depth } => {
            let (key, direction) = (read_card(&card)?, direction.parse()?);
            let lineage = fiche.lineage(&key, direction, depth).await?;
            show::lineage(&lineage, direction, out)
        }
        Command::Impact { card } => show::impact(&fiche.impact(&read_card(&card)?).await?, out),
        Command::Stage { card_and_stage, comment, force } => {
            stage(&fiche, card_and_stage, &comment, force, out).await
        }
        Command::Delete { card, force } => delete(&fiche, &card, force, out).await,
        Command::Observe(args) => observe::observe(&fiche, *args, out).await,
        Command::Observers => observe::list(&fiche, out).await,
        Command::Observer { what } => observe::one(&fiche, what, out).await,
        Command::Changes { after, limit, follow: false } => {
            show::changes(&fiche.changes(after.unwrap_or(0), limit).await?, out)
        }
        Command::Changes { after, .. } => bulk::follow(&fiche, after, out).await,
        Command::Apply { file, dry_run } => apply::run(&fiche, &file, dry_run, out).await,
        Command::Import { source, dry_run } if collections::is_meant(&source) => {
            Box::pin(collections::import(&fiche, &source, dry_run, out)).await
        }
        Command::Import { dry_run: true, .. } => Err(Error::new(
            Kind::Usage,
            "no_dry_run",
            "a file of cards has no dry run here: `dripctl fiche apply --dry-run -f FILE` shows what it would change",
        )),
        Command::Import { source, .. } => bulk::import(&fiche, &source, out).await,
        Command::Export { kinds, only, output } => {
            bulk::export(&fiche, &only.filter(&kinds, None)?, output.as_deref(), out).await
        }
        Command::Upstream => nodes::upstream(&fiche, out).await,
        Command::Conflicts { command } => nodes::conflicts(&fiche, command, out).await,
    }
}

/// The card that the words of a command line name.
fn read_card(words: &[String]) -> Result<CardKey> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [kind, name, version] => CardKey::new(kind, name, version),
        [kind, name] => match name.rsplit_once('@') {
            Some((name, version)) => CardKey::new(kind, name, version),
            None => CardKey::new(kind, name, "latest"),
        },
        [one] => read_reference(one),
        _ => Err(unreadable("")),
    }
}

fn read_reference(text: &str) -> Result<CardKey> {
    if let Some(key) = CardKey::from_subject(text) {
        return Ok(key);
    }
    let reference =
        Reference::parse(&Kinds::of_a_daemon(), text).map_err(|_why| unreadable(text))?;
    Ok(CardKey {
        kind: reference.kind.ok_or_else(|| unreadable(text))?,
        name: reference.name,
        version: reference.version.map_or_else(|| Name::new("latest"), Ok)?,
    })
}

fn unreadable(text: &str) -> Error {
    Error::new(
        Kind::Usage,
        "bad_card_name",
        format!("`{text}` names no card: write KIND NAME VERSION, or KIND:NAME@VERSION"),
    )
}

async fn list(
    fiche: &FicheClient,
    kind: &str,
    name: Option<String>,
    only: Only,
    out: Output,
) -> Result<()> {
    let cards = fiche.list(&only.filter(&[kind.to_owned()], name)?).await?;
    let empty =
        format!("no such {kind} cards; make one with `dripctl fiche save {kind} NAME VERSION`");
    let fields = ["name", "version", "stage", "revision", "summary", "updated_at"];
    out.rows(&cards, &fields, &empty)
}

/// Refuses to take away what deployed or accepted cards need, unless it is meant.
async fn check_in_use(fiche: &FicheClient, key: &CardKey, force: bool) -> Result<()> {
    if force {
        return Ok(());
    }
    let impact = fiche.impact(key).await?;
    if impact.in_use == 0 {
        return Ok(());
    }
    let all = impact.directly.iter().chain(&impact.indirectly);
    let in_use = all.filter(|affected| affected.breaks && affected.is_in_use());
    let faults = in_use.take(20).map(|affected| {
        let why = format!("is {} and needs {}", affected.node.stage, affected.through);
        Fault::new(affected.node.reference(), why)
    });
    let (count, card) = (impact.in_use, key.reference());
    let cards =
        if count == 1 { "1 card that is".into() } else { format!("{count} cards that are") };
    Err(Error::new(
        Kind::Conflict,
        "card_in_use",
        format!("{cards} deployed or accepted would break without {card}: `dripctl fiche impact {card}` shows them, --force does it all the same"),
    )
    .with_faults(faults))
}

async fn delete(fiche: &FicheClient, card: &[String], force: bool, out: Output) -> Result<()> {
    let key = read_card(card)?;
    check_in_use(fiche, &key, force).await?;
    fiche.delete(&key).await?;
    out.done(
        &format!("deleted {}; its history can still be read", key.reference()),
        &json!({"deleted": key.reference()}),
    )
}

async fn stage(
    fiche: &FicheClient,
    mut words: Vec<String>,
    comment: &str,
    force: bool,
    out: Output,
) -> Result<()> {
    let to: Stage = words.pop().unwrap_or_default().parse()?;
    let key = read_card(&words)?;
    if to == Stage::Retired {
        check_in_use(fiche, &key, force).await?;
    }
    let card = fiche.stage(&key, to, comment).await?;
    let said =
        format!("{} is in {} (revision {})", card.key.reference(), card.stage, card.revision);
    out.done(&said, &card)
}

async fn save(fiche: &FicheClient, args: SaveArgs, out: Output) -> Result<()> {
    let conditions = Conditions { revision: args.if_match, create_only: args.create };
    let draft = args.draft()?;
    let saved = fiche.save(&draft, conditions).await?;
    let did = if saved.outcome == Outcome::Created { "created" } else { "saved" };
    let said = format!("{did} {} (revision {})", draft.key().reference(), saved.card.revision);
    out.done(&said, &saved.card)
}

impl SaveArgs {
    fn draft(self) -> Result<CardDraft> {
        let (mut words, mut file) = (self.card, self.file);
        if let ([one], None) = (words.as_slice(), &file)
            && read_reference(one).is_err()
        {
            file = words.pop();
        }
        let mut fields = match &file {
            Some(file) => apply::read_one(file)?,
            None => Map::new(),
        };
        let texts = [
            ("summary", self.summary),
            ("remark", self.remark),
            ("requires", self.requires),
            ("data", self.data),
            ("algorithm", self.algorithm),
        ];
        for (field, text) in texts {
            if let Some(text) = text {
                fields.insert(field.to_owned(), Value::String(text));
            }
        }
        if let Some(config) = self.config {
            fields.insert("config".to_owned(), read_config(&config)?);
        }
        if !self.labels.is_empty() {
            fields.insert("labels".to_owned(), read_labels(&self.labels)?);
        }
        fields.extend(pairs(&self.fields)?);
        let document = Value::Object(fields);
        if words.is_empty() {
            return CardDraft::for_daemon(document);
        }
        let key = read_card(&words)?;
        let path = (key.kind, key.name.as_str(), key.version.as_str());
        CardDraft::read(document, Some(path), &Kinds::of_a_daemon())
    }
}

/// JSON where it is JSON, else text; `@FILE` is what the file holds.
fn read_config(given: &str) -> Result<Value> {
    let text = match given.strip_prefix('@') {
        Some(file) => String::from_utf8_lossy(&crate::kernel::cli::read_input(file)?).into_owned(),
        None => given.to_owned(),
    };
    Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn read_labels(given: &[String]) -> Result<Value> {
    let labels = given.iter().map(|pair| {
        let split = pair.split_once('=').or_else(|| pair.split_once(':'));
        let (key, value) = split.ok_or_else(|| {
            let why = format!("`{pair}` is no label: write key=value");
            Error::new(Kind::Usage, "bad_label", why)
        })?;
        Ok((key.to_owned(), Value::from(value)))
    });
    labels.collect::<Result<Map<_, _>>>().map(Value::Object)
}
