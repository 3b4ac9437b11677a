//! Checksums: what clients send, in headers or behind the body, is compared; what they sent or asked
//! for is kept and shown again.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use s3s::checksum::ChecksumHasher;
use s3s::dto::{self, StreamingBlob};
use s3s::{S3Request, S3Result, TrailingHeaders, s3_error};

use super::error::body_failed;
use crate::cask::format::{Checksum, UploadRow};
use crate::cask::multipart::Sums;
use crate::cask::{error, lock};
use crate::kernel::Result;

/// The algorithms, as S3 names them.
const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];

/// What an input says of its checksums: a value for each algorithm, in the order of [`ALGORITHMS`].
pub(super) type Said = [Option<String>; 5];

/// The five fields of an input or an output, in the order of [`ALGORITHMS`].
macro_rules! said {
    ($from:expr) => {
        [
            $from.checksum_crc32.clone(),
            $from.checksum_crc32c.clone(),
            $from.checksum_crc64nvme.clone(),
            $from.checksum_sha1.clone(),
            $from.checksum_sha256.clone(),
        ]
    };
}
pub(super) use said;

/// Writes checksums into the five fields of an output.
macro_rules! show {
    ($to:expr, $checksums:expr) => {{
        let find = |algorithm: &str| $crate::cask::s3::checksums::value($checksums, algorithm);
        $to.checksum_crc32 = find("CRC32");
        $to.checksum_crc32c = find("CRC32C");
        $to.checksum_crc64nvme = find("CRC64NVME");
        $to.checksum_sha1 = find("SHA1");
        $to.checksum_sha256 = find("SHA256");
    }};
}
pub(super) use show;

/// The value of one algorithm, where there is one.
pub(super) fn value(checksums: &[Checksum], algorithm: &str) -> Option<String> {
    let found = checksums.iter().find(|checksum| checksum.algorithm == algorithm);
    found.map(|checksum| checksum.value.clone())
}

/// Whether checksums are of all bytes or of the parts' checksums.
pub(super) fn kind(checksums: &[Checksum]) -> Option<dto::ChecksumType> {
    let first = checksums.first()?;
    Some(dto::ChecksumType::from_static(kind_name(first.whole)))
}

pub(super) fn kind_name(whole: bool) -> &'static str {
    if whole { dto::ChecksumType::FULL_OBJECT } else { dto::ChecksumType::COMPOSITE }
}

/// An algorithm by its name, if it is one of ours.
pub(super) fn known(algorithm: &str) -> S3Result<String> {
    let algorithm = algorithm.to_ascii_uppercase();
    if ALGORITHMS.contains(&algorithm.as_str()) {
        return Ok(algorithm);
    }
    Err(s3_error!(InvalidRequest, "there is no checksum algorithm `{algorithm}`"))
}

/// What is computed while a body comes, and what it shall be compared with.
#[derive(Clone)]
pub(super) struct Sum {
    hasher: Arc<Mutex<ChecksumHasher>>,
    said: Vec<(&'static str, String)>,
    /// What stands behind the body.
    trailing: Option<TrailingHeaders>,
    algorithms: Vec<&'static str>,
}

impl Sum {
    /// What a request asks for: the checksums it says, those it says behind its body, and the one
    /// that is wanted in any case.
    pub(super) fn of<T>(
        request: &S3Request<T>,
        said: Said,
        wanted: Option<&str>,
    ) -> S3Result<Self> {
        let wanted = wanted.map(known).transpose()?;
        let trailers = request.headers.get("x-amz-trailer").and_then(|text| text.to_str().ok());
        let trailers = trailers.unwrap_or_default().to_ascii_lowercase();
        let mut algorithms = Vec::new();
        let mut values = Vec::new();
        for (algorithm, said) in ALGORITHMS.into_iter().zip(said) {
            let trails = trailers.split(',').any(|name| name.trim() == header(algorithm));
            let is_wanted = wanted.as_deref() == Some(algorithm);
            if said.is_some() || trails || is_wanted {
                algorithms.push(algorithm);
            }
            values.extend(said.map(|value| (algorithm, value)));
        }
        Ok(Self {
            hasher: Arc::new(Mutex::new(hasher(&algorithms))),
            said: values,
            trailing: request.trailing_headers.clone(),
            algorithms,
        })
    }

