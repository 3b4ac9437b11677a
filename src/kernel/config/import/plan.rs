//! From names with meanings to settings: hosts and ports come together, secrets stay behind.

use std::collections::BTreeMap;

use super::address::{bare_host, is_local, percent, with_port, without_password};
use super::quote;
use super::words::{Attribute, MODULES, Meaning, Part, is_secret, meaning};
use super::yaml::{Given, Leaf};
use crate::kernel::config::value::short;

/// A setting that the files speak for.
pub(super) struct Proposal {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) from: String,
    pub(super) remark: Option<String>,
    /// Whether it may hold without its reader's decision.
    pub(super) live: bool,
}

/// A secret that stays behind.
pub(super) struct Withheld {
    pub(super) key: &'static str,
    pub(super) what: String,
    pub(super) from: String,
}

/// A value that no setting takes.
pub(super) struct Unknown {
    pub(super) file: String,
    pub(super) path: String,
    value: Given,
    secret: bool,
}

impl Unknown {
    fn new(file: &str, path: &[String], value: Given) -> Self {
        Self { file: file.to_owned(), path: path.join("."), value, secret: is_secret(path) }
    }

    /// The value on one line, nothing when it is a secret.
    pub(super) fn shown(&self) -> Option<String> {
        let list = |items: &[String]| {
            let items: Option<Vec<String>> = items.iter().map(|item| harmless(item)).collect();
            items.map(|items| format!("[{}]", items.join(", ")))
        };
        match &self.value {
            Given::Nothing => Some(String::new()),
            _ if self.secret => None,
            Given::One(text) => harmless(text),
            Given::Many(items) => list(items),
        }
    }
}

fn harmless(text: &str) -> Option<String> {
    let (_, had_one) = without_password(text);
    (!had_one).then(|| quote(text))
}

/// A value and the name it stood behind.
struct Said {
    value: String,
    from: String,
    /// Kept for the case that nothing comes of it.
    file: String,
    path: Vec<String>,
}

type Group = BTreeMap<Attribute, Said>;

