//! Carries records to MongoDB. One round looks at every stream that is forwarded: reads what came
//! since, writes it, and only then moves the stream's cursor.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt as _;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{Error as Fault, ErrorKind};
use mongodb::{Collection, Database};

use super::super::Trajectory;
use super::super::model::Kept;
use super::super::search::filter::Filter;
use super::super::streams::Settings;
use super::super::tail::{Event, Tail};
use super::ledger::{Ledger, Place};
use super::{Destination, Forwarded, document};
use crate::kernel::clock::Time;
use crate::kernel::config::Secret;
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::mongo::{Mongo, Password};
use crate::kernel::wait_for;
use crate::kernel::work::Shutdown;

/// How long a stream rests after its first failure; twice as long each time.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_mins(1);
/// The cursor of a stream of which nothing comes is kept after so many records of others.
const FAR: u64 = 1_000_000;
/// What a server says of an id that is there.
const DUPLICATE: i32 = 11_000;
/// The database of a URL that names none.
const DATABASE: &str = "drip";

/// Forwards the streams of a log that are to be. Its rounds block.
pub struct Forwarder {
    log: Trajectory,
    url: Secret,
    shutdown: Shutdown,
    hands: Mutex<Hands>,
}

struct Hands {
    mongo: Option<Mongo>,
    ledger: Option<Ledger>,
    /// When a ledger that could not be read is looked at again.
    not_before: Time,
    streams: BTreeMap<String, Follower>,
}

impl Default for Hands {
    fn default() -> Self {
        let not_before = Time(i64::MIN);
        Self { mongo: None, ledger: None, not_before, streams: BTreeMap::new() }
    }
}

/// What one stream is followed with.
struct Follower {
    to: String,
    tail: Tail,
    /// What was read and is not there yet.
    waiting: Vec<Kept>,
    failures: u32,
    not_before: Time,
    told: Forwarded,
}

/// What became of documents.
enum Sent {
    All,
    /// Some of the ids are there with other contents: this log is not the one that gave them.
    Taken,
}

impl Forwarder {
    /// The forwarder of a log; none where its settings name no MongoDB. It waits for no server once
    /// `shutdown` has begun.
    pub fn new(log: &Trajectory, shutdown: Shutdown) -> Option<Self> {
        let url = log.0.config.forward.clone()?;
        Some(Self { log: log.clone(), url, shutdown, hands: Mutex::default() })
    }

    /// Forwards a bounded part of what waits; answers whether there may be more. A stream that fails
    /// is told in its own place, rests, and holds up no other.
    pub fn round(&self) -> Result<bool> {
        let mut hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        let hands = &mut *hands;
        let settings = self.log.0.streams.all();
        let wanted = |name: &str| settings.get(name).and_then(|kept| kept.forward.as_deref());
        hands.streams.retain(|name, follower| wanted(name) == Some(follower.to.as_str()));
        if settings.values().all(|kept| kept.forward.is_none()) {
            self.log.0.forwards.set(BTreeMap::new());
            return Ok(false);
        }
        if hands.ledger.is_none() && !self.open_ledger(hands, &settings) {
            return Ok(false);
        }
        let mut more = false;
        for (name, to) in
            settings.iter().filter_map(|(name, kept)| Some((name, kept.forward.as_deref()?)))
        {
            more |= self.carry(hands, name, to)?;
        }
        let told = hands.streams.iter().map(|(name, one)| (name.clone(), one.told.clone()));
        self.log.0.forwards.set(told.collect());
        Ok(more)
    }

    /// Opens the ledger; where that fails, every stream says why, and it is tried again later.
    fn open_ledger(&self, hands: &mut Hands, settings: &BTreeMap<String, Arc<Settings>>) -> bool {
        if hands.not_before > self.now() {
            return false;
        }
        match Ledger::open(self.log.0.disk.as_ref(), self.now()) {
            Ok(ledger) => {
                hands.ledger = Some(ledger);
                true
            }
            Err(error) => {
                tracing::error!(%error, "no stream is forwarded");
                hands.not_before = self.now().after(REST_MAX);
                let told = Forwarded { error: Some(error.to_string()), ..Forwarded::default() };
                let forwarded = settings.iter().filter(|(_, kept)| kept.forward.is_some());
                let all = forwarded.map(|(name, _)| (name.clone(), told.clone())).collect();
                self.log.0.forwards.set(all);
                false
            }
        }
    }

    fn now(&self) -> Time {
        self.log.0.clock.now()
    }

    /// Forwards a part of one stream; answers whether there may be more.
    fn carry(&self, hands: &mut Hands, name: &str, to: &str) -> Result<bool> {
        let ledger = hands.ledger.as_mut().ok_or_else(no_ledger)?;
        let follower = hands
            .streams
            .entry(name.to_owned())
            .or_insert_with(|| Follower::new(&self.log, ledger, name, to));
        if follower.not_before > self.now() {
            return Ok(false);
        }
        let outcome = follower.read().and_then(|()| {
            let sending = follower.send(&mut hands.mongo, &self.url, ledger, self.now());
            wait_for(async {
                tokio::select! {
                    sent = sending => sent,
                    () = self.shutdown.wait() => Err(over()),
                }
            })
        });
        match outcome.and_then(|()| follower.arrived(name, ledger, &self.log)) {
            Ok(more) => Ok(more),
            Err(_) if self.shutdown.is_over() => Ok(false),
            Err(error) => {
                follower.failed(name, &error, self.now());
                Ok(false)
            }
        }
    }
}

fn over() -> Error {
    Error::new(Kind::Unavailable, "ending", "the daemon ends")
}

fn no_ledger() -> Error {
    Error::internal("the ledger of forwarding is not open")
}

