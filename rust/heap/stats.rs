// SPDX-License-Identifier: GPL-2.0

//! The statistics of an engine.
//!
//! An engine passes its statistics to a [`Visitor`] in small structs. One struct of all statistics would be a
//! second copy of the counters, and too large for a kernel stack. Bytes and blocks are the state of the pool
//! *now*; `allocations`, `frees`, `refusals` and `growths` count all operations *so far*.

use crate::{
    block::Refusal,
    fault::Fault, //
};

/// The maximum number of size classes of an engine.
pub const CLASSES_MAX: usize = 48;

/// The number of orders of page blocks. Order 0 is one page.
pub const ORDERS_MAX: usize = 21;

/// The statistics of the whole engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The figure `total_bytes` of the statistics in `docs/seed-design.md`.
    pub total_bytes: u64,
    /// The figure `used_bytes` of these statistics.
    pub used_bytes: u64,
    /// The figure `available_bytes` of these statistics.
    pub available_bytes: u64,

    /// Bytes of all regions: the sum of live, cached and free bytes.
    pub pool_bytes: u64,
    /// Usable bytes of all live blocks.
    pub live_bytes: u64,
    /// Bytes that are neither live nor free in the buddy system: free objects of slabs, and blocks in
    /// magazines.
    pub cached_bytes: u64,
    /// Bytes of blocks in magazines.
    pub magazine_bytes: u64,
    /// Free bytes of the buddy system, or of the free runs of `extent`.
    pub free_bytes: u64,
    /// The bytes of the largest free block. In `extent`, the longest free run has less than a sixteenth more, or, if it
    /// is shorter than 8 KiB, less than an eighth more. 0 if the engine does not know it.
    pub largest_free_bytes: u64,

    /// The sum of the requested sizes of all live blocks.
    pub requested_bytes: u64,
    /// Live blocks.
    pub live_blocks: u64,
    /// Regions of the pool.
    pub regions: u32,

    /// Allocations that were served.
    pub allocations: u64,
    /// Blocks that were freed.
    pub frees: u64,
    /// Refused allocations by cause, in the order of [`Refusal`].
    pub refusals: [u64; Refusal::COUNT],
}

/// The statistics of a size class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// The size of a block.
    pub block_bytes: u64,
    /// All blocks of the class: live blocks, blocks in magazines and free blocks.
    pub total_blocks: u64,
    /// Live blocks.
    pub used_blocks: u64,
    /// Blocks in magazines.
    pub magazine_blocks: u64,
    /// The number of times that the class took memory from the buddy system.
    pub growths: u64,
}

/// The statistics of the blocks of order n. A live block, or a block in a magazine, has at most 2ⁿ and more
/// than 2ⁿ⁻¹ pages. A free block of a buddy system has exactly 2ⁿ pages. In an engine whose free memory consists of runs,
/// a free block is a run of at least 2ⁿ and less than 2ⁿ⁺¹ pages, and a live block in a size class has no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderStats {
    /// Live blocks of whole pages.
    pub used_blocks: u64,
    /// Blocks in magazines.
    pub magazine_blocks: u64,
    /// Free blocks or free runs.
    pub free_blocks: u64,
}

/// The statistics of the free runs that are shorter than a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShortRunStats {
    /// Free runs.
    pub runs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The statistics of the buddy system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuddyStats {
    /// The sum of the requested sizes of the blocks that the buddy system has allocated.
    pub user_bytes: u64,
    /// The sum of the rounded sizes of these blocks.
    pub actual_bytes: u64,
    /// The bytes that the buddy system manages.
    pub total_bytes: u64,
}

/// The statistics of debug mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugStats {
    /// Reports by fault, in the order of [`Fault`].
    pub reports: [u64; Fault::COUNT],
    /// Damaged blocks in quarantine, which count as live.
    pub quarantined_blocks: u64,
    /// The bytes of the blocks in quarantine, with their red zones.
    pub quarantined_bytes: u64,
}

/// Receives statistics. The default methods ignore the statistics.
pub trait Visitor {
    /// Receives the totals, once, before all other statistics.
    fn totals(&mut self, totals: &Totals) {
        let _ = totals;
    }

    /// Receives the statistics of a class, in the order of `index`, from 0.
    fn class(&mut self, index: u8, class: &ClassStats) {
        let _ = (index, class);
    }

    /// Receives the statistics of blocks of 2^`order` pages, in the order of `order`, from 0.
    fn order(&mut self, order: u8, stats: &OrderStats) {
        let _ = (order, stats);
    }

    /// Receives the statistics of short free runs, if the free memory of the engine consists of runs.
    fn short_runs(&mut self, stats: &ShortRunStats) {
        let _ = stats;
    }

    /// Receives the statistics of the buddy system.
    fn buddy(&mut self, buddy: &BuddyStats) {
        let _ = buddy;
    }

    /// Receives the statistics of debug mode, if the engine is in debug mode.
    fn debug(&mut self, debug: &DebugStats) {
        let _ = debug;
    }
}

/// An engine that has statistics.
pub trait Statistics {
    /// Passes the statistics to a visitor, which is called with the engine's lock held.
    fn visit(&self, visitor: &mut dyn Visitor);
}
