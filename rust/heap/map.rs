// SPDX-License-Identifier: GPL-2.0

//! Maps: the use of each page of a region.
//!
//! An engine with page descriptors reports the use of pages as extents: one for each block of pages, or, if blocks
//! begin inside of pages, one for each page with several runs and one for the whole pages of a longer run. Each
//! call reports a bounded number of extents, and the engine releases its lock between calls. If the pool
//! changes while a map is read, the parts of the map show the pool at different moments. No page is in the
//! map twice, because each part begins where the part before ended.

/// The use of a block of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Free: a block of the buddy system, or the whole pages of a free run.
    Free,
    /// Live, or in a magazine: a block of whole pages, or the whole pages of a block.
    Large,
    /// A slab.
    Slab {
        /// The size class, as numbered by [`Visitor::class`](crate::stats::Visitor::class).
        class: u8,
        /// The number of objects of the slab.
        objects: u16,
        /// The number of objects that are live or in magazines.
        used: u16,
    },
    /// One page that several blocks and free runs share.
    Mixed {
        /// The number of blocks that begin in the page and are live or in magazines. 0 if the engine does not know it.
        blocks: u16,
        /// The bytes of the page in blocks that are live or in magazines.
        used_bytes: u16,
        /// The bytes of the longest free run in the page, of which only the part in the page counts.
        largest_free_bytes: u16,
    },
}

/// Pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The index of the first page in the region.
    pub page: u32,
    /// The number of pages.
    pub pages: u32,
    /// The use of the pages.
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
    /// The page at which the next call continues. `end` if the map is complete.
    pub next: u32,
    /// The number of pages of the region.
    pub end: u32,
}

/// The error of a call for a region that the pool does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMap;

/// An engine with page descriptors, which can report the use of each page.
pub trait Map {
    /// Reports the use of the pages of a region from `page` on.
    ///
    /// Writes each extent that begins at `page` or after it to `out`, in the order of the pages, until `out` is full or a
    /// bounded number of pages was visited. An extent that begins before `page` is not written. A call that visits only
    /// the interior of an extent writes no extent.
    ///
    /// To read a whole map, the caller calls the method again with `page` set to [`Mapped::next`], until
    /// `next` is [`Mapped::end`]. Before the end of the region, `next` is larger than `page`. A `page` after
    /// the last page of the region counts as its end.
    ///
    /// `out` has room for at least one extent.
    ///
    /// # Errors
    ///
    /// [`NoMap`] if the pool does not have the region.
    fn map(&self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap>;
}