    /// The bytes of a body as they come, added up on their way.
    pub(super) fn pass(
        &self,
        body: Option<StreamingBlob>,
    ) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let hasher = self.hasher.clone();
        let is_needed = !self.algorithms.is_empty();
        let body = body.map_or_else(
            || futures::stream::empty().left_stream(),
            futures::StreamExt::right_stream,
        );
        body.map(move |piece| {
            let piece = piece.map_err(body_failed)?;
            if is_needed {
                lock(&hasher).update(&piece);
            }
            Ok(piece)
        })
    }

    /// What the bytes add up to, if that is what was said.
    pub(super) fn end(&self) -> Result<Vec<Checksum>> {
        let found = ended(std::mem::take(&mut *lock(&self.hasher)));
        let mut said = self.said.clone();
        if let Some(trailing) = self.trailing.as_ref().and_then(TrailingHeaders::take) {
            for algorithm in &self.algorithms {
                let value = trailing.get(header(algorithm)).and_then(|value| value.to_str().ok());
                said.extend(value.map(|value| (*algorithm, value.to_owned())));
            }
        }
        for (algorithm, said) in said {
            let found = value(&found, algorithm).unwrap_or_default();
            if found != said {
                return Err(error::checksum_mismatch(algorithm, &said, &found));
            }
        }
        Ok(found)
    }
}

fn header(algorithm: &str) -> String {
    format!("x-amz-checksum-{}", algorithm.to_ascii_lowercase())
}

fn hasher(algorithms: &[&str]) -> ChecksumHasher {
    let has = |algorithm| algorithms.contains(&algorithm);
    ChecksumHasher {
        crc32: has("CRC32").then(Default::default),
        crc32c: has("CRC32C").then(Default::default),
        crc64nvme: has("CRC64NVME").then(Default::default),
        sha1: has("SHA1").then(s3s::crypto::Checksum::new),
        sha256: has("SHA256").then(s3s::crypto::Checksum::new),
    }
}

fn ended(hasher: ChecksumHasher) -> Vec<Checksum> {
    let sums = hasher.finalize();
    let whole = |(algorithm, value): (&str, Option<String>)| {
        Some(Checksum { algorithm: algorithm.to_owned(), value: value?, whole: true })
    };
    ALGORITHMS.into_iter().zip(said!(sums)).filter_map(whole).collect()
}

/// The checksum of an object that came in parts.
pub(super) struct Joined {
    /// What adds up all bytes, where the checksum is one of them.
    hasher: Option<ChecksumHasher>,
    said: Said,
}

impl Joined {
    pub(super) fn new(upload: &UploadRow, said: Said) -> Self {
        let algorithm = upload.algorithm.as_deref().filter(|_| upload.whole);
        Self { hasher: algorithm.map(|algorithm| hasher(&[algorithm])), said }
    }
}

impl Sums for Joined {
    fn update(&mut self, bytes: &Bytes) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    fn end(self, upload: &UploadRow, parts: &[Option<Checksum>]) -> Result<Vec<Checksum>> {
        let found = match (self.hasher, &upload.algorithm) {
            (Some(hasher), _) => ended(hasher),
            (None, Some(algorithm)) => composite(algorithm, parts).into_iter().collect(),
            (None, None) => Vec::new(),
        };
        for (algorithm, said) in ALGORITHMS.into_iter().zip(self.said) {
            let found = value(&found, algorithm);
            if let (Some(said), Some(found)) = (said, found)
                && said != found
            {
                return Err(error::checksum_mismatch(algorithm, &said, &found));
            }
        }
        Ok(found)
    }
}

/// The checksum of the parts' checksums, one behind the other.
fn composite(algorithm: &str, parts: &[Option<Checksum>]) -> Option<Checksum> {
    let mut all = hasher(&[algorithm]);
    for part in parts {
        let part = part.as_ref().filter(|part| part.algorithm == algorithm)?;
        all.update(&STANDARD.decode(&part.value).ok()?);
    }
    let sum = ended(all).into_iter().next()?;
    let value = format!("{}-{}", sum.value, parts.len());
    Some(Checksum { algorithm: algorithm.to_owned(), value, whole: false })
}
