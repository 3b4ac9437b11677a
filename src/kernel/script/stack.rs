//! Stacks that are deep enough. A stack overflow cannot be caught: it ends the process. Rhai runs,
//! clones, compares and drops by recursion, so every script runs on a stack that is larger than
//! the deepest thing its fence lets it build.
//!
//! The threads of a runtime can be given such stacks once and marked ([`mark_big_stack`]); on any
//! other thread a scoped one is started for the call.

use std::cell::Cell;
use std::panic::resume_unwind;

use crate::kernel::error::{Error, Kind, Result};

/// The stack that [`mark_big_stack`] promises: 16 MiB.
pub const BIG_STACK: usize = 16 << 20;

thread_local! {
    static STACK: Cell<Stack> = const { Cell::new(Stack { size: 0, base: 0 }) };
}

#[derive(Clone, Copy)]
struct Stack {
    /// What the thread's owner promised, or 0.
    size: usize,
    /// Where it was when it promised.
    base: usize,
}

/// Promises that this thread was started with a stack of [`BIG_STACK`] bytes and has used little
/// of it. For a runtime's `on_thread_start`, beside `thread_stack_size(BIG_STACK)`.
pub fn mark_big_stack() {
    mark(BIG_STACK);
}

/// Promises that this thread has `bytes` of stack left: for threads of which each runs many calls
/// of an engine whose fence is deeper than [`BIG_STACK`] (see [`Fence::stack`](super::Fence::stack)).
pub fn mark_stack(bytes: usize) {
    mark(bytes);
}

/// Runs `f` here if this thread was marked and has most of its stack left, else on a thread of its
/// own with a big stack.
pub fn on_big_stack<T: Send>(f: impl FnOnce() -> T + Send) -> Result<T> {
    on_stack(BIG_STACK / 4 * 3, f)
}

/// Runs `f` where at least `need` bytes of stack are free.
pub(super) fn on_stack<T: Send>(need: usize, f: impl FnOnce() -> T + Send) -> Result<T> {
    if has_room(need) {
        return Ok(f());
    }
    // A little more than what is needed, for the thread itself.
    let size = need.saturating_add(64 << 10).max(BIG_STACK);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("drip-script".into())
            .stack_size(size)
            .spawn_scoped(scope, || {
                mark(size);
                f()
            })
            .map_err(|source| no_thread(size, source))?;
        // A panic of ours goes on where it would have gone without the thread.
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Whether this thread was marked and has so many bytes of stack left.
pub(super) fn has_room(need: usize) -> bool {
    STACK.get().size.saturating_sub(used()) >= need
}

/// How far the stack has grown since it was marked.
pub(super) fn used() -> usize {
    here().abs_diff(STACK.get().base)
}

fn mark(size: usize) {
    STACK.set(Stack { size, base: here() });
}

/// About where the stack is.
#[inline(never)]
fn here() -> usize {
    let mark = std::hint::black_box(0_u8);
    std::ptr::from_ref(&mark).addr()
}

fn no_thread(size: usize, source: std::io::Error) -> Error {
    Error::new(
        Kind::Unavailable,
        "script_no_thread",
        format!("no thread with a stack of {} MiB can be started for the script", size >> 20),
    )
    .caused_by(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deep(levels: usize) -> usize {
        let room = std::hint::black_box([levels; 128]);
        if levels == 0 { 0 } else { deep(levels - 1) + room.len() / 128 }
    }

    #[test]
    fn a_small_thread_borrows_a_big_stack_and_a_marked_one_uses_its_own() {
        let small = std::thread::Builder::new().stack_size(256 << 10);
        let thread = small.spawn(|| {
            let me = std::thread::current().id();
            let (levels, other) =
                on_big_stack(|| (deep(5_000), std::thread::current().id())).unwrap();
            assert_eq!((levels, me == other), (5_000, false));
        });
        thread.unwrap().join().unwrap();
        let big = std::thread::Builder::new().stack_size(BIG_STACK);
        let thread = big.spawn(|| {
            mark_big_stack();
            let me = std::thread::current().id();
            assert_eq!(on_big_stack(|| std::thread::current().id()).unwrap(), me);
        });
        thread.unwrap().join().unwrap();
    }
}
