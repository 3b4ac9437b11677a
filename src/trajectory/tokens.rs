//! What a token is, once for all: for the words of a query, and for the filters that tell which
//! blocks cannot hold one.
//!
//! A token is a run of letters, digits and `_`, in lower case; each Chinese or Japanese character is
//! one of its own, for these scripts write without spaces.

use std::ops::Range;

/// Whether a token can have this character in it, beside others.
pub(crate) fn is_token(c: char) -> bool {
    (c.is_alphanumeric() || c == '_') && !is_ideograph(c)
}

/// Characters of scripts that write without spaces: each is a token.
pub(crate) fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Whether two neighbours belong to one token.
pub(crate) fn joins(left: char, right: char) -> bool {
    is_token(left) && is_token(right)
}

/// A byte of ASCII in lower case where it belongs to a token, 0 where it does not.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const CLASS: [u8; 128] = {
    let mut class = [0; 128];
    let mut at = 0_u8;
    while at < 128 {
        if at.is_ascii_alphanumeric() || at == b'_' {
            class[at as usize] = at.to_ascii_lowercase();
        }
        at += 1;
    }
    class
};

/// Calls `each` with the hash of every token of a text, in any case.
pub(crate) fn each_token(text: &str, mut each: impl FnMut(u64)) {
    if !text.is_ascii() {
        return each_span(&text.to_lowercase(), |_, hash| each(hash));
    }
    let mut hash = Hash::TOKEN;
    let mut inside = false;
    for byte in text.bytes() {
        let lower = CLASS.get(usize::from(byte)).copied().unwrap_or(0);
        if lower != 0 {
            hash.add(lower);
            inside = true;
        } else if inside {
            each(hash.end());
            hash = Hash::TOKEN;
            inside = false;
        }
    }
    if inside {
        each(hash.end());
    }
}

/// Calls `each` with the place and the hash of every token of a text in lower case.
pub(crate) fn each_span(lower: &str, mut each: impl FnMut(Range<usize>, u64)) {
    let mut begun: Option<(usize, Hash)> = None;
    for (at, c) in lower.char_indices() {
        if is_token(c) {
            let (_, hash) = begun.get_or_insert((at, Hash::TOKEN));
            hash.add_char(c);
            continue;
        }
        if let Some((from, hash)) = begun.take() {
            each(from..at, hash.end());
        }
        if is_ideograph(c) {
            let mut hash = Hash::TOKEN;
            hash.add_char(c);
            each(at..at + c.len_utf8(), hash.end());
        }
    }
    if let Some((from, hash)) = begun {
        each(from..lower.len(), hash.end());
    }
}

/// The tokens that any text must have in which `text` stands: those that can run on at neither end.
/// `open` says whether a token may run on before the beginning, and behind the end.
pub(crate) fn inner_tokens(text: &str, open: (bool, bool)) -> Vec<u64> {
    let lower = text.to_lowercase();
    let mut inner = Vec::new();
    each_span(&lower, |span, hash| {
        let alone = lower
            .get(span.clone())
            .and_then(|token| token.chars().next())
            .is_some_and(is_ideograph);
        let runs_on = (span.start == 0 && open.0) || (span.end == lower.len() && open.1);
        if alone || !runs_on {
            inner.push(hash);
        }
    });
    inner
}

/// The hash of a field that has this value.
pub(crate) fn field_hash(name: &str, shown: &str) -> u64 {
    let mut hash = Hash::FIELD;
    name.bytes().for_each(|byte| hash.add(byte));
    hash.add(0);
    shown.bytes().for_each(|byte| hash.add(byte));
    hash.end()
}

/// The hash of a run.
pub(crate) fn run_hash(run: &str) -> u64 {
    let mut hash = Hash::RUN;
    run.bytes().for_each(|byte| hash.add(byte));
    hash.end()
}

/// FNV-1a over the bytes, ended by the mixing step of MurmurHash3. It is part of the format.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    const TOKEN: Self = Self(0xCBF2_9CE4_8422_2325);
    const FIELD: Self = Self(0x84A2_12D5_7C3E_9B01);
    const RUN: Self = Self(0x3D1F_66C0_A95B_E247);

    const fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ byte as u64).wrapping_mul(0x0000_0100_0000_01B3);
    }

    /// A final sigma is a sigma: whether it is written as one depends on what follows.
    fn add_char(&mut self, c: char) {
        let c = if c == 'ς' { 'σ' } else { c };
        let mut bytes = [0; 4];
        c.encode_utf8(&mut bytes).bytes().for_each(|byte| self.add(byte));
    }

    const fn end(self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        hash ^ (hash >> 33)
    }
}

/// A set of hashes that keeps its memory from one block to the next.
#[derive(Debug, Default)]
pub(crate) struct Distinct {
    /// Open addressing with linear steps; 0 is a free place.
    places: Vec<u64>,
    count: usize,
}

impl Distinct {
    const SMALLEST: usize = 1 << 12;

    pub(crate) fn clear(&mut self) {
        self.places.fill(0);
        self.count = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn add(&mut self, hash: u64) {
        if self.count * 2 >= self.places.len() {
            self.grow();
        }
        let hash = hash.max(1);
        let mask = self.places.len() - 1;
        let mut at = usize::try_from(hash & mask as u64).unwrap_or(0);
        while let Some(place) = self.places.get_mut(at) {
            if *place == hash {
                return;
            }
            if *place == 0 {
                *place = hash;
                self.count += 1;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let larger = (self.places.len() * 2).max(Self::SMALLEST);
        let old = std::mem::replace(&mut self.places, vec![0; larger]);
        self.count = 0;
        old.into_iter().filter(|hash| *hash != 0).for_each(|hash| self.add(hash));
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = u64> + '_ {
        self.places.iter().copied().filter(|hash| *hash != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn tokens(text: &str) -> BTreeSet<u64> {
        let mut all = BTreeSet::new();
        each_token(text, |hash| {
            all.insert(hash);
        });
        all
    }

    #[test]
    fn tokens_are_words_in_any_case_and_single_ideographs() {
        assert_eq!(tokens("Wind-Power x_1"), tokens("wind power X_1"));
        assert_eq!(tokens("风机停机").len(), 3);
        assert_eq!(tokens("ΟΔΟΣ"), tokens("οδοσ"));
        assert_ne!(tokens("a"), tokens("b"));
        assert_ne!(field_hash("a", "bc"), field_hash("ab", "c"));
    }

    proptest! {
        #[test]
        fn what_stands_in_a_text_has_its_inner_tokens_there(before in "[a-zA-Z0-9_ .风机ßΣİéǅ'-]{0,12}", text in "[a-zA-Z0-9_ .风机ßΣİéǅ'-]{1,12}", after in "[a-zA-Z0-9_ .风机ßΣİéǅ'-]{0,12}") {
            let there = tokens(&format!("{before}{text}{after}"));
            for token in inner_tokens(&text, (true, true)) {
                prop_assert!(there.contains(&token), "{:?} in {:?}", text, (before, after));
            }
        }

        #[test]
        fn a_set_holds_what_was_put_in_once(hashes in proptest::collection::vec(0_u64..5000, 0..6000)) {
            let mut set = Distinct::default();
            for hash in &hashes {
                set.add(*hash);
            }
            let expected: BTreeSet<u64> = hashes.iter().map(|hash| (*hash).max(1)).collect();
            prop_assert_eq!(set.len(), expected.len());
            prop_assert_eq!(set.each().collect::<BTreeSet<_>>(), expected);
        }
    }
}
