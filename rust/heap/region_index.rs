// SPDX-License-Identifier: GPL-2.0

//! The index of regions. The index converts between addresses and offsets, and finds page descriptors,
//! without the engine's lock.
//!
//! A region never changes after it was added, so any CPU may use the index while another CPU adds a region.

use core::{
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicPtr,
        AtomicUsize,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    },
};

use crate::{
    PAGE_SHIFT,
    region::{
        Offset,
        REGIONS_MAX, //
    },
};

/// The memory of a region, and its page descriptors of type `D`. `bytes` is 0 in an unused entry.
///
/// # Invariants
///
/// If `bytes` is not 0, `start` points to `bytes` bytes, and `descs` to a descriptor for each of their pages,
/// as long as the index exists. The three fields then never change again.
struct IndexedRegion<D> {
    bytes: AtomicUsize,
    start: AtomicPtr<u8>,
    descs: AtomicPtr<D>,
}

/// The regions of a pool.
pub(crate) struct RegionIndex<D> {
    regions: [IndexedRegion<D>; REGIONS_MAX],
}

impl<D: Sync> RegionIndex<D> {
    /// Returns an index without regions.
    pub(crate) const fn new() -> Self {
        // INVARIANT: `bytes` is 0 everywhere.
        Self {
            regions: [const {
                IndexedRegion {
                    bytes: AtomicUsize::new(0),
                    start: AtomicPtr::new(ptr::null_mut()),
                    descs: AtomicPtr::new(ptr::null_mut()),
                }
            }; REGIONS_MAX],
        }
    }

    /// Adds the region with this number.
    ///
    /// # Safety
    ///
    /// - `start` points to `pages` pages, and `descs` to a descriptor for each of them, as long as the index
    ///   exists. Nobody creates a mutable reference to a descriptor.
    /// - `pages` is at most 2²⁰. No region has this number yet, and no other call of this function runs.
    pub(crate) unsafe fn add(
        &self,
        number: usize,
        start: NonNull<u8>,
        pages: usize,
        descs: NonNull<D>,
    ) {
        if let Some(region) = self.regions.get(number) {
            region.start.store(start.as_ptr(), Relaxed);
            region.descs.store(descs.as_ptr(), Relaxed);
            // INVARIANT: By this function's contract, the pointers are valid as long as the index exists.
            // `Release` orders the stores, so a CPU that reads the new `bytes` also reads the new pointers.
            region.bytes.store(pages << PAGE_SHIFT, Release);
        }
    }

    /// Returns the sum of the sizes of all regions, in bytes. O(regions).
    pub(crate) fn bytes(&self) -> usize {
        let bytes = self.regions.iter().map(|region| region.bytes.load(Relaxed));
        bytes.fold(0, usize::wrapping_add)
    }

    /// Returns the address of an offset, if the offset is in a region. O(1).
    pub(crate) fn address(&self, offset: Offset) -> Option<NonNull<u8>> {
        let region = self.regions.get(usize::from(offset.region()))?;
        let byte = offset.byte() as usize;
        if byte >= region.bytes.load(Acquire) {
            return None;
        }
        NonNull::new(region.start.load(Relaxed).wrapping_add(byte))
    }

    /// Returns the offset of an address, if the address is in a region. O(1) in the first region, else
    /// O(regions).
    #[inline(always)]
    pub(crate) fn offset(&self, address: NonNull<u8>) -> Option<Offset> {
        // Most pools have one region.
        match self.regions[0].byte(address) {
            Some(byte) => Some(Offset::new(0, byte as u64)),
            None => self.offset_in_others(address),
        }
    }

    #[cold]
    fn offset_in_others(&self, address: NonNull<u8>) -> Option<Offset> {
        let regions = (0..).zip(&self.regions).skip(1);
        let mut offsets = regions.map(|(number, region)| {
            let byte = region.byte(address)?;
            Some(Offset::new(number, byte as u64))
        });
        offsets.find_map(|offset| offset)
    }

    /// Returns the offset of an address in the first region, in bytes, and the descriptor of its page. Most pools have
    /// no other region. O(1).
    #[inline(always)]
    pub(crate) fn find_in_first(&self, start: NonNull<u8>) -> Option<(usize, &D)> {
        self.regions[0].find(start)
    }

    /// Returns the offset of an address in its region, in bytes, and the descriptor of its page. O(regions).
    pub(crate) fn find(&self, start: NonNull<u8>) -> Option<(usize, &D)> {
        self.regions.iter().find_map(|region| region.find(start))
    }
}

impl<D> IndexedRegion<D> {
    /// Returns the offset of an address in the region, in bytes, if the region contains the address.
    #[inline(always)]
    fn byte(&self, address: NonNull<u8>) -> Option<usize> {
        let bytes = self.bytes.load(Acquire);
        let byte = address
            .addr()
            .get()
            .wrapping_sub(self.start.load(Relaxed).addr());
        (byte < bytes).then_some(byte)
    }

    /// Returns the offset of an address in the region, in bytes, and the descriptor of its page.
    #[inline(always)]
    fn find(&self, address: NonNull<u8>) -> Option<(usize, &D)> {
        let byte = self.byte(address)?;
        let desc = self.descs.load(Relaxed).wrapping_add(byte >> PAGE_SHIFT);
        // SAFETY: `new_unchecked` requires that the pointer is not null, and `as_ref` that it points to a valid value
        // to which nobody has a mutable reference. The byte is in the region, so by the type invariant the page has
        // a descriptor, and by the contract of `RegionIndex::add` only shared references to it exist.
        Some((byte, unsafe { NonNull::new_unchecked(desc).as_ref() }))
    }
}
