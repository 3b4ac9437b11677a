//! Texts one behind the other, as columns keep them in memory.

/// See the module's first line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Texts {
    bytes: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Texts {
    pub(crate) fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        // A block holds a few MiB.
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// Texts of these lengths; none when they do not fit.
    pub(crate) fn from_parts(bytes: String, lengths: impl Iterator<Item = u64>) -> Option<Self> {
        let mut ends = Vec::new();
        let mut end = 0_u64;
        for length in lengths {
            end = end.checked_add(length)?;
            let at = u32::try_from(end).ok()?;
            if !bytes.is_char_boundary(at as usize) {
                return None;
            }
            ends.push(at);
        }
        (end == bytes.len() as u64).then_some(Self { bytes, ends })
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// All of them as one text.
    pub(crate) fn joined(&self) -> &str {
        &self.bytes
    }

    pub(crate) fn span(&self, at: usize) -> std::ops::Range<usize> {
        let start =
            at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        start as usize..self.ends.get(at).copied().unwrap_or(start) as usize
    }

    pub(crate) fn get(&self, at: usize) -> &str {
        self.bytes.get(self.span(at)).unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Which one stands at a place of the joined text.
    pub(crate) fn at(&self, place: usize) -> usize {
        self.ends.partition_point(|end| *end as usize <= place)
    }
}
