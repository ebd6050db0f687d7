// SPDX-License-Identifier: GPL-2.0

//! The metadata of the regions, outside of the pool.

use core::{
    ptr::NonNull,
    slice, //
};

use super::{
    bins::bin_of,
    matrix::Shape,
    page::PageDesc,
    place::{
        Granule,
        PAGE_GRANULES,
        Run, //
    },
};
use crate::region::REGIONS_MAX;

/// The metadata of a region: a descriptor for each page, and the matrix of short free runs.
///
/// # Invariants
///
/// `descs` points to `pages` descriptors, and `matrix` to as many words as the shape for `pages` pages has. Nobody else
/// accesses them for as long as this value exists, except that other CPUs may read the descriptors, which are atomic.
pub(super) struct RegionTable {
    pages: usize,
    pub(super) descs: NonNull<PageDesc>,
    matrix: NonNull<u64>,
    pub(super) shape: Shape,
}

// SAFETY: By the type invariant only this value gives access to its memory, except for reads of atomic descriptors.
unsafe impl Send for RegionTable {}

impl RegionTable {
    /// The metadata of a region that does not exist.
    // INVARIANT: There are no pages, and the shape for no pages has no words, so that nothing is accessed.
    const NONE: Self = Self {
        pages: 0,
        descs: NonNull::dangling(),
        matrix: NonNull::dangling(),
        shape: Shape::of(0),
    };

    /// Returns the bytes of metadata for a region of so many pages.
    pub(super) const fn bytes(pages: usize) -> usize {
        pages * size_of::<PageDesc>() + Shape::of(pages).words() * size_of::<u64>()
    }

    /// Places the metadata of `pages` pages in `memory`.
    ///
    /// # Safety
    ///
    /// `memory` points to `bytes(pages)` bytes, which are zero and aligned to 8, and which nobody else accesses as
    /// long as the result is used, except for readers of the descriptors.
    pub(super) unsafe fn new(memory: NonNull<u8>, pages: usize) -> Self {
        let descs = memory.cast::<PageDesc>();
        // SAFETY: `add` requires that the result is in the same allocation: by this function's contract the memory has
        // room for `pages` descriptors and the matrix behind them.
        let matrix = unsafe { descs.add(pages) }.cast::<u64>();
        // INVARIANT: The arrays are in the memory, aligned because a descriptor is a multiple of 8 bytes, and zeros are
        // valid elements. Nobody else accesses them, by this function's contract.
        Self {
            pages,
            descs,
            matrix,
            shape: Shape::of(pages),
        }
    }

    /// Returns the words of the matrix, for reading.
    #[inline]
    fn words(&self) -> &[u64] {
        // SAFETY: `from_raw_parts` requires so many initialized words that nobody changes while the result is used:
        // that is the type invariant, and the result borrows `self`.
        unsafe { slice::from_raw_parts(self.matrix.as_ptr(), self.shape.words()) }
    }

    /// Returns the words of the matrix.
    #[inline]
    pub(super) fn matrix(&mut self) -> &mut [u64] {
        let words = self.shape.words();
        // SAFETY: `from_raw_parts_mut` requires so many initialized words that nobody else accesses while the result is
        // used: that is the type invariant, and the result borrows `self` mutably.
        unsafe { slice::from_raw_parts_mut(self.matrix.as_ptr(), words) }
    }
}

/// The metadata of all regions.
///
/// The methods tolerate granules that do not exist, because damaged metadata may name one, and a check must not panic.
pub(super) struct Tables([RegionTable; REGIONS_MAX]);

impl Tables {
    pub(super) const fn new() -> Self {
        Self([RegionTable::NONE; REGIONS_MAX])
    }

    pub(super) fn add(&mut self, region: usize, table: RegionTable) {
        self.0[region] = table;
    }

    /// Returns the table of a region.
    #[inline]
    pub(super) fn region(&mut self, region: usize) -> Option<&mut RegionTable> {
        self.0.get_mut(region).filter(|table| table.pages != 0)
    }

    /// Returns the number of pages of a region.
    #[inline]
    pub(super) fn pages(&self, region: usize) -> usize {
        self.0.get(region).map_or(0, |table| table.pages)
    }

    /// Returns the descriptor of page `page` of a region, if there is one.
    #[inline]
    pub(super) fn desc(&self, region: usize, page: usize) -> Option<&PageDesc> {
        let table = self.0.get(region)?;
        if page >= table.pages {
            return None;
        }
        // SAFETY: `add` requires that the result is in the array, and `as_ref` that the descriptor is valid: the page
        // is below `pages`, so that is the type invariant. Only shared references to descriptors exist.
        Some(unsafe { table.descs.add(page).as_ref() })
    }

