// SPDX-License-Identifier: GPL-2.0

//! Maps, one after the other, of which only the differences are kept.
//!
//! A block of pages that is not as it was is written: its first page and its state. Blocks cover
//! the pool without gaps, so what is overwritten is always whole. When too much has been written,
//! every other picture is left out: the writes of two are put together, and from then on only half
//! as many are taken.

use std::collections::HashMap;

use serde::{
    Deserialize,
    Serialize, //
};

use crate::map::{
    Map,
    Use, //
};

/// The most pages that are filmed: 256 MiB.
const PAGES_MAX: u32 = 1 << 16;

/// Below so many pictures none are left out any more.
const PICTURES_MIN: usize = 8;

/// What a block of pages is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum State {
    /// The buddy system has it.
    Free {
        /// Its length.
        pages: u32,
    },
    /// It was handed out as it is.
    Large {
        /// Its length.
        pages: u32,
    },
    /// It is cut into objects of a class.
    Slab {
        /// Its length.
        pages: u32,
        /// The class.
        class: u8,
        /// The objects.
        objects: u16,
        /// Of these, those that are out, or kept by a CPU.
        used: u16,
    },
}

/// Maps in differences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reel {
    /// The pages of the pool.
    pub(crate) pages: u32,
    /// What blocks of pages can be.
    pub(crate) states: Vec<State>,
    /// The frame of each picture.
    pub(crate) frames: Vec<usize>,
    /// What changed: how far a block begins behind the one before, and the number of its state.
    pub(crate) writes: Vec<Vec<u32>>,
}

/// Blocks of pages that changed, by their first page.
type Writes = Vec<(u32, u32)>;

/// Takes pictures.
pub(super) struct Recorder {
    budget: usize,
    /// Which frames are taken: those that this divides.
    stride: usize,
    pages: u32,
    numbers: HashMap<State, u32>,
    states: Vec<State>,
    /// The last picture: the number of the state that begins in a page.
    now: HashMap<u32, u32>,
    pictures: Vec<(usize, Writes)>,
    written: usize,
}

impl State {
    /// Returns the length in pages.
    pub(crate) fn pages(self) -> u32 {
        match self {
            Self::Free { pages } | Self::Large { pages } | Self::Slab { pages, .. } => pages,
        }
    }
}

/// Returns the blocks of a map, with pages counted through all regions.
pub(super) fn flat(map: &Map) -> Vec<(u32, State)> {
    let mut blocks = Vec::new();
    let mut first = 0;
    for region in &map.regions {
        blocks.extend(region.extents.iter().map(|extent| {
            let pages = extent.pages;
            let state = match extent.what {
                Use::Free { .. } => State::Free { pages },
                Use::Large => State::Large { pages },
                Use::Slab {
                    class,
                    objects,
                    used,
                } => State::Slab {
                    pages,
                    class,
                    objects,
                    used,
                },
            };
            (first + extent.page, state)
        }));
        first += region.pages;
    }
    blocks
}

impl Recorder {
    /// Prepares to take pictures until so many writes are there.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            stride: 1,
            pages: 0,
            numbers: HashMap::new(),
            states: Vec::new(),
            now: HashMap::new(),
            pictures: Vec::new(),
            written: 0,
        }
    }

    /// Says whether a picture of a frame is to be taken.
    pub(super) fn wants(&self, frame: usize) -> bool {
        frame % self.stride == 0 && self.pages <= PAGES_MAX
    }

    /// Takes a picture of a map.
    pub(super) fn record(&mut self, frame: usize, map: &Map) {
        self.record_blocks(frame, flat(map));
    }

    /// Takes a picture of all blocks of pages, in order.
    pub(super) fn record_blocks(&mut self, frame: usize, blocks: Vec<(u32, State)>) {
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
        self.pictures.push((frame, writes));
        while self.written > self.budget && self.pictures.len() > PICTURES_MIN {
            self.thin();
        }
    }

    /// Returns what was taken, if the pool is not too large.
    pub(super) fn finish(self) -> Option<Reel> {
        let (frames, writes) = self
            .pictures
            .into_iter()
            .map(|(frame, writes)| (frame, gaps(writes)))
            .unzip();
        (self.pages <= PAGES_MAX).then_some(Reel {
            pages: self.pages,
            states: self.states,
            frames,
            writes,
        })
    }

    fn number(&mut self, state: State) -> u32 {
        *self.numbers.entry(state).or_insert_with(|| {
            self.states.push(state);
            self.states.len() as u32 - 1
        })
    }

    /// Leaves out the pictures that are not of every other frame of those that were taken.
    fn thin(&mut self) {
        self.stride *= 2;
        let mut thinned: Vec<(usize, Writes)> = Vec::new();
        let mut pending = Writes::new();
        let last = self.pictures.len() - 1;
        for (index, (frame, writes)) in std::mem::take(&mut self.pictures).into_iter().enumerate() {
            pending = self.both(pending, writes);
            if frame % self.stride == 0 || index == last {
                thinned.push((frame, std::mem::take(&mut pending)));
            }
        }
        self.written = thinned.iter().map(|(_, writes)| writes.len()).sum();
        self.pictures = thinned;
    }

    /// Puts writes and later ones together. What the later ones write over is whole blocks.
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

/// Writes each first page as its distance from the one before.
fn gaps(mut writes: Writes) -> Vec<u32> {
    writes.sort_unstable();
    let mut before = 0;
    let pairs = writes.into_iter().flat_map(|(page, state)| {
        let gap = page - std::mem::replace(&mut before, page);
        [gap, state]
    });
    pairs.collect()
}
