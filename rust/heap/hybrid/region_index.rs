// SPDX-License-Identifier: GPL-2.0

//! The index of regions: from an offset to an address and back, without the lock.
//!
//! A region never changes once it was added. Any CPU may therefore translate between offsets and
//! addresses, and read the descriptor of a page, while another CPU adds a region.

use core::{
    alloc::Layout,
    cell::UnsafeCell,
    hint::assert_unchecked,
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

use super::page::PageDesc;
use crate::{
    class::{
        Class,
        PAGE_SHIFT, //
    },
    engine::Block,
    region::{
        Offset,
        REGION_SHIFT,
        REGIONS_MAX, //
    },
};

/// A region, or none if it has no bytes.
///
/// # Invariants
///
/// Where `bytes` is not 0, there are so many bytes at `start`, and a descriptor at `descs` for each of
/// their pages, for as long as the engine lives. Neither changes any more. The bytes are fewer than an
/// [`Offset`] can name.
struct View {
    bytes: AtomicUsize,
    start: AtomicPtr<u8>,
    descs: AtomicPtr<PageDesc>,
}

/// A copy of the first region's view for the fast paths, without atomic loads: a caller that has a block
/// of the pool knows that the first region was added before.
///
/// # Invariants
///
/// It is equal to the first of all views, or empty. It is written once, while the first region is added.
struct First {
    bytes: usize,
    start: usize,
    descs: *const PageDesc,
}

/// All regions.
pub(super) struct RegionIndex {
    first: UnsafeCell<First>,
    views: [View; REGIONS_MAX],
}

// SAFETY: `first` is only read by callers that have a block of the engine, so after it was written: by
// the contract of `find_in_primary`.
unsafe impl Sync for RegionIndex {}

// SAFETY: Nothing in it belongs to a thread.
unsafe impl Send for RegionIndex {}

impl RegionIndex {
    /// Returns the addresses of no regions.
    pub(super) const fn new() -> Self {
        Self {
            // INVARIANT: It is empty.
            first: UnsafeCell::new(First {
                bytes: 0,
                start: 0,
                descs: ptr::null(),
            }),
            // INVARIANT: There are no bytes.
            views: [const {
                View {
                    bytes: AtomicUsize::new(0),
                    start: AtomicPtr::new(ptr::null_mut()),
                    descs: AtomicPtr::new(ptr::null_mut()),
                }
            }; REGIONS_MAX],
        }
    }

    /// Adds the `bytes` bytes at `start` as a region.
    ///
    /// # Safety
    ///
    /// - The range is the engine's for as long as it lives, and `start` is a pointer to all of it.
    /// - `descs` has one for each page of it, and these are at most
    ///   [`REGION_PAGES_MAX`](super::page::REGION_PAGES_MAX).
    /// - No region was added with this number before, and none is being added at the same time.
    pub(super) unsafe fn add(
        &self,
        region: u16,
        start: NonNull<u8>,
        bytes: usize,
        descs: &'static [PageDesc],
    ) {
        if region == 0 {
            // INVARIANT: The first region is added once, as this is.
            //
            // SAFETY: Readers have a block, and the pool has none yet.
            unsafe {
                *self.first.get() = First {
                    bytes,
                    start: start.addr().get(),
                    descs: descs.as_ptr(),
                };
            }
        }
        if let Some(view) = self.views.get(usize::from(region)) {
            view.start.store(start.as_ptr(), Relaxed);
            view.descs.store(descs.as_ptr().cast_mut(), Relaxed);
            // INVARIANT: By this function's contract. A CPU that sees the bytes also sees the two pointers.
            view.bytes.store(bytes, Release);
        }
    }

    /// Returns the block that begins at an offset, if the offset is in the pool.
    #[inline]
    pub(super) fn block(&self, offset: Offset) -> Option<Block> {
        let view = self.views.get(usize::from(offset.region()))?;
        let byte = offset.byte() as usize;
        if byte >= view.bytes.load(Acquire) {
            return None;
        }
        let start = NonNull::new(view.start.load(Relaxed))?;
        Some(Block {
            // SAFETY: By the type invariant there are more than `byte` bytes.
            start: unsafe { start.add(byte) },
            offset: Some(offset),
        })
    }

    /// Returns the block that begins at an address of the pool.
    #[inline(always)]
    pub(super) fn block_at(&self, start: NonNull<u8>) -> Block {
        // Most pools have one region.
        let offset = match self.views[0].byte(start.addr().get()) {
            Some(byte) => Some(Offset::new(0, byte as u64)),
            None => self.offset_behind_primary(start),
        };
        Block { start, offset }
    }

    /// Returns the offset of a block, or [`Offset::NOWHERE`] for an address that is not in the pool.
    pub(super) fn offset_at(&self, start: NonNull<u8>) -> Offset {
        self.block_at(start).offset.unwrap_or(Offset::NOWHERE)
    }

    /// Returns the offset of an address that is in another region than the first.
    #[cold]
    fn offset_behind_primary(&self, start: NonNull<u8>) -> Option<Offset> {
        let mut views = (0..).zip(&self.views).skip(1);
        views.find_map(|(region, view)| {
            let byte = view.byte(start.addr().get())?;
            Some(Offset::new(region, byte as u64))
        })
    }

    /// Returns the byte of the first region at an address, and the descriptor of its page. Most pools have
    /// no other region.
    ///
    /// # Safety
    ///
    /// The caller has, or had, a block that this engine allocated.
    #[inline]
    pub(super) unsafe fn find_in_primary(&self, start: NonNull<u8>) -> Option<(usize, &PageDesc)> {
        // SAFETY: By this function's contract the first region was added before, and `first` is not
        // written again.
        let first = unsafe { &*self.first.get() };
        let byte = first.byte(start)?;
        // SAFETY: By the invariant of `View`: a region with this byte has bytes.
        unsafe { assert_unchecked(!first.descs.is_null()) };
        // SAFETY: By the invariant of `View` there is a descriptor for each page of the region.
        Some((byte, unsafe { &*first.descs.add(byte >> PAGE_SHIFT) }))
    }

    /// Returns the class of the object that begins at an address of the first region, if that class serves
    /// the layout's size.
    ///
    /// The layout's alignment is not looked at: a block with a larger one is in another class, or page.
    ///
    /// # Safety
    ///
    /// As for [`RegionIndex::find_in_primary`].
    #[inline(always)]
    pub(super) unsafe fn object_in_primary(
        &self,
        start: NonNull<u8>,
        layout: &Layout,
    ) -> Option<Class> {
        // The descriptor has the class, as it has for `kfree`. The class of the size is known before the
        // descriptor is loaded, so the processor need not wait for the load to find the magazine: a pair
        // of allocation and free took 9.9 ns with the class of the descriptor, and takes 6 ns.
        let class = Class::of_size(layout)?;
        // SAFETY: By this function's contract.
        let (byte, desc) = unsafe { self.find_in_primary(start) }?;
        desc.has_object(class, byte).then_some(class)
    }

    /// Returns the byte of its region at an address, and the descriptor of its page.
    pub(super) fn find(&self, start: NonNull<u8>) -> Option<(usize, &PageDesc)> {
        self.views.iter().find_map(|view| view.find(start))
    }
}

impl First {
    /// Returns the byte of the region at an address, if the address is in the region.
    #[inline(always)]
    fn byte(&self, start: NonNull<u8>) -> Option<usize> {
        let byte = start.addr().get().wrapping_sub(self.start);
        if byte >= self.bytes {
            return None;
        }
        // SAFETY: By the invariant of `View` the region has fewer bytes.
        unsafe { assert_unchecked(byte < 1 << REGION_SHIFT) };
        Some(byte)
    }
}

impl View {
    /// Returns the byte of the region at an address, if the address is in the region.
    #[inline(always)]
    fn byte(&self, address: usize) -> Option<usize> {
        let bytes = self.bytes.load(Acquire);
        let byte = address.wrapping_sub(self.start.load(Relaxed).addr());
        if byte >= bytes {
            return None;
        }
        // SAFETY: By the type invariant the region has fewer bytes.
        unsafe { assert_unchecked(byte < 1 << REGION_SHIFT) };
        Some(byte)
    }

    /// Returns the byte of the region at an address, and the descriptor of its page.
    #[inline]
    fn find(&self, start: NonNull<u8>) -> Option<(usize, &PageDesc)> {
        let byte = self.byte(start.addr().get())?;
        let descs = self.descs.load(Relaxed);
        // SAFETY: By the type invariant: a region with this byte has bytes.
        unsafe { assert_unchecked(!descs.is_null()) };
        // SAFETY: By the type invariant there is a descriptor for each page of the region.
        Some((byte, unsafe { &*descs.add(byte >> PAGE_SHIFT) }))
    }
}
