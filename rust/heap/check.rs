// SPDX-License-Identifier: GPL-2.0

//! Checks of an engine's metadata.
//!
//! A check visits all metadata in bounded steps, releases the lock between two steps, and returns the first
//! broken rule. A change of the engine between two steps invalidates the result of the steps before. Each
//! engine therefore counts its changes in an *epoch*. If the epoch has changed between two steps, the walk
//! begins again. A walk that has begun again [`RESTARTS`] times ends with [`Progress::Disturbed`].

use crate::{
    region::Offset,
    stats::{
        CLASSES_MAX,
        ORDERS_MAX, //
    },
};

/// The number of list nodes or page descriptors that one step of a walk visits.
pub const STEP: usize = 512;

/// The number of times that a walk begins again before it ends without a result.
pub const RESTARTS: u32 = 16;

/// A rule that an engine's metadata obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The free list of a class ends, and its length agrees with the counters of the class.
    ListLength,
    /// All bytes of a free block lie in one region of the pool.
    BlockInPool,
    /// A free block of a slab lies at a multiple of its size.
    BlockAligned,
    /// A class has at most as many live blocks as it has blocks.
    ClassCounters,
    /// The counters of the buddy system agree with its blocks.
    BuddyCounters,
    /// The size of the pool is the sum of the sizes of the regions.
    PoolBytes,
    /// The live blocks are those that were allocated and not freed.
    LiveBlocks,
    /// The blocks cover each region without gaps and overlaps.
    Partition,
    /// A free block of the buddy system lies at a multiple of its size.
    FreeBlocks,
    /// No two buddies are both free, and no two free runs lie side by side.
    Merged,
    /// The counter of allocated objects of a slab equals the number of set bits of its bitmap.
    Bitmap,
    /// Every free block, free run and partial slab is in its list or bin, and the lists and bins have no other entries.
    Lists,
    /// A block in a magazine is allocated in the heap and in no other magazine, and no magazine holds
    /// more blocks than its capacity.
    Magazines,
    /// In debug mode: the red zones of live blocks contain their pattern.
    RedZones,
    /// In debug mode: free memory contains the poison pattern.
    Poison,
    /// The allocator keeps the rules of [`violation::Rule`](crate::violation::Rule).
    Allocator,
    /// In the structures in which free runs are searched, a summary bit is set if and only if there is an entry below it.
    Summary,
    /// The counters of free memory agree with the free runs.
    FreeCounters,
}

/// A broken rule, and the place where it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule.
    pub rule: Rule,
    /// The size class in which the rule is broken, if it is broken in a class.
    pub class: Option<u8>,
    /// The place in the pool, if it is known.
    pub offset: Option<Offset>,
}

/// The progress of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The walk is not complete.
    More,
    /// All metadata was visited, and no rule is broken.
    Sound,
    /// The engine changed too often during the walk, so there is no result.
    Disturbed,
}

/// The state of a walk between two steps.
#[derive(Debug, Default)]
pub struct Walk {
    /// The engine's epoch when the walk began.
    pub(crate) epoch: Option<u64>,
    /// The number of times that the walk began again.
    pub(crate) restarts: u32,
    /// The part of the metadata that is being visited. Each engine numbers its parts.
    pub(crate) part: usize,
    /// The place in the part; 0 is the beginning of the part. The engine chooses the unit.
    pub(crate) place: usize,
    /// The number of visited entries of the part, or another number that the engine chooses.
    pub(crate) seen: usize,
    /// The number of visited entries of all parts since the walk last began.
    pub(crate) walked: u64,
    /// The sum of the CPUs' epochs at the beginning of the check of magazines.
    pub(crate) cpu_epochs: Option<u64>,
    /// Sums over the visited entries, which are compared with counters at the end of the walk.
    pub(crate) sums: Sums,
    /// The sweep over the bytes of a pool in debug mode. The sweep begins after the check of the engine's
    /// metadata.
    pub(crate) sweep: Option<Sweep>,
}

/// The progress of a sweep over the bytes of a pool. A sweep visits each region from its end to its start.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The number of changes of the pool when the sweep began.
    pub(crate) changes: Option<u64>,
    /// The number of times that the sweep began again.
    pub(crate) restarts: u32,
    /// The index of the region that is being swept.
    pub(crate) region: usize,
    /// The bytes of the region from this byte on were swept. `None` if the sweep of the region has not begun.
    pub(crate) end: Option<usize>,
    /// The next task.
    pub(crate) task: Task,
}

/// A task of a sweep, on the bytes of a region below the bytes that were swept.
#[derive(Debug, Default)]
pub(crate) enum Task {
    /// Begins the sweep of a region.
    #[default]
    Begin,
    /// Searches for the next lower live block, in the records with indexes below this number.
    Search(usize),
    /// Checks free memory from this byte on. The memory lies above the live block, if there is one.
    Free(usize, Option<Zones>),
    /// Checks the red zone after a live block, from this byte on.
    Behind(usize, Zones),
    /// Checks the red zone before a live block, from this byte on.
    InFront(usize, Zones),
}

