//! Who may do what: accounts, roles, sessions, API tokens, throttled sign-ins, audit.
//!
//! There is no default account: the first is made by `dripctl create-admin`. Every change is durable
//! before it is answered, so a revoked token never works again, also across a crash. Secrets are
//! shown once and kept as digests; passwords as argon2id.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod caller;
mod config;
#[cfg(feature = "http")]
pub mod http;
mod password;
mod rows;
mod secret;
mod throttle;

pub use caller::{Caller, MODULES, Needs, Role, Scope};
pub use config::Config;
pub use password::{check as check_password, random as random_password};

use super::clock::{Clock, Time};
use super::error::{Error, Fault, Kind, Result};
use super::feed::{self, Audit};
use super::format::{decode, encode};
use super::name::{Digest, Name, new_id};
use super::records::{ChangeSet, Expect, Scan, SharedRecords};
use password::Hasher;
use rows::{FailuresRow, SessionRow, TokenRow, UserRow};
use secret::{Claims, PlainToken};

/// Random bytes from the operating system.
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes)
        .map_err(|source| Error::internal(format!("no randomness from the system: {source}")))?;
    Ok(bytes)
}

/// Accounts and credentials. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    records: SharedRecords,
    clock: Arc<dyn Clock>,
    config: Config,
    hasher: Hasher,
    /// Made at the first start and kept: a JWT outlives a restart, and no two folders share a key.
    key: [u8; 32],
    /// Held while the outcome of a sign-in is counted.
    counting: Mutex<()>,
    changing: Mutex<()>,
}

/// An account as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Time,
    /// Its revision, for `If-Match`.
    pub revision: u64,
}

/// An API token as it is listed: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Token {
    /// Names it.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// What it allows.
    pub scopes: BTreeSet<Scope>,
    /// When it was made.
    pub created_at: Time,
    /// When it ends.
    pub expires_at: Time,
}

/// A new API token: the only time its text is seen.
#[derive(Debug, Clone, serde::Serialize)]
pub struct NewToken {
    /// Names it.
    pub id: String,
    /// What to send after `Bearer`.
    pub token: String,
    /// When it ends.
    pub expires_at: Time,
}

/// What a sign-in answers.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Login {
    /// A JWT, or the id of a web session.
    pub token: String,
    /// When it ends.
    pub expires_at: Time,
    /// What the account may do.
    pub role: Role,
}

/// What an account is to become; what is left out stays.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserDraft {
    /// The account's name; the path wins.
    pub name: Option<String>,
    /// A new password.
    pub password: Option<String>,
    /// A new role.
    pub role: Option<String>,
}

/// What a token is to be.
#[derive(Debug, Clone, Default)]
pub struct TokenDraft {
    /// What its owner calls it.
    pub name: String,
    /// Whose it is; the caller's own unless an admin names another.
    pub user: Option<String>,
    /// What it allows.
    pub scopes: BTreeSet<Scope>,
    /// How long it lives.
    pub lifetime: Option<Duration>,
}

/// How a session is shown to the client: a JWT or a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A signed JWT, for `Authorization`.
    Jwt,
    /// An opaque id, for a cookie.
    Cookie,
}

impl Access {
    /// Opens the accounts in `records`.
    pub fn open(records: SharedRecords, clock: Arc<dyn Clock>, config: Config) -> Result<Self> {
        let hasher =
            Hasher::new(config.argon2_memory_kib, config.argon2_passes, config.argon2_lanes)?;
        let key = signing_key(&records)?;
        Ok(Self {
            inner: Arc::new(Inner {
                records,
                clock,
                config,
                hasher,
                key,
                counting: Mutex::new(()),
                changing: Mutex::new(()),
            }),
        })
    }

    /// Where accounts, audit and sessions are kept.
    pub fn records(&self) -> &SharedRecords {
        &self.inner.records
    }

    fn now(&self) -> Time {
        self.inner.clock.now()
    }

    /// Who shows this credential: the text after `Bearer`. None when it is not valid.
    pub fn identify(&self, credential: &str) -> Result<Option<(Caller, Option<String>)>> {
        if let Some(id) = PlainToken::id_of(credential) {
            return Ok(self.by_token(id, credential)?.map(|caller| (caller, None)));
        }
        let Some(claims) = secret::verify(credential, &self.inner.key, self.now())? else {
            return Ok(None);
        };
        self.by_session(&claims.jti)
    }

