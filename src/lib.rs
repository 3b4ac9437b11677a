//! Drip carries an algorithm through its whole life on one machine.

pub mod kernel;

/// The library's own tests run under the memory meter, as the program does.
#[cfg(all(test, feature = "script"))]
#[global_allocator]
static METERED: kernel::script::MeteredAllocator = kernel::script::MeteredAllocator::new();
