//! The node's side of the network: asks where the centre stands, pushes what is new, waits for more,
//! and backs off when it cannot.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::conflicts::Conflict;
use super::format::TroubleV1;
use super::gather::Batch;
use super::wire::{Outcome, Push, Pushed, own_upstream};
use crate::fiche::Fiche;
use crate::kernel::client::{Client, segment};
use crate::kernel::work::{Shutdown, off_thread};
use crate::kernel::{Error, Fault, Kind, Result};

/// How long the first pause after a failure is; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause while the network or the centre is away.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The pause when nothing but a change of settings will help.
const PAUSE_REFUSED: Duration = Duration::from_mins(5);
/// How long one call may take, with the slowest of links in mind.
const CALL: Duration = Duration::from_mins(1);
/// How often an idle node asks whether its conflicts are still open.
const HEARTBEAT: Duration = Duration::from_mins(1);
/// How often cards that the centre refused are tried again.
const HELD_EVERY: Duration = Duration::from_mins(10);

/// Pushes the cards of one Drip to another.
pub struct Pusher {
    fiche: Fiche,
    client: Client,
    /// Where the centre stands, once it has said so.
    centre: Option<Centre>,
    /// When refused cards were tried last.
    tried_held: Option<tokio::time::Instant>,
}

impl std::fmt::Debug for Pusher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pusher({:?})", self.client)
    }
}

#[derive(Debug, Clone)]
struct Centre {
    /// The id of its own feed.
    feed: String,
    /// How far it has this one.
    cursor: u64,
}

/// What one step found to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There may be more.
    More,
    /// Nothing.
    Idle,
}

impl Pusher {
    /// The one for these cards; none when they have no upstream.
    pub fn new(fiche: &Fiche) -> Result<Option<Self>> {
        let live = &fiche.inner.upstream;
        let Some(url) = &live.url else {
            return Ok(None);
        };
        let token = live.token.as_ref().map(|token| token.expose().to_owned());
        let client = Client::new(url, token)?;
        Ok(Some(Self { fiche: fiche.clone(), client, centre: None, tried_held: None }))
    }

    /// Pushes until the end.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut news = self.fiche.watch();
        let mut pause = PAUSE;
        while !shutdown.is_over() && news.borrow_and_update().is_some() {
            let step = tokio::select! {
                () = shutdown.wait() => return,
                step = self.step() => step,
            };
            match step {
                Ok(Step::More) => pause = PAUSE,
                Ok(Step::Idle) => {
                    pause = PAUSE;
                    tokio::select! {
                        () = shutdown.wait() => return,
                        changed = news.changed() => if changed.is_err() { return },
                        () = tokio::time::sleep(HEARTBEAT) => self.centre = None,
                    }
                }
                Err(failed) => {
                    self.centre = None;
                    let wait = self.failed(&explained(failed, self.client.url()), pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                    if shutdown.sleep(wait).await {
                        return;
                    }
                }
            }
        }
    }

    /// Pushes once until nothing is left, for tests and for whoever keeps the time: an error ends it.
    pub async fn push_all(&mut self) -> Result<()> {
        loop {
            match self.step().await {
                Ok(Step::More) => {}
                Ok(Step::Idle) => return Ok(()),
                Err(failed) => {
                    self.centre = None;
                    let failed = explained(failed, self.client.url());
                    self.failed(&failed, PAUSE);
                    return Err(failed);
                }
            }
        }
    }

    /// Tells of a failure, and how long to wait after it.
    fn failed(&self, error: &Error, pause: Duration) -> Duration {
        let wait = match error.kind() {
            Kind::Unavailable | Kind::TimedOut | Kind::Limited | Kind::Full | Kind::Internal => {
                error.wait().unwrap_or(pause).clamp(pause, PAUSE_REFUSED)
            }
            _ => PAUSE_REFUSED,
        };
        let now = self.fiche.now();
        if self.fiche.inner.upstream.failed(error, now, now.after(wait)) {
            tracing::warn!(code = error.code(), %error, "cards cannot be pushed to the upstream");
        }
        wait
    }

    async fn step(&mut self) -> Result<Step> {
        let Some(centre) = self.centre.clone() else {
            return self.ask().await;
        };
        if let Some(batch) = self.next(&centre).await? {
            return self.push(batch).await;
        }
        self.went_well();
        Ok(Step::Idle)
    }

