// SPDX-License-Identifier: GPL-2.0

//! The statistics of an engine.
//!
//! Counters are pushed to a [`Visitor`], so that none of them has to be stored twice or to cross
//! a small stack. Names split what is *now* (bytes, blocks) from what *happened* (operations).

use crate::{
    block::Refusal,
    fault::Fault, //
};

/// The classes that an engine may have.
pub const CLASSES_MAX: usize = 32;

/// The orders that blocks of pages may have, from a page on.
pub const ORDERS_MAX: usize = 21;

/// The whole engine's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The seed's `total_bytes`.
    pub total_bytes: u64,
    /// The seed's `used_bytes`.
    pub used_bytes: u64,
    /// The seed's `available_bytes`.
    pub available_bytes: u64,

    /// Bytes given to the engine: `live + cached + free`.
    pub pool_bytes: u64,
    /// Usable bytes of all live blocks.
    pub live_bytes: u64,
    /// Bytes that are neither live nor free in the buddy system: free objects of slabs, and blocks in
    /// magazines.
    pub cached_bytes: u64,
    /// Bytes of blocks in magazines.
    pub magazine_bytes: u64,
    /// Bytes in the buddy system.
    pub free_bytes: u64,

    /// Bytes that the callers requested, of all live blocks.
    pub requested_bytes: u64,
    /// Live blocks.
    pub live_blocks: u64,
    /// Regions of the pool.
    pub regions: u32,

    /// Allocations that were served.
    pub allocations: u64,
    /// Blocks that were freed.
    pub frees: u64,
    /// Allocations that were refused, by reason, in the order of [`Refusal`].
    pub refusals: [u64; Refusal::COUNT],
}

/// One size class's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// The size of its blocks.
    pub block_bytes: u64,
    /// Blocks that it has.
    pub total_blocks: u64,
    /// Live blocks.
    pub used_blocks: u64,
    /// Blocks in magazines.
    pub magazine_blocks: u64,
    /// Times that it took memory from the buddy system.
    pub growths: u64,
}

/// The figures of blocks of one order: of 2ⁿ pages, or of less but more than half as many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderStats {
    /// Live blocks of whole pages.
    pub used_blocks: u64,
    /// Blocks in magazines.
    pub magazine_blocks: u64,
    /// Free blocks, of 2ⁿ pages.
    pub free_blocks: u64,
}

/// The buddy system's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuddyStats {
    /// Bytes that were requested from the buddy system, of its live blocks.
    pub user_bytes: u64,
    /// Bytes that it gave for those.
    pub actual_bytes: u64,
    /// Bytes that it manages.
    pub total_bytes: u64,
}

/// The findings of debug mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugStats {
    /// Reports, by kind, in the order of [`Fault`].
    pub reports: [u64; Fault::COUNT],
    /// Damaged blocks in quarantine, which count as live.
    pub quarantined_blocks: u64,
    /// Their bytes, whole blocks.
    pub quarantined_bytes: u64,
}

/// Receives statistics. The provided methods ignore them.
pub trait Visitor {
    /// Receives the totals, once, before the others.
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
