//! An observer as it comes in: checked once, with every fault named.

use serde_json::Value;

use crate::fiche::kinds::Kinds;
use crate::fiche::which::Which;
use crate::kernel::config::Secret;
use crate::kernel::fields::Fields;
use crate::kernel::push::Target;
use crate::kernel::{Error, Name, Result};

/// The longest secret, in bytes.
pub const SECRET_MAX_BYTES: usize = 1024;
/// The longest summary and remark, in bytes.
const TEXT_MAX_BYTES: usize = 10_000;
/// The longest `config`, in bytes of JSON.
const CONFIG_MAX_BYTES: usize = 64 << 10;
/// What an answer has and a request may repeat.
const NOT_READ: [&str; 7] =
    ["name", "has_secret", "revision", "created_at", "updated_at", "saved_by", "state"];

/// An observer to be saved.
#[derive(Debug, Clone)]
pub struct ObserverDraft {
    pub(super) name: Name,
    pub(super) version: String,
    pub(super) url: String,
    pub(super) target: Target,
    pub(super) which: Which,
    /// None keeps the one that there is; an empty one takes it away.
    pub(super) secret: Option<Secret>,
    pub(super) enabled: bool,
    pub(super) summary: String,
    pub(super) config: Value,
    pub(super) remark: String,
}

impl ObserverDraft {
    /// Reads a body for the observer that a path names, where these kinds of cards are known; the error
    /// names every fault.
    pub fn read(name: &str, body: Value, kinds: &Kinds) -> Result<Self> {
        let mut fields = Fields::of(body)?.ignore(&NOT_READ);
        let checked = Name::new(name).map_err(|bad| fields.fault("name", bad.detail())).ok();
        let (url, target) = read_url(&mut fields);
        let which = read_which(&mut fields, kinds);
        let version = fields.text("version").unwrap_or_default();
        if !version.is_empty()
            && let Err(bad) = Name::new(&version)
        {
            fields.fault("version", bad.detail());
        }
        let secret = fields.text("secret");
        if secret.as_ref().is_some_and(|secret| secret.len() > SECRET_MAX_BYTES) {
            fields.fault("secret", format!("is longer than {SECRET_MAX_BYTES} bytes"));
        }
        let enabled = read_flag(&mut fields);
        let summary = read_text(&mut fields, "summary");
        let remark = read_text(&mut fields, "remark");
        let config = fields.take("config").unwrap_or_else(|| Value::String(String::new()));
        let bytes = config.to_string().len();
        if bytes > CONFIG_MAX_BYTES {
            fields.fault("config", format!("has {bytes} bytes and may have {CONFIG_MAX_BYTES}"));
        }
        fields.finish("bad_observer", "the observer")?;
        let (Some(name), Some(target)) = (checked, target) else {
            return Err(Error::internal("an observer without faults has a name and a URL"));
        };
        let secret = secret.map(Secret::new);
        Ok(Self { name, version, url, target, which, secret, enabled, summary, config, remark })
    }

    /// What names it.
    pub fn name(&self) -> &Name {
        &self.name
    }
}

fn read_url(fields: &mut Fields) -> (String, Option<Target>) {
    let Some(url) = fields.must_text("url") else {
        return (String::new(), None);
    };
    match Target::parse(&url) {
        Ok(target) => (url, Some(target)),
        Err(faults) => {
            for fault in faults {
                fields.fault("url", fault);
            }
            (url, None)
        }
    }
}

fn read_which(fields: &mut Fields, kinds: &Kinds) -> Which {
    let mut which = Which {
        kinds: fields.texts("kinds").unwrap_or_default(),
        events: fields.texts("events").unwrap_or_default(),
        names: fields.texts("names").unwrap_or_default(),
        stages: fields.texts("stages").unwrap_or_default(),
    };
    for (place, fault) in which.settle(kinds) {
        fields.fault(&place, fault);
    }
    which
}

fn read_flag(fields: &mut Fields) -> bool {
    match fields.take("enabled") {
        None => true,
        Some(Value::Bool(flag)) => flag,
        Some(_) => {
            fields.fault("enabled", "is neither true nor false");
            true
        }
    }
}

fn read_text(fields: &mut Fields, name: &'static str) -> String {
    let text = fields.text(name).unwrap_or_default();
    if text.len() > TEXT_MAX_BYTES {
        fields.fault(name, format!("is longer than {TEXT_MAX_BYTES} bytes"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_fault_of_an_observer_is_named() {
        let body = json!({
            "url": "ftp://ada@example.org/", "kinds": ["modle"], "events": "card.safed",
            "names": [""], "stages": [1], "secret": "x".repeat(SECRET_MAX_BYTES + 1),
            "enabled": "yes", "summary": "x".repeat(TEXT_MAX_BYTES + 1), "version": "a/b",
            "config": "x".repeat(CONFIG_MAX_BYTES), "secrets": 1, "state": {},
        });
        let error = ObserverDraft::read("a/b", body, &Kinds::default()).unwrap_err();
        let places: Vec<_> = error.faults().iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            places,
            [
                "/name",
                "/url",
                "/url",
                "/stages/0",
                "/kinds/0",
                "/events/0",
                "/names/0",
                "/version",
                "/secret",
                "/enabled",
                "/summary",
                "/config",
                "/secrets",
            ]
        );
        let missing = ObserverDraft::read("hq", json!({}), &Kinds::default()).unwrap_err();
        assert_eq!(missing.faults()[0].pointer, "/url");
    }
}
