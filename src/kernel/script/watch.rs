//! The watch over one call: what is left of its operations, time and memory, kept per thread and
//! looked at by Rhai's progress hook at every operation.
//!
//! Two ways end a call. When time or operations run out, or it is cancelled, the next read of a
//! variable fails with an error that knows its line. When that does not come soon, or memory is
//! used up, the call unwinds: an error can be swallowed (Rhai's `sort` does, and turning a value
//! into text then prints all of it), an unwinding cannot. [`guarded`] catches it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rhai::Dynamic;

use super::meter;

#[cfg(not(panic = "unwind"))]
compile_error!("the script fence ends a script by unwinding: build with panic = \"unwind\"");

/// Operations between two looks at the clock.
const TICKS: u8 = 4;
/// Operations in which a variable may be read before the call unwinds without a line.
const GRACE: u8 = 8;
/// Calls from a script through a native function into a script.
const NESTED: u32 = 8;
/// The growth after which the sizes of all variables are looked at again.
const LOOK: i64 = 64 << 10;
/// The longest line that is printed.
const LINE: usize = 8 << 10;

/// Why a call was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Operations,
    Time,
    Memory,
    Depth,
    Size,
    Cancelled,
}

/// One line that a script printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed<'a> {
    /// What it says.
    pub text: &'a str,
    /// The line of the script, for `debug(…)`.
    pub line: Option<usize>,
}

