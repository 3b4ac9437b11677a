//! The listeners for the clients of Drip 0.1: the old paths of each module at an address of their
//! own, and the doors that stand in front of them.
//!
//! Those clients show no credential. So a caller counts by where it calls from, acts as the role
//! that `drip.toml` names, and is told what is wrong in the shape that 0.1 had. Every call there is a
//! `GET`, also one that writes: a page of another site must not be able to make a browser send one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::connections::Limits;
use super::listening::Listening;
use super::network::Network;
use super::{Config, bind, bodies, is_open, middleware, resolve};
use crate::kernel::access::{Caller, Role};
use crate::kernel::config::Settings;
use crate::kernel::error::{Error, Fault, Kind, Result};
use crate::kernel::http::{PROBLEM_JSON, Problem, Routes, text_of};

/// The name that the old clients' writes have in the audit.
const CALLER: &str = "compat";
/// More than any problem document has.
const PROBLEM_MAX: usize = 1 << 20;

/// What every old path has in common.
#[derive(Debug, Clone)]
pub struct Compat {
    caller: Caller,
    from: Arc<Vec<Network>>,
    hosts: Arc<Vec<String>>,
    max_body: usize,
    limits: Limits,
}

impl Compat {
    /// As the settings say; none when they do not ask for the old paths. What stands in them is
    /// checked in either case.
    pub fn read(settings: &Settings, config: &Config) -> Result<Option<Self>> {
        let (mut from, mut faults) = (Vec::new(), Vec::new());
        for text in settings.list("compat.from")? {
            match text.parse::<Network>() {
                Ok(network) => from.push(network),
                Err(why) => faults.push(Fault::new("compat.from", why)),
            }
        }
        if !faults.is_empty() {
            let detail = "`compat.from` names what is no address and no network";
            return Err(Error::new(Kind::Config, "bad_network", detail).with_faults(faults));
        }
        let role: Role = settings.text("compat.role")?.parse()?;
        let compat = Self {
            caller: Caller::new(CALLER, role),
            from: Arc::new(from),
            hosts: Arc::new(config.allowed_hosts.clone()),
            max_body: config.max_body,
            limits: config.limits,
        };
        Ok(settings.bool("compat.enabled")?.then_some(compat))
    }

    /// Takes the port that `setting` names, for one module's old paths.
    pub async fn listen(
        &self,
        settings: &Settings,
        setting: &'static str,
        routes: Routes,
    ) -> Result<Listening> {
        let wanted = settings.text(setting)?;
        let addresses = resolve(wanted).await?;
        let is_open = is_open(&addresses);
        if is_open && self.from.iter().all(|network| network.is_local()) {
            let detail = format!(
                "`{setting}` = `{wanted}` can be reached from other machines, and `compat.from` names only this one: add the addresses of the clients there, or listen on 127.0.0.1"
            );
            return Err(Error::new(Kind::Config, "compat_from_nowhere", detail));
        }
        if is_open {
            tracing::warn!(
                "{wanted} answers clients of Drip 0.1 from other machines, without encryption or credentials"
            );
        }
        let cure = format!("end that program, or give `{setting}` another address");
        let listener = bind(wanted, &addresses, &cure).await?;
        Listening::over(setting, listener, self.router(routes), self.limits)
    }

    /// The old paths behind their doors, in the order that a request meets them.
    pub fn router(&self, routes: Routes) -> Router {
        // The last layer is the first that a request meets.
        routes
            .into_router()
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(from_fn_with_state(self.clone(), let_in))
            .layer(DefaultBodyLimit::max(self.max_body))
            .layer(tower_http::catch_panic::CatchPanicLayer::custom(middleware::panicked))
            .layer(from_fn_with_state(self.limits.stall, bodies::watch))
            .layer(from_fn(as_before))
            .layer(from_fn(middleware::safe_headers))
            .layer(from_fn(middleware::count_and_trace))
    }

    fn check(&self, request: &Request) -> Result<()> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|peer| peer.0.ip());
        let is_named = peer.is_some_and(|peer| self.from.iter().any(|network| network.holds(peer)));
        if !is_named {
            let who = peer.map_or_else(|| "this address".to_owned(), |peer| peer.to_string());
            return Err(Error::new(
                Kind::Denied,
                "not_from_here",
                format!("{who} may not call here: `compat.from` in drip.toml names who may"),
            ));
        }
        let headers = request.headers();
        let host = text_of(headers, "host").or_else(|| request.uri().host()).unwrap_or_default();
        if !self.allows_host(host) {
            return Err(Error::new(
                Kind::Denied,
                "unknown_host",
                "this name is not one that the daemon answers to: add it to server.allowed_hosts",
            ));
        }
        if is_of_another_site(headers, host) {
            return Err(Error::new(
                Kind::Denied,
                "cross_site",
                "a page of another site may not call here",
            ));
        }
        Ok(())
    }

    /// An address can be no name that was turned against us.
    fn allows_host(&self, host: &str) -> bool {
        let name = middleware::host_name(host).trim_matches(['[', ']']);
        let known = |allowed: &String| allowed.eq_ignore_ascii_case(name);
        host.is_empty()
            || name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(known)
    }
}

