//! The engine: built once, shared by threads, fenced.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rhai::packages::{Package, StandardPackage};
use rhai::{
    AST, CallFnOptions, Dynamic, Engine, EvalAltResult, FnPtr, Module, ModuleResolver, Position,
    Scope, Shared,
};

use super::error::{self, Limits};
use super::program::{Kept, Program};
use super::watch::{self, Budget, Carried};
use super::{Call, Fence, math, meter, natives, stack, text, vars};
use crate::kernel::error::Result;
use crate::kernel::name::Digest;

/// A fenced engine with the modules that it was built with. Cheap to share, safe to use from many
/// threads at once: every limit is per call.
pub struct ScriptEngine {
    engine: Engine,
    fence: Fence,
    kept: Kept,
}

impl fmt::Debug for ScriptEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptEngine").field("fence", &self.fence).finish_non_exhaustive()
    }
}

/// Collects what an engine is built with.
#[derive(Debug, Default)]
pub struct Builder {
    fence: Fence,
    modules: BTreeMap<String, Shared<Module>>,
    global: Vec<Shared<Module>>,
}

impl Builder {
    /// The limits; [`Fence::operator`] if nothing is said.
    pub fn fence(mut self, fence: Fence) -> Self {
        self.fence = fence;
        self
    }

    /// Scripts may call `name::function(…)`, and `import "name"`.
    pub fn module(mut self, name: impl Into<String>, module: impl Into<Shared<Module>>) -> Self {
        self.modules.insert(name.into(), module.into());
        self
    }

    /// Scripts may call the module's functions without a name in front.
    pub fn global(mut self, module: impl Into<Shared<Module>>) -> Self {
        self.global.push(module.into());
        self
    }

    /// The engine; fails if a limit is out of range.
    pub fn build(self) -> Result<ScriptEngine> {
        self.fence.check()?;
        if !meter::installed() {
            tracing::warn!(
                "scripts have no memory limit: the program declares no MeteredAllocator"
            );
        }
        let engine = fenced(&self);
        Ok(ScriptEngine { engine, fence: self.fence, kept: Kept::default() })
    }
}

/// Rhai without anything that reaches outside: no files, no `eval`, no `sleep`, no printing to
/// the terminal.
fn fenced(builder: &Builder) -> Engine {
    static STANDARD: OnceLock<Shared<Module>> = OnceLock::new();
    let fence = &builder.fence;
    let mut engine = Engine::new_raw();
    let standard = STANDARD.get_or_init(|| StandardPackage::new().as_shared_module());
    engine.register_global_module(Shared::clone(standard));
    for module in &builder.global {
        engine.register_global_module(Shared::clone(module));
    }
    for (name, module) in &builder.modules {
        engine.register_static_module(name, Shared::clone(module));
    }
    engine
        // The count that ends a call is ours, in `watch`: it also holds for calls within calls.
        .set_max_operations(0)
        .set_max_string_size(fence.string)
        .set_max_array_size(fence.array)
        .set_max_map_size(fence.map)
        .set_max_variables(fence.variables)
        .set_max_functions(fence.functions)
        .set_max_call_levels(fence.calls)
        .set_max_expr_depths(fence.expressions, fence.expressions)
        .set_max_modules(64)
        // The store of strings is one lock for all threads, and waits by sleeping.
        .set_max_strings_interned(0)
        .disable_symbol("eval")
        .disable_symbol("sleep")
        // A chain of curried pointers is as deep as memory allows; closures do the same, measured.
        .disable_symbol("curry")
        .on_progress(|_operations| {
            watch::operation();
            None
        })
        .on_print(|text| watch::print(text, None))
        .on_debug(|text, _source, position| watch::print(text, position.line()))
        .set_module_resolver(Registered(builder.modules.clone()));
    vars::register(&mut engine);
    natives::register(&mut engine);
    text::register(&mut engine);
    math::register(&mut engine);
    error::register(&mut engine);
    engine
}

/// `import` finds what was registered, and nothing else.
struct Registered(BTreeMap<String, Shared<Module>>);

impl ModuleResolver for Registered {
    fn resolve(
        &self,
        _engine: &Engine,
        _source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let known = self.0.get(path).map(Shared::clone);
        known.ok_or_else(|| EvalAltResult::ErrorModuleNotFound(path.to_owned(), position).into())
    }
}

impl ScriptEngine {
    /// Starts one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its limits.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Parses `source`, or finds it parsed. Faults have line and column.
    pub fn compile(&self, source: &str) -> Result<Arc<Program>> {
        if source.len() > self.fence.source {
            return Err(error::source_too_long(source.len(), self.fence.source));
        }
        let digest = Digest::of(source.as_bytes());
        if let Some(program) = self.kept.get(&digest) {
            return Ok(program);
        }
        let call = Call::new();
        let limits = call.limits(&self.fence);
        let parsed = self.run(&limits, call.budget(&limits, false), || {
            let before = meter::live();
            let ast = self.engine.compile(source).map_err(|error| error::syntax(&error))?;
            let weight = usize::try_from(meter::live() - before).unwrap_or(0);
            Ok(Program::new(ast, digest, weight.max(source.len())))
        })?;
        let program = Arc::new(parsed?);
        self.kept.put(&program);
        Ok(program)
    }