/// What a group of names is about: a part, of a module, in the file of this number.
type Place = (Part, Option<&'static str>, usize);

/// Everything that the files say, sorted by what it is about.
#[derive(Default)]
pub(super) struct Plan {
    groups: BTreeMap<Place, Group>,
    proposals: Vec<Proposal>,
    withheld: Vec<Withheld>,
    unknown: Vec<Unknown>,
    files: usize,
}

impl Plan {
    /// Adds the values of one file.
    pub(super) fn add(&mut self, file: &str, leaves: Vec<Leaf>) {
        self.files += 1;
        for Leaf { path, value } in leaves {
            let text = match &value {
                Given::Nothing => None,
                Given::One(text) => Some(text.trim().to_owned()),
                Given::Many(items) => Some(items.join(",")),
            };
            let meant = text.filter(|text| !text.is_empty());
            let meant = meant.and_then(|text| Some((meaning(file, &path, &text)?, text)));
            match meant {
                Some((meaning, text)) if fits(meaning.attribute, &value, &text) => {
                    self.take(meaning, file, path, text);
                }
                _ => self.unknown.push(Unknown::new(file, &path, value)),
            }
        }
    }

    fn take(&mut self, meaning: Meaning, file: &str, path: Vec<String>, value: String) {
        let from = format!("{file}: {}", short(&path.join(".")));
        let said = Said { value, from, file: file.to_owned(), path };
        match meaning.attribute {
            Attribute::LogLevel => self.log_level(said),
            Attribute::Data => self.data(meaning.module, said),
            Attribute::AutoApprove => self.auto_approve(said),
            Attribute::Modules => {
                self.propose("modules.enabled", said.value.to_lowercase(), said.from, None);
            }
            attribute => {
                let place = (meaning.part, meaning.module, self.files);
                let group = self.groups.entry(place).or_default();
                match group.get(&attribute) {
                    None => drop(group.insert(attribute, said)),
                    Some(first) if first.value == said.value => {}
                    Some(_) => self.forget(said),
                }
            }
        }
    }

    fn forget(&mut self, said: Said) {
        self.unknown.push(Unknown::new(&said.file, &said.path, Given::One(said.value)));
    }

    fn forget_all(&mut self, group: Group) {
        for said in group.into_values() {
            self.forget(said);
        }
    }

    fn propose(&mut self, key: &'static str, value: String, from: String, remark: Option<&str>) {
        let remark = remark.map(str::to_owned);
        self.proposals.push(Proposal { key, value, from, remark, live: true });
    }

    fn log_level(&mut self, said: Said) {
        let level = match said.value.to_ascii_lowercase().as_str() {
            "debug" | "10" => "debug",
            "info" | "20" => "info",
            "warn" | "warning" | "30" => "warn",
            "error" | "critical" | "fatal" | "40" | "50" => "error",
            _ => return self.forget(said),
        };
        self.propose("server.log", level.to_owned(), said.from, None);
    }

    fn data(&mut self, module: Option<&'static str>, said: Said) {
        if module.is_some() {
            // A module's own folder holds files of the original, which Drip does not read there.
            return self.forget(said);
        }
        let remark =
            "Drip makes its own files in that folder and does not read those of the original";
        self.propose("server.data", said.value, said.from, Some(remark));
    }

    fn auto_approve(&mut self, said: Said) {
        let on = match said.value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => "true",
            "false" | "no" | "off" | "0" => "false",
            _ => return self.forget(said),
        };
        self.propose("compat.auto_approve", on.to_owned(), said.from, None);
    }

    /// Settings, secrets left behind, and what nobody knows.
    pub(super) fn resolve(mut self) -> (Vec<Proposal>, Vec<Withheld>, Vec<Unknown>) {
        let groups = std::mem::take(&mut self.groups).into_iter();
        let mut groups: Vec<_> = groups
            .map(|((part, module, file), group)| (decide(part, &group), module, file, group))
            .collect();
        // What a module says of itself goes before what the whole platform says, the first file
        // before the others.
        groups.sort_by_key(|(part, module, file, _)| (*part, module.is_none(), *file));
        for (part, module, _, group) in groups {
            match part {
                Part::Mongo => self.mongo(module, group),
                Part::Store => self.store(group),
                Part::Web => self.listen("server.listen", "22315", group),
                Part::Open => self.module(module, group),
            }
        }
        (self.proposals, self.withheld, self.unknown)
    }

    fn module(&mut self, module: Option<&'static str>, group: Group) {
        match module {
            None => self.listen("server.listen", "22315", group),
            Some("fiche") => self.old_paths("compat.fiche", "11811", group),
            Some("dashare") => self.old_paths("compat.dashare", "11911", group),
            Some("atom") => self.old_paths("compat.atom", "11020", group),
            Some("cask") => self.store(group),
            Some(_) => self.forget_all(group),
        }
    }

    fn listen(&mut self, key: &'static str, port: &str, mut group: Group) {
        if let Some((address, from)) = address(&mut group, "127.0.0.1", port) {
            let open = address.starts_with("0.0.0.0:") || address.starts_with("[::]:");
            let remark = open.then_some(
                "it is open to other machines: name the hosts they may use in `server.allowed_hosts`",
            );
            self.propose(key, address, from, remark);
        }
        self.forget_all(group);
    }

    /// Where a module listened, its old paths can be; nothing is there before someone says so.
    fn old_paths(&mut self, key: &'static str, port: &str, mut group: Group) {
        if let Some((address, from)) = address(&mut group, "127.0.0.1", port) {
            let remark = "the paths of 0.1 are there only with `compat.enabled = true`, for those that `compat.from` names";
            self.propose(key, address, from, Some(remark));
        }
        self.forget_all(group);
    }

    fn mongo(&mut self, module: Option<&'static str>, mut group: Group) {
        let key = match module {
            Some("trajectory") => "trajectory.records",
            Some("cask") => "cask.records",
            None | Some("fiche") => "fiche.records",
            Some(_) => return self.forget_all(group),
        };
        if let Some(password) = group.remove(&Attribute::Password) {
            self.withhold(key, "the password of MongoDB", password.from);
        }
        if let Some(url) = group.remove(&Attribute::Url) {
            let (clean, had_one) = without_password(&url.value);
            if had_one {
                self.withhold(key, "the password in the URL of MongoDB", url.from.clone());
            }
            self.propose(key, clean, url.from, None);
        } else if group.contains_key(&Attribute::Host) || group.contains_key(&Attribute::Address) {
            let user = group.remove(&Attribute::User);
            let database = group.remove(&Attribute::Database);
            if let Some((address, mut from)) = address(&mut group, "127.0.0.1", "27017") {
                let mut url = format!("mongodb://{address}/");
                if let Some(user) = user {
                    url = format!("mongodb://{}@{address}/", percent(&user.value));
                    from = join(from, &user);
                }
                if let Some(database) = database {
                    url.push_str(&percent(&database.value));
                    from = join(from, &database);
                }
                self.propose(key, url, from, None);
            }
        }
        self.forget_all(group);
    }

    /// Drip's own S3 listener takes the place of a MinIO on this machine; one elsewhere can only stay
    /// what it is.
    fn store(&mut self, mut group: Group) {
        let bare = |url: &Said| !url.value.contains('@');
        if group.get(&Attribute::Url).is_some_and(bare) {
            rename(&mut group, Attribute::Url, Attribute::Address);
        }
        for (attribute, what) in [
            (Attribute::SecretKey, "the secret key of MinIO"),
            (Attribute::Password, "the password of MinIO"),
        ] {
            if let Some(secret) = group.remove(&attribute) {
                self.withhold("cask.s3.secret_key", what, secret.from);
            }
        }
        for attribute in [Attribute::AccessKey, Attribute::User] {
            if let Some(name) = group.remove(&attribute) {
                let known = (name.value == "minioadmin")
                    .then_some("`minioadmin` is what everyone tries first: take another name");
                self.propose("cask.s3.access_key", name.value, name.from, known);
            }
        }
        if let Some((address, from)) = address(&mut group, "127.0.0.1", "9000") {
            if is_local(&address) {
                let remark = "Drip keeps artifacts itself; its S3 listener can take MinIO's place there once MinIO is stopped";
                self.propose("cask.s3.listen", address, from, Some(remark));
            } else {
                let remark = "this MinIO is on another machine: name it as the place for artifacts if it shall stay so";
                let remark = Some(remark.to_owned());
                self.proposals.push(Proposal {
                    key: "cask.blobs",
                    value: address,
                    from,
                    remark,
                    live: false,
                });
            }
        }
        self.forget_all(group);
    }

    fn withhold(&mut self, key: &'static str, what: &str, from: String) {
        self.withheld.push(Withheld { key, what: what.to_owned(), from });
    }
}

