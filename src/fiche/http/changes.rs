//! The change feed: page by page, and as it grows.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::watch;

use crate::fiche::error;
use crate::fiche::{Change, Fiche, Kinds, Which};
use crate::kernel::http::{List, PageParams, Params, off_thread, text_of};
use crate::kernel::{Error, Fault, Result};

/// How many changes a stream reads at a time.
const STEP: usize = 100;
/// How often a silent stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
pub(super) struct After {
    after: Option<String>,
    #[serde(flatten)]
    page: PageParams,
}

/// The number of a change, where one is given.
fn number(after: Option<&str>) -> Result<Option<u64>> {
    let Some(text) = after.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_bad| {
        error::bad_parameter("bad_after", "after", format!("`{text}` is no number of a change"))
    })
}

/// `GET /api/v1/changes`
pub(super) async fn list(
    State(fiche): State<Fiche>,
    Params(params): Params<After>,
) -> Result<Json<List<Change>>> {
    let limit = params.page.limit()?;
    let after = match params.page.after()? {
        Some(text) => text.parse().unwrap_or(u64::MAX),
        None => number(params.after.as_deref())?.unwrap_or(0),
    };
    let found = off_thread(move || fiche.changes(after, limit + 1)).await?;
    Ok(Json(List::page(found, limit, |change| change.number.to_string())))
}

/// What a stream tells, in the words of an observer; lists have commas.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    after: Option<String>,
    kinds: Option<String>,
    events: Option<String>,
    names: Option<String>,
    stages: Option<String>,
}

impl Wanted {
    fn which(&self, kinds: &Kinds) -> Result<Which> {
        let list = |text: &Option<String>| {
            let words = text.iter().flat_map(|text| text.split(',')).map(str::trim);
            words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let mut which = Which {
            kinds: list(&self.kinds),
            events: list(&self.events),
            names: list(&self.names),
            stages: list(&self.stages),
        };
        let faults = which.settle(kinds).into_iter().map(|(place, why)| Fault::new(place, why));
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() {
            return Ok(which);
        }
        Err(Error::invalid("bad_filter", "what is asked for cannot be told apart", faults))
    }
}

/// `GET /api/v1/changes/stream`
pub(super) async fn stream(
    State(fiche): State<Fiche>,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let seen = text_of(&headers, "last-event-id").and_then(|text| text.trim().parse().ok());
    let asked = match seen {
        Some(number) => Some(number),
        None => number(wanted.after.as_deref())?,
    };
    let which = wanted.which(fiche.kinds())?;
    // Listening begins before the feed is looked at: nothing falls between the two.
    let news = fiche.watch();
    let after = if let Some(number) = asked {
        number
    } else {
        let fiche = fiche.clone();
        off_thread(move || fiche.last_number()).await?
    };
    let follow = Follow { fiche, which, after, news };
    let events = stream::unfold(follow, |mut follow| async move {
        let changes = follow.next().await?;
        Some((stream::iter(changes.into_iter().map(|change| Ok(event(&change)))), follow))
    });
    let begin = stream::once(async move { Ok(beginning(after)) });
    let keep_alive = KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(begin.chain(events.flatten())).keep_alive(keep_alive))
}

/// Tells nothing but an id: whoever is cut off before the first change knows where to go on.
fn beginning(after: u64) -> Event {
    Event::default().id(after.to_string())
}

fn event(change: &Change) -> Event {
    let data = serde_json::to_string(change).unwrap_or_default();
    Event::default().id(change.number.to_string()).event(&change.event).data(data)
}

struct Follow {
    fiche: Fiche,
    which: Which,
    after: u64,
    news: watch::Receiver<Option<u64>>,
}

impl Follow {
    /// The next changes, as soon as there are any; none when it is over.
    async fn next(&mut self) -> Option<Vec<Change>> {
        loop {
            if self.news.borrow_and_update().is_none() {
                return None;
            }
            let (fiche, after) = (self.fiche.clone(), self.after);
            match off_thread(move || fiche.changes(after, STEP)).await {
                Ok(changes) if changes.is_empty() => self.news.changed().await.ok()?,
                Ok(mut changes) => {
                    self.after = changes.last().map_or(self.after, |change| change.number);
                    changes.retain(|change| self.which.holds(change));
                    if !changes.is_empty() {
                        return Some(changes);
                    }
                }
                Err(failed) => {
                    // The client comes back with the last number that it saw.
                    tracing::warn!(error = %failed, "a stream of changes ended");
                    return None;
                }
            }
        }
    }
}
