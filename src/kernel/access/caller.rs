//! Who is calling, and what a call needs: the two sides of every decision.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::kernel::error::{Error, Fault, Kind, Result};

/// What an account may do. Later roles include what earlier ones may, except that a consumer reads
/// only what it was granted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads the channels and computes with the operators it was granted.
    Consumer,
    /// Reads.
    Viewer,
    /// Writes.
    Publisher,
    /// Does everything.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consumer => "consumer",
            Self::Viewer => "viewer",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "consumer" => Ok(Self::Consumer),
            "viewer" => Ok(Self::Viewer),
            "publisher" => Ok(Self::Publisher),
            "admin" => Ok(Self::Admin),
            other => Err(Error::invalid(
                "bad_role",
                format!("`{other}` is no role: use admin, publisher, viewer or consumer"),
                vec![Fault::new("/role", "admin, publisher, viewer or consumer")],
            )),
        }
    }
}

/// The modules that scopes and routes name.
pub const MODULES: &[&str] =
    &["fiche", "cask", "trajectory", "liquid", "atom", "dashare", "plugins", "access", "system"];

/// What a credential allows: `<module>:<read|write>`. `*` stands for every module; write includes
/// read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Scope {
    /// The module, or `*`.
    pub module: String,
    /// Whether it allows writing.
    pub write: bool,
}

impl Scope {
    /// Whether this scope allows all that `other` allows.
    pub fn covers(&self, other: &Self) -> bool {
        (self.module == "*" || self.module == other.module) && (self.write || !other.write)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, if self.write { "write" } else { "read" })
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once(':').and_then(|(module, verb)| {
            let write = match verb {
                "read" => false,
                "write" => true,
                _ => return None,
            };
            let known = module == "*" || MODULES.contains(&module);
            known.then(|| Self { module: module.to_owned(), write })
        });
        parsed.ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                "bad_scope",
                format!("`{text}` is no scope: write <module>:<read|write>, where the module is * or one of {}", MODULES.join(", ")),
            )
        })
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who is calling. Every handler gets one; without it a route that needs anything answers 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account's name.
    pub name: String,
    /// What the account may do.
    pub role: Role,
    /// What the credential narrows that to; none when the account itself signed in.
    pub scopes: Option<BTreeSet<Scope>>,
}

impl Caller {
    /// A caller that may do all that its role may.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self { name: name.into(), role, scopes: None }
    }

    /// The program itself: for a library's owner and for work in the background.
    pub fn system() -> Self {
        Self::new("system", Role::Admin)
    }

    /// Whether the credential's scopes include this.
    pub fn has_scope(&self, module: &str, write: bool) -> bool {
        let wanted = Scope { module: module.to_owned(), write };
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope.covers(&wanted)))
    }

    /// Refuses unless the caller may do what `needs` asks for.
    pub fn must(&self, needs: Needs) -> Result<()> {
        let allowed = match needs {
            Needs::Public | Needs::SignedIn => true,
            Needs::Granted(module) => self.has_scope(module, false),
            Needs::Read(module) => self.role >= Role::Viewer && self.has_scope(module, false),
            Needs::Write(module) => self.role >= Role::Publisher && self.has_scope(module, true),
            Needs::Admin(module) => self.role == Role::Admin && self.has_scope(module, true),
        };
        if allowed {
            return Ok(());
        }
        Err(Error::new(
            Kind::Denied,
            "not_allowed",
            format!("`{}` ({}) may not do this: it needs {needs}", self.name, self.role),
        ))
    }
}

/// What a route needs of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: no credential is asked for.
    Public,
    /// Any credential.
    SignedIn,
    /// Any credential with the scope `<module>:read`; the slice itself checks what was granted.
    Granted(&'static str),
    /// A viewer, with the scope `<module>:read`.
    Read(&'static str),
    /// A publisher, with the scope `<module>:write`.
    Write(&'static str),
    /// An admin, with the scope `<module>:write`.
    Admin(&'static str),
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("nothing"),
            Self::SignedIn => f.write_str("a credential"),
            Self::Granted(module) => write!(f, "a grant and the scope {module}:read"),
            Self::Read(module) => write!(f, "the role viewer and the scope {module}:read"),
            Self::Write(module) => write!(f, "the role publisher and the scope {module}:write"),
            Self::Admin(module) => write!(f, "the role admin and the scope {module}:write"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped(role: Role, scopes: &[&str]) -> Caller {
        let scopes = scopes.iter().map(|text| text.parse().unwrap()).collect();
        Caller { scopes: Some(scopes), ..Caller::new("ada", role) }
    }

    #[test]
    fn a_role_and_a_scope_must_both_allow() {
        let write = Needs::Write("fiche");
        assert!(Caller::new("ada", Role::Publisher).must(write).is_ok());
        assert!(Caller::new("ada", Role::Viewer).must(write).is_err());
        assert!(scoped(Role::Publisher, &["fiche:write"]).must(write).is_ok());
        assert!(scoped(Role::Publisher, &["fiche:read"]).must(write).is_err());
        assert!(scoped(Role::Publisher, &["cask:write"]).must(write).is_err());
        assert!(scoped(Role::Viewer, &["*:write"]).must(write).is_err());
        assert!(scoped(Role::Admin, &["*:write"]).must(write).is_ok());
        assert!(Caller::new("ada", Role::Consumer).must(Needs::Granted("dashare")).is_ok());
        assert!(Caller::new("ada", Role::Consumer).must(Needs::Read("dashare")).is_err());
        assert!(scoped(Role::Admin, &["fiche:write"]).must(Needs::Admin("access")).is_err());
    }

    #[test]
    fn scopes_are_read_strictly() {
        assert_eq!("fiche:write".parse::<Scope>().unwrap().to_string(), "fiche:write");
        for wrong in ["fiche", "fiche:", "fiche:delete", "unknown:read", ":read", ""] {
            assert_eq!(wrong.parse::<Scope>().unwrap_err().code(), "bad_scope", "{wrong}");
        }
    }
}
