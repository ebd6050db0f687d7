// SPDX-License-Identifier: GPL-2.0

//! Maps: what the pages of a region are.
//!
//! A pool that keeps its records by pages can say of each what it is. It does so in extents, one
//! for each block of pages, a bounded number at a time; the lock is let go in between. A map that
//! is read while others change the pool is therefore no picture of one moment, but no page is in
//! it twice: every part begins where the one before it ended.

/// What a block of pages is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The buddy system has it.
    Free {
        /// log2 of the block's bytes.
        order: u8,
    },
    /// It was handed out as it is.
    Large,
    /// It is cut into objects of one size.
    Slab {
        /// The size class, as numbered by [`Visitor::class`](crate::stats::Visitor::class).
        class: u8,
        /// The objects that it has.
        objects: u16,
        /// The objects of those that are out.
        used: u16,
    },
}

/// A block of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first page, counted from the region's.
    pub page: u32,
    /// How many there are.
    pub pages: u32,
    /// What they are.
    pub what: Use,
}

impl Default for Extent {
    /// Returns an extent of no pages.
    fn default() -> Self {
        Self {
            page: 0,
            pages: 0,
            what: Use::Large,
        }
    }
}

/// How far a map has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The extents that were written.
    pub extents: usize,
    /// The page to go on at; `end` when there is no more.
    pub next: u32,
    /// The pages of the region.
    pub end: u32,
}

/// Why there is no map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMap {
    /// The engine cannot tell what a page is.
    Unsupported,
    /// The pool has no such region.
    NoSuchRegion,
}
