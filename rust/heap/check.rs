// SPDX-License-Identifier: GPL-2.0

//! Checks of an engine's metadata.
//!
//! A check visits all metadata in bounded steps, releases the lock between two steps, and returns the first
//! broken rule. What it has visited is worthless once the engine has changed. Each engine therefore counts its
//! changes in an *epoch*: a walk whose epoch is old begins again, and ends with [`Progress::Disturbed`] after
//! [`RESTARTS`] times.

use crate::{
    region::Offset,
    stats::{
        CLASSES_MAX,
        ORDERS_MAX, //
    },
};

/// The number of list nodes or page descriptors that one step of a walk visits.
pub const STEP: usize = 512;

/// How often a walk begins again before it gives up.
pub const RESTARTS: u32 = 16;

/// A rule that an engine's metadata obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A class's free list is as long as its counters say, and ends.
    ListLength,
    /// A free block lies whole in one region of the pool.
    BlockInPool,
    /// A free block of a slab lies at a multiple of its size.
    BlockAligned,
    /// A class has at most as many live blocks as it has blocks.
    ClassCounters,
    /// The counters of the buddy system agree with its blocks.
    BuddyCounters,
    /// The regions together are the pool.
    PoolBytes,
    /// The live blocks are those that were allocated and not freed.
    LiveBlocks,
    /// The blocks cover the pool, one after the other.
    Partition,
    /// A free block of the buddy system lies at a multiple of its size.
    FreeBlocks,
    /// No two buddies are both free.
    Merged,
    /// The counter of allocated objects of a slab equals the number of set bits of its bitmap.
    Bitmap,
    /// Every free block and partial slab is in its list, and no list has another entry.
    Lists,
    /// A block in a magazine is allocated in the heap and in no other magazine, and no magazine holds
    /// more blocks than its capacity.
    Magazines,
    /// In debug mode: the red zones of live blocks contain their pattern.
    RedZones,
    /// In debug mode: free memory contains the poison pattern.
    Poison,
    /// The rule of a [`Violation`](crate::violation::Violation).
    Supervised,
}

/// A broken rule, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule.
    pub rule: Rule,
    /// The class in which it was found, if in one.
    pub class: Option<u8>,
    /// The place in the pool, if there is one.
    pub offset: Option<Offset>,
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The walk is not complete.
    More,
    /// Everything was visited, and no rule is broken.
    Sound,
    /// Others kept changing the engine: there is no result.
    Disturbed,
}

/// The state of a walk between two steps.
#[derive(Debug, Default)]
pub struct Walk {
    /// The engine's epoch when the walk began.
    pub(crate) epoch: Option<u64>,
    /// How often it began again.
    pub(crate) restarts: u32,
    /// The part that is being visited. Each engine numbers its parts.
    pub(crate) part: usize,
    /// The place in that part; 0 is its beginning. The engine chooses the unit.
    pub(crate) place: usize,
    /// Entries of that part that were visited, or another number of the engine's choice.
    pub(crate) seen: usize,
    /// Entries of all parts that were visited since the walk last began.
    pub(crate) walked: u64,
    /// The sum of the CPUs' epochs when the walk came to their magazines.
    pub(crate) cpu_epochs: Option<u64>,
    /// Sums over the visited entries, which are compared with counters at the end.
    pub(crate) sums: Sums,
    /// The sweep over the bytes of a pool in debug mode, once the engine is known to be sound.
    pub(crate) sweep: Option<Sweep>,
}

/// How far a sweep over the bytes of a pool has come: it goes down from the end of each region.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The changes of the pool when the sweep began.
    pub(crate) changes: Option<u64>,
    /// How often it began again.
    pub(crate) restarts: u32,
    /// The region.
    pub(crate) region: usize,
    /// The bytes of the region from here on were swept; `None` before the first.
    pub(crate) end: Option<usize>,
    /// The next task.
    pub(crate) task: Task,
}

/// A task of a sweep, in a region below the bytes that were swept.
#[derive(Debug, Default)]
pub(crate) enum Task {
    /// Begins with the region.
    #[default]
    Begin,
    /// Searches the next live block below, from the record with this number down.
    Search(usize),
    /// Checks free memory from this byte on, above a live block if there is one.
    Free(usize, Option<Zones>),
    /// Checks the red zone after a live block, from this byte on.
    Behind(usize, Zones),
    /// Checks the red zone before a live block, from this byte on.
    InFront(usize, Zones),
}

/// Where a live block and its red zones lie in a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zones {
    /// The first byte of the zone before the block.
    pub(crate) first: usize,
    /// The first byte of the block.
    pub(crate) start: usize,
    /// The first byte of the zone after the block.
    pub(crate) end: usize,
    /// The first byte after that zone.
    pub(crate) last: usize,
}

/// Sums over the blocks of pages that a walk visited.
#[derive(Debug, Default)]
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
    /// Entries of lists.
    pub(crate) listed: usize,
}

impl Walk {
    /// Returns a walk that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many entries were visited since the walk last began.
    #[must_use]
    pub fn walked(&self) -> u64 {
        self.walked
    }

    /// Begins a walk, or begins again if the epoch has changed since the last step. Returns `false` after
    /// [`RESTARTS`] times.
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

    /// Begins again, and returns [`Progress::More`], or [`Progress::Disturbed`] after [`RESTARTS`] times.
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

    /// Goes on to the next part.
    pub(crate) fn next_part(&mut self) {
        self.part += 1;
        self.place = 0;
        self.seen = 0;
    }
}

/// An engine whose metadata can be checked.
pub trait Check {
    /// Checks the next part of the metadata, for a bounded time.
    ///
    /// Starts with a new [`Walk`] and is called again while it returns [`Progress::More`].
    ///
    /// # Errors
    ///
    /// The first rule that was found broken.
    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken>;
}

/// Walks `step` to its end.
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