/// Whether a browser sends this on behalf of a page that is not ours. The clients of 0.1 are no
/// browsers and send none of these headers.
fn is_of_another_site(headers: &HeaderMap, host: &str) -> bool {
    let by_site = text_of(headers, "sec-fetch-site")
        .is_some_and(|site| !matches!(site, "none" | "same-origin"));
    let elsewhere = |name| {
        text_of(headers, name).is_some_and(|url| {
            let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
            let authority = authority.split('/').next().unwrap_or_default();
            !authority.eq_ignore_ascii_case(host)
        })
    };
    by_site || elsewhere("origin") || elsewhere("referer")
}

async fn let_in(State(compat): State<Compat>, mut request: Request, next: Next) -> Response<Body> {
    match compat.check(&request) {
        Ok(()) => {
            request.extensions_mut().insert(compat.caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

async fn no_such_path() -> Error {
    Error::new(Kind::NotFound, "no_such_path", "there is nothing at this path")
}

async fn no_such_method() -> Error {
    Error::new(Kind::NoMethod, "no_such_method", "the old paths are all called by GET")
}

/// Tells what is wrong as 0.1 did.
async fn as_before(request: Request, next: Next) -> Response<Body> {
    let response = next.run(request).await;
    let is_problem = text_of(response.headers(), "content-type") == Some(PROBLEM_JSON);
    if !is_problem {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = to_bytes(body, PROBLEM_MAX).await.unwrap_or_default();
    let said = match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => old_shape(&problem),
        Err(_unlikely) => json!({"detail": "Internal Server Error"}),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(said.to_string()))
}

/// FastAPI's shape: a sentence, or a list of what is wrong with which parameter.
fn old_shape(problem: &Problem) -> Value {
    match problem.status {
        404 => json!({"detail": "Not Found"}),
        405 => json!({"detail": "Method Not Allowed"}),
        422 if problem.errors.is_empty() => json!({"detail": [
            {"loc": ["query"], "msg": problem.detail, "type": "value_error"},
        ]}),
        422 => {
            let kind = match problem.code.as_str() {
                "missing_parameters" => "value_error.missing",
                _ => "value_error",
            };
            let item = |fault: &Fault| {
                let place = fault.pointer.trim_start_matches('/');
                json!({"loc": ["query", place], "msg": fault.detail, "type": kind})
            };
            json!({"detail": problem.errors.iter().map(item).collect::<Vec<_>>()})
        }
        _ => json!({"detail": problem.detail}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            ((*name).parse().unwrap(), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_page_of_another_site_is_told_from_a_client() {
        let host = "127.0.0.1:11811";
        for (pairs, is_other) in [
            (&[][..], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("origin", "http://127.0.0.1:11811")], false),
            (&[("origin", "http://127.0.0.1:8080")], true),
            (&[("origin", "null")], true),
            (&[("referer", "http://127.0.0.1:11811/x")], false),
            (&[("referer", "http://evil.example/")], true),
        ] {
            assert_eq!(is_of_another_site(&headers(pairs), host), is_other, "{pairs:?}");
        }
    }

    #[test]
    fn refusals_have_the_shape_of_0_1() {
        let problem = |error: Error| old_shape(&Problem::from(&error));
        let missing = vec![Fault::new("name", "field required")];
        assert_eq!(
            problem(Error::invalid("missing_parameters", "x", missing)),
            json!({"detail": [
                {"loc": ["query", "name"], "msg": "field required", "type": "value_error.missing"},
            ]})
        );
        assert_eq!(
            problem(Error::invalid("bad_card", "x", vec![Fault::new("/version", "no")]))["detail"]
                [0],
            json!({"loc": ["query", "version"], "msg": "no", "type": "value_error"})
        );
        let gone = Error::new(Kind::NotFound, "card_not_found", "there is no card");
        assert_eq!(problem(gone), json!({"detail": "Not Found"}));
        let full = Error::new(Kind::Full, "disk_full", "the disk is full");
        assert_eq!(problem(full), json!({"detail": "the disk is full"}));
    }
}