    /// Who holds the web session with this cookie.
    pub fn identify_cookie(&self, cookie: &str) -> Result<Option<(Caller, Option<String>)>> {
        self.by_session(&Digest::of(cookie.as_bytes()).to_hex())
    }

    fn by_token(&self, id: &str, text: &str) -> Result<Option<Caller>> {
        let Some(row) = self.inner.records.get(&format!("token/{id}"))? else {
            return Ok(None);
        };
        let token: TokenRow = decode(&row.value)?;
        if !secret::is_same(text, token.digest) || token.expires_at <= self.now() {
            return Ok(None);
        }
        let user = self.user_row(&token.user)?;
        Ok(user.map(|(user, _)| Caller {
            name: user.name,
            role: user.role,
            scopes: Some(token.scopes),
        }))
    }

    fn by_session(&self, id: &str) -> Result<Option<(Caller, Option<String>)>> {
        let Some(row) = self.inner.records.get(&format!("session/{id}"))? else {
            return Ok(None);
        };
        let session: SessionRow = decode(&row.value)?;
        let user = self.user_row(&session.user)?;
        Ok(user
            .filter(|(user, _)| user.generation == session.generation)
            .filter(|_| session.expires_at > self.now())
            .map(|(user, _)| (Caller::new(user.name, user.role), Some(id.to_owned()))))
    }

    /// Signs in. After a few failures from the same account or address, later tries wait.
    pub fn login(&self, name: &str, password: &str, source: &str, shown: Shown) -> Result<Login> {
        let places = [throttle_key("account", name), throttle_key("source", source)];
        self.must_not_wait(&places)?;
        let found = self.user_row(name)?;
        let phc = found.as_ref().and_then(|(user, _)| user.phc.as_deref());
        let is_right = self.inner.hasher.verify(password, phc)?;
        self.count(name, &places, is_right)?;
        let (user, revision) = found.ok_or_else(|| Error::internal("an account went away"))?;
        self.start_session(user, revision, password, &places, shown)
    }

    fn must_not_wait(&self, places: &[String; 2]) -> Result<()> {
        // Many people may share an address; typos of one must not make all of them wait.
        let free = self.inner.config.free_failures;
        for (place, free) in places.iter().zip([free, free.saturating_mul(4)]) {
            let failures = self.failures(place)?;
            if let Some(wait) = throttle::wait(failures, free, self.now()) {
                return Err(Error::new(
                    Kind::Limited,
                    "too_many_logins",
                    "too many failed sign-ins: wait a little",
                )
                .retry_after(wait));
            }
        }
        Ok(())
    }

    /// Counts the outcome of a try. Many that came together all passed the first look: whoever
    /// comes to be counted after the wait began is told to wait and learns nothing.
    fn count(&self, name: &str, places: &[String; 2], is_right: bool) -> Result<()> {
        let counting = &self.inner.counting;
        let _alone = counting.lock().unwrap_or_else(PoisonError::into_inner);
        self.must_not_wait(places)?;
        if is_right {
            return Ok(());
        }
        self.note_failure(name, places)?;
        Err(Error::new(Kind::Unauthenticated, "bad_login", "the name or the password is wrong"))
    }

    fn start_session(
        &self,
        user: UserRow,
        revision: u64,
        password: &str,
        places: &[String; 2],
        shown: Shown,
    ) -> Result<Login> {
        let now = self.now();
        let expires_at = now.after(self.inner.config.session);
        let (id, token) = match shown {
            Shown::Cookie => {
                let secret = super::name::hex(&random_bytes::<32>()?);
                (Digest::of(secret.as_bytes()).to_hex(), secret)
            }
            Shown::Jwt => {
                let jti = new_id();
                let claims = Claims {
                    iss: "drip".into(),
                    sub: user.name.clone(),
                    jti: jti.clone(),
                    iat: now.0 / 1_000_000,
                    exp: expires_at.0 / 1_000_000,
                };
                (jti, secret::sign(&claims, &self.inner.key)?)
            }
        };
        let session = SessionRow {
            user: user.name.clone(),
            generation: user.generation,
            created_at: now,
            expires_at,
        };
        let mut set = ChangeSet::new()
            .put(format!("session/{id}"), Expect::Absent, encode(&session)?)
            .delete(&places[0], Expect::Any);
        if user.phc.as_deref().is_some_and(|phc| self.inner.hasher.is_outdated(phc)) {
            let renewed = UserRow { phc: Some(self.inner.hasher.hash(password)?), ..user.clone() };
            set = set.put(user_key(&user.name), Expect::Revision(revision), encode(&renewed)?);
        }
        let set = self.audited(set, &user.name, "login", &user.name, "done")?;
        self.inner.records.apply(set)?;
        Ok(Login { token, expires_at, role: user.role })
    }

