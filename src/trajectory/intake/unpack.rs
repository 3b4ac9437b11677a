//! Bodies that come packed: gzip and zstd, unpacked up to the bound of a batch and no further.

use std::borrow::Cow;
use std::io::Read;

use super::super::error::{self, BATCH_MAX};
use crate::kernel::error::{Error, Kind, Result};

/// Unpacks a body as its `Content-Encoding` says.
pub(crate) fn unpack<'a>(body: &'a [u8], coding: Option<&str>) -> Result<Cow<'a, [u8]>> {
    let coding = coding.map(str::trim).unwrap_or_default();
    match coding.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Cow::Borrowed(body)),
        "gzip" | "x-gzip" => bounded(flate2::read::MultiGzDecoder::new(body), "gzip"),
        "zstd" => {
            let reader = zstd::stream::read::Decoder::new(body).map_err(|why| bad("zstd", &why))?;
            bounded(reader, "zstd")
        }
        _ => Err(Error::new(
            Kind::Unsupported,
            "unknown_coding",
            format!("the Content-Encoding `{coding}` is not known: use gzip, zstd or none"),
        )),
    }
}

fn bounded(reader: impl Read, coding: &str) -> Result<Cow<'static, [u8]>> {
    let mut raw = Vec::new();
    reader.take(BATCH_MAX as u64 + 1).read_to_end(&mut raw).map_err(|why| bad(coding, &why))?;
    if raw.len() > BATCH_MAX {
        return Err(error::batch_too_large());
    }
    Ok(Cow::Owned(raw))
}

fn bad(coding: &str, why: &std::io::Error) -> Error {
    Error::new(
        Kind::Malformed,
        "bad_coding",
        format!("the body is not the {coding} that its Content-Encoding promises: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(raw: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(raw).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn packed_bodies_are_unpacked_and_bombs_are_refused() {
        assert_eq!(unpack(b"abc", None).unwrap().as_ref(), b"abc");
        assert_eq!(unpack(&gzip(b"abc"), Some("gzip")).unwrap().as_ref(), b"abc");
        let packed = zstd::bulk::compress(b"abc", 1).unwrap();
        assert_eq!(unpack(&packed, Some("zstd")).unwrap().as_ref(), b"abc");
        let bomb = vec![0; BATCH_MAX + 1];
        for (packed, coding) in
            [(gzip(&bomb), "gzip"), (zstd::bulk::compress(&bomb, 1).unwrap(), "zstd")]
        {
            assert_eq!(unpack(&packed, Some(coding)).unwrap_err().code(), "batch_too_large");
            assert_eq!(unpack(&packed[..20], Some(coding)).unwrap_err().code(), "bad_coding");
            assert_eq!(unpack(b"plain", Some(coding)).unwrap_err().code(), "bad_coding");
        }
        assert_eq!(unpack(b"", Some("br")).unwrap_err().kind(), Kind::Unsupported);
    }
}
