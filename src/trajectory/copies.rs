//! Small things that are written twice, each with its checksum, so that no single bad place takes
//! away what says where the rest is: 32 bytes that begin with a magic and end with their CRC-32C.

use super::varint::u32_at;

/// The bytes of one copy.
pub(crate) const COPY: usize = 32;
const BODY: usize = COPY - 4;

/// Both copies of a body.
pub(crate) fn both(mut body: Vec<u8>) -> Vec<u8> {
    body.resize(BODY, 0);
    body.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    body.extend_from_within(..);
    body
}

/// What stands there twice, and where a copy of it is damaged; nothing when both are.
pub(crate) fn either<T>(
    bytes: &[u8],
    magic: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<(T, Option<usize>)> {
    let copy = |at: usize| {
        let copy = bytes.get(at..at + COPY)?;
        let is_sound =
            copy.starts_with(magic) && u32_at(copy, BODY)? == crc32c::crc32c(copy.get(..BODY)?);
        if is_sound { read(copy) } else { None }
    };
    match (copy(0), copy(COPY)) {
        (Some(first), Some(_)) => Some((first, None)),
        (Some(first), None) => Some((first, Some(COPY))),
        (None, Some(second)) => Some((second, Some(0))),
        (None, None) => None,
    }
}