    fn failures(&self, place: &str) -> Result<FailuresRow> {
        let row = self.inner.records.get(place)?;
        row.map(|row| decode(&row.value)).transpose().map(Option::unwrap_or_default)
    }

    fn note_failure(&self, name: &str, places: &[String; 2]) -> Result<()> {
        let mut set = ChangeSet::new();
        for place in places {
            let failures = throttle::one_more(self.failures(place)?, self.now());
            set = set.put(place, Expect::Any, encode(&failures)?);
        }
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let set = self.audited(set, &shown, "login", &shown, "bad_login")?;
        self.inner.records.apply(set).map(drop)
    }

    /// Ends one session.
    pub fn logout(&self, session: &str) -> Result<()> {
        let set = ChangeSet::new().delete(format!("session/{session}"), Expect::Any);
        self.inner.records.apply(set).map(drop)
    }

    /// Whether there is any account.
    pub fn has_users(&self) -> Result<bool> {
        Ok(!self.inner.records.scan(&Scan::prefix("user/").limit(1))?.is_empty())
    }

    /// One account.
    pub fn user(&self, name: &str) -> Result<User> {
        let (user, revision) = self.user_row(name)?.ok_or_else(|| no_user(name))?;
        Ok(shown_user(&user, revision))
    }

    /// Accounts by name, after `after`.
    pub fn users(&self, after: Option<&str>, limit: usize) -> Result<Vec<User>> {
        let mut scan = Scan::prefix("user/").limit(limit);
        scan.after = after.map(user_key);
        let rows = self.inner.records.scan(&scan)?;
        rows.iter().map(|row| Ok(shown_user(&decode(&row.value)?, row.revision))).collect()
    }

    /// Makes an account or changes one; answers whether it is new. A new password or role ends the
    /// account's sessions.
    pub fn put_user(
        &self,
        caller: &Caller,
        name: &str,
        draft: &UserDraft,
        expect: Option<u64>,
    ) -> Result<(User, bool)> {
        let name = Name::new(name)?;
        let _one_at_a_time = self.changing();
        let old = self.user_row(name.as_str())?;
        let user = self.drafted(&name, draft, old.as_ref().map(|(user, _)| user))?;
        if old.as_ref().is_some_and(|(old, _)| old.role == Role::Admin) && user.role != Role::Admin
        {
            self.refuse_last_admin(name.as_str())?;
        }
        let is_new = old.is_none();
        let current = old.map_or(Expect::Absent, |(_, revision)| Expect::Revision(revision));
        let expect = expect.map_or(current, Expect::Revision);
        let set = ChangeSet::new().put(user_key(name.as_str()), expect, encode(&user)?);
        let set = self.audited(set, &caller.name, "user.put", name.as_str(), "done")?;
        let receipt = self.inner.records.apply(set)?;
        let revision = receipt.revisions.first().copied().unwrap_or(1);
        Ok((shown_user(&user, revision), is_new))
    }

