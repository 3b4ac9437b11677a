//! The one place that builds a fenced Rhai engine.
//!
//! A [`ScriptEngine`] is built once, with a [`Fence`] and the modules that its scripts may use, and
//! shared. It parses sources to [`Program`]s and runs them ([`ScriptEngine::eval`]) or calls their
//! functions ([`ScriptEngine::call`], [`ScriptEngine::call_many`]), each time as one [`Call`].
//!
//! # What a script cannot do
//!
//! - Reach outside: no file, process, network, clock to sleep by or environment. It can do what
//!   the modules it was given do. `import` finds those modules only.
//! - Use more than its fence says: operations, time, memory, sizes of values, depth. Every limit
//!   ends in an error with a code (`script_operations`, `script_timeout`, `script_memory`,
//!   `script_size`, `script_depth`), which a script cannot catch.
//! - End the process: it runs on a stack that is as deep as its fence lets it go, and a panic of a
//!   native function is an internal error of that call.
//!
//! # Where it differs from plain Rhai
//!
//! - A closure captures a *copy*, and may not change it. Sum with a `for` loop or `reduce`.
//! - `eval`, `sleep` and `curry` do not exist.
//! - The mathematics takes integers where Rhai wants floats; `parse_json` and `to_json` read and write
//!   plain JSON.
//!
//! # What it does not promise
//!
//! - The memory limit needs [`MeteredAllocator`] as the program's allocator, and counts what the
//!   script's own thread takes. It is looked at between operations: one native call may go beyond
//!   it, by about the size of the largest value allowed.
//! - A map that grows by `m[k] = v` is found too large when the call has grown by some 64 KiB
//!   since it was last measured, not at the very entry; a script that goes to lengths to hide it
//!   is ended by the memory limit.
//! - A native function is one operation, however long it runs: it has to look after itself.

mod call;
mod context;
mod engine;
mod error;
mod fence;
mod json;
mod math;
mod meter;
mod natives;
mod program;
mod stack;
mod text;
mod vars;
mod watch;

#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod hostile_scripts;
#[cfg(test)]
mod hostile_tests;

pub use call::Call;
pub use context::ScriptContext;
pub use engine::{Builder, ScriptEngine};
pub use error::{raise, raise_at};
pub use fence::{Fence, ScriptConfig};
pub use json::{from_dynamic, to_dynamic};
pub use meter::MeteredAllocator;
pub use program::{Function, Program};
pub use stack::{BIG_STACK, mark_big_stack, mark_stack, on_big_stack};
pub use watch::{Printed, Sink, tag};
