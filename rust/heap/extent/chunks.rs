// SPDX-License-Identifier: GPL-2.0

//! Chunks: runs that are cut into short blocks of one class in advance.
//!
//! If two sizes took turns to be cut from one run, the free blocks of one size would lie between the live blocks of the
//! other, and could not coalesce: a checkerboard. A class therefore cuts several blocks side by side, its chunk, and
//! serves its next requests from there.
//!
//! ```text
//!  run before     │ free                                          │
//!  run, cut       │ free            │ a │ b │ · │ · │ · │ · │ · │ ·│   a, b: allocated blocks
//!                                            ╰──── the rest ────╯
//! ```
//!
//! A block of a chunk is a block like any other: once allocated, it does not matter from which chunk it came. Blocks in
//! the rest of a chunk are marked as allocated in the page descriptors, but the heap does not count them. When a
//! request does not fit, the rests of all chunks become free runs again.

use super::place::{
    Granule,
    Run, //
};
use crate::size_class::{
    CLASSES,
    Class, //
};

/// The largest number of blocks of a chunk, so that the time to cut it is bounded.
const BLOCKS_MAX: usize = 32;

/// A chunk has at least so many granules, if the free run has them: 512 bytes.
const GRANULES_MIN: usize = 32;

/// A chunk has at most so many granules: 4 KiB.
const GRANULES_MAX: usize = 256;

/// A chunk has at most 1/`LIVE_SHARE` of the live granules of its class.
const LIVE_SHARE: usize = 16;

/// Returns the number of blocks of `len` granules to cut for a chunk while `live` blocks of this length are live.
#[inline]
pub(super) fn blocks_of_chunk(len: usize, live: usize) -> usize {
    let granules = (live * len / LIVE_SHARE).clamp(GRANULES_MIN, GRANULES_MAX);
    // `Option` stands in for a panic: no length is 0.
    let blocks = granules.checked_div(len).unwrap_or(1);
    blocks.clamp(1, BLOCKS_MAX)
}

/// The rest of a chunk: blocks that are cut, but not allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    start: Granule,
    granules: u32,
}

/// The rests of the chunks of all classes.
pub(super) struct Chunks([Rest; CLASSES]);

impl Chunks {
    pub(super) const EMPTY: Self = Self(
        [Rest {
            start: Granule::new(0, 0),
            granules: 0,
        }; CLASSES],
    );

    /// Returns the blocks of a class that are cut, but not allocated.
    #[inline]
    pub(super) fn rest(&self, class: Class) -> Option<Run> {
        let Rest { start, granules } = self.0[class.index()];
        let len = granules as usize;
        (len > 0).then_some(Run { start, len })
    }

    /// Sets the rest of a class, which has none, to blocks that were cut.
    #[inline]
    pub(super) fn put(&mut self, class: Class, blocks: Run) {
        self.0[class.index()] = Rest {
            start: blocks.start,
            granules: blocks.len as u32,
        };
    }

    /// Takes up to `count` blocks of `len` granules from the rest of a class, and returns the run that consists of them.
    /// O(1).
    #[inline]
    pub(super) fn take(&mut self, class: Class, len: usize, count: usize) -> Option<Run> {
        let rest = self.rest(class)?;
        let taken = rest.len.min(count * len);
        let start = rest.start;
        self.0[class.index()] = Rest {
            start: start.after(taken),
            granules: (rest.len - taken) as u32,
        };
        Some(Run { start, len: taken })
    }

    /// Returns whether a block of a class that begins at a granule is cut, but not allocated. O(1).
    #[inline]
    pub(super) fn contains(&self, class: Class, start: Granule) -> bool {
        let Rest {
            start: first,
            granules,
        } = self.0[class.index()];
        start.to_bits().wrapping_sub(first.to_bits()) < granules
    }

    /// Removes the rest of the first class that has one.
    pub(super) fn remove_any(&mut self) -> Option<(Class, Run)> {
        let mut rests = Class::all().filter_map(|class| Some((class, self.rest(class)?)));
        let (class, rest) = rests.next()?;
        self.0[class.index()].granules = 0;
        Some((class, rest))
    }
}
