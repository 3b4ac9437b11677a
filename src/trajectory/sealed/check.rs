//! Reading all of a sealed segment to see whether it is what was written.

use std::io;

use super::super::active::segment::Damage;
use super::block::{Block, Failed};
use super::{Sealed, bloom};

impl Sealed {
    /// Everything that is damaged, beside what opening told of.
    pub(crate) fn check(&self) -> io::Result<Vec<Damage>> {
        let mut damage = Vec::new();
        for info in &self.footer.blocks {
            for (at, line) in self.filter(info)?.chunks(bloom::LINE).enumerate() {
                if !bloom::is_sound(line) {
                    let offset =
                        self.trailer.filters + (info.filter + at as u64) * bloom::LINE as u64;
                    damage.push(self.damage(info, offset, bloom::LINE as u64, "its filter"));
                }
            }
            match Block::open(self, info).and_then(|block| block.check()) {
                Ok(()) => {}
                Err(Failed::Damaged(found)) => damage.push(*found),
                Err(Failed::Io(error)) => return Err(error),
            }
        }
        Ok(damage)
    }
}
