//! The courier of one observer: follows the feed for it, one message at a time, and waits where there
//! is nothing to tell or where telling failed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::format::{ObserverV1, observer_row};
use super::ledger::Ledger;
use super::office::Ground;
use crate::fiche::changes;
use crate::fiche::model::CardKey;
use crate::fiche::which::Which;
use crate::kernel::feed::{self, Event};
use crate::kernel::format::decode;
use crate::kernel::push::{Message, Target, Verdict};
use crate::kernel::work::off_thread;
use crate::kernel::{Error, Time};

/// How many events are read at a time.
const PAGE: usize = 100;
/// How long a daemon that shares its store with others is the one that tells an observer. It renews
/// this when half of it is over.
const LEASE: Duration = Duration::from_secs(30);
/// How often the others look whether it still does.
const LOOK: Duration = Duration::from_secs(1);

/// Why a round ended.
#[derive(Debug)]
enum Turn {
    /// Fiche is closed.
    Over,
    /// The observer was deleted.
    Gone,
    /// The observer was saved, or is to be told something again.
    Called,
    /// Someone else wrote the books: another daemon.
    Raced,
    /// Another daemon tells this observer until then.
    Elsewhere(Time),
    /// The store could not be read.
    Failed(Error),
}

impl From<Error> for Turn {
    fn from(error: Error) -> Self {
        if error.code() == "stale_revision" { Self::Raced } else { Self::Failed(error) }
    }
}

/// Tells one observer.
pub(super) struct Courier {
    pub(super) ground: Arc<Ground>,
    pub(super) name: String,
    /// Rises when the observer was saved, deleted, or is to be told something again.
    pub(super) calls: watch::Receiver<u64>,
    /// The number of the newest change; none when fiche is closed.
    pub(super) news: watch::Receiver<Option<u64>>,
}

/// What a round works with.
struct Round {
    observer: ObserverV1,
    which: Which,
    target: Target,
    ledger: Ledger,
    /// Events that were read and not looked at.
    waiting: VecDeque<Event>,
}

impl Courier {
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        let mut called = false;
        loop {
            let turn = self.round(called).await;
            called = matches!(turn, Turn::Called);
            let wait = match turn {
                Turn::Over => return,
                Turn::Gone if self.ground.dismiss(&self.name, &self.calls) => return,
                Turn::Gone | Turn::Called | Turn::Raced => {
                    failures = 0;
                    continue;
                }
                // It may give way before.
                Turn::Elsewhere(until) => until.since(self.ground.clock.now()).min(LOOK),
                Turn::Failed(error) => {
                    failures += 1;
                    tracing::warn!(observer = self.name, %error, "an observer cannot be served");
                    self.ground.terms.wait_after(failures)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                turn = self.interrupted() => match turn {
                    Turn::Over => return,
                    other => called = matches!(other, Turn::Called),
                },
            }
        }
    }

    /// Serves the observer as it stands now, until something says otherwise.
    async fn round(&mut self, called: bool) -> Turn {
        self.calls.borrow_and_update();
        let mut round = match self.begin(called).await {
            Ok(round) => round,
            Err(turn) => return turn,
        };
        let turn = match self.go_round(&mut round).await {
            Ok(never) => match never {},
            Err(turn) => turn,
        };
        if matches!(turn, Turn::Over) {
            round.ledger.give_way(self.ground.holder.as_deref());
        }
        if matches!(turn, Turn::Over | Turn::Called) && round.ledger.is_open() {
            // What cannot be written now is told again.
            if let Err(Turn::Failed(error)) = self.write(&mut round.ledger).await {
                tracing::warn!(observer = self.name, %error, "what was delivered is not on record");
            }
        }
        turn
    }

