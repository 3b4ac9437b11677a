#![cfg(test)]
//! Every route of the table, as everyone.

use std::collections::BTreeSet;

use drip::kernel::access::{MODULES, Needs};
use drip::kernel::http::RouteInfo;

use super::{Ask, Rig};

/// What the interface calls public; pages and their assets are beside the table.
const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/livez"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/api/v1/version"),
    ("POST", "/api/v1/login"),
];

/// The path with something in each place that is left open.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.strip_prefix('{') {
        Some(_) => "x",
        None => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

fn shown(route: &RouteInfo) -> String {
    format!("{} {} ({})", route.method, route.path, route.needs)
}

/// The status that each route answers to a credential, or to none.
async fn walk(rig: &Rig, credential: Option<&str>) -> Vec<(RouteInfo, u16)> {
    let mut seen = Vec::new();
    for route in &rig.open.table {
        let mut ask = Ask::new(route.method.as_str(), &filled(route.path));
        if let Some(credential) = credential {
            ask = ask.bearer(credential);
        }
        let status = ask.head_of(rig).await.status().as_u16();
        seen.push((route.clone(), status));
    }
    seen
}

/// Walks the table and compares the routes that are refused with those that should be.
async fn refuses(rig: &Rig, credential: &str, who: &str, should: impl Fn(Needs) -> bool) {
    let seen = walk(rig, Some(credential)).await;
    assert_eq!(seen.len(), rig.open.table.len());
    for (route, status) in seen {
        let route_shown = shown(&route);
        assert_ne!(status, 401, "{who}: {route_shown}");
        // What is granted is refused by the slice itself, for want of a grant.
        if matches!(route.needs, Needs::Granted(_)) && !should(route.needs) {
            continue;
        }
        assert_eq!(status == 403, should(route.needs), "{who}: {route_shown} answers {status}");
    }
}

#[tokio::test]
async fn a_stranger_meets_401_everywhere_but_at_what_is_public() {
    let rig = Rig::new();
    let seen = walk(&rig, None).await;
    assert_eq!(seen.len(), rig.open.table.len());
    let mut public = BTreeSet::new();
    for (route, status) in seen {
        if route.needs == Needs::Public {
            assert_ne!(status, 401, "{}", shown(&route));
            public.insert((route.method.to_string(), route.path));
        } else {
            assert_eq!(status, 401, "{}", shown(&route));
        }
    }
    let meant = PUBLIC.iter().map(|(method, path)| ((*method).to_owned(), *path));
    assert_eq!(public, meant.collect());
}

#[tokio::test]
async fn a_credential_that_is_not_valid_meets_401_also_at_what_is_public() {
    let rig = Rig::new();
    for wrong in ["", "drip_", "drip_0_0", "a.b.c", "x"] {
        let seen = walk(&rig, Some(wrong)).await;
        let let_in =
            seen.iter().find(|(route, status)| *status != 401 && route.needs != Needs::Public);
        assert!(let_in.is_none(), "{wrong}: {}", shown(&let_in.unwrap().0));
    }
}

#[tokio::test]
async fn the_table_names_every_path_and_method_once() {
    let rig = Rig::new();
    let names: BTreeSet<_> = rig.open.table.iter().map(|r| (r.method.as_str(), r.path)).collect();
    assert_eq!(names.len(), rig.open.table.len());
    assert!(names.len() > 50, "{} routes are too few to be all", names.len());
    // The description is made from the same table, and leaves only itself out.
    let description = Ask::new("GET", "/openapi.json").of(&rig).await.expect(200).value();
    let paths = description["paths"].as_object().unwrap();
    let described: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
    let itself = usize::from(!paths.contains_key("/openapi.json"));
    assert_eq!(described + itself, names.len());
}

#[tokio::test]
async fn a_token_without_the_scope_meets_403() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    for module in MODULES {
        let others: Vec<String> =
            MODULES.iter().filter(|m| *m != module).map(|m| format!("{m}:write")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let token = rig.token(&admin, &others).await;
        let lacks = |needs| match needs {
            Needs::Public | Needs::SignedIn => false,
            Needs::Granted(m) | Needs::Read(m) | Needs::Write(m) | Needs::Admin(m) => m == *module,
        };
        refuses(&rig, &token, &format!("all but {module}"), lacks).await;
    }
}

#[tokio::test]
async fn a_token_that_only_reads_meets_403_at_every_write() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    let token = rig.token(&admin, &["*:read"]).await;
    let writes = |needs| matches!(needs, Needs::Write(_) | Needs::Admin(_));
    refuses(&rig, &token, "*:read", writes).await;
}

#[tokio::test]
async fn each_role_meets_403_beyond_what_it_may() {
    let rig = Rig::new();
    for role in ["consumer", "viewer", "publisher"] {
        rig.make(role, role);
        // A token, because walking the table signs a session out.
        let token = rig.token(&rig.login(role).await, &["*:write"]).await;
        let beyond = |needs| match needs {
            Needs::Public | Needs::SignedIn | Needs::Granted(_) => false,
            Needs::Read(_) => role == "consumer",
            Needs::Write(_) => role != "publisher",
            Needs::Admin(_) => true,
        };
        refuses(&rig, &token, role, beyond).await;
    }
}

#[tokio::test]
async fn an_admin_with_every_scope_is_refused_nowhere() {
    let rig = Rig::new();
    let token = rig.token(&rig.login("admin").await, &["*:write"]).await;
    refuses(&rig, &token, "admin", |_| false).await;
}

#[tokio::test]
async fn strangers_are_not_told_which_paths_and_methods_there_are() {
    let rig = Rig::new();
    let admin = rig.login("admin").await;
    for (method, path, status, code) in [
        ("GET", "/api/v1/nothing", 404, "no_such_path"),
        ("GET", "/nothing", 404, "no_such_path"),
        ("PATCH", "/api/v1/users", 405, "no_such_method"),
    ] {
        let stranger = Ask::new(method, path).of(&rig).await;
        stranger.refused(401, "unauthenticated");
        let known = Ask::new(method, path).bearer(&admin).of(&rig).await;
        known.refused(status, code);
    }
}

#[cfg(feature = "web")]
#[tokio::test]
async fn of_the_pages_only_sign_in_docs_and_assets_are_public() {
    let rig = Rig::new();
    let pages = drip::web::routes(drip::web::Web::of(&rig.open.app, Vec::new(), false));
    for route in pages.table() {
        let is_meant = matches!(route.path, "/" | "/docs" | "/favicon.ico")
            || route.path.starts_with("/assets/");
        assert_eq!(route.needs == Needs::Public, is_meant, "{}", shown(route));
        let status =
            Ask::new(route.method.as_str(), &filled(route.path)).head_of(&rig).await.status();
        assert_eq!(status == 401, !is_meant, "{}: {status}", shown(route));
    }
}