/// The place of a live block and its red zones in a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zones {
    /// The first byte of the zone before the block.
    pub(crate) first: usize,
    /// The first byte of the block.
    pub(crate) start: usize,
    /// The first byte of the zone after the block.
    pub(crate) end: usize,
    /// The first byte after the zone after the block.
    pub(crate) last: usize,
}

/// The number of logarithms of lengths of free runs in [`Sums`].
pub(crate) const RUN_LOGS: usize = 29;

/// Sums over the blocks of pages, or over the runs, that a walk visited.
#[derive(Debug)]
pub(crate) struct Sums {
    pub(crate) free_blocks: usize,
    pub(crate) free_pages: usize,
    /// Allocated blocks of whole pages, by order.
    pub(crate) large_blocks: [u32; ORDERS_MAX],
    pub(crate) large_pages: usize,
    /// Partial slabs.
    pub(crate) partial: usize,
    /// Slabs, by class.
    pub(crate) slabs: [u32; CLASSES_MAX],
    /// Allocated objects, by class.
    pub(crate) objects: [u64; CLASSES_MAX],
    /// Slabs whose bitmaps lie in bitmap memory, by the size of the bitmap, and the sum of the places of the bitmaps.
    pub(crate) bitmaps: [u32; 3],
    pub(crate) bitmap_places: u64,
    /// The sum of the places of the visited free bitmaps of a list.
    pub(crate) free_places: u64,
    /// Visited entries of lists.
    pub(crate) listed: usize,
    /// Free runs, by the logarithm of their lengths in granules.
    pub(crate) free_runs: [u32; RUN_LOGS],
    /// Free runs that belong into lists.
    pub(crate) long_runs: usize,
    /// Granules of free runs, of free runs shorter than a page, and of blocks.
    pub(crate) free_granules: usize,
    pub(crate) sub_page_granules: usize,
    pub(crate) allocated_granules: usize,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            free_blocks: 0,
            free_pages: 0,
            large_blocks: [0; ORDERS_MAX],
            large_pages: 0,
            partial: 0,
            slabs: [0; CLASSES_MAX],
            objects: [0; CLASSES_MAX],
            bitmaps: [0; 3],
            bitmap_places: 0,
            free_places: 0,
            listed: 0,
            free_runs: [0; RUN_LOGS],
            long_runs: 0,
            free_granules: 0,
            sub_page_granules: 0,
            allocated_granules: 0,
        }
    }
}

impl Walk {
    /// Returns a walk that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of entries that were visited since the walk last began.
    #[must_use]
    pub fn walked(&self) -> u64 {
        self.walked
    }

    /// Begins a walk, or begins it again if the epoch has changed since the last step. Returns `false` if the
    /// walk would have to begin again, but has already done so [`RESTARTS`] times.
    pub(crate) fn resume(&mut self, epoch: u64) -> bool {
        if self.epoch == Some(epoch) {
            return true;
        }
        if self.epoch.is_some() && self.restart() == Progress::Disturbed {
            return false;
        }
        self.epoch = Some(epoch);
        true
    }

    /// Begins the walk again, and returns [`Progress::More`]. Returns [`Progress::Disturbed`] if the walk has
    /// already begun again [`RESTARTS`] times.
    pub(crate) fn restart(&mut self) -> Progress {
        if self.restarts == RESTARTS {
            return Progress::Disturbed;
        }
        *self = Self {
            restarts: self.restarts + 1,
            ..Self::default()
        };
        Progress::More
    }

    /// Continues with the next part.
    pub(crate) fn next_part(&mut self) {
        self.part += 1;
        self.place = 0;
        self.seen = 0;
    }
}

/// An engine whose metadata can be checked.
pub trait Check {
    /// Checks the next part of the metadata, in a bounded time.
    ///
    /// The caller passes a new [`Walk`] to the first call, and calls the method again while it returns
    /// [`Progress::More`].
    ///
    /// # Errors
    ///
    /// The first rule that was found broken.
    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken>;
}

/// Calls `step` until the walk is complete or disturbed.
///
/// # Errors
///
/// The first broken rule.
pub fn run(
    walk: &mut Walk,
    mut step: impl FnMut(&mut Walk) -> Result<Progress, Broken>,
) -> Result<Progress, Broken> {
    loop {
        match step(walk)? {
            Progress::More => {}
            end => return Ok(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbed_walk_begins_again_and_gives_up_in_the_end() {
        let mut walk = Walk::new();
        assert!(walk.resume(0));
        walk.walked = 5;
        assert!(walk.resume(0));
        assert_eq!(walk.walked, 5);
        for epoch in 1..=u64::from(RESTARTS) {
            assert!(walk.resume(epoch));
            assert_eq!(walk.walked, 0);
        }
        assert!(walk.resume(u64::from(RESTARTS)));
        assert!(!walk.resume(u64::from(RESTARTS) + 1));
    }
}
