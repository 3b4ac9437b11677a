//! What the benches share: rounds and their medians, the process's own CPU time, a folder on the
//! disk that the build is on, and the rate at which that disk syncs.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use drip::kernel::{Error, Result};

/// How long one measurement takes, and how often it is taken.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
}

impl Plan {
    /// Five rounds of a second each under `cargo bench`; a moment each when the bench is only tried,
    /// as `cargo test --benches` does.
    pub(crate) fn from_args() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self { rounds: 5, time: Duration::from_secs(1) }
        } else {
            Self { rounds: 1, time: Duration::from_millis(20) }
        }
    }
}

/// What one measurement found.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    /// How often it was done.
    pub(crate) count: f64,
    /// How long that took, in seconds.
    pub(crate) wall: f64,
    /// How much CPU time the whole process took meanwhile, in seconds, all threads together.
    pub(crate) cpu: f64,
}

impl Sample {
    pub(crate) fn per_second(self) -> f64 {
        self.count / self.wall
    }

    /// CPU time of one, in microseconds.
    pub(crate) fn cpu_each(self) -> f64 {
        self.cpu / self.count * 1e6
    }
}

/// Does `work` on so many threads until the time is over. Its argument is a number that no other
/// call gets.
pub(crate) fn keep_doing(
    threads: usize,
    time: Duration,
    work: impl Fn(u64) -> Result<()> + Sync,
) -> Result<Sample> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let done = AtomicU64::new(0);
    let (cpu, begun) = (cpu_time()?, Instant::now());
    std::thread::scope(|scope| {
        let one = || -> Result<()> {
            while begun.elapsed() < time {
                work(NEXT.fetch_add(1, Ordering::Relaxed))?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_panic| Error::internal("a thread panicked"))?
        })
    })?;
    Ok(Sample {
        count: number(done.into_inner()),
        wall: begun.elapsed().as_secs_f64(),
        cpu: cpu_time()? - cpu,
    })
}

/// The CPU time of this process so far, in seconds, to a hundredth.
pub(crate) fn cpu_time() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")
        .map_err(|source| Error::io("read /proc/self/stat", source))?;
    // The second field is a name in brackets, which may hold anything; user and system time are the
    // twelfth and thirteenth behind it.
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = behind
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(number(ticks) / number(rustix::param::clock_ticks_per_second()))
}

/// The middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// An empty folder on the disk of the build; gone when it is dropped.
pub(crate) fn folder() -> Result<tempfile::TempDir> {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .map_err(|source| Error::io("make a folder", source))
}

/// How often a second 4 KiB can be appended to a file and synced: what the disk itself gives.
pub(crate) fn bare_syncs(folder: &Path, time: Duration) -> Result<Sample> {
    let failed = |source| Error::io("write the file of bare syncs", source);
    let file = File::create(folder.join("bare")).map_err(failed)?;
    let page = [7_u8; 4096];
    keep_doing(1, time, |_| {
        (&file).write_all(&page).map_err(failed)?;
        file.sync_data().map_err(failed)
    })
}

/// A count as a float; none here is so large that it matters.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}
