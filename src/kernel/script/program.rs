//! A script that was parsed, and the store of those that were parsed lately.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rhai::AST;

use crate::kernel::name::Digest;

/// Programs that an engine keeps.
const KEPT: usize = 256;
/// Bytes that they may hold together, as the meter saw them when they were parsed.
const KEPT_BYTES: usize = 64 << 20;

/// A script that was parsed.
pub struct Program {
    pub(super) ast: AST,
    pub(super) captures: bool,
    functions: Vec<Function>,
    digest: Digest,
    weight: usize,
}

/// A function of a script.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its parameters, in order.
    pub params: Vec<String>,
    /// Whether it was declared `private`: other parts of Drip then leave it alone.
    pub private: bool,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.params.join(", "))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("digest", &self.digest)
            .field("functions", &self.functions)
            .finish_non_exhaustive()
    }
}

impl Program {
    pub(super) fn new(ast: AST, digest: Digest, weight: usize) -> Self {
        let closures = ast.iter_functions().any(|found| found.name.starts_with("anon$"));
        let mut functions: Vec<_> = ast
            .iter_functions()
            .filter(|found| !found.name.starts_with("anon$"))
            .map(|found| Function {
                name: found.name.to_owned(),
                params: found.params.iter().map(|param| (*param).to_owned()).collect(),
                private: matches!(found.access, rhai::FnAccess::Private),
            })
            .collect();
        functions.sort_by(|a, b| (&a.name, a.params.len()).cmp(&(&b.name, b.params.len())));
        Self { ast, captures: closures, functions, digest, weight }
    }

    /// Its functions by name, without closures.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function of that name, with the fewest parameters if there are several.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// The SHA-256 of its source.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// The programs that were used last.
#[derive(Default)]
pub(super) struct Kept(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    programs: HashMap<Digest, (Arc<Program>, u64)>,
    bytes: usize,
    clock: u64,
}

impl Kept {
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<Program>> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.clock += 1;
        let now = shelf.clock;
        let (program, used) = shelf.programs.get_mut(digest)?;
        *used = now;
        Some(Arc::clone(program))
    }

    pub(super) fn put(&self, program: &Arc<Program>) {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.clock += 1;
        let now = shelf.clock;
        shelf.bytes += program.weight;
        let before = shelf.programs.insert(program.digest, (Arc::clone(program), now));
        shelf.bytes -= before.as_ref().map_or(0, |(before, _)| before.weight);
        while shelf.programs.len() > 1 && (shelf.programs.len() > KEPT || shelf.bytes > KEPT_BYTES)
        {
            shelf.drop_oldest();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().programs.len()
    }
}

impl Shelf {
    fn drop_oldest(&mut self) {
        let oldest = self.programs.iter().min_by_key(|(_, (_, used))| *used);
        if let Some(digest) = oldest.map(|(digest, _)| *digest)
            && let Some((program, _)) = self.programs.remove(&digest)
        {
            self.bytes -= program.weight;
        }
    }
}
