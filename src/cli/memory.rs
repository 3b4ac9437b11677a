//! What the system's allocator keeps.

/// Lets glibc's allocator keep two arenas instead of eight a core. Each commit of the search index
/// starts threads, and what they freed stays in the arena that they were given: a daemon under load
/// held several times what it used. Must be called while there is one thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn keep_together() {
    #[expect(unsafe_code, reason = "glibc offers no other way to say it to a program that runs")]
    // SAFETY: it sets a number of the allocator and touches no memory of ours.
    let _refused = unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

/// Gives the system back what was freed between things that are still held: opening the stores
/// leaves several MiB of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn give_back() {
    #[expect(unsafe_code, reason = "glibc does it by itself only at the top of its heap")]
    // SAFETY: it releases pages that hold nothing, under the allocator's own locks.
    let _nothing_to_give = unsafe { libc::malloc_trim(0) };
}

/// Other allocators decide by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn keep_together() {}

/// Other allocators decide by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back() {}