    fn drafted(&self, name: &Name, draft: &UserDraft, old: Option<&UserRow>) -> Result<UserRow> {
        let mut faults = Vec::new();
        let role = match (&draft.role, old) {
            (Some(text), _) => {
                text.parse().map_err(|e: Error| faults.extend(e.faults().to_vec())).ok()
            }
            (None, Some(old)) => Some(old.role),
            (None, None) => {
                faults.push(Fault::new(
                    "/role",
                    "a new account needs a role: admin, publisher, viewer or consumer",
                ));
                None
            }
        };
        match (&draft.password, old) {
            (Some(password), _) => {
                if let Err(error) = check_password(password, name.as_str()) {
                    faults.extend(error.faults().to_vec());
                }
            }
            (None, None) => faults.push(Fault::new("/password", "a new account needs a password")),
            (None, Some(_)) => {}
        }
        let Some(role) = role.filter(|_| faults.is_empty()) else {
            return Err(Error::invalid(
                "bad_user",
                format!("the account `{name}` cannot be kept so"),
                faults,
            ));
        };
        let phc = match &draft.password {
            Some(password) => Some(self.inner.hasher.hash(password)?),
            None => old.and_then(|old| old.phc.clone()),
        };
        let changed = draft.password.is_some() || old.is_some_and(|old| old.role != role);
        Ok(UserRow {
            name: name.to_string(),
            role,
            phc,
            generation: old.map_or(1, |old| old.generation + u64::from(changed)),
            created_at: old.map_or_else(|| self.now(), |old| old.created_at),
        })
    }

    /// Removes an account with its tokens. The last admin stays.
    pub fn delete_user(&self, caller: &Caller, name: &str) -> Result<()> {
        let _one_at_a_time = self.changing();
        let (user, revision) = self.user_row(name)?.ok_or_else(|| no_user(name))?;
        if user.role == Role::Admin {
            self.refuse_last_admin(name)?;
        }
        let mut set = ChangeSet::new().delete(user_key(name), Expect::Revision(revision));
        for token in self.token_rows()?.into_iter().filter(|token| token.user == name) {
            set = set.delete(format!("token/{}", token.id), Expect::Any);
        }
        for row in self.inner.records.scan(&Scan::prefix("session/"))? {
            if decode::<SessionRow>(&row.value)?.user == name {
                set = set.delete(row.key, Expect::Any);
            }
        }
        let set = self.audited(set, &caller.name, "user.delete", name, "done")?;
        self.inner.records.apply(set).map(drop)
    }

