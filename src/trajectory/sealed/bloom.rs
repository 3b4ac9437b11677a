//! Which blocks cannot hold a token: a split-block Bloom filter, 12 bits for each distinct token and
//! six probes within one line of 64 bytes (Putze, Sanders, Singler, "Cache-, hash- and space-efficient
//! Bloom filters", 2007). The last four bytes of a line are its CRC-32C, so that one line can be read
//! and trusted without the others.

/// The bytes of a line.
pub(crate) const LINE: usize = 64;
const BITS: u64 = 480;
const BITS_EACH: usize = 12;
/// Odd numbers that spread one hash to six places.
const SPREAD: [u32; 6] =
    [0x47B6_137B, 0x4497_4D91, 0x8824_AD5B, 0xA2B7_289D, 0x7054_95C7, 0x2DF1_424B];

/// The filter of some hashes.
pub(crate) fn build(count: usize, hashes: impl Iterator<Item = u64>) -> Vec<u8> {
    let lines = u32::try_from((count * BITS_EACH).div_ceil(480).max(1)).unwrap_or(u32::MAX);
    let mut filter = vec![0; lines as usize * LINE];
    for hash in hashes {
        let start = line_of(hash, lines) as usize * LINE;
        if let Some(line) = filter.get_mut(start..start + LINE) {
            for bit in bits(hash) {
                if let Some(byte) = line.get_mut(bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
            }
        }
    }
    for line in filter.chunks_exact_mut(LINE) {
        if let Some((body, crc)) = line.split_last_chunk_mut::<4>() {
            *crc = crc32c::crc32c(body).to_le_bytes();
        }
    }
    filter
}

/// In which line a hash would be.
pub(crate) fn line_of(hash: u64, lines: u32) -> u32 {
    u32::try_from(((hash >> 32) * u64::from(lines)) >> 32).unwrap_or(0)
}

/// Whether a line may hold a hash; none when it is not as it was written.
pub(crate) fn may_hold(line: &[u8], hash: u64) -> Option<bool> {
    is_sound(line).then(|| {
        bits(hash).all(|bit| line.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0))
    })
}

/// Whether a line is as it was written.
pub(crate) fn is_sound(line: &[u8]) -> bool {
    line.len() == LINE
        && line
            .split_last_chunk::<4>()
            .is_some_and(|(body, crc)| crc32c::crc32c(body).to_le_bytes() == *crc)
}

fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let low = u32::try_from(hash & u64::from(u32::MAX)).unwrap_or(0);
    SPREAD.into_iter().map(move |odd| {
        let spread = u64::from(low.wrapping_mul(odd));
        usize::try_from((spread * BITS) >> 32).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(n: u64) -> u64 {
        let hash = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (hash ^ (hash >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ (hash >> 32)
    }

    fn holds(filter: &[u8], hash: u64) -> bool {
        let lines = u32::try_from(filter.len() / LINE).unwrap();
        let at = line_of(hash, lines) as usize * LINE;
        may_hold(&filter[at..at + LINE], hash).unwrap()
    }

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        let filter = build(20_000, (0..20_000).map(mix));
        assert!((0..20_000).all(|n| holds(&filter, mix(n))));
        let wrong = (20_000..120_000).filter(|n| holds(&filter, mix(*n))).count();
        assert!(wrong < 1_500, "{wrong} of 100 000 that were not put in");
        assert!(!holds(&build(0, std::iter::empty()), 7));
    }

    #[test]
    fn every_flipped_byte_of_a_line_is_noticed() {
        let filter = build(30, (0..30).map(mix));
        for at in 0..LINE {
            let mut line = filter[..LINE].to_vec();
            line[at] ^= 4;
            assert_eq!(may_hold(&line, 1), None, "byte {at}");
        }
    }
}
