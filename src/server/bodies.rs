//! Bodies of requests, from their first byte to their last: one that stands still is given up with
//! 408, and what a handler leaves is read away, so that the connection is good for the next request.
//! Where that would take long, the answer says that the connection ends.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::wire::Linger;
use crate::kernel::error::{Error, Kind};

/// How much of a body that nobody wants is read away, and for how long.
const AWAY: (u64, Duration) = (256 << 10, Duration::from_secs(1));
/// So many bytes make good for a second of waiting: who sends less than that for long stands still.
const BYTES_PER_SECOND: u64 = 256;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Watches the body of a request, and leaves the connection in a state that the answer tells.
pub(super) async fn watch(
    State(stall): State<Duration>,
    request: Request,
    next: Next,
) -> Response<Body> {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let linger = request.extensions().get::<Linger>().cloned();
    let waits = request.headers().contains_key(header::EXPECT);
    let rest = Arc::new(Rest::default());
    let request = request.map(|body| Body::new(Watched::new(body, rest.clone(), stall)));
    let mut response = next.run(request).await;
    let is_stalled = rest.stalled.load(Ordering::Relaxed);
    if is_stalled && !response.status().is_success() {
        response = stalled(stall).into_response();
    }
    // Who waits to be told to go on has not sent the body, and need not.
    let unasked = waits && !rest.asked.load(Ordering::Relaxed);
    if is_stalled || unasked || !rest.read_away().await {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Some(linger) = linger {
            linger.ask();
        }
    }
    response
}

fn stalled(stall: Duration) -> Error {
    Error::new(
        Kind::Stalled,
        "body_stalled",
        format!(
            "the body stood still for {stall:?} before it was complete: send it without a pause; \
             `server.stall_timeout` sets how long is waited"
        ),
    )
}

/// What is left of a body when its reader is done with it.
#[derive(Default)]
struct Rest {
    body: Mutex<Option<Body>>,
    /// Whether it was read to its end.
    ended: AtomicBool,
    /// Whether it was given up.
    stalled: AtomicBool,
    /// Whether anyone began to read it.
    asked: AtomicBool,
}

impl Rest {
    /// Reads away what is left; answers whether the next request can follow.
    async fn read_away(&self) -> bool {
        if self.ended.load(Ordering::Relaxed) {
            return true;
        }
        let left = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Where there is none, somebody reads it still.
        let Some(mut body) = left else {
            return false;
        };
        let (most, time) = AWAY;
        if body.is_end_stream() || body.size_hint().lower() > most {
            return body.is_end_stream();
        }
        let away = async {
            let mut read = 0;
            while read <= most {
                let piece = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                match piece {
                    None => return true,
                    Some(Err(_cut)) => return false,
                    Some(Ok(frame)) => read += length(&frame) as u64,
                }
            }
            false
        };
        timeout(time, away).await.unwrap_or(false)
    }
}

fn length(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

/// A body that is given up when it stands still, and handed back when its reader drops it.
struct Watched {
    body: Option<Body>,
    rest: Arc<Rest>,
    patience: Patience,
}

impl Watched {
    fn new(body: Body, rest: Arc<Rest>, stall: Duration) -> Self {
        let patience = Patience { most: stall, left: stall, waiting: None };
        Self { body: Some(body), rest, patience }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        this.rest.asked.store(true, Ordering::Relaxed);
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(piece) => {
                let length = piece.as_ref().and_then(|piece| piece.as_ref().ok()).map_or(0, length);
                this.patience.came(length);
                this.rest.ended.store(piece.is_none(), Ordering::Relaxed);
                Poll::Ready(piece.map(|piece| piece.map_err(BoxError::from)))
            }
            Poll::Pending if this.patience.is_over(cx) => {
                this.rest.stalled.store(true, Ordering::Relaxed);
                let gave_up = std::io::Error::from(std::io::ErrorKind::TimedOut);
                Poll::Ready(Some(Err(gave_up.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        *self.rest.body.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}

/// Time that is spent by waiting for a sender, and earned by what it sends. Time that the reader
/// takes does not count.
struct Patience {
    most: Duration,
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Patience {
    /// So many bytes came.
    fn came(&mut self, bytes: usize) {
        if let Some((since, _)) = self.waiting.take() {
            let earned = Duration::from_millis(bytes as u64 * 1000 / BYTES_PER_SECOND);
            self.left = (self.left.saturating_sub(since.elapsed()) + earned).min(self.most);
        }
    }

    /// Whether the sender has been waited for long enough.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let left = self.left;
        let begin = || {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + left)))
        };
        let (_, end) = self.waiting.get_or_insert_with(begin);
        end.as_mut().poll(cx).is_ready()
    }
}