    /// Returns whether a free run begins at a granule.
    #[inline]
    pub(super) fn begins_free(&self, at: Granule) -> bool {
        let desc = self.desc(at.region(), at.page());
        desc.is_some_and(|desc| desc.begins(at.in_page()) && desc.is_free(at.in_page()))
    }

    /// Returns the run that begins at a granule. O(1).
    #[inline]
    pub(super) fn run(&self, start: Granule) -> Option<Run> {
        let desc = self.desc(start.region(), start.page())?;
        let granule = start.in_page();
        if !desc.begins(granule) {
            return None;
        }
        let len = match desc.next_begin(granule + 1) {
            Some(next) => next - granule,
            None => desc.end().checked_sub(start.index())?,
        };
        Some(Run { start, len })
    }

    /// Returns the first granule of the run that contains a granule. The granule is in the first or the last page of
    /// the run. O(1).
    #[inline]
    pub(super) fn start_of(&self, at: Granule) -> Option<Granule> {
        let desc = self.desc(at.region(), at.page())?;
        let index = match desc.last_begin(at.in_page()) {
            Some(granule) => at.page() * PAGE_GRANULES + granule,
            None => desc.head(),
        };
        Some(Granule::new(at.region(), index))
    }

    /// Records a run, whose granules belong to no other run. O(1).
    #[inline]
    pub(super) fn set(&mut self, run: Run, is_free: bool) {
        let (region, first) = (run.start.region(), run.start.page());
        let last = run.start.after(run.len - 1).page();
        if let Some(desc) = self.desc(region, first) {
            desc.set_begin(run.start.in_page(), is_free);
            if last > first || desc.next_begin(run.start.in_page() + 1).is_none() {
                desc.set_end(run.end());
            }
        }
        if last > first {
            if let Some(desc) = self.desc(region, last) {
                desc.set_head(run.start.index());
            }
        }
    }

    /// Records that no run begins at a granule, because the run before contains it now.
    #[inline]
    pub(super) fn clear(&mut self, at: Granule) {
        if let Some(desc) = self.desc(at.region(), at.page()) {
            desc.clear_begin(at.in_page());
        }
    }
}

/// The matrices of short free runs.
impl Tables {
    /// Records that a short free run of a bin begins at a granule. O(log64 pages).
    #[inline]
    pub(super) fn insert(&mut self, start: Granule, bin: usize) {
        if let Some(table) = self.region(start.region()) {
            let shape = table.shape;
            shape.insert(table.matrix(), bin, start.page());
        }
    }

    /// Removes a short free run from the matrix, and returns whether its bin is empty. O(regions × log64 pages + runs
    /// in the page).
    pub(super) fn remove(&mut self, run: Run, bin: usize) -> bool {
        let (region, page) = (run.start.region(), run.start.page());
        let has_another = self.desc(region, page).is_some_and(|desc| {
            desc.free_runs(page)
                .any(|(granule, len)| granule != run.start.in_page() && bin_of(len) == bin)
        });
        if has_another {
            return false;
        }
        if let Some(table) = self.region(region) {
            let shape = table.shape;
            if !shape.remove(table.matrix(), bin, page) {
                return false;
            }
        }
        (0..REGIONS_MAX).all(|region| self.find(region, bin, false).is_none())
    }

    /// Returns the last page of a region where a short free run of a bin begins if `from_end`, else the first such
    /// page. O(log64 pages).
    #[inline]
    pub(super) fn find(&self, region: usize, bin: usize, from_end: bool) -> Option<usize> {
        let table = self.0.get(region).filter(|table| table.pages != 0)?;
        table.shape.find(table.words(), bin, from_end)
    }

    /// Returns the next page of a region before `page` where a short free run of a bin begins if `from_end`, else the
    /// next such page behind it. O(log64 pages).
    pub(super) fn find_next(
        &self,
        region: usize,
        bin: usize,
        page: usize,
        from_end: bool,
    ) -> Option<usize> {
        let table = self.0.get(region).filter(|table| table.pages != 0)?;
        table.shape.find_next(table.words(), bin, page, from_end)
    }

    /// Returns the words of the matrix of a region, and their shape.
    pub(super) fn rows(&self, region: usize) -> Option<(Shape, &[u64])> {
        let table = self.0.get(region).filter(|table| table.pages != 0)?;
        Some((table.shape, table.words()))
    }
}
