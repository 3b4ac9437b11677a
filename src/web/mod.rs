//! The pages: rendered on the server, everything they need built in, in English and Chinese.
//!
//! A page works without scripts; where there is one, it adds comfort. Nothing is loaded from
//! elsewhere, and the headers forbid it.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;

mod assets;
mod body;
mod words;

use crate::app::{App, Counts};
use crate::kernel::access::http::{Session, Source};
use crate::kernel::access::{Access, Caller, Needs, Shown};
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::http::{Params, RouteInfo, Routes, get, off_thread, post, text_of};
use body::Body;
use words::{Language, Words};

/// The cookie that holds a web session.
const COOKIE: &str = "drip_session";
/// The cookie that remembers the language.
const LANGUAGE: &str = "drip_lang";

/// What the pages show.
#[derive(Clone)]
pub struct Web {
    /// Who is who.
    pub access: Access,
    /// What there is.
    pub counts: Counts,
    /// The API, for the page that explains it.
    pub api: Arc<Vec<RouteInfo>>,
    /// Whether a proxy in front ends TLS: then cookies are for TLS alone.
    pub behind_proxy: bool,
}

impl Web {
    /// The pages of what is open, and of an API with these routes.
    pub fn of(app: &App, api: Vec<RouteInfo>, behind_proxy: bool) -> Self {
        Self { access: app.access.clone(), counts: app.counts(), api: Arc::new(api), behind_proxy }
    }
}

/// The pages' own table.
pub fn routes(web: Web) -> Routes {
    Routes::new("web")
        .add(get("/", Needs::Public, home).says("Sign in; then what there is"))
        .add(post("/", Needs::Public, sign_in).says("Sign in with the form"))
        .add(post("/logout", Needs::SignedIn, sign_out).says("Sign out with the form"))
        .add(get("/docs", Needs::Public, docs).says("The API, to read and try"))
        .with_state(web)
        .and(assets::routes())
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    lang: Option<String>,
}

impl Wanted {
    /// What the address asks for, else the cookie, else what the browser prefers.
    fn language(&self, headers: &HeaderMap) -> Language {
        let asked = self.lang.as_deref().and_then(Language::parse);
        let kept = || cookie(headers, LANGUAGE).and_then(Language::parse);
        let preferred = || text_of(headers, "accept-language").map(Language::preferred);
        asked.or_else(kept).or_else(preferred).unwrap_or(Language::English)
    }

    /// Remembers what was asked for.
    fn remember(&self, page: Response) -> Response {
        let Some(language) = self.lang.as_deref().and_then(Language::parse) else {
            return page;
        };
        let cookie =
            format!("{LANGUAGE}={}; Path=/; SameSite=Lax; Max-Age=31536000", language.code());
        with_cookie(page, &cookie)
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs =
        text_of(headers, "cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

fn with_cookie(mut page: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        page.headers_mut().append(header::SET_COOKIE, value);
    }
    page
}

#[derive(Template)]
#[template(path = "signin.html")]
struct SignIn<'a> {
    words: &'a Words,
    failed: Option<&'a str>,
    no_account: bool,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    words: &'a Words,
    caller: &'a Caller,
    modules: Vec<Module>,
}

/// One module on the first page.
struct Module {
    name: String,
    what: &'static str,
    counts: Vec<(String, u64)>,
    hint: &'static str,
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Docs<'a> {
    words: &'a Words,
    signed_in: Option<&'a Caller>,
    groups: Vec<Group<'a>>,
}

/// One module's calls on the page that explains the API.
struct Group<'a> {
    module: &'a str,
    what: &'static str,
    calls: Vec<Call<'a>>,
}

/// One call there.
struct Call<'a> {
    route: &'a RouteInfo,
    needs: String,
    body: Option<Body>,
}

async fn home(
    State(web): State<Web>,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
    caller: Option<Caller>,
) -> Result<Response> {
    let words = wanted.language(&headers).words();
    let page = match &caller {
        Some(caller) => {
            let counts = web.counts.clone();
            let counts = off_thread(move || counts()).await?;
            let modules = modules(&counts, words);
            render(StatusCode::OK, &Home { words, caller, modules })?
        }
        None => render(
            StatusCode::OK,
            &SignIn { words, failed: None, no_account: !web.access.has_users()? },
        )?,
    };
    Ok(wanted.remember(page))
}

fn modules(counts: &Value, words: &Words) -> Vec<Module> {
    let one = |(name, counts): (&String, &Value)| {
        let (what, hint) = words.module(name);
        let counts = counts.as_object().into_iter().flatten();
        let counts =
            counts.filter_map(|(noun, n)| Some((words.noun(noun).to_owned(), n.as_u64()?)));
        Module { name: name.clone(), what, counts: counts.collect(), hint }
    };
    counts.as_object().into_iter().flatten().map(one).collect()
}

impl Module {
    fn is_empty(&self) -> bool {
        self.counts.iter().all(|(_, count)| *count == 0)
    }
}

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

async fn sign_in(
    State(web): State<Web>,
    headers: HeaderMap,
    extensions: Extensions,
    Form(given): Form<Credentials>,
) -> Result<Response> {
    let words = Wanted::default().language(&headers).words();
    let source = extensions.get::<Source>().map_or_else(|| "unknown".into(), |s| s.0.clone());
    let access = web.access.clone();
    let work = move || access.login(&given.username, &given.password, &source, Shown::Cookie);
    match off_thread(work).await {
        Ok(login) => {
            let secure = if web.behind_proxy { "; Secure" } else { "" };
            let cookie =
                format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax{secure}", login.token);
            Ok(with_cookie(Redirect::to("/").into_response(), &cookie))
        }
        Err(error) if matches!(error.kind(), Kind::Unauthenticated | Kind::Limited) => {
            let failed = if error.kind() == Kind::Limited { words.wait } else { words.wrong };
            let status =
                StatusCode::from_u16(error.kind().status()).unwrap_or(StatusCode::UNAUTHORIZED);
            render(status, &SignIn { words, failed: Some(failed), no_account: false })
        }
        Err(error) => Err(error),
    }
}

async fn sign_out(State(web): State<Web>, extensions: Extensions) -> Result<Response> {
    if let Some(Session(id)) = extensions.get::<Session>().cloned() {
        off_thread(move || web.access.logout(&id)).await?;
    }
    let gone = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    Ok(with_cookie(Redirect::to("/").into_response(), &gone))
}

async fn docs(
    State(web): State<Web>,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
    caller: Option<Caller>,
) -> Result<Response> {
    let words = wanted.language(&headers).words();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for route in web.api.iter() {
        let (needs, body) = (words.needs_of(route.needs), Body::of(route, words));
        let call = Call { route, needs, body };
        if let Some(group) = groups.iter_mut().find(|group| group.module == route.module) {
            group.calls.push(call);
        } else {
            let what = words.module(route.module).0;
            groups.push(Group { module: route.module, what, calls: vec![call] });
        }
    }
    let page = Docs { words, signed_in: caller.as_ref(), groups };
    Ok(wanted.remember(render(StatusCode::OK, &page)?))
}

fn render(status: StatusCode, page: &impl Template) -> Result<Response> {
    let html =
        page.render().map_err(|source| Error::internal(format!("render a page: {source}")))?;
    Ok((status, Html(html)).into_response())
}
