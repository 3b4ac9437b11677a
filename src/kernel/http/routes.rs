//! The table that builds the router: each line says the method, the path, what the caller needs,
//! and what the call takes and answers. The router, the guard on every route, the OpenAPI document
//! and the matrix that tests walk are all made from it, so none can forget a route.

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::kernel::access::{Caller, Needs};
use crate::kernel::error::{Error, Kind};

/// What a route says of itself.
#[derive(Clone)]
pub struct RouteInfo {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` and `{*rest}` for its parts.
    pub path: &'static str,
    /// What the caller needs.
    pub needs: Needs,
    /// The module, for grouping.
    pub module: &'static str,
    /// One line of what it does.
    pub summary: &'static str,
    /// Query parameters: name and meaning.
    pub query: Vec<(&'static str, &'static str)>,
    /// What it takes: the media type and the schema.
    pub takes: Option<(&'static str, RefOr<Schema>)>,
    /// What it answers: status, media type, schema.
    pub answers: Vec<(u16, &'static str, RefOr<Schema>)>,
    /// Schemas that the above refer to.
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

/// One line of the table.
pub struct Route<S> {
    info: RouteInfo,
    handler: MethodRouter<S>,
}

macro_rules! verb {
    ($name:ident, $method:ident, $filter:ident) => {
        #[doc = concat!("A route for `", stringify!($method), "`.")]
        pub fn $name<S, H, T>(path: &'static str, needs: Needs, handler: H) -> Route<S>
        where
            H: Handler<T, S>,
            T: 'static,
            S: Clone + Send + Sync + 'static,
        {
            Route::new(Method::$method, path, needs, on(MethodFilter::$filter, handler))
        }
    };
}
verb!(get, GET, GET);
verb!(put, PUT, PUT);
verb!(post, POST, POST);
verb!(delete, DELETE, DELETE);

impl<S: Clone + Send + Sync + 'static> Route<S> {
    fn new(method: Method, path: &'static str, needs: Needs, handler: MethodRouter<S>) -> Self {
        let handler = handler.layer(from_fn_with_state(needs, guard));
        let info = RouteInfo {
            method,
            path,
            needs,
            module: "system",
            summary: "",
            query: Vec::new(),
            takes: None,
            answers: Vec::new(),
            schemas: Vec::new(),
        };
        Self { info, handler }
    }

    /// One line of what it does.
    pub fn says(mut self, summary: &'static str) -> Self {
        self.info.summary = summary;
        self
    }

    /// A query parameter.
    pub fn query(mut self, name: &'static str, meaning: &'static str) -> Self {
        self.info.query.push((name, meaning));
        self
    }

    /// The query parameters of a list.
    pub fn paged(self) -> Self {
        self.query("limit", "at most so many items; 50 unless told, 1000 at most")
            .query("cursor", "the `next_cursor` of the page before")
    }

    /// It takes JSON of this shape.
    pub fn takes<T: ToSchema>(mut self) -> Self {
        T::schemas(&mut self.info.schemas);
        self.info.takes = Some(("application/json", T::schema()));
        self
    }

    /// It takes bytes of this media type.
    pub fn takes_bytes(mut self, media_type: &'static str) -> Self {
        self.info.takes = Some((media_type, <Vec<u8> as PartialSchema>::schema()));
        self
    }

    /// It answers JSON of this shape with this status.
    pub fn answers<T: ToSchema>(mut self, status: u16) -> Self {
        T::schemas(&mut self.info.schemas);
        self.info.answers.push((status, "application/json", T::schema()));
        self
    }

    /// It answers bytes of this media type.
    pub fn answers_bytes(mut self, status: u16, media_type: &'static str) -> Self {
        self.info.answers.push((status, media_type, <Vec<u8> as PartialSchema>::schema()));
        self
    }
}

/// The table of one module.
pub struct Routes<S = ()> {
    module: &'static str,
    table: Vec<RouteInfo>,
    router: Router<S>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// An empty table for `module`.
    pub fn new(module: &'static str) -> Self {
        Self { module, table: Vec::new(), router: Router::new() }
    }

    /// Adds a line.
    #[expect(clippy::should_implement_trait, reason = "a table is added to; there is no sum")]
    pub fn add(mut self, route: Route<S>) -> Self {
        let Route { mut info, handler } = route;
        info.module = self.module;
        self.router = self.router.route(info.path, handler);
        self.table.push(info);
        self
    }

    /// Gives every handler its state.
    pub fn with_state(self, state: S) -> Routes<()> {
        Routes { module: self.module, table: self.table, router: self.router.with_state(state) }
    }
}

impl Routes<()> {
    /// Takes over the lines of another table.
    pub fn and(mut self, other: Self) -> Self {
        self.table.extend(other.table);
        self.router = self.router.merge(other.router);
        self
    }

    /// What every route says of itself.
    pub fn table(&self) -> &[RouteInfo] {
        &self.table
    }

    /// The router, with a guard on every route.
    pub fn into_router(self) -> Router {
        self.router
    }
}

/// Stands before every handler and asks for what its line of the table declares.
async fn guard(State(needs): State<Needs>, request: Request, next: Next) -> Response {
    let allowed = match (needs, request.extensions().get::<Caller>()) {
        (Needs::Public, _) => Ok(()),
        (_, Some(caller)) => caller.must(needs),
        (_, None) => Err(unauthenticated()),
    };
    match allowed {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// No valid credential was shown.
pub fn unauthenticated() -> Error {
    Error::new(
        Kind::Unauthenticated,
        "unauthenticated",
        "no valid credential was shown: send `Authorization: Bearer …` with an API token, or sign in",
    )
}