    async fn begin(&self, called: bool) -> Result<Round, Turn> {
        let (records, name) = (self.ground.records.clone(), self.name.clone());
        let read = off_thread(move || {
            let Some(row) = records.get(&observer_row(&name))? else {
                return Ok(None);
            };
            let observer: ObserverV1 = decode(&row.value)?;
            let ledger = Ledger::read(records.as_ref(), &observer.id)?;
            Ok(ledger.map(|ledger| (observer, ledger)))
        });
        let (observer, mut ledger) = read.await?.ok_or(Turn::Gone)?;
        if called {
            ledger.forgive();
        }
        let target = Target::parse(&observer.url).map_err(|faults| {
            Turn::Failed(Error::internal(format!("its URL {}", faults.join(", "))))
        })?;
        self.ground.show(&observer.id, &ledger.state);
        Ok(Round { which: observer.which(), target, observer, ledger, waiting: VecDeque::new() })
    }

    async fn go_round(&mut self, round: &mut Round) -> Result<std::convert::Infallible, Turn> {
        if round.ledger.has_order() {
            // At once, or the next order would be joined with one that was carried out.
            self.write_surely(&mut round.ledger).await?;
        }
        loop {
            self.look_up()?;
            if !round.observer.enabled || round.ledger.state.stopped {
                self.idle(round, false).await?;
                continue;
            }
            match self.next(round).await? {
                Some(event) => self.deliver(round, event).await?,
                None => self.idle(round, true).await?,
            }
            self.ground.show(&round.observer.id, &round.ledger.state);
            if round.ledger.is_due() {
                self.write_surely(&mut round.ledger).await?;
            }
        }
    }

    /// Whether to go on.
    fn look_up(&self) -> Result<(), Turn> {
        if self.news.borrow().is_none() {
            return Err(Turn::Over);
        }
        match self.calls.has_changed() {
            Ok(false) => Ok(()),
            Ok(true) => Err(Turn::Called),
            Err(_dropped) => Err(Turn::Over),
        }
    }

    /// Waits for what ends a round.
    async fn interrupted(&mut self) -> Turn {
        let over = over(self.news.clone());
        tokio::select! {
            called = self.calls.changed() => match called {
                Ok(()) => Turn::Called,
                Err(_dropped) => Turn::Over,
            },
            () = over => Turn::Over,
        }
    }

    /// The next event that the observer may want to hear of; none when there is none yet.
    async fn next(&mut self, round: &mut Round) -> Result<Option<Event>, Turn> {
        loop {
            while let Some(event) = round.waiting.pop_front() {
                if round.which.may_hold(&event.event, &key_of(&event)?) {
                    return Ok(Some(event));
                }
                round.ledger.pass(event.number);
            }
            self.look_up()?;
            // What comes after this look at the news is news when the next one is waited for.
            self.news.borrow_and_update();
            let (after, to) = round.ledger.position();
            let records = self.ground.records.clone();
            let events = off_thread(move || feed::read(records.as_ref(), after, PAGE)).await?;
            let wanted = events.into_iter().filter(|event| to.is_none_or(|to| event.number <= to));
            round.waiting = wanted.collect();
            if round.waiting.is_empty() {
                if to.is_none() {
                    return Ok(None);
                }
                round.ledger.end_replay();
            }
        }
    }

    /// Waits for news (unless they do not matter), for a call, or until it is time to write.
    async fn idle(&mut self, round: &mut Round, news_matter: bool) -> Result<(), Turn> {
        self.ground.show(&round.observer.id, &round.ledger.state);
        let due = round.ledger.due();
        let until = tokio::time::Instant::from_std(due.unwrap_or_else(std::time::Instant::now));
        let mut news = self.news.clone();
        tokio::select! {
            changed = news.changed(), if news_matter => {
                self.news = news;
                changed.map_err(|_dropped| Turn::Over)
            }
            turn = self.interrupted() => Err(turn),
            () = tokio::time::sleep_until(until), if due.is_some() => {
                self.write_surely(&mut round.ledger).await
            }
        }
    }

