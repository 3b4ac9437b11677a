//! Accounts, roles, tokens, sessions, audit.

mod caller;

pub use caller::{Caller, MODULES, Needs, Role, Scope};
