//! Talking to a daemon: one HTTP client that every slice's `client.rs` builds its typed calls on.
//! Problem documents come back as the errors they were.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Error, Fault, Kind, Result};

/// A daemon, and the credential to show it. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    url: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.url)
    }
}

impl Client {
    /// A client for the daemon at `url`, such as `http://127.0.0.1:22315`.
    pub fn new(url: &str, token: Option<String>) -> Result<Self> {
        if token.as_deref().is_some_and(|token| token.contains(|c: char| !c.is_ascii_graphic())) {
            let why = "the token has characters that no token has: was it cut or quoted wrongly?";
            return Err(Error::new(Kind::Usage, "bad_token", why));
        }
        install_tls();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(std::time::Duration::from_secs(5))
            .build()
            .map_err(|source| Error::internal(format!("build the HTTP client: {source}")))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, http })
    }

    /// The same daemon, as someone else.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// Whether it shows a credential.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The daemon's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request to `path`, with the credential. Parts of the path must be encoded: see [`segment`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends a request; an answer that is no success becomes the error that it tells of.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        if response.status().is_success() || response.status().as_u16() == 304 {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(std::time::Duration::from_secs);
        let body = response.bytes().await.unwrap_or_default();
        let error = refused(status, &body);
        Err(match retry_after {
            Some(wait) => error.retry_after(wait),
            None => error,
        })
    }

    /// Sends a request and reads JSON.
    pub async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|source| {
            Error::new(Kind::Internal, "bad_answer", format!("the daemon's answer: {source}"))
        })
    }

    /// Sends a request and reads the whole answer.
    pub async fn bytes(&self, request: RequestBuilder) -> Result<Bytes> {
        let response = self.send(request).await?;
        response.bytes().await.map_err(|source| self.unreachable(source))
    }

    /// `GET`, as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(self.request(Method::GET, path)).await
    }

    /// `PUT` of JSON, answered with JSON.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.json(self.request(Method::PUT, path).json(body)).await
    }

    /// `POST` of JSON, answered with JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    /// `PUT` of bytes, answered with JSON.
    pub async fn put_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        media_type: &str,
        bytes: impl Into<reqwest::Body>,
    ) -> Result<T> {
        let request = self.request(Method::PUT, path).header(CONTENT_TYPE, media_type).body(bytes);
        self.json(request).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.send(self.request(Method::DELETE, path)).await.map(drop)
    }

    /// Every item of a paged list; `path` may have a query of its own.
    pub async fn all(&self, path: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let mut request = self.request(Method::GET, path).query(&[("limit", "1000")]);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: Page = self.json(request).await?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> Error {
        if source.is_connect() {
            return Error::new(
                Kind::Unavailable,
                "daemon_away",
                format!(
                    "no daemon answers at {}: start one with `dripctl serve`, or name it with --url",
                    self.url
                ),
            );
        }
        if source.is_builder() {
            return Error::new(Kind::Usage, "bad_url", format!("`{}` is no address", self.url));
        }
        Error::new(Kind::Unavailable, "connection_lost", format!("{}: {source}", self.url))
            .caused_by(source)
    }
}

/// Gives TLS its cryptography, where this build has TLS.
pub(super) fn install_tls() {
    #[cfg(feature = "tls")]
    {
        // Only the first call of a process installs it; later ones find it there.
        let _already = rustls::crypto::ring::default_provider().install_default();
    }
}

#[derive(serde::Deserialize)]
struct Page {
    items: Vec<Value>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// An error as it came over the wire.
fn refused(status: u16, body: &[u8]) -> Error {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| problem.get(field).and_then(Value::as_str).map(str::to_owned);
    let detail = text("detail").unwrap_or_else(|| format!("the daemon answered {status}"));
    let faults: Vec<Fault> = problem
        .get("errors")
        .and_then(|errors| serde_json::from_value(errors.clone()).ok())
        .unwrap_or_default();
    // Code words live as long as the program: each distinct one is kept once.
    let code = text("code").map_or("refused", intern);
    Error::new(Kind::from_status(status), code, detail).with_faults(faults)
}

fn intern(word: String) -> &'static str {
    use std::collections::HashSet;
    use std::sync::{Mutex, PoisonError};
    static WORDS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    let words = words.get_or_insert_with(HashSet::new);
    if let Some(known) = words.get(word.as_str()) {
        return known;
    }
    // A hostile daemon must not make the client grow: words are short and few.
    if word.len() > 64 || words.len() > 1000 {
        return "refused";
    }
    let kept: &'static str = Box::leak(word.into_boxed_str());
    words.insert(kept);
    kept
}

/// One part of a path, encoded: a `/` in it stays inside it.
pub fn segment(text: &str) -> String {
    encode(text, false)
}

/// A key with slashes: each of its parts encoded, the slashes kept.
pub fn key_path(key: &str) -> String {
    encode(key, true)
}

fn encode(text: &str, keep_slash: bool) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&super::name::hex(&[byte]).to_uppercase());
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_part_of_the_path() {
        assert_eq!(segment("a/b c"), "a%2Fb%20c");
        assert_eq!(key_path("wind/风.json"), "wind/%E9%A3%8E.json");
    }

    #[test]
    fn a_problem_comes_back_as_the_error_it_was() {
        let body = br#"{"status":404,"code":"card_not_found","detail":"no such card","errors":[{"pointer":"/x","detail":"y"}]}"#;
        let error = refused(404, body);
        assert_eq!((error.kind(), error.code()), (Kind::NotFound, "card_not_found"));
        assert_eq!(error.faults().len(), 1);
        assert_eq!(refused(500, b"<html>").code(), "refused");
    }
}