    /// Accounts change one at a time: two admins who remove each other must not both succeed.
    fn changing(&self) -> MutexGuard<'_, ()> {
        self.inner.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_last_admin(&self, name: &str) -> Result<()> {
        let others = self.users(None, 0)?;
        if others.iter().any(|user| user.role == Role::Admin && user.name != name) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            "last_admin",
            format!("`{name}` is the last admin: make another one first"),
        ))
    }

    /// Makes an API token. It can never do more than whoever made it.
    pub fn make_token(&self, caller: &Caller, draft: TokenDraft) -> Result<NewToken> {
        let user = draft.user.clone().unwrap_or_else(|| caller.name.clone());
        if user != caller.name {
            caller.must(Needs::Admin("access"))?;
        }
        let (owner, _) = self.user_row(&user)?.ok_or_else(|| no_user(&user))?;
        let mut faults = Vec::new();
        if draft.scopes.is_empty() {
            faults.push(Fault::new("/scopes", "a token needs scopes, such as [\"fiche:read\"]"));
        }
        for scope in
            draft.scopes.iter().filter(|scope| !caller.has_scope(&scope.module, scope.write))
        {
            faults.push(Fault::new(
                "/scopes",
                format!("`{scope}` is more than your own credential allows"),
            ));
        }
        if let Err(error) = Name::new(&draft.name) {
            faults.push(Fault::new("/name", error.detail()));
        }
        let lifetime = draft.lifetime.unwrap_or(self.inner.config.token_lifetime);
        if lifetime.is_zero() || lifetime > Duration::from_hours(24 * 3660) {
            faults.push(Fault::new("/expires_in", "between 1s and ten years"));
        }
        if !faults.is_empty() {
            return Err(Error::invalid("bad_token", "the token cannot be made so", faults));
        }
        let plain = PlainToken::new()?;
        let expires_at = self.now().after(lifetime);
        let row = TokenRow {
            id: plain.id.clone(),
            name: draft.name,
            user: owner.name,
            scopes: draft.scopes,
            digest: Digest::of(plain.text.as_bytes()),
            created_at: self.now(),
            expires_at,
        };
        let set = ChangeSet::new().put(format!("token/{}", row.id), Expect::Absent, encode(&row)?);
        let set = self.audited(set, &caller.name, "token.make", &row.id, "done")?;
        self.inner.records.apply(set)?;
        Ok(NewToken { id: plain.id, token: plain.text, expires_at })
    }

    /// The caller's tokens; all of them for an admin.
    pub fn tokens(&self, caller: &Caller) -> Result<Vec<Token>> {
        let all = caller.must(Needs::Admin("access")).is_ok();
        let mine = |token: &TokenRow| all || token.user == caller.name;
        let shown = |token: TokenRow| Token {
            id: token.id,
            name: token.name,
            user: token.user,
            scopes: token.scopes,
            created_at: token.created_at,
            expires_at: token.expires_at,
        };
        Ok(self.token_rows()?.into_iter().filter(mine).map(shown).collect())
    }

    /// Ends a token at once.
    pub fn revoke_token(&self, caller: &Caller, id: &str) -> Result<()> {
        let known = self.tokens(caller)?.into_iter().any(|token| token.id == id);
        if !known {
            return Err(Error::new(
                Kind::NotFound,
                "token_not_found",
                format!("there is no token `{id}`"),
            ));
        }
        let set = ChangeSet::new().delete(format!("token/{id}"), Expect::Present);
        let set = self.audited(set, &caller.name, "token.revoke", id, "done")?;
        self.inner.records.apply(set).map(drop)
    }

    /// Forgets sessions, tokens and failures whose time is over.
    pub fn forget_old(&self) -> Result<usize> {
        let now = self.now();
        let mut set = ChangeSet::new();
        for row in self.inner.records.scan(&Scan::prefix("session/").limit(10_000))? {
            if decode::<SessionRow>(&row.value)?.expires_at <= now {
                set = set.delete(row.key, Expect::Any);
            }
        }
        for row in self.inner.records.scan(&Scan::prefix("throttle/").limit(10_000))? {
            let failures = decode::<FailuresRow>(&row.value)?;
            if now.since(failures.last) > Duration::from_hours(24) {
                set = set.delete(row.key, Expect::Any);
            }
        }
        let count = set.changes.len();
        if count > 0 {
            self.inner.records.apply(set)?;
        }
        Ok(count)
    }

    fn token_rows(&self) -> Result<Vec<TokenRow>> {
        let rows = self.inner.records.scan(&Scan::prefix("token/"))?;
        rows.iter().map(|row| decode(&row.value)).collect()
    }

    fn user_row(&self, name: &str) -> Result<Option<(UserRow, u64)>> {
        let row = self.inner.records.get(&user_key(name))?;
        row.map(|row| Ok((decode(&row.value)?, row.revision))).transpose()
    }

    fn audited(
        &self,
        set: ChangeSet,
        who: &str,
        action: &str,
        subject: &str,
        outcome: &str,
    ) -> Result<ChangeSet> {
        let line = Audit {
            at: self.now(),
            who: who.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: outcome.to_owned(),
        };
        feed::audit(set, &line)
    }
}

fn signing_key(records: &SharedRecords) -> Result<[u8; 32]> {
    const ROW: &str = "key/jwt";
    if records.get(ROW)?.is_none() {
        let set = ChangeSet::new().put(ROW, Expect::Absent, random_bytes::<32>()?.to_vec());
        // Another opener may have been quicker; what is kept counts.
        if let Err(error) = records.apply(set)
            && error.kind() != Kind::Conflict
        {
            return Err(error);
        }
    }
    let kept = records.get(ROW)?.and_then(|row| <[u8; 32]>::try_from(row.value).ok());
    kept.ok_or_else(|| Error::internal("the signing key is damaged"))
}

fn shown_user(user: &UserRow, revision: u64) -> User {
    User { name: user.name.clone(), role: user.role, created_at: user.created_at, revision }
}

fn user_key(name: &str) -> String {
    format!("user/{name}")
}

/// Names and addresses of strangers are not kept as they are: their digests serve as well.
fn throttle_key(kind: &str, who: &str) -> String {
    format!("throttle/{kind}/{}", Digest::of(who.as_bytes()))
}

fn no_user(name: &str) -> Error {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Error::new(Kind::NotFound, "user_not_found", format!("there is no account `{shown}`"))
}
