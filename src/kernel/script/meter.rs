//! The memory meter: a global allocator that counts, per thread, what is taken and not given back.
//!
//! Rhai limits single values, never their sum, so a script can hold sixty strings of a megabyte
//! under a limit of one. The engine asks this meter at every operation how much its thread has
//! grown since the call began. It is an estimate of the heap (the allocator's own headers are
//! added at their usual size), not of the resident set, and it follows the thread: what another
//! thread takes on a script's behalf is not seen.
//!
//! A program declares it once; without it the memory limit does nothing, and says so in the log:
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: drip::kernel::script::MeteredAllocator = MeteredAllocator::new();
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Const and without a destructor, so that the allocator may use it at any time.
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

/// Counts the bytes that each thread holds, and leaves the work to `A`.
#[derive(Debug, Default, Clone, Copy)]
pub struct MeteredAllocator<A = System>(A);

impl MeteredAllocator {
    /// A meter over the system's allocator.
    pub const fn new() -> Self {
        Self(System)
    }
}

impl<A> MeteredAllocator<A> {
    /// A meter over `inner`.
    pub const fn over(inner: A) -> Self {
        Self(inner)
    }
}

/// Bytes that this thread has taken, less those it gave back. Only differences mean something: a
/// thread may free what another took.
#[inline]
pub(super) fn live() -> i64 {
    LIVE.try_with(Cell::get).unwrap_or(0)
}

/// Whether the program declared a [`MeteredAllocator`].
pub(super) fn installed() -> bool {
    let before = live();
    let probe = std::hint::black_box(vec![0_u8; 64]);
    let grown = live() > before;
    drop(probe);
    grown
}

/// What `size` bytes cost with the header and rounding of a usual allocator: many small values
/// would otherwise weigh half of what they take.
#[inline]
#[expect(clippy::cast_possible_wrap, reason = "no allocation is larger than isize::MAX")]
const fn cost(size: usize) -> i64 {
    let rounded = size.saturating_add(23) & !15;
    if rounded < 32 { 32 } else { rounded as i64 }
}

#[inline]
fn count(bytes: i64) {
    // A thread that is ending has no meter any more, and nobody asks it.
    let _gone = LIVE.try_with(|live| live.set(live.get().wrapping_add(bytes)));
}

#[expect(unsafe_code, reason = "counting allocations is only possible in a GlobalAlloc")]
// SAFETY: every call is handed to `A` unchanged, and what `A` answers is returned unchanged; the
// counting beside it touches a const thread-local without a destructor and never allocates.
unsafe impl<A: GlobalAlloc> GlobalAlloc for MeteredAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is passed on as it is.
        let block = unsafe { self.0.alloc(layout) };
        if !block.is_null() {
            count(cost(layout.size()));
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is passed on as it is.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        if !block.is_null() {
            count(cost(layout.size()));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-cost(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`, which is passed on as it is.
        unsafe { self.0.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`, which is passed on as it is.
        let moved = unsafe { self.0.realloc(block, layout, size) };
        if !moved.is_null() {
            count(cost(size) - cost(layout.size()));
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_given_back_leaves_nothing() {
        assert!(installed(), "the library's tests declare the meter");
        let before = live();
        let mut list: Vec<u64> = Vec::with_capacity(1000);
        assert!(live() - before >= 8000);
        list.extend(0..5000);
        assert!(live() - before >= 40_000);
        drop(list);
        assert_eq!(live(), before);
    }

    #[test]
    fn each_thread_has_its_own_meter() {
        let before = live();
        let kept = std::thread::spawn(|| vec![1_u8; 1 << 20]).join().unwrap();
        assert!(live() - before < 1 << 19, "the other thread took it");
        drop(kept);
    }
}