/// Where a script's `print` and `debug` go.
pub type Sink = Arc<dyn Fn(Printed<'_>) + Send + Sync>;

/// What one call may use, and who may end it.
pub(super) struct Budget {
    pub(super) operations: u64,
    pub(super) time: Duration,
    pub(super) memory: u64,
    pub(super) printed: usize,
    pub(super) captures: bool,
    pub(super) cancel: Option<Arc<AtomicBool>>,
    pub(super) sink: Option<Sink>,
    pub(super) tag: Option<Dynamic>,
}

/// How a guarded call ended when it did not return.
pub(super) enum Ended {
    Stopped(Stop),
    Panicked(String),
}

thread_local! {
    static WATCH: Watch = const { Watch::idle() };
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// Read at every operation, so without a lock, a destructor or an allocation.
struct Watch {
    nested: Cell<u32>,
    left: Cell<u64>,
    base: Cell<i64>,
    ceiling: Cell<i64>,
    look_at: Cell<i64>,
    deadline: Cell<Option<Instant>>,
    captures: Cell<bool>,
    ticks: Cell<u8>,
    due: Cell<Option<Stop>>,
    grace: Cell<u8>,
}

/// The rest of a call, which is seldom needed.
struct Frame {
    cancel: Option<Arc<AtomicBool>>,
    sink: Option<Sink>,
    tag: Option<Dynamic>,
    printable: usize,
}

/// What travels with the unwinding.
struct Halt(Stop);

impl Watch {
    const fn idle() -> Self {
        Self {
            nested: Cell::new(0),
            left: Cell::new(0),
            base: Cell::new(0),
            ceiling: Cell::new(i64::MAX),
            look_at: Cell::new(i64::MAX),
            deadline: Cell::new(None),
            captures: Cell::new(false),
            ticks: Cell::new(0),
            due: Cell::new(None),
            grace: Cell::new(0),
        }
    }

    /// Ends the call soon, at a place that knows its line if there is one.
    fn end_soon(&self, stop: Stop) {
        self.due.set(Some(stop));
        self.grace.set(GRACE);
        self.left.set(0);
    }

    #[cold]
    fn run_out(&self) {
        let Some(stop) = self.due.get() else {
            return self.end_soon(Stop::Operations);
        };
        match self.grace.get().checked_sub(1) {
            Some(grace) => self.grace.set(grace),
            None => halt(stop),
        }
    }

    fn look(&self) {
        self.ticks.set(TICKS);
        if self.due.get().is_some() {
            return;
        }
        if self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
            self.end_soon(Stop::Time);
        } else if cancelled() {
            self.end_soon(Stop::Cancelled);
        }
    }
}

/// Whether any call on this thread, the outermost included, was told to end.
fn cancelled() -> bool {
    FRAMES.with_borrow(|frames| {
        frames
            .iter()
            .any(|frame| frame.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
    })
}

/// One operation. Called by Rhai before each.
pub(super) fn operation() {
    WATCH.with(|watch| {
        match watch.left.get().checked_sub(1) {
            Some(left) => watch.left.set(left),
            None => watch.run_out(),
        }
        if meter::live() > watch.ceiling.get() {
            halt(Stop::Memory);
        }
        match watch.ticks.get().checked_sub(1) {
            Some(ticks) => watch.ticks.set(ticks),
            None => watch.look(),
        }
    });
}

/// What is to be done before a variable is read.
pub(super) enum Before {
    Nothing,
    End(Stop),
    /// The call has grown: look at the sizes of its variables.
    Measure,
    /// The script has closures: see whether the variable was just captured.
    Unshare,
}

/// Asked before a variable is read.
pub(super) fn before_variable() -> Before {
    WATCH.with(|watch| {
        if let Some(stop) = watch.due.get() {
            return Before::End(stop);
        }
        let live = meter::live();
        if live > watch.look_at.get() {
            let grown = live.saturating_sub(watch.base.get());
            watch.look_at.set(live.saturating_add(LOOK.max(grown / 8)));
            return Before::Measure;
        }
        if watch.captures.get() { Before::Unshare } else { Before::Nothing }
    })
}

/// Why the running call is to end, if it is.
pub(super) fn due() -> Option<Stop> {
    WATCH.with(|watch| watch.due.get())
}

/// Whether a call is running on this thread.
pub(super) fn running() -> bool {
    WATCH.with(|watch| watch.nested.get() > 0)
}

/// Looks at the clock at the next operation: the one before may have taken long.
pub(super) fn look_soon() {
    WATCH.with(|watch| watch.ticks.set(0));
}

/// Ends the call here. Nothing between here and [`guarded`] can stop it.
pub(super) fn halt(stop: Stop) -> ! {
    WATCH.with(|watch| {
        if watch.due.get().is_none() {
            watch.end_soon(stop);
        }
    });
    resume_unwind(Box::new(Halt(stop)))
}

/// Runs `f` under `budget`. Within a call that is running already, the tighter of both holds, and
/// what is used counts for both.
pub(super) fn guarded<T>(budget: Budget, f: impl FnOnce() -> T) -> Result<T, Ended> {
    let entered = Entered::new(budget).map_err(Ended::Stopped)?;
    let outcome = catch_unwind(AssertUnwindSafe(f));
    drop(entered);
    outcome.map_err(|panic| match panic.downcast::<Halt>() {
        Ok(halt) => Ended::Stopped(halt.0),
        Err(panic) => Ended::Panicked(words_of(panic.as_ref())),
    })
}

/// While it lives, the call is watched; then the watch is as it was before.
struct Entered {
    left: u64,
    granted: u64,
    base: i64,
    ceiling: i64,
    look_at: i64,
    deadline: Option<Instant>,
    captures: bool,
}

impl Entered {
    fn new(budget: Budget) -> Result<Self, Stop> {
        let entered = WATCH.with(|watch| {
            let nested = watch.nested.get();
            if nested >= NESTED {
                return Err(Stop::Depth);
            }
            // A call that is to end starts no other: each would put its end off.
            if let Some(stop) = watch.due.get() {
                return Err(stop);
            }
            let outermost = nested == 0;
            let live = meter::live();
            let left = watch.left.get();
            let granted = if outermost { budget.operations } else { budget.operations.min(left) };
            let before = Self {
                left,
                granted,
                base: watch.base.get(),
                ceiling: watch.ceiling.get(),
                look_at: watch.look_at.get(),
                deadline: watch.deadline.get(),
                captures: watch.captures.get(),
            };
            let memory = i64::try_from(budget.memory).unwrap_or(i64::MAX);
            let ceiling = live.saturating_add(memory);
            watch.nested.set(nested + 1);
            watch.left.set(granted);
            watch.ceiling.set(if outermost { ceiling } else { ceiling.min(before.ceiling) });
            watch.base.set(live);
            watch.look_at.set(live.saturating_add(LOOK));
            watch.deadline.set(sooner(before.deadline, Instant::now().checked_add(budget.time)));
            watch.captures.set(budget.captures);
            Ok(before)
        })?;
        FRAMES.with_borrow_mut(|frames| {
            frames.push(Frame {
                cancel: budget.cancel,
                sink: budget.sink,
                tag: budget.tag,
                printable: budget.printed,
            });
        });
        Ok(entered)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        WATCH.with(|watch| {
            let used = self.granted.saturating_sub(watch.left.get());
            watch.nested.set(watch.nested.get().saturating_sub(1));
            watch.left.set(self.left.saturating_sub(used));
            watch.base.set(self.base);
            watch.ceiling.set(self.ceiling);
            watch.look_at.set(self.look_at);
            watch.deadline.set(self.deadline);
            watch.captures.set(self.captures);
            watch.due.set(None);
        });
        // Dropped outside the borrow: a tag may hold anything.
        let frame = FRAMES.with_borrow_mut(Vec::pop);
        drop(frame);
    }
}

/// The watch of one thread on its way to another, and back. Memory is counted per thread, so what
/// is left of it travels, not where it ends.
pub(super) struct Carried {
    nested: u32,
    left: u64,
    grown: i64,
    room: i64,
    deadline: Option<Instant>,
    captures: bool,
    due: Option<Stop>,
    grace: u8,
    frames: Vec<Frame>,
}

impl Carried {
    /// Takes the watch off this thread.
    pub(super) fn take() -> Self {
        let live = meter::live();
        let frames = FRAMES.with_borrow_mut(std::mem::take);
        WATCH.with(|watch| Self {
            nested: watch.nested.replace(0),
            left: watch.left.replace(0),
            grown: live.saturating_sub(watch.base.get()),
            room: watch.ceiling.get().saturating_sub(live),
            deadline: watch.deadline.take(),
            captures: watch.captures.replace(false),
            due: watch.due.take(),
            grace: watch.grace.get(),
            frames,
        })
    }

    /// Puts it onto this one.
    pub(super) fn put(self) {
        let live = meter::live();
        WATCH.with(|watch| {
            watch.nested.set(self.nested);
            watch.left.set(self.left);
            watch.base.set(live.saturating_sub(self.grown));
            watch.ceiling.set(live.saturating_add(self.room));
            watch.look_at.set(live.saturating_add(LOOK));
            watch.deadline.set(self.deadline);
            watch.captures.set(self.captures);
            watch.due.set(self.due);
            watch.grace.set(self.grace);
        });
        FRAMES.set(self.frames);
    }
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What the host said about the running call ([`super::Call::tagged`]), or about the one it runs
/// in.
pub fn tag() -> Option<Dynamic> {
    FRAMES.with_borrow(|frames| frames.iter().rev().find_map(|frame| frame.tag.clone()))
}

/// Hands a line to the sink of the running call, up to the bytes that it may print.
pub(super) fn print(text: &str, line: Option<usize>) {
    let found = FRAMES.with_borrow_mut(|frames| {
        let frame = frames.iter_mut().rev().find(|frame| frame.sink.is_some())?;
        let before = frame.printable;
        frame.printable = before.saturating_sub(text.len().saturating_add(1));
        frame.sink.clone().map(|sink| (sink, before))
    });
    match found {
        Some((_, 0)) => {}
        Some((sink, left)) => {
            let shown = cut(text, left.min(LINE));
            sink(Printed { text: shown, line });
            if text.len() >= left {
                sink(Printed {
                    text: "… no more is printed: the script's limit is reached", line
                });
            }
        }
        None => tracing::debug!(target: "drip::script", line, "{}", cut(text, LINE)),
    }
}

/// The first `most` bytes of `text`, at a character's boundary.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or(text)
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without words".into())
}
