//! Blobs beside plain files with the same syncs.
//!
//! A put is what a slice does: the bytes into the store of blobs, then a record that names them. The
//! plain file is written, synced, renamed, and its folder synced.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use drip::kernel::blobs::{BlobRef, Blobs};
use drip::kernel::format::{Nothing, Versioned, encode};
use drip::kernel::records::{ChangeSet, Expect, Records, RedbRecords};
use drip::kernel::{Digest, Error, Result, disk, wait_for};

mod support;
use support::{Plan, Sample, folder, keep_doing, median};

const SIZES: [(&str, usize); 3] = [("4 KiB", 4 << 10), ("64 KiB", 64 << 10), ("16 MiB", 16 << 20)];

#[derive(Encode, Decode)]
struct Named(BlobRef);

impl Versioned for Named {
    const MARKER: &'static str = "bench.v1";
    type Previous = Nothing;
}

/// What one round found.
struct Round {
    file_put: Sample,
    blob_put: Sample,
    file_get: Sample,
    file_checked: Sample,
    blob_get: Sample,
}

fn main() -> Result<()> {
    let plan = Plan::from_args();
    println!("medians of {} rounds", plan.rounds);
    for (name, size) in SIZES {
        let rounds =
            (0..plan.rounds).map(|_| round(size, plan.time)).collect::<Result<Vec<_>>>()?;
        tell(name, &rounds);
    }
    Ok(())
}

/// Bytes that no other call wrote: equal chunks are kept once.
fn bytes(size: usize, number: u64) -> Vec<u8> {
    let mut bytes = vec![7_u8; size];
    for (place, byte) in bytes.iter_mut().zip(number.to_le_bytes()) {
        *place = byte;
    }
    bytes
}

fn round(size: usize, time: Duration) -> Result<Round> {
    let folder = folder()?;
    let plain = folder.path().join("plain");
    disk::make_folder(&plain)?;
    let blobs = Blobs::folder(&folder.path().join("blobs"))?;
    let records = RedbRecords::open(&folder.path().join("records.redb"))?;
    let file_put = keep_doing(1, time, |number| write_file(&plain, number, &bytes(size, number)))?;
    let blob_put = keep_doing(1, time, |number| {
        let written = wait_for(blobs.put(Bytes::from(bytes(size, number))))?;
        let row = encode(&Named(written.blob.clone()))?;
        let set = ChangeSet::new().put(format!("blob/{number}"), Expect::Absent, row);
        records.apply(set).map(drop)
    })?;
    write_file(&plain, 0, &bytes(size, 0))?;
    let path = plain.join("0");
    let read = || std::fs::read(&path).map_err(|source| Error::io("read a file", source));
    let kept = wait_for(blobs.put(Bytes::from(bytes(size, 0))))?;
    Ok(Round {
        file_put,
        blob_put,
        file_get: keep_doing(1, time / 4, |_| read().map(|bytes| drop(black_box(bytes))))?,
        file_checked: keep_doing(1, time / 4, |_| {
            let _digest = black_box(Digest::of(&read()?));
            Ok(())
        })?,
        blob_get: keep_doing(1, time / 4, |_| {
            let all = blobs.read_to_bytes(&kept.blob, 0..kept.blob.size);
            wait_for(all).map(|bytes| drop(black_box(bytes)))
        })?,
    })
}

/// A plain file that survives a power cut.
fn write_file(folder: &Path, number: u64, bytes: &[u8]) -> Result<()> {
    disk::replace_file(&folder.join(number.to_string()), bytes, 0o644)
}

fn tell(name: &str, rounds: &[Round]) {
    let rate = |of: fn(&Round) -> Sample| median(rounds.iter().map(|r| of(r).per_second()));
    let cpu = |of: fn(&Round) -> Sample| median(rounds.iter().map(|r| of(r).cpu_each()));
    let ratio = |of: fn(&Round) -> Sample, to: fn(&Round) -> Sample| {
        median(rounds.iter().map(|r| of(r).per_second() / to(r).per_second()))
    };
    println!(
        "put {name:<7} file {:>9.1} /s {:>8.0} us CPU   blob + record {:>9.1} /s {:>8.0} us CPU   {:.2} of the file",
        rate(|r| r.file_put),
        cpu(|r| r.file_put),
        rate(|r| r.blob_put),
        cpu(|r| r.blob_put),
        ratio(|r| r.blob_put, |r| r.file_put),
    );
    println!(
        "get {name:<7} file {:>9.1} /s   file + SHA-256 {:>9.1} /s   blob {:>9.1} /s   {:.2} of the file, {:.2} of the checked one",
        rate(|r| r.file_get),
        rate(|r| r.file_checked),
        rate(|r| r.blob_get),
        ratio(|r| r.blob_get, |r| r.file_get),
        ratio(|r| r.blob_get, |r| r.file_checked),
    );
}