    /// What is to be pushed next.
    async fn next(&mut self, centre: &Centre) -> Result<Option<Batch>> {
        let (fiche, cursor, feed) = (self.fiche.clone(), centre.cursor, centre.feed.clone());
        let is_due = self.tried_held.is_none_or(|tried| tried.elapsed() > HELD_EVERY);
        if is_due {
            self.tried_held = Some(tokio::time::Instant::now());
        }
        off_thread(move || match fiche.gather(cursor, &feed)? {
            None if is_due => fiche.gather_held(cursor),
            batch => Ok(batch),
        })
        .await
    }

    /// Asks where the centre stands, and goes on from there.
    async fn ask(&mut self) -> Result<Step> {
        let answer = self.call(None).await?;
        let fiche = self.fiche.clone();
        let Pushed { feed, cursor, mark, conflicts, .. } = answer;
        let is_ours = off_thread(move || {
            if feed == fiche.feed_id()? {
                return Err(own_upstream());
            }
            // A number that is another event here: this folder is not the one that pushed it.
            if cursor > 0 && fiche.mark_at(cursor)? != mark {
                fiche.renew_feed_id()?;
                return Ok(None);
            }
            fiche.note_cursor(cursor)?;
            let is_known = conflicts == 0 && fiche.troubles()? == 0;
            Ok(Some((Centre { feed, cursor }, is_known)))
        })
        .await?;
        let Some((centre, is_known)) = is_ours else {
            tracing::warn!(
                url = self.client.url(),
                "the upstream has other cards of this node: was the data folder restored or copied? \
                 Everything is pushed again"
            );
            return Ok(Step::More);
        };
        if !is_known {
            self.learn_conflicts().await?;
        }
        self.centre = Some(centre);
        self.went_well();
        Ok(Step::More)
    }

    /// Sends a batch. Cards that the centre refuses are put aside, and the others go.
    async fn push(&mut self, mut batch: Batch) -> Result<Step> {
        let answer = loop {
            match self.call(Some(&batch)).await {
                Ok(answer) => break answer,
                Err(refused) if refused.code() == "push_out_of_step" => {
                    self.centre = None;
                    return Ok(Step::More);
                }
                Err(refused) if refused.code() == "bad_push" => {
                    let places = refused_places(refused.faults());
                    if places.is_empty() || batch.events.is_empty() {
                        return Err(refused);
                    }
                    tracing::warn!(%refused, "the upstream refuses cards: they are put aside");
                    batch.put_aside(&places, self.fiche.now());
                }
                Err(failed) => return Err(failed),
            }
        };
        let (fiche, url) = (self.fiche.clone(), self.client.url().to_owned());
        let (to, outcomes) = (batch.to, answer.outcomes);
        tell_conflicts(&outcomes);
        let known = off_thread(move || {
            fiche.note_pushed(&batch, &outcomes)?;
            fiche.note_success(&url)?;
            fiche.troubles()
        })
        .await?;
        if known != answer.conflicts {
            self.learn_conflicts().await?;
        }
        self.centre = Some(Centre { feed: answer.feed, cursor: to });
        self.went_well();
        Ok(Step::More)
    }

    async fn call(&self, batch: Option<&Batch>) -> Result<Pushed> {
        let fiche = self.fiche.clone();
        let feed = off_thread(move || fiche.feed_id()).await?;
        let push = Push {
            node: self.fiche.node().clone(),
            feed,
            after: batch.map_or(0, |batch| batch.after),
            to: batch.map(|batch| (batch.to, batch.mark)),
            events: batch.map_or_else(Vec::new, |batch| batch.events.clone()),
        };
        let request = self.client.request(Method::POST, "/api/v1/cards:push").timeout(CALL);
        self.client.json(request.json(&push.document())).await
    }

    /// Learns from the centre which conflicts are open: some were resolved there, or were told of in
    /// an answer that was lost.
    async fn learn_conflicts(&self) -> Result<()> {
        let node = segment(self.fiche.node().as_str());
        let path = format!("/api/v1/cards:conflicts?brief=true&node={node}");
        let all = tokio::time::timeout(CALL, self.client.all(&path)).await;
        let items = all.map_err(|_late| too_slow(self.client.url()))??;
        let open = items.into_iter().map(trouble).collect::<Result<Vec<_>>>()?;
        let fiche = self.fiche.clone();
        off_thread(move || fiche.note_conflicts(&open)).await
    }

    fn went_well(&self) {
        if self.fiche.inner.upstream.went_well(self.fiche.now()) {
            tracing::info!(url = self.client.url(), "cards are pushed to the upstream again");
        }
    }
}

