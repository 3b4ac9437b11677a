//! `dripctl`.

/// Counts what scripts take, so that their memory has a limit.
#[global_allocator]
static METERED: drip::kernel::script::MeteredAllocator =
    drip::kernel::script::MeteredAllocator::new();

fn main() -> std::process::ExitCode {
    drip::cli::main()
}
