// SPDX-License-Identifier: GPL-2.0

//! Maps: the use of each page of a region.
//!
//! An engine with page descriptors reports the use of pages as extents, one for each block of pages, a
//! bounded number at a time; the lock is released in between. A map that is read while others change the
//! pool therefore shows no single moment, but no page is in it twice: each part begins where the last one
//! ended.

/// The use of a block of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A free block of the buddy system.
    Free {
        /// log2 of the block's pages.
        order: u8,
    },
    /// A live block of whole pages.
    Large,
    /// A slab.
    Slab {
        /// The size class, as numbered by [`Visitor::class`](crate::stats::Visitor::class).
        class: u8,
        /// The number of objects of the slab.
        objects: u16,
        /// The number of live objects, and of those in magazines.
        used: u16,
    },
}

/// A block of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The index of the first page in the region.
    pub page: u32,
    /// The number of pages.
    pub pages: u32,
    /// Their use.
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

/// A part of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The number of extents that were written.
    pub extents: usize,
    /// The page to go on at; `end` at the end of the region.
    pub next: u32,
    /// The number of pages of the region.
    pub end: u32,
}

/// The pool has no such region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMap;

/// An engine with page descriptors.
pub trait Map {
    /// Returns the use of the pages of a region from `page` on, for a bounded time.
    ///
    /// Writes to `out`, in order and as far as there is room, an extent for each block of pages that begins
    /// at `page` or behind it; a block that began before is not among them. It is called again with
    /// [`Mapped::next`], which is always behind `page`, until that is [`Mapped::end`]; a call may have
    /// visited only the inside of a block and write none. A `page` behind the region's last is its end.
    ///
    /// `out` has room for one extent at least.
    ///
    /// # Errors
    ///
    /// [`NoMap`]: the pool has no such region.
    fn map(&self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap>;
}
