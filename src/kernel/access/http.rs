//! The calls for accounts, tokens, sign-in and audit.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{Extensions, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::{Access, Caller, Login, Needs, Scope, Shown, TokenDraft, UserDraft};
use crate::kernel::clock::parse_duration;
use crate::kernel::error::{Error, Fault, Kind, Result};
use crate::kernel::feed::{self, Audit};
use crate::kernel::http::{
    Conditions, JsonBody, List, PageParams, Params, Parted, Routes, delete, etag, get, off_thread,
    post, put,
};
use crate::kernel::records::SharedRecords;

/// The address that a request came from, as the server saw it.
#[derive(Debug, Clone)]
pub struct Source(pub Arc<str>);

/// The session that a request was made with, if it was one.
#[derive(Debug, Clone)]
pub struct Session(pub String);

#[derive(Clone)]
struct Rooms {
    access: Access,
    audits: Arc<Vec<(&'static str, SharedRecords)>>,
}

/// The table of access. `audits` are the stores whose audit lines `/api/v1/audit` shows, by module.
pub fn routes(access: Access, audits: Vec<(&'static str, SharedRecords)>) -> Routes {
    const ADMIN: Needs = Needs::Admin("access");
    Routes::new("access")
        .add(
            post("/api/v1/login", Needs::Public, login)
                .says("Sign in: a JWT for 12 hours")
                .takes::<LoginBody>()
                .answers::<LoginAnswer>(200),
        )
        .add(
            post("/api/v1/logout", Needs::SignedIn, logout)
                .says("End this sign-in")
                .answers::<()>(204),
        )
        .add(
            get("/api/v1/whoami", Needs::SignedIn, whoami)
                .says("Who this credential is")
                .answers::<WhoAmI>(200),
        )
        .add(
            get("/api/v1/users", ADMIN, list_users)
                .says("List accounts")
                .paged()
                .answers::<List<UserShape>>(200),
        )
        .add(
            get("/api/v1/users/{name}", ADMIN, get_user)
                .says("One account")
                .answers::<UserShape>(200),
        )
        .add(
            put("/api/v1/users/{name}", ADMIN, put_user)
                .says("Make or change an account")
                .takes::<UserBody>()
                .answers::<UserShape>(200)
                .answers::<UserShape>(201),
        )
        .add(
            delete("/api/v1/users/{name}", ADMIN, delete_user)
                .says("Remove an account and its tokens")
                .answers::<()>(204),
        )
        .add(
            get("/api/v1/tokens", Needs::SignedIn, list_tokens)
                .says("List one's own API tokens; all for an admin")
                .answers::<List<TokenShape>>(200),
        )
        .add(
            post("/api/v1/tokens", Needs::SignedIn, make_token)
                .says("Make an API token; its text is shown once")
                .takes::<TokenBody>()
                .answers::<NewTokenShape>(201),
        )
        .add(
            delete("/api/v1/tokens/{id}", Needs::SignedIn, revoke_token)
                .says("End an API token at once")
                .answers::<()>(204),
        )
        .add(
            get("/api/v1/audit", Needs::Admin("access"), audit)
                .says("Who changed what, when; newest first")
                .paged()
                .answers::<List<AuditShape>>(200),
        )
        .with_state(Rooms { access, audits: Arc::new(audits) })
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct LoginBody {
    username: String,
    password: String,
}

/// What a sign-in answers.
#[derive(Serialize, utoipa::ToSchema)]
struct LoginAnswer {
    token: String,
    expires_at: String,
    role: String,
}

async fn login(
    State(rooms): State<Rooms>,
    extensions: Extensions,
    JsonBody(body): JsonBody<LoginBody>,
) -> Result<Json<Login>> {
    let source = extensions.get::<Source>().map_or_else(|| Arc::from("unknown"), |s| s.0.clone());
    let work = move || rooms.access.login(&body.username, &body.password, &source, Shown::Jwt);
    off_thread(work).await.map(Json)
}

async fn logout(State(rooms): State<Rooms>, extensions: Extensions) -> Result<StatusCode> {
    if let Some(Session(id)) = extensions.get::<Session>().cloned() {
        off_thread(move || rooms.access.logout(&id)).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, utoipa::ToSchema)]
struct WhoAmI {
    name: String,
    role: String,
    scopes: Option<Vec<String>>,
}

async fn whoami(caller: Caller) -> Json<WhoAmI> {
    let scopes = caller.scopes.map(|scopes| scopes.iter().map(ToString::to_string).collect());
    Json(WhoAmI { name: caller.name, role: caller.role.to_string(), scopes })
}

/// An account.
#[derive(Serialize, utoipa::ToSchema)]
struct UserShape {
    name: String,
    role: String,
    created_at: String,
    revision: u64,
}

/// What an account is to become.
#[derive(Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body for the API's description; UserDraft reads it")]
struct UserBody {
    password: Option<String>,
    role: Option<String>,
}

async fn list_users(
    State(rooms): State<Rooms>,
    Params(page): Params<PageParams>,
) -> Result<impl IntoResponse> {
    let (limit, after) = (page.limit()?, page.after()?);
    let users = off_thread(move || rooms.access.users(after.as_deref(), limit + 1)).await?;
    Ok(Json(List::page(users, limit, |user| user.name.clone())))
}

async fn get_user(
    State(rooms): State<Rooms>,
    Parted(name): Parted<String>,
) -> Result<impl IntoResponse> {
    let user = off_thread(move || rooms.access.user(&name)).await?;
    Ok((etag(user.revision), Json(user)))
}

async fn put_user(
    State(rooms): State<Rooms>,
    caller: Caller,
    Parted(name): Parted<String>,
    conditions: Conditions,
    JsonBody(draft): JsonBody<UserDraft>,
) -> Result<impl IntoResponse> {
    let work = move || {
        if conditions.create_only && rooms.access.user(&name).is_ok() {
            return Err(Error::new(Kind::Stale, "user_exists", format!("`{name}` exists already")));
        }
        rooms.access.put_user(&caller, &name, &draft, conditions.revision)
    };
    let (user, is_new) = off_thread(work).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, etag(user.revision), Json(user)))
}

async fn delete_user(
    State(rooms): State<Rooms>,
    caller: Caller,
    Parted(name): Parted<String>,
) -> Result<StatusCode> {
    off_thread(move || rooms.access.delete_user(&caller, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An API token as it is listed.
#[derive(Serialize, utoipa::ToSchema)]
struct TokenShape {
    id: String,
    name: String,
    user: String,
    scopes: Vec<String>,
    created_at: String,
    expires_at: String,
}

/// A new API token.
#[derive(Serialize, utoipa::ToSchema)]
struct NewTokenShape {
    id: String,
    token: String,
    expires_at: String,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    name: String,
    scopes: Vec<String>,
    expires_in: Option<String>,
    user: Option<String>,
}

impl TokenBody {
    fn draft(self) -> Result<TokenDraft> {
        let mut faults = Vec::new();
        let mut scopes = BTreeSet::new();
        for (at, text) in self.scopes.iter().enumerate() {
            match text.parse::<Scope>() {
                Ok(scope) => drop(scopes.insert(scope)),
                Err(error) => faults.push(Fault::new(format!("/scopes/{at}"), error.detail())),
            }
        }
        let lifetime = self.expires_in.as_deref().map(parse_duration).transpose();
        let lifetime = lifetime.unwrap_or_else(|error| {
            faults.push(Fault::new("/expires_in", error.detail()));
            None
        });
        if !faults.is_empty() {
            return Err(Error::invalid("bad_token", "the token cannot be made so", faults));
        }
        Ok(TokenDraft { name: self.name, user: self.user, scopes, lifetime })
    }
}

async fn list_tokens(State(rooms): State<Rooms>, caller: Caller) -> Result<impl IntoResponse> {
    let tokens = off_thread(move || rooms.access.tokens(&caller)).await?;
    Ok(Json(List::whole(tokens)))
}

async fn make_token(
    State(rooms): State<Rooms>,
    caller: Caller,
    JsonBody(body): JsonBody<TokenBody>,
) -> Result<impl IntoResponse> {
    let draft = body.draft()?;
    let token = off_thread(move || rooms.access.make_token(&caller, draft)).await?;
    Ok((StatusCode::CREATED, Json(token)))
}

async fn revoke_token(
    State(rooms): State<Rooms>,
    caller: Caller,
    Parted(id): Parted<String>,
) -> Result<StatusCode> {
    off_thread(move || rooms.access.revoke_token(&caller, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A line of the audit.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct AuditShape {
    id: String,
    module: String,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    line: Audit,
}

async fn audit(
    State(rooms): State<Rooms>,
    Params(page): Params<PageParams>,
) -> Result<impl IntoResponse> {
    let (limit, before) = (page.limit()?, page.after()?);
    let lines = off_thread(move || rooms.read_audit(before.as_deref(), limit + 1)).await?;
    Ok(Json(List::page(lines, limit, |line| line.id.clone())))
}

impl Rooms {
    /// Ids sort by time, so lines of all stores merge by them.
    fn read_audit(&self, before: Option<&str>, limit: usize) -> Result<Vec<AuditShape>> {
        let mut lines = Vec::new();
        for (module, records) in self.audits.iter() {
            for (id, line) in feed::read_audit(records.as_ref(), before, limit)? {
                lines.push(AuditShape { id, module: (*module).to_owned(), line });
            }
        }
        lines.sort_by(|a, b| b.id.cmp(&a.id));
        lines.truncate(limit);
        Ok(lines)
    }
}