impl Follower {
    fn new(log: &Trajectory, ledger: &Ledger, name: &str, to: &str) -> Self {
        let before = ledger.streams.get(name).filter(|place| place.to == to);
        let seq = before.map_or(0, |place| place.seq);
        let filter = Filter { stream: Some(name.to_owned()), ..Filter::default() };
        Self {
            to: to.to_owned(),
            tail: log.tail(filter, Some(seq)).patient(),
            waiting: Vec::new(),
            failures: 0,
            not_before: Time(i64::MIN),
            told: Forwarded { seq, ..Forwarded::default() },
        }
    }

    /// Reads on, unless what was read before still waits.
    fn read(&mut self) -> Result<()> {
        if !self.waiting.is_empty() {
            return Ok(());
        }
        for event in self.tail.step()? {
            match event {
                Event::Record(kept) => self.waiting.push(*kept),
                Event::Gap { skipped, .. } => self.told.skipped += skipped,
            }
        }
        Ok(())
    }

    /// Writes what waits, under ids that nobody else gave.
    async fn send(
        &self,
        mongo: &mut Option<Mongo>,
        url: &Secret,
        ledger: &mut Ledger,
        now: Time,
    ) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mongo = match mongo {
            Some(mongo) => mongo,
            None => mongo.insert(Mongo::open(url.expose(), "drip", Password::InTheUrl).await?),
        };
        let collection = collection(mongo, &self.to)?;
        for _ in 0..3 {
            let documents: Vec<_> =
                self.waiting.iter().map(|kept| document::of(kept, ledger.prefix)).collect();
            match insert(mongo, &collection, &documents).await? {
                Sent::All => return Ok(()),
                Sent::Taken => ledger.renew(now)?,
            }
        }
        Err(Error::internal("no ids could be found that nobody gave before"))
    }

    /// What waited is there: moves the cursor. Answers whether there may be more.
    fn arrived(&mut self, name: &str, ledger: &mut Ledger, log: &Trajectory) -> Result<bool> {
        let (seq, sent) = (self.tail.seen(), self.waiting.len());
        let moved = seq - self.told.seq.min(seq);
        self.told.records += sent as u64;
        self.told.seq = seq;
        self.waiting.clear();
        if self.failures > 0 {
            tracing::info!(stream = name, "forwarding goes on");
        }
        self.failures = 0;
        self.told.error = None;
        let kept = ledger.streams.get(name).filter(|place| place.to == self.to);
        if sent > 0 || kept.is_none_or(|place| seq.saturating_sub(place.seq) >= FAR) {
            ledger.streams.insert(name.to_owned(), Place { to: self.to.clone(), seq });
            ledger.keep(log.0.disk.as_ref())?;
        }
        Ok(moved > 0)
    }

    fn failed(&mut self, name: &str, error: &Error, now: Time) {
        // Said once: this may be the stream of our own log, and would be forwarded in its turn.
        if self.failures == 0 {
            tracing::warn!(stream = name, %error, "the stream is not forwarded for now");
        }
        let rest = REST.saturating_mul(1 << self.failures.min(6)).min(REST_MAX);
        self.failures += 1;
        self.not_before = now.after(rest);
        self.told.error = Some(error.to_string());
    }
}

fn collection(mongo: &Mongo, to: &str) -> Result<Collection<Document>> {
    let to = Destination::parse(to).ok_or_else(|| {
        Error::new(Kind::Config, "bad_destination", format!("`{to}` is no collection"))
    })?;
    let database = to.database.or(mongo.database()).unwrap_or(DATABASE);
    let database: Database = mongo.client().database(database);
    Ok(database.collection(to.collection))
}

/// Writes documents in order. Those that an attempt before left there are not written twice.
async fn insert(
    mongo: &Mongo,
    collection: &Collection<Document>,
    documents: &[Document],
) -> Result<Sent> {
    let refused = match write(mongo, collection, documents).await? {
        Ok(()) => return Ok(Sent::All),
        Err(refused) if is_duplicate(&refused) => refused,
        Err(refused) => return Err(mongo.told(&refused)),
    };
    let ids: Vec<&Bson> = documents.iter().filter_map(|one| one.get("_id")).collect();
    let there = async {
        let found = collection.find(doc! { "_id": { "$in": ids } }).await?;
        found.try_collect::<Vec<Document>>().await
    };
    let there = mongo.wait(there).await?;
    let there: HashMap<String, &Document> = there.iter().map(|one| (key(one), one)).collect();
    let (old, new): (Vec<_>, Vec<_>) =
        documents.iter().partition(|one| there.contains_key(&key(one)));
    if old.is_empty() {
        // Not an id of ours: the collection has an index that these records go against.
        return Err(mongo.told(&refused));
    }
    if old.iter().any(|one| there.get(&key(one)).is_none_or(|there| there != one)) {
        return Ok(Sent::Taken);
    }
    let new: Vec<Document> = new.into_iter().cloned().collect();
    if !new.is_empty() {
        write(mongo, collection, &new).await?.map_err(|fault| mongo.told(&fault))?;
    }
    Ok(Sent::All)
}

async fn write(
    mongo: &Mongo,
    collection: &Collection<Document>,
    documents: &[Document],
) -> Result<std::result::Result<(), Fault>> {
    let written = async { Ok(collection.insert_many(documents).ordered(true).await) };
    Ok(mongo.wait(written).await?.map(|_ids| ()))
}

fn key(document: &Document) -> String {
    document.get_object_id("_id").map(ObjectId::to_hex).unwrap_or_default()
}

fn is_duplicate(fault: &Fault) -> bool {
    match fault.kind.as_ref() {
        ErrorKind::InsertMany(failed) => failed
            .write_errors
            .as_ref()
            .is_some_and(|errors| errors.iter().any(|error| error.code == DUPLICATE)),
        _ => false,
    }
}
