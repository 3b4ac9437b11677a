//! What is known of bytes when all of them have come, beside their SHA-256.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use md5::{Digest as _, Md5};

use super::format::Checksum;
use super::{error, lock};
use crate::kernel::Result;
use crate::kernel::name::hex;

/// What is kept of it with an object.
#[derive(Debug, Default)]
pub(super) struct Seal {
    /// The tag that S3 clients are shown.
    pub etag: Option<String>,
    pub checksums: Vec<Checksum>,
    /// The sizes of the parts that it was sent in.
    pub parts: Vec<u64>,
}

/// The MD5 of bytes that are on their way.
#[derive(Clone, Default)]
pub(super) struct PassingMd5(Arc<Mutex<Md5>>);

impl PassingMd5 {
    pub(super) fn update(&self, piece: &[u8]) {
        lock(&self.0).update(piece);
    }

    /// The MD5 of all that has passed.
    pub(super) fn end(&self) -> [u8; 16] {
        std::mem::take(&mut *lock(&self.0)).finalize().into()
    }
}

/// The same bytes, and their MD5 when they have passed.
pub(super) fn md5_of(
    bytes: impl Stream<Item = Result<Bytes>> + Send,
) -> (impl Stream<Item = Result<Bytes>> + Send, PassingMd5) {
    let md5 = PassingMd5::default();
    let passing = md5.clone();
    let bytes = bytes.inspect(move |piece| {
        if let Ok(piece) = piece {
            passing.update(piece);
        }
    });
    (bytes, md5)
}

pub(super) fn same_md5(said: [u8; 16], found: [u8; 16]) -> Result<()> {
    if said == found {
        return Ok(());
    }
    Err(error::checksum_mismatch("Content-MD5", &hex(&said), &hex(&found)))
}

/// Reads a `Content-MD5`.
#[cfg(feature = "http")]
pub(super) fn parse_md5(text: &str) -> Result<[u8; 16]> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(error::bad_md5)
}