/// A list is only right where a list is meant, and credentials belong into no address.
fn fits(attribute: Attribute, value: &Given, text: &str) -> bool {
    match (attribute, value) {
        (Attribute::Address | Attribute::Host, _) if text.contains('@') => false,
        (Attribute::Modules, Given::Many(items)) => {
            items.iter().all(|item| MODULES.contains(&item.trim().to_lowercase().as_str()))
        }
        (Attribute::Modules, _) | (_, Given::Many(_) | Given::Nothing) => false,
        (_, Given::One(_)) => true,
    }
}

/// `fiche_config.yaml` says just `host` and `port`: with a user or a database beside it, or at
/// MongoDB's port, that is MongoDB; otherwise it is where the module listens.
fn decide(part: Part, group: &Group) -> Part {
    let at = |attribute| group.get(&attribute).map(|said| said.value.as_str());
    let port = at(Attribute::Port);
    let url = at(Attribute::Url).is_some_and(|url| url.starts_with("mongodb"));
    let credentials = at(Attribute::Database).is_some() || at(Attribute::User).is_some();
    let own =
        port.is_some_and(|port| matches!(port, "11811" | "11911" | "11020" | "9000" | "22315"));
    if part == Part::Open && (port == Some("27017") || url || (credentials && !own)) {
        Part::Mongo
    } else {
        part
    }
}

/// The host and port that a group names, and where; the names are used up.
fn address(group: &mut Group, host: &str, port: &str) -> Option<(String, String)> {
    rename(group, Attribute::Address, Attribute::Host);
    let given_host = group.remove(&Attribute::Host);
    if let Some(said) = &given_host
        && let Some(whole) = with_port(bare_host(&said.value))
    {
        return Some((whole, said.from.clone()));
    }
    let given_port = group.remove(&Attribute::Port);
    let host = given_host.as_ref().map_or(host, |said| bare_host(&said.value));
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let port = given_port.as_ref().map_or(port, |said| said.value.as_str()).to_owned();
    let from = match (given_host, given_port) {
        (Some(host), Some(port)) => join(host.from.clone(), &port),
        (Some(one), None) | (None, Some(one)) => one.from,
        (None, None) => return None,
    };
    Some((format!("{host}:{port}"), from))
}

/// Lets one name stand for another that was not given; both stay when both were.
fn rename(group: &mut Group, from: Attribute, to: Attribute) {
    if !group.contains_key(&to)
        && let Some(said) = group.remove(&from)
    {
        group.insert(to, said);
    }
}

fn join(from: String, more: &Said) -> String {
    match from.split_once(": ") {
        Some((file, _)) if file == more.file => {
            format!("{from}, {}", short(&more.path.join(".")))
        }
        _ => format!("{from}, {}", more.from),
    }
}
