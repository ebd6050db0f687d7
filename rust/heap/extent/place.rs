// SPDX-License-Identifier: GPL-2.0

//! Places in the pool: granules, and runs of granules.

use core::alloc::Layout;

use super::class::Class;
use crate::{Offset, PAGE_BYTES, PAGE_SHIFT, region::REGIONS_MAX};

/// log2 of the bytes of a granule.
pub(super) const GRANULE_SHIFT: u32 = 4;

/// The bytes of a granule: blocks and free runs begin and end at multiples of this number.
pub(super) const GRANULE: usize = 1 << GRANULE_SHIFT;

/// The granules of a page.
pub(super) const PAGE_GRANULES: usize = PAGE_BYTES / GRANULE;

/// log2 of the largest number of granules of a region: 4 GiB.
pub(super) const REGION_SHIFT: u32 = 28;

/// The largest number of pages of a region.
pub(super) const REGION_PAGES_MAX: usize = 1 << (REGION_SHIFT + GRANULE_SHIFT - PAGE_SHIFT);

/// A granule: the number of its region, and its index in the region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Granule(u32);

impl Granule {
    /// Returns granule `index` of a region.
    #[inline]
    pub(super) const fn new(region: usize, index: usize) -> Self {
        Self((region << REGION_SHIFT | index) as u32)
    }

    /// Returns the granule that begins at an offset, if one can begin there.
    #[inline]
    pub(super) fn of(offset: Offset) -> Option<Self> {
        let (region, byte) = (usize::from(offset.region()), offset.byte());
        let exists = region < REGIONS_MAX
            && byte % GRANULE as u64 == 0
            && byte >> GRANULE_SHIFT < 1 << REGION_SHIFT;
        exists.then(|| Self::new(region, (byte >> GRANULE_SHIFT) as usize))
    }

    #[inline]
    pub(super) const fn region(self) -> usize {
        (self.0 >> REGION_SHIFT) as usize
    }

    #[inline]
    pub(super) const fn index(self) -> usize {
        self.0 as usize % (1 << REGION_SHIFT)
    }

    /// Returns the index of the page that contains the granule.
    #[inline]
    pub(super) const fn page(self) -> usize {
        self.index() / PAGE_GRANULES
    }

    /// Returns the index of the granule in its page.
    #[inline]
    pub(super) const fn in_page(self) -> usize {
        self.index() % PAGE_GRANULES
    }

    /// Returns the granule `granules` granules behind this one, in the same region.
    #[inline]
    pub(super) const fn after(self, granules: usize) -> Self {
        Self::new(self.region(), self.index() + granules)
    }

    /// Returns the offset of the granule.
    #[inline]
    pub(super) const fn offset(self) -> Offset {
        Offset::new(self.region() as u16, (self.index() << GRANULE_SHIFT) as u64)
    }

    /// Returns the number in 32 bits.
    #[inline]
    pub(super) const fn to_bits(self) -> u32 {
        self.0
    }

    /// Returns the granule with this number.
    #[inline]
    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// Granules in a row: a block, or a free run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: Granule,
    /// The number of granules, which is not 0.
    pub(super) len: usize,
}

impl Run {
    /// Returns the index of the granule behind the run in its region. In the last run of a region it is the number of
    /// granules of the region.
    #[inline]
    pub(super) const fn end(self) -> usize {
        self.start.index() + self.len
    }
}

/// Returns the granules of a block of a size. A size of 0 is served like a size of 1.
#[inline(always)]
const fn granules(bytes: usize) -> usize {
    // The size of a layout is at most `isize::MAX`, so the sum does not wrap.
    let bytes = if bytes == 0 { 1 } else { bytes };
    bytes.wrapping_add(GRANULE - 1) >> GRANULE_SHIFT
}

/// Returns the size class whose magazine serves a layout, if there is one: for an alignment up to a granule and, in the
/// class of a page, up to a page. O(1).
#[inline(always)]
pub(super) fn class_of(layout: &Layout) -> Option<Class> {
    let class = Class::of_granules(granules(layout.size()))?;
    // The alignment is compared with a granule first, because that decides in almost all cases.
    let fits = layout.align() <= GRANULE
        || (layout.align() <= PAGE_BYTES && class.granules() == PAGE_GRANULES);
    fits.then_some(class)
}

/// The granules that serve a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// The number of granules, which is not 0.
    pub(super) len: usize,
    /// The block begins at a multiple of this power of two of granules.
    pub(super) align: usize,
}

impl Demand {
    /// Returns the demand of a layout.
    ///
    /// A size that magazines serve is rounded up to its class, because magazines need sizes that repeat. Other sizes
    /// are rounded up to granules. A block whose size is a multiple of a page lies on pages, so that it can be mapped.
    #[inline]
    pub(super) fn of(layout: &Layout) -> Self {
        let len = match class_of(layout) {
            Some(class) => class.granules(),
            None => granules(layout.size()),
        };
        let align_min = if len % PAGE_GRANULES == 0 {
            PAGE_BYTES
        } else {
            GRANULE
        };
        Self {
            len,
            align: layout.align().max(align_min) >> GRANULE_SHIFT,
        }
    }
}
