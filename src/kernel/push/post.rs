//! One try: a message is posted, and its answer is told in words.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use reqwest::{Response, StatusCode};

use super::address::{lookup, open_ones};
use super::sign::signature;
use super::target::Target;
use super::{DELIVERY, SIGNATURE, Terms};
use crate::kernel::client::install_tls;
use crate::kernel::clock::{Time, show_duration};
use crate::kernel::config::Secret;
use crate::kernel::error::{Error, Result};

/// The longest answer that is read so that its connection can be used again.
const ANSWER_MAX: u64 = 16 << 10;
const AGENT: &str = concat!("Drip/", env!("CARGO_PKG_VERSION"));

/// A message.
#[derive(Debug)]
pub struct Message<'a> {
    /// Where it goes.
    pub target: &'a Target,
    /// What it is signed with; without one it is not signed.
    pub secret: Option<&'a Secret>,
    /// What names it, in ASCII: the same at every try, so that a receiver can tell a repeat.
    pub id: &'a str,
    /// JSON.
    pub body: Bytes,
    /// When this try is made.
    pub at: Time,
}

/// What a try came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken: any 2xx.
    Delivered,
    /// It was not, and may be tried again.
    Failed,
    /// The receiver says that it is gone for good: 410.
    Gone,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it came to.
    pub verdict: Verdict,
    /// The status that was answered, if any.
    pub status: Option<u16>,
    /// What went wrong, in words.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// Posts messages. Belongs to the runtime that it is first used on.
#[derive(Debug, Clone)]
pub struct Pusher {
    http: reqwest::Client,
    terms: Terms,
}

impl Pusher {
    /// One that keeps to these terms.
    pub fn new(terms: Terms) -> Result<Self> {
        install_tls();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .timeout(terms.time)
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(30))
            .dns_resolver(CheckedNames { allow_private: terms.allow_private })
            .build()
            .map_err(|source| Error::internal(format!("build the client for pushes: {source}")))?;
        Ok(Self { http, terms })
    }

    /// Makes one try.
    pub async fn post(&self, message: Message<'_>) -> Answer {
        let begun = Instant::now();
        let answer = match self.attempt(message).await {
            Ok(response) => of_response(response).await,
            Err(error) => failed(None, error),
        };
        count(&answer, begun.elapsed());
        Answer { took: begun.elapsed(), ..answer }
    }

    async fn attempt(&self, message: Message<'_>) -> Result<Response, String> {
        message.target.check_literal(self.terms.allow_private)?;
        let mut request = self
            .http
            .post(message.target.url())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header(DELIVERY, message.id);
        if let Some(secret) = message.secret {
            let signed = signature(secret, message.at, &message.body);
            request = request.header(SIGNATURE, signed.map_err(|why| why.to_string())?);
        }
        request.body(message.body).send().await.map_err(|why| self.in_words(&why))
    }

    fn in_words(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {}", show_duration(self.terms.time));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let what = if error.is_connect() { "cannot connect" } else { "the connection broke" };
        format!("{what}: {cause}")
    }
}

async fn of_response(mut response: Response) -> Answer {
    let status = response.status();
    let answer = if status.is_success() {
        Answer { verdict: Verdict::Delivered, error: None, ..failed(Some(status), String::new()) }
    } else if status == StatusCode::GONE {
        let why = "it answered 410 Gone".to_owned();
        Answer { verdict: Verdict::Gone, ..failed(Some(status), why) }
    } else if status.is_redirection() {
        failed(Some(status), format!("it answered {status}: redirects are not followed"))
    } else {
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let answer = failed(Some(status), format!("it answered {status}"));
        Answer { retry_after: wait, ..answer }
    };
    // What was said counts from its first line on. The rest is read only to free the connection.
    if response.content_length().is_some_and(|bytes| bytes <= ANSWER_MAX) {
        while let Ok(Some(_)) = response.chunk().await {}
    }
    answer
}

fn failed(status: Option<StatusCode>, error: String) -> Answer {
    Answer {
        verdict: Verdict::Failed,
        status: status.map(|status| status.as_u16()),
        error: Some(error),
        took: Duration::ZERO,
        retry_after: None,
    }
}

#[cfg(feature = "http")]
fn count(answer: &Answer, took: Duration) {
    let outcome = match answer.verdict {
        Verdict::Delivered => "delivered",
        Verdict::Failed => "failed",
        Verdict::Gone => "gone",
    };
    metrics::counter!("push_tries_total", "outcome" => outcome).increment(1);
    metrics::histogram!("push_duration_seconds").record(took.as_secs_f64());
}

#[cfg(not(feature = "http"))]
fn count(_answer: &Answer, _took: Duration) {}

/// Names lead only to addresses that may be pushed to. The connection is made to what is answered
/// here: there is no second lookup that could say something else.
struct CheckedNames {
    allow_private: bool,
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (name, allow_private) = (name.as_str().to_owned(), self.allow_private);
        Box::pin(async move {
            let looked_up = tokio::task::spawn_blocking(move || {
                let found = lookup(&name)
                    .map_err(|why| format!("the name `{name}` is not known: {why}"))?;
                open_ones(&name, found, allow_private)
            });
            let open = looked_up.await??;
            Ok(Box::new(open.into_iter()) as Addrs)
        })
    }
}
