//! What is looked at in one go: a stretch of frames, or a block of a sealed segment.

use std::sync::Arc;

use super::super::active::payload::Tally;
use super::super::active::segment::{Extent, Segment};
use super::super::model::Level;
use super::super::sealed::Sealed;
use super::super::sealed::layout::BlockV1;
use super::super::shelf::{Part, Shelf};
use super::filter::Filter;

/// See the module's first line.
#[derive(Clone)]
pub(crate) enum Chunk {
    Frames(Arc<Segment>, Extent),
    /// The number of the block in its segment.
    Block(Arc<Sealed>, usize),
}

const NOTHING: BlockV1 = BlockV1 {
    stream: 0,
    offset: 0,
    bytes: 0,
    directory: 0,
    tally: Tally::EMPTY,
    first_seq: 0,
    last_seq: 0,
    levels: [0; Level::ALL.len()],
    raw: 0,
    filter: 0,
    lines: 0,
    has_ints: false,
};

/// The block of a sealed segment with this number.
pub(crate) fn block(sealed: &Sealed, number: usize) -> &BlockV1 {
    sealed.footer.blocks.get(number).unwrap_or(&NOTHING)
}

/// The set of levels that a block has rows of.
pub(crate) fn levels_of(info: &BlockV1) -> u8 {
    Level::ALL
        .iter()
        .zip(info.levels)
        .filter(|(_, count)| *count > 0)
        .fold(0, |set, (level, _)| set | level.bit())
}

impl Chunk {
    pub(crate) fn tally(&self) -> Tally {
        match self {
            Self::Frames(_, extent) => extent.tally,
            Self::Block(sealed, number) => block(sealed, *number).tally,
        }
    }

    pub(crate) fn first_seq(&self) -> u64 {
        match self {
            Self::Frames(_, extent) => extent.first_seq,
            Self::Block(sealed, number) => block(sealed, *number).first_seq,
        }
    }
}

impl Filter {
    /// The chunks that may hold what is looked for.
    pub(crate) fn chunks(&self, shelf: &Shelf) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for part in shelf.parts() {
            match part {
                Part::Frames(segment) => self.of_frames(&segment, &mut chunks),
                Part::Sealed(sealed) => self.of_sealed(&sealed, &mut chunks),
            }
        }
        chunks
    }

    fn of_frames(&self, segment: &Arc<Segment>, chunks: &mut Vec<Chunk>) {
        segment.with(|contents| {
            let elsewhere =
                self.stream.as_ref().is_some_and(|stream| !contents.streams.contains_key(stream));
            if !elsewhere {
                let may = contents
                    .extents
                    .iter()
                    .filter(|extent| self.may_take(&extent.tally, extent.levels));
                chunks.extend(may.map(|extent| Chunk::Frames(segment.clone(), *extent)));
            }
        });
    }

    fn of_sealed(&self, sealed: &Arc<Sealed>, chunks: &mut Vec<Chunk>) {
        let wanted = self
            .stream
            .as_ref()
            .map(|stream| sealed.footer.streams.iter().position(|known| known == stream));
        for (number, info) in sealed.footer.blocks.iter().enumerate() {
            let here = wanted.is_none_or(|wanted| wanted == Some(info.stream as usize));
            if here && self.may_take(&info.tally, levels_of(info)) {
                chunks.push(Chunk::Block(sealed.clone(), number));
            }
        }
    }

    /// Whether damage is known in a file of frames that may hold what is looked for. A damaged block
    /// is come upon whenever it is read.
    pub(crate) fn meets_damage(&self, shelf: &Shelf) -> bool {
        shelf.parts().iter().any(|part| match part {
            Part::Frames(segment) => segment.with(|contents| {
                let may = |extent: &Extent| self.may_take(&extent.tally, extent.levels);
                !contents.damage.is_empty() && contents.extents.iter().any(may)
            }),
            Part::Sealed(_) => false,
        })
    }
}
