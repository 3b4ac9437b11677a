//! Bytes between a file and a daemon, with a bar, checked against their digest.

use std::path::Path;

use bytes::Bytes;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

use super::local;
use crate::cask::client::{Receiving, Sending};
use crate::cask::error;
use crate::kernel::cli::{Output, read_input};
use crate::kernel::name::new_id;
use crate::kernel::{Digest, Error, Result, disk, off_thread};

const PIECE: usize = 256 << 10;

/// A file on its way, hashed beforehand so that the daemon can refuse what arrives otherwise.
pub(super) async fn sending(file: &Path, out: Output) -> Result<Sending> {
    if file == Path::new("-") {
        return Ok(Sending::bytes(Bytes::from(read_input("-")?)));
    }
    let path = file.to_owned();
    let (sha256, length) = off_thread(move || digest_of(&path)).await?;
    let failed = |source| Error::io(format!("read {}", file.display()), source);
    let opened = tokio::fs::File::open(file).await.map_err(failed)?;
    let bar = out.progress(&file.display().to_string(), Some(length));
    let pieces = ReaderStream::with_capacity(opened, PIECE).inspect(move |piece| {
        if let Ok(piece) = piece {
            bar.inc(piece.len() as u64);
        }
    });
    Ok(Sending { body: reqwest::Body::wrap_stream(pieces), length, sha256: Some(sha256) })
}

fn digest_of(path: &Path) -> Result<(Digest, u64)> {
    let mut file = local::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0_u8; PIECE];
    let mut length = 0;
    loop {
        let read = std::io::Read::read(&mut file, &mut block)
            .map_err(|source| Error::io(format!("read {}", path.display()), source))?;
        match block.get(..read) {
            Some(piece) if !piece.is_empty() => hash.update(piece),
            _ => return Ok((Digest(hash.finalize().into()), length)),
        }
        length += read as u64;
    }
}

/// Writes what comes beside `place`, checks its digest, and moves it there.
pub(super) async fn receive(receiving: Receiving, place: &Path, out: Output) -> Result<u64> {
    let staged = place.with_file_name(format!(".drip-{}.part", new_id()));
    let outcome = write(receiving, &staged, place, out).await;
    let outcome = match outcome {
        Ok(size) => tokio::fs::rename(&staged, place)
            .await
            .map(|()| size)
            .map_err(|source| Error::io(format!("write {}", place.display()), source)),
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        // The failure is what people must hear of, not that its remains could not be removed.
        let _gone = tokio::fs::remove_file(&staged).await;
    } else {
        let place = place.to_owned();
        off_thread(move || disk::sync_parent(&place)).await?;
    }
    outcome
}

async fn write(receiving: Receiving, staged: &Path, place: &Path, out: Output) -> Result<u64> {
    let failed = |source| Error::io(format!("write {}", place.display()), source);
    let mut file = tokio::fs::File::create_new(staged).await.map_err(failed)?;
    let bar = out.progress(&place.display().to_string(), receiving.length);
    let said = receiving.sha256;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut pieces = std::pin::pin!(receiving.stream());
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hash.update(&piece);
        file.write_all(&piece).await.map_err(failed)?;
        size += piece.len() as u64;
        bar.inc(piece.len() as u64);
    }
    file.sync_all().await.map_err(failed)?;
    bar.finish_and_clear();
    let found = Digest(hash.finalize().into());
    match said {
        Some(said) if said != found => Err(error::digest_mismatch(said, found)),
        _ => Ok(size),
    }
}
