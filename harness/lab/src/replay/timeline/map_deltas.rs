// SPDX-License-Identifier: GPL-2.0

//! A sequence of maps (snapshots), stored as deltas.
//!
//! A delta has the first page and the new state of every block of pages that changed. Blocks cover
//! the pool without gaps, so a delta always replaces whole blocks. When the deltas exceed a budget,
//! every other snapshot is dropped by merging its delta into the next one, and from then on the
//! distance of snapshots is doubled.

use std::collections::HashMap;

use serde::{
    Deserialize,
    Serialize, //
};

use crate::map::{
    PoolMap,
    Use, //
};

/// The maximum number of pages: 256 MiB. A larger pool has no maps.
const PAGES_MAX: u32 = 1 << 16;

/// Snapshots are dropped only while there are more than this number, even if they exceed the budget.
const SNAPSHOTS_MIN: usize = 8;

/// The use of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PageBlockState {
    /// Free.
    Free {
        /// The number of pages.
        pages: u32,
    },
    /// Allocated: a block of whole pages, or the whole pages of a block.
    Large {
        /// The number of pages.
        pages: u32,
    },
    /// A slab: cut into objects of one size class.
    Slab {
        /// The number of pages.
        pages: u32,
        /// The class.
        class: u8,
        /// The objects.
        objects: u16,
        /// The objects that are live or in magazines.
        used: u16,
    },
    /// One page that several blocks and free runs share.
    Mixed {
        /// The number of pages, which is 1.
        pages: u32,
        /// The blocks that begin in the page; 0 if the engine does not know it.
        blocks: u16,
        /// The bytes that are live or in magazines.
        used_bytes: u16,
        /// The bytes of the longest free run in the page.
        largest_free_bytes: u16,
    },
}

/// A sequence of maps as deltas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapDeltas {
    /// The pages of the pool.
    pub pages: u32,
    /// All states that occur; `writes` refers to them by index.
    pub states: Vec<PageBlockState>,
    /// The frame of each snapshot.
    pub frames: Vec<usize>,
    /// The delta of each snapshot: for each changed block, the distance of its first page from the
    /// changed block before it, and the index of its state.
    pub writes: Vec<Vec<u32>>,
}

/// The changed blocks of pages: the first page, and the index of the state.
type Writes = Vec<(u32, u32)>;

/// Records maps, and builds the deltas.
pub(super) struct MapRecorder {
    budget: usize,
    /// Snapshots are taken of frames that are multiples of this number.
    stride: usize,
    pages: u32,
    numbers: HashMap<PageBlockState, u32>,
    states: Vec<PageBlockState>,
    /// The last snapshot: the index of the state of the block that begins at a page.
    now: HashMap<u32, u32>,
    snapshots: Vec<(usize, Writes)>,
    written: usize,
}

impl PageBlockState {
    /// Returns the length in pages.
    pub fn pages(self) -> u32 {
        match self {
            Self::Free { pages }
            | Self::Large { pages }
            | Self::Slab { pages, .. }
            | Self::Mixed { pages, .. } => pages,
        }
    }
}

/// Returns the blocks of a map, with pages counted through all regions.
pub(super) fn flat(map: &PoolMap) -> Vec<(u32, PageBlockState)> {
    let mut blocks = Vec::new();
    let mut first = 0;
    for region in &map.regions {
        blocks.extend(region.extents.iter().map(|extent| {
            let pages = extent.pages;
            let state = match extent.what {
                Use::Free => PageBlockState::Free { pages },
                Use::Large => PageBlockState::Large { pages },
                Use::Slab {
                    class,
                    objects,
                    used,
                } => PageBlockState::Slab {
                    pages,
                    class,
                    objects,
                    used,
                },
                Use::Mixed {
                    blocks,
                    used_bytes,
                    largest_free_bytes,
                } => PageBlockState::Mixed {
                    pages,
                    blocks,
                    used_bytes,
                    largest_free_bytes,
                },
            };
            (first + extent.page, state)
        }));
        first += region.pages;
    }
    blocks
}

impl MapRecorder {
    /// Creates a recorder that stores at most `budget` changed blocks.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            stride: 1,
            pages: 0,
            numbers: HashMap::new(),
            states: Vec::new(),
            now: HashMap::new(),
            snapshots: Vec::new(),
            written: 0,
        }
    }

    /// Returns whether a snapshot of a frame is wanted.
    pub(super) fn wants(&self, frame: usize) -> bool {
        frame % self.stride == 0 && self.pages <= PAGES_MAX
    }

    /// Adds a snapshot.
    pub(super) fn record(&mut self, frame: usize, map: &PoolMap) {
        self.record_blocks(frame, flat(map));
    }

    /// Adds a snapshot, given all blocks of pages in order.
    pub(super) fn record_blocks(&mut self, frame: usize, blocks: Vec<(u32, PageBlockState)>) {
        self.pages = blocks.iter().map(|(_, state)| state.pages()).sum();
        let blocks: HashMap<u32, u32> = blocks
            .into_iter()
            .map(|(page, state)| (page, self.number(state)))
            .collect();
        let changed = |(page, state): &(&u32, &u32)| self.now.get(page) != Some(state);
        let writes: Writes = blocks
            .iter()
            .filter(changed)
            .map(|(page, state)| (*page, *state))
            .collect();
        self.now = blocks;
        self.written += writes.len();
        self.snapshots.push((frame, writes));
        while self.written > self.budget && self.snapshots.len() > SNAPSHOTS_MIN {
            self.thin();
        }
    }

    /// Returns the deltas; `None` if the pool is too large.
    pub(super) fn finish(self) -> Option<MapDeltas> {
        let (frames, writes) = self
            .snapshots
            .into_iter()
            .map(|(frame, writes)| (frame, gaps(writes)))
            .unzip();
        (self.pages <= PAGES_MAX).then_some(MapDeltas {
            pages: self.pages,
            states: self.states,
            frames,
            writes,
        })
    }

    fn number(&mut self, state: PageBlockState) -> u32 {
        *self.numbers.entry(state).or_insert_with(|| {
            self.states.push(state);
            self.states.len() as u32 - 1
        })
    }

    /// Doubles the distance of snapshots, and merges the delta of each dropped snapshot into the next one.
    fn thin(&mut self) {
        self.stride *= 2;
        let mut thinned: Vec<(usize, Writes)> = Vec::new();
        let mut pending = Writes::new();
        let last = self.snapshots.len() - 1;
        for (index, (frame, writes)) in std::mem::take(&mut self.snapshots).into_iter().enumerate()
        {
            pending = self.both(pending, writes);
            if frame % self.stride == 0 || index == last {
                thinned.push((frame, std::mem::take(&mut pending)));
            }
        }
        self.written = thinned.iter().map(|(_, writes)| writes.len()).sum();
        self.snapshots = thinned;
    }

    /// Merges two deltas. A later write replaces whole blocks of the earlier delta.
    fn both(&self, mut earlier: Writes, mut later: Writes) -> Writes {
        later.sort_unstable();
        earlier.retain(|(page, _)| {
            let before = later.partition_point(|(first, _)| first <= page);
            before == 0 || {
                let (first, state) = later[before - 1];
                first + self.states[state as usize].pages() <= *page
            }
        });
        later.extend(earlier);
        later
    }
}

/// Encodes each first page as its distance from the first page before.
fn gaps(mut writes: Writes) -> Vec<u32> {
    writes.sort_unstable();
    let mut before = 0;
    let pairs = writes.into_iter().flat_map(|(page, state)| {
        let gap = page - std::mem::replace(&mut before, page);
        [gap, state]
    });
    pairs.collect()
}