fn trouble(item: Value) -> Result<(String, TroubleV1)> {
    let conflict: Conflict = serde_json::from_value(item).map_err(|source| {
        Error::new(Kind::Internal, "bad_answer", format!("a conflict of the upstream: {source}"))
    })?;
    let card = format!("{}/{}/{}", conflict.kind, conflict.name, conflict.version);
    let reason = conflict.reason.as_str().to_owned();
    Ok((card, TroubleV1 { number: conflict.number, reason, at: conflict.at }))
}

fn tell_conflicts(outcomes: &[Outcome]) {
    for outcome in outcomes {
        if let Some(reason) = outcome.reason {
            tracing::warn!(
                card = outcome.card,
                reason = reason.as_str(),
                "the upstream has another card of this name and version: both are kept"
            );
        }
    }
}

/// The places of the events that were refused, with the first reason of each.
fn refused_places(faults: &[Fault]) -> BTreeMap<usize, String> {
    let mut places = BTreeMap::new();
    for fault in faults {
        let Some(rest) = fault.pointer.strip_prefix("/events/") else {
            continue;
        };
        let (place, field) = rest.split_once('/').unwrap_or((rest, ""));
        if let Ok(place) = place.parse() {
            places.entry(place).or_insert_with(|| format!("{field}: {}", fault.detail));
        }
    }
    places
}

fn too_slow(url: &str) -> Error {
    Error::new(Kind::TimedOut, "upstream_too_slow", format!("{url} does not answer in time"))
}

/// What a failure means for whoever set this up.
fn explained(failed: Error, url: &str) -> Error {
    let (kind, code, detail) = match (failed.kind(), failed.code()) {
        (Kind::Unavailable, "daemon_away") => {
            let detail = format!("nothing answers at {url}: it is tried again");
            (Kind::Unavailable, "upstream_away", detail)
        }
        // A proxy in front of a centre that is away says so in its own words.
        (Kind::Internal | Kind::Unavailable | Kind::TimedOut, "refused") => {
            let detail = format!("{url}: {}; it is tried again", failed.detail());
            (Kind::Unavailable, "upstream_away", detail)
        }
        (Kind::Unauthenticated, _) => {
            let detail = format!(
                "{url} does not accept the token: make one there with \
                 `dripctl token create NAME --scope fiche:write`, and set fiche.upstream.token"
            );
            (Kind::Unauthenticated, "upstream_token_refused", detail)
        }
        (Kind::Denied, _) => {
            let detail = format!("{url} does not let this node write cards: {}", failed.detail());
            (Kind::Denied, "upstream_denied", detail)
        }
        (Kind::NotFound | Kind::NoMethod, "no_such_path" | "no_such_method") => {
            let detail = format!(
                "{url} takes no pushed cards: it is an older Drip, or serves no fiche; bring it up to date"
            );
            (Kind::NotFound, "upstream_too_old", detail)
        }
        (_, "refused" | "bad_answer" | "bad_url") => {
            let detail = format!("{url} does not answer as a Drip: {}", failed.detail());
            (Kind::NotFound, "upstream_no_drip", detail)
        }
        _ => return failed,
    };
    Error::new(kind, code, detail).with_faults(failed.faults().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_events_are_found_by_their_place() {
        let faults = [
            Fault::new("/node", "x"),
            Fault::new("/events/3/card/kind", "no such kind"),
            Fault::new("/events/3/card/name", "y"),
            Fault::new("/events/11", "z"),
        ];
        let places = refused_places(&faults);
        assert_eq!(places.keys().copied().collect::<Vec<_>>(), [3, 11]);
        assert_eq!(places[&3], "card/kind: no such kind");
    }

    #[test]
    fn every_way_to_fail_is_told_apart() {
        for (kind, code, expected) in [
            (Kind::Unavailable, "daemon_away", "upstream_away"),
            (Kind::Unauthenticated, "unauthenticated", "upstream_token_refused"),
            (Kind::Denied, "denied", "upstream_denied"),
            (Kind::NotFound, "no_such_path", "upstream_too_old"),
            (Kind::NotFound, "refused", "upstream_no_drip"),
            (Kind::Internal, "refused", "upstream_away"),
            (Kind::Internal, "bad_answer", "upstream_no_drip"),
            (Kind::Unavailable, "connection_lost", "connection_lost"),
            (Kind::Conflict, "own_upstream", "own_upstream"),
        ] {
            let told = explained(Error::new(kind, code, "y"), "http://centre");
            assert_eq!(told.code(), expected);
        }
    }
}
