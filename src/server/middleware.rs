//! What every request meets before its handler.

use std::any::Any;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse;

use super::{Config, metrics};
use crate::kernel::access::http::{Session, Source};
use crate::kernel::access::{Access, Caller};
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::http::{RequestId, text_of};
use crate::kernel::name::new_id;

/// The cookie that holds a web session.
pub(crate) const COOKIE: &str = "drip_session";

/// What the doors need to know.
#[derive(Clone)]
pub(super) struct Gate {
    access: Access,
    hosts: Arc<Vec<String>>,
    behind_proxy: bool,
}

impl Gate {
    pub(super) fn new(access: Access, config: &Config) -> Self {
        metrics::start();
        Self {
            access,
            hosts: Arc::new(config.allowed_hosts.clone()),
            behind_proxy: config.behind_proxy,
        }
    }

    fn allows_host(&self, host: &str) -> bool {
        let name = host_name(host);
        let loopback = name.eq_ignore_ascii_case("localhost")
            || name
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        loopback || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    }
}

/// A host without its port.
pub(super) fn host_name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').and_then(|end| host.get(..=end)).unwrap_or(host);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Gives each request an id, counts it, and traces it.
pub(super) async fn count_and_trace(mut request: Request, next: Next) -> Response<Body> {
    let start = std::time::Instant::now();
    let id: Arc<str> = new_id().into();
    let method = request.method().clone();
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    let status = response.status().as_u16();
    let took = start.elapsed();
    tracing::debug!(%id, %method, path, status, ?took, "request");
    ::metrics::counter!("http_requests_total", "method" => method.to_string(), "path" => path.clone(), "status" => status.to_string()).increment(1);
    ::metrics::histogram!("http_request_duration_seconds", "path" => path)
        .record(took.as_secs_f64());
    response
}

/// Headers that keep a browser from guessing, framing and loading from elsewhere.
pub(super) async fn safe_headers(request: Request, next: Next) -> Response<Body> {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                          connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // What an account sees is for that account alone.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses requests sent to a name that is not ours (DNS rebinding), and writes that a browser was
/// made to send from another site with our cookie.
pub(super) async fn check_host_and_origin(
    State(gate): State<Gate>,
    request: Request,
    next: Next,
) -> Response<Body> {
    match gate.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

impl Gate {
    fn check(&self, request: &Request) -> Result<()> {
        let headers = request.headers();
        let host = text_of(headers, "host").or_else(|| request.uri().host());
        if host.is_some_and(|host| !self.allows_host(host)) {
            return Err(Error::new(
                Kind::Denied,
                "unknown_host",
                "this name is not one that the daemon answers to: add it to server.allowed_hosts",
            ));
        }
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        // A form of another site could also sign a browser in, as someone else.
        let has = |name| headers.contains_key(name);
        let from_a_page = (has("sec-fetch-site") || has("origin")) && !has("authorization");
        if !is_safe
            && (cookie(headers).is_some() || from_a_page)
            && !is_same_origin(headers, host.unwrap_or_default())
        {
            return Err(Error::new(
                Kind::Denied,
                "cross_site",
                "a page of another site may not write with this sign-in",
            ));
        }
        Ok(())
    }
}

/// Whether a browser sent this from a page of ours. A cookie without either header is no browser's.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    if let Some(site) = text_of(headers, "sec-fetch-site") {
        return site == "same-origin";
    }
    text_of(headers, "origin").is_some_and(|origin| {
        origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
    })
}

/// Finds out who is calling. A credential that is shown and not valid is refused at once.
pub(super) async fn authenticate(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let source = gate.source(&request);
    request.extensions_mut().insert(Source(source));
    match gate.identify(request.headers()) {
        Ok(Some((caller, session))) => {
            request.extensions_mut().insert(caller);
            if let Some(session) = session {
                request.extensions_mut().insert(Session(session));
            }
        }
        Ok(None) => {}
        Err(refused) => return refused.into_response(),
    }
    next.run(request).await
}

impl Gate {
    /// The records of access are local and small: a look takes microseconds, less than a thread.
    fn identify(&self, headers: &HeaderMap) -> Result<Option<(Caller, Option<String>)>> {
        if let Some(value) = text_of(headers, "authorization") {
            let found = match credential(value) {
                Some(credential) => self.access.identify(&credential)?,
                None => None,
            };
            // Falling back to the cookie would hide that the token is wrong.
            return Ok(found);
        }
        match cookie(headers) {
            Some(cookie) => self.access.identify_cookie(cookie),
            None => Ok(None),
        }
    }

    fn source(&self, request: &Request) -> Arc<str> {
        let forwarded = text_of(request.headers(), "x-forwarded-for").filter(|_| self.behind_proxy);
        if let Some(last) = forwarded.and_then(|list| list.rsplit(',').next()) {
            return last.trim().into();
        }
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        peer.map_or_else(|| "unknown".into(), |peer| peer.0.ip().to_string().into())
    }
}

/// The token that was shown: as `Bearer`, or as the password of `Basic`, which is all that some clients
/// can send. The name beside it says nothing, and a password of an account is no token.
fn credential(value: &str) -> Option<Cow<'_, str>> {
    use base64::Engine as _;
    let (kind, shown) = value.split_once(' ')?;
    if kind.eq_ignore_ascii_case("bearer") {
        return Some(Cow::Borrowed(shown.trim()));
    }
    if !kind.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = base64::engine::general_purpose::STANDARD.decode(shown.trim()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':').map(|(_, token)| Cow::Owned(token.to_owned()))
}

/// The web session's cookie, if it was sent.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = text_of(headers, "cookie")?;
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

pub(super) async fn no_such_path(request: Request) -> Error {
    known(&request).err().unwrap_or_else(|| {
        Error::new(Kind::NotFound, "no_such_path", "there is nothing at this path: see /docs")
    })
}

pub(super) async fn no_such_method(request: Request) -> Error {
    known(&request).err().unwrap_or_else(|| {
        Error::new(Kind::NoMethod, "no_such_method", "this path has no such method: see /docs")
    })
}

/// Strangers are not told which paths and methods there are.
fn known(request: &Request) -> Result<()> {
    let signed_in = request.extensions().get::<Caller>().is_some();
    signed_in.then_some(()).ok_or_else(crate::kernel::http::unauthenticated)
}

pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let said = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Error::internal(format!("a handler panicked: {}", said.unwrap_or_default())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_loses_its_port_and_nothing_else() {
        assert_eq!(host_name("127.0.0.1:22315"), "127.0.0.1");
        assert_eq!(host_name("[::1]:22315"), "[::1]");
        assert_eq!(host_name("drip.lan"), "drip.lan");
    }

    #[test]
    fn only_a_page_of_ours_writes_with_the_cookie() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            headers
        };
        let host = "127.0.0.1:22315";
        assert!(is_same_origin(&with("origin", "http://127.0.0.1:22315"), host));
        assert!(is_same_origin(&with("sec-fetch-site", "same-origin"), host));
        assert!(!is_same_origin(&with("origin", "http://evil.test"), host));
        assert!(!is_same_origin(&with("sec-fetch-site", "cross-site"), host));
        assert!(!is_same_origin(&HeaderMap::new(), host));
    }
}