    /// Runs the top level of `program`, with `variables` in sight, and answers its last value.
    pub fn eval(
        &self,
        program: &Program,
        variables: Vec<(String, Dynamic)>,
        call: &Call,
    ) -> Result<Dynamic> {
        let limits = call.limits(&self.fence);
        self.run(&limits, call.budget(&limits, program.captures), || {
            // Made and dropped on the call's own stack: its values may be nested deeply.
            let mut scope = Scope::new();
            for (name, value) in variables {
                scope.push_dynamic(name, value);
            }
            let answer = self.engine.eval_ast_with_scope(&mut scope, &program.ast);
            self.finish(answer, None, &limits)
        })?
    }

    /// Calls one function of `program`. Its top level is not run.
    pub fn call(
        &self,
        program: &Program,
        function: &str,
        arguments: Vec<Dynamic>,
        call: &Call,
    ) -> Result<Dynamic> {
        Self::find(program, function, arguments.len())?;
        let limits = call.limits(&self.fence);
        self.run(&limits, call.budget(&limits, program.captures), || {
            self.one(&mut Scope::new(), &program.ast, function, arguments, &limits)
        })?
    }

    /// Calls what a script handed out as a function: a named one, or a closure with what it
    /// captured.
    pub fn call_pointer(
        &self,
        program: &Program,
        pointer: &FnPtr,
        arguments: Vec<Dynamic>,
        call: &Call,
    ) -> Result<Dynamic> {
        let captured = pointer.curry().iter().cloned();
        self.call(program, pointer.fn_name(), captured.chain(arguments).collect(), call)
    }

    /// Calls one function for each of many rows: faster than one [`ScriptEngine::call`] each. Every
    /// row has the fence's operations, time and memory of its own and its own answer; what `call`
    /// says about time holds for all of them together.
    pub fn call_many<R>(
        &self,
        program: &Program,
        function: &str,
        rows: R,
        call: &Call,
    ) -> Result<Vec<Result<Dynamic>>>
    where
        R: IntoIterator<Item = Vec<Dynamic>> + Send,
    {
        let limits = call.limits(&self.fence);
        // A row that is ended is told the limit of a row, not that of the batch.
        let of_row = Limits { time: self.fence.time, ..call.limits(&self.fence) };
        let captures = program.captures;
        self.run(&limits, call.around(&limits, captures), || {
            let mut scope = Scope::new();
            let row = |row: Vec<Dynamic>| {
                Self::find(program, function, row.len())?;
                let budget = Call::each(&self.fence, &limits, captures);
                let one = || self.one(&mut scope, &program.ast, function, row, &of_row);
                watch::guarded(budget, one).map_err(|ended| error::ended(ended, &of_row))?
            };
            rows.into_iter().map(row).collect()
        })
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    fn find(program: &Program, function: &str, arguments: usize) -> Result<()> {
        let known = program.functions();
        let found =
            known.iter().any(|known| known.name == function && known.params.len() == arguments);
        if found || function.starts_with("anon$") {
            return Ok(());
        }
        Err(error::no_function(function, arguments, known))
    }

    fn one(
        &self,
        scope: &mut Scope<'static>,
        ast: &AST,
        function: &str,
        arguments: Vec<Dynamic>,
        limits: &Limits<'_>,
    ) -> Result<Dynamic> {
        let options = CallFnOptions::new().eval_ast(false).rewind_scope(true);
        let answer = self.engine.call_fn_with_options(options, scope, ast, function, arguments);
        self.finish(answer, Some(function), limits)
    }

    /// Measures what leaves, and puts errors into our words. Still on the call's own stack: a
    /// value that is nested too deeply for the caller's is dropped here.
    fn finish(
        &self,
        answer: Result<Dynamic, Box<EvalAltResult>>,
        function: Option<&str>,
        limits: &Limits<'_>,
    ) -> Result<Dynamic> {
        let answer = answer.and_then(|value| {
            let value = value.flatten();
            self.engine.ensure_data_size_within_limits(&value)?;
            Ok(value)
        });
        match answer {
            Ok(value) if super::json::is_shallow(&value) => Ok(value),
            Ok(_deep) => Err(super::json::too_deep()),
            Err(error) => Err(error::failed(*error, function, watch::due(), limits)),
        }
    }

    /// Runs `f` on a stack that is deep enough, under a watch.
    fn run<T: Send>(
        &self,
        limits: &Limits<'_>,
        budget: Budget,
        f: impl FnOnce() -> T + Send,
    ) -> Result<T> {
        let watched = || watch::guarded(budget, f).map_err(|ended| error::ended(ended, limits));
        let need = self.fence.stack();
        if !watch::running() || stack::has_room(need) {
            return stack::on_stack(need, watched)?;
        }
        // A call from within a call takes what it counts along to its own stack, and back.
        let mut carried = Some(Carried::take());
        let outcome = stack::on_stack(need, || {
            if let Some(carried) = carried.take() {
                carried.put();
            }
            let outcome = watched();
            carried = Some(Carried::take());
            outcome
        });
        if let Some(carried) = carried {
            carried.put();
        }
        outcome?
    }
}
