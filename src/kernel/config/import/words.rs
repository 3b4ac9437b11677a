//! What the names in the original's files mean. It wrote `drip_mongo_host` in one file and a bare
//! `host` in another; people who grew their own wrote sections. So names are taken apart into words.

/// The part of the platform that a name speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The web pages.
    Web,
    /// The MongoDB behind a module.
    Mongo,
    /// The MinIO behind Cask and Atom.
    Store,
    /// A module itself, or nothing in particular: what the other names beside it say decides.
    Open,
}

/// What a name says about its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attribute {
    Host,
    Port,
    Address,
    Url,
    User,
    Password,
    Database,
    AccessKey,
    SecretKey,
    LogLevel,
    Data,
    AutoApprove,
    Modules,
}

/// The modules of the original, as Drip calls them.
pub(super) const MODULES: [&str; 6] = ["fiche", "cask", "trajectory", "liquid", "atom", "dashare"];

/// What a name means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meaning {
    pub(super) part: Part,
    pub(super) module: Option<&'static str>,
    pub(super) attribute: Attribute,
}

/// Reads `path`, a name with the sections around it, found in `file`.
pub(super) fn meaning(file: &str, path: &[String], value: &str) -> Option<Meaning> {
    let words: Vec<String> = path.iter().flat_map(|name| split(name)).collect();
    let has = |any: &[&str]| words.iter().any(|word| any.contains(&word.as_str()));
    if has(&["ttyd"]) {
        return None;
    }
    let stem = split(file.split('.').next().unwrap_or(file));
    let named = |words: &[String]| {
        MODULES.into_iter().find(|module| words.iter().any(|word| word == module))
    };
    let module = named(&words).or_else(|| named(&stem));
    let part = if has(&["mongo", "mongodb", "mongoengine"]) {
        Part::Mongo
    } else if has(&["minio", "s3", "store"]) {
        Part::Store
    } else if has(&["webui", "web", "ui", "server"]) && module.is_none() {
        Part::Web
    } else {
        Part::Open
    };
    let attribute = attribute(&words).or_else(|| bare(part, value))?;
    Some(Meaning { part, module, attribute })
}

/// A part that is given as one text: `mongo: mongodb://…`.
fn bare(part: Part, value: &str) -> Option<Attribute> {
    let is_address = value.contains("://") || value.contains(':');
    match part {
        Part::Mongo if value.contains("://") => Some(Attribute::Url),
        Part::Store if is_address => Some(Attribute::Address),
        Part::Web | Part::Mongo | Part::Store | Part::Open => None,
    }
}

fn attribute(words: &[String]) -> Option<Attribute> {
    let mut back = words.iter().rev().map(String::as_str);
    let (last, before) = (back.next()?, back.next().unwrap_or_default());
    let secret = words.iter().any(|word| word == "secret");
    let logs =
        words.iter().any(|word| matches!(word.as_str(), "log" | "logs" | "logging" | "logger"));
    Some(match (before, last) {
        ("auto", "approve") | (_, "autoapprove") => Attribute::AutoApprove,
        (_, "secretkey" | "secret") => Attribute::SecretKey,
        (_, "key") if secret => Attribute::SecretKey,
        ("access", "key" | "id") | ("key", "id") | (_, "accesskey") => Attribute::AccessKey,
        ("log", "level") | (_, "loglevel") => Attribute::LogLevel,
        (_, "level") if logs => Attribute::LogLevel,
        ("data" | "storage", "dir" | "path" | "folder") | (_, "datadir" | "datapath") => {
            Attribute::Data
        }
        (_, "url" | "uri" | "dsn") => Attribute::Url,
        (_, "endpoint" | "listen" | "bind" | "address" | "addr") => Attribute::Address,
        (_, "host" | "hostname" | "ip") => Attribute::Host,
        (_, "port") => Attribute::Port,
        (_, "user" | "username") => Attribute::User,
        (_, "password" | "passwd" | "pwd" | "pass") => Attribute::Password,
        (_, "db" | "database" | "dbname") => Attribute::Database,
        (_, "modules") | ("modules", "enabled") => Attribute::Modules,
        _ => return None,
    })
}

/// Whether the value behind a name should not be shown, whatever the name means.
pub(super) fn is_secret(path: &[String]) -> bool {
    const SECRET: [&str; 11] = [
        "password",
        "passwd",
        "pwd",
        "pass",
        "secret",
        "token",
        "key",
        "secretkey",
        "accesskey",
        "credential",
        "credentials",
    ];
    path.iter().flat_map(|name| split(name)).any(|word| SECRET.contains(&word.as_str()))
}

/// `drip_mongoHost` as `mongo`, `host`.
fn split(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (small && c.is_uppercase()) {
            words.push(String::new());
        }
        small = c.is_lowercase();
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty() && word != "drip" && word != "config");
    words
}
