use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::kernel::clock::Time;

fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

async fn never_named(blobs: &Blobs, now: Time) -> Swept {
    blobs.sweep(|_| Ok(false), now, Duration::from_mins(1)).await.unwrap()
}

#[tokio::test]
async fn bytes_come_back_whole_and_in_ranges_at_every_size() {
    let folder = tempfile::tempdir().unwrap();
    for blobs in [Blobs::memory(), Blobs::folder(folder.path()).unwrap()] {
        for size in [0, 1, INLINE_BYTES, INLINE_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES + 5] {
            let bytes = pattern(size);
            let written = blobs.put(bytes.clone()).await.unwrap();
            let blob = &written.blob;
            assert_eq!((blob.size, blob.digest), (size as u64, Digest::of(&bytes)));
            assert_eq!(blobs.read_to_bytes(blob, 0..u64::MAX).await.unwrap(), bytes);
            let (from, to) = (size / 3, size / 2);
            let part = blobs.read_to_bytes(blob, from as u64..to as u64).await.unwrap();
            assert_eq!(part, bytes.slice(from..to));
            blobs.verify(blob).await.unwrap();
        }
    }
}

#[tokio::test]
async fn equal_chunks_are_kept_once_and_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::folder(folder.path()).unwrap();
    let first = blobs.put(pattern(100_000)).await.unwrap();
    let second = blobs.put(pattern(100_000)).await.unwrap();
    assert_eq!(first.blob, second.blob);
    let digest = first.blob.chunks().next().unwrap();
    let path = folder.path().join(chunk_path(digest).as_ref());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(blobs.verify(&first.blob).await.unwrap_err().code(), "damaged_blob");
    // The last chunk is shorter than the others, and compared all the same.
    let long = blobs.put(pattern(CHUNK_BYTES + 100_000)).await.unwrap();
    let path = folder.path().join(chunk_path(long.blob.chunks().nth(1).unwrap()).as_ref());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[99_999] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let read = blobs.read_to_bytes(&long.blob, 0..u64::MAX).await;
    assert_eq!(read.unwrap_err().code(), "damaged_blob");
}

#[tokio::test]
async fn the_sweeper_takes_old_orphans_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::folder(folder.path()).unwrap();
    let clock = crate::kernel::SystemClock;
    let now = crate::kernel::Clock::now(&clock);
    let later = now.after(Duration::from_mins(2));
    let held = blobs.put(pattern(100_000)).await.unwrap();
    let named = blobs.put(pattern(200_000)).await.unwrap().blob;
    drop(blobs.put(pattern(300_000)).await.unwrap());
    assert_eq!(never_named(&blobs, now).await.removed, 0, "all are young");
    let keep = named.chunks().next().unwrap();
    let swept = blobs.sweep(|d| Ok(d == keep), later, Duration::from_mins(1)).await.unwrap();
    assert_eq!((swept.removed, swept.bytes, swept.waiting), (1, 300_000, 1));
    blobs.verify(&held.blob).await.unwrap();
    blobs.verify(&named).await.unwrap();
    drop(held);
    assert_eq!(never_named(&blobs, later).await.removed, 2);
}

#[tokio::test]
async fn parts_are_joined_without_being_written_again() {
    let folder = tempfile::tempdir().unwrap();
    for blobs in [Blobs::memory(), Blobs::folder(folder.path()).unwrap()] {
        let mut parts = Vec::new();
        let mut all = Vec::new();
        for size in [CHUNK_BYTES + 70_000, 100_000, 1, 0] {
            let bytes = pattern(size);
            let mut writer = blobs.part_writer();
            writer.write(bytes.clone()).await.unwrap();
            all.extend_from_slice(&bytes);
            parts.push(writer.finish().await.unwrap());
        }
        let inline = blobs.put(pattern(10)).await.unwrap();
        all.extend_from_slice(&pattern(10));
        parts.push(inline);
        let refs: Vec<_> = parts.iter().map(|part| part.blob.clone()).collect();
        let (whole, seen) = blobs
            .join(&refs, Vec::new(), |seen, piece| seen.extend_from_slice(piece))
            .await
            .unwrap();
        drop(parts);
        assert_eq!((whole.blob.size, whole.blob.digest), (all.len() as u64, Digest::of(&all)));
        assert!(seen == all, "every piece is shown in order");
        assert!(blobs.read_to_bytes(&whole.blob, 0..u64::MAX).await.unwrap() == all);
        // Ranges that begin and end inside chunks, and go over their edges.
        let edge = CHUNK_BYTES + 70_000;
        for range in [0..5, CHUNK_BYTES - 3..CHUNK_BYTES + 3, edge - 2..edge + 100_001, edge..edge]
        {
            let part = blobs.read_to_bytes(&whole.blob, range.start as u64..range.end as u64).await;
            assert!(part.unwrap() == all[range.clone()], "{range:?}");
        }
        blobs.verify(&whole.blob).await.unwrap();
        let now = crate::kernel::Clock::now(&crate::kernel::SystemClock);
        assert_eq!(never_named(&blobs, now.after(Duration::from_hours(1))).await.removed, 0);
    }
}

#[tokio::test]
async fn a_sound_chunk_is_not_hashed_again_and_a_cut_one_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::folder(folder.path()).unwrap();
    let kept = blobs.put(pattern(3 << 20)).await.unwrap().blob;
    let read = || blobs.read_to_bytes(&kept, 0..u64::MAX);
    assert!(read().await.unwrap() == pattern(3 << 20));
    assert!(read().await.unwrap() == pattern(3 << 20), "from pieces of one MiB");
    let path = folder.path().join(chunk_path(kept.chunks().next().unwrap()).as_ref());
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(2_500_000).unwrap();
    assert_eq!(read().await.unwrap_err().code(), "damaged_blob");
    assert_eq!(blobs.verify(&kept).await.unwrap_err().code(), "damaged_blob");
}