    /// Tells an event, however often it takes.
    async fn deliver(&mut self, round: &mut Round, event: Event) -> Result<(), Turn> {
        let Some(body) = self.body(&round.which, event.clone()).await? else {
            round.ledger.pass(event.number);
            return Ok(());
        };
        // Once for all tries, restarts and repeats: a receiver can tell what it has seen.
        let id = format!("{}.{}", round.observer.id, event.number);
        let secret = round.observer.secret();
        loop {
            self.hold_lease(&mut round.ledger).await?;
            let at = self.ground.clock.now();
            let message = Message {
                target: &round.target,
                secret: secret.as_ref(),
                id: &id,
                body: body.clone(),
                at,
            };
            let pusher = self.ground.pusher.clone();
            let answer = tokio::select! {
                answer = pusher.post(message) => answer,
                turn = self.interrupted() => return Err(turn),
            };
            if answer.verdict == Verdict::Delivered {
                round.ledger.delivered(&event, &answer, at);
                return Ok(());
            }
            let Some(wait) = self.wait_after(round, answer.verdict, answer.retry_after) else {
                // It is told first when the observer is called again.
                round.waiting.clear();
                round.ledger.failed(&event, &answer, at, None);
                return self.write_surely(&mut round.ledger).await;
            };
            let next_try_at = self.ground.clock.now().after(wait);
            round.ledger.failed(&event, &answer, at, Some(next_try_at));
            self.ground.show(&round.observer.id, &round.ledger.state);
            self.write_surely(&mut round.ledger).await?;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                turn = self.interrupted() => return Err(turn),
            }
        }
    }

    /// How long to wait before the next try; none when there is to be none.
    fn wait_after(
        &self,
        round: &Round,
        verdict: Verdict,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let terms = &self.ground.terms;
        let wait = terms.wait_after(round.ledger.state.failures.saturating_add(1));
        let asked = asked.unwrap_or_default().min(terms.longest_wait);
        (verdict != Verdict::Gone).then(|| wait.max(asked))
    }

    /// What is sent: the change as the feed has it. None when its stage is not wanted.
    async fn body(&self, which: &Which, event: Event) -> Result<Option<Bytes>, Turn> {
        let (records, which) = (self.ground.records.clone(), which.clone());
        let body = off_thread(move || {
            let change = changes::resolve(records.as_ref(), event)?;
            if !which.holds(&change) {
                return Ok(None);
            }
            let text = serde_json::to_vec(&change)
                .map_err(|source| Error::internal(format!("write a change: {source}")))?;
            Ok(Some(Bytes::from(text)))
        });
        Ok(body.await?)
    }

    /// Where daemons share a store, only one of them tells an observer.
    async fn hold_lease(&mut self, ledger: &mut Ledger) -> Result<(), Turn> {
        let Some(holder) = &self.ground.holder else {
            return Ok(());
        };
        let now = self.ground.clock.now();
        match &ledger.state.lease {
            Some((who, until)) if who == holder && *until > now.after(LEASE / 2) => return Ok(()),
            Some((who, until)) if who != holder && *until > now => {
                return Err(Turn::Elsewhere(*until));
            }
            _ => {}
        }
        ledger.state.lease = Some((holder.clone(), now.after(LEASE)));
        // Another daemon may have come first: then this is not written, and all is read anew.
        self.write_surely(ledger).await
    }

    async fn write(&self, ledger: &mut Ledger) -> Result<(), Turn> {
        let (records, set) = (self.ground.records.clone(), ledger.set()?);
        let receipt = off_thread(move || records.apply(set)).await?;
        ledger.written(&receipt);
        Ok(())
    }

    /// Writes, however often it takes: nothing more is told while it is not on record what was.
    async fn write_surely(&mut self, ledger: &mut Ledger) -> Result<(), Turn> {
        let mut failures = 0;
        loop {
            match self.write(ledger).await {
                Err(Turn::Failed(error)) => {
                    failures += 1;
                    tracing::warn!(observer = self.name, %error, "deliveries cannot be recorded");
                }
                other => return other,
            }
            tokio::select! {
                () = tokio::time::sleep(self.ground.terms.wait_after(failures)) => {}
                turn = self.interrupted() => return Err(turn),
            }
        }
    }
}

/// Waits until fiche is closed.
async fn over(mut news: watch::Receiver<Option<u64>>) {
    // A sender that is gone says the same.
    let _gone = news.wait_for(Option::is_none).await.is_err();
}

fn key_of(event: &Event) -> Result<CardKey, Turn> {
    CardKey::from_subject(&event.subject).ok_or_else(|| {
        let what = format!("event {} of the feed names no card", event.number);
        Turn::Failed(Error::internal(what))
    })
}
