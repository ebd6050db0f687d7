// SPDX-License-Identifier: GPL-2.0

//! RegionIndex and offsets, without the lock.
//!
//! What a region is never changes once it was added, so any CPU may turn an offset into an address
//! and back, and read the frame of a page, while another one adds a region.

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

/// A region. Without bytes it is none.
///
/// # Invariants
///
/// Where `bytes` is not 0, there are so many bytes at `start`, and a frame at `descs` for each
/// page of them, for as long as the engine lives; neither changes any more. They are fewer than an
/// [`Offset`] has room for.
struct View {
    bytes: AtomicUsize,
    start: AtomicPtr<u8>,
    descs: AtomicPtr<PageDesc>,
}

/// The first region once more, for those who have a block: it was there before.
///
/// # Invariants
///
/// It is what the first of all views is, or empty, and is written once, while that is added.
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

// SAFETY: `first` is read by those who have a block of the engine, and so after it was written: by
// the contract of `find_in_primary`.
unsafe impl Sync for RegionIndex {}

// SAFETY: Nothing of it is tied to a thread.
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
            // SAFETY: Who reads it has a block, and none is there yet.
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
            // INVARIANT: By this function's contract; who sees the bytes sees what stands above.
            view.bytes.store(bytes, Release);
        }
    }

    /// Returns the block that begins at an offset, if the pool has that.
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

    /// Returns the offset of an address that is not in the first region.
    #[cold]
    fn offset_behind_primary(&self, start: NonNull<u8>) -> Option<Offset> {
        let mut views = (0..).zip(&self.views).skip(1);
        views.find_map(|(region, view)| {
            let byte = view.byte(start.addr().get())?;
            Some(Offset::new(region, byte as u64))
        })
    }

    /// Returns the byte that an address is in the first region, and the frame of its page. Most
    /// pools have no other.
    ///
    /// # Safety
    ///
    /// The engine has handed out a block before, as the caller has seen.
    #[inline]
    pub(super) unsafe fn find_in_primary(&self, start: NonNull<u8>) -> Option<(usize, &PageDesc)> {
        // SAFETY: By this function's contract it was written before, and is not written again.
        let first = unsafe { &*self.first.get() };
        let byte = first.byte(start)?;
        // SAFETY: By the invariant of `View` there are descs.
        unsafe { assert_unchecked(!first.descs.is_null()) };
        // SAFETY: By the invariant of `View` there is a frame for each page of the region.
        Some((byte, unsafe { &*first.descs.add(byte >> PAGE_SHIFT) }))
    }

    /// Returns the class of the object that begins at an address of the first region, if that is the
    /// one that serves the layout's size.
    ///
    /// Of the alignment nothing is said: a class that serves the size may not have it.
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
        // The page knows the class, as it does for `kfree`. But what is only compared with it need
        // not wait for it: which magazine it is, the processor knows from the size before.
        let class = Class::of_size(layout)?;
        // SAFETY: By this function's contract.
        let (byte, frame) = unsafe { self.find_in_primary(start) }?;
        frame.has_object(class, byte).then_some(class)
    }

    /// Returns the block that begins at an address of the first region.
    ///
    /// # Safety
    ///
    /// As for [`RegionIndex::find_in_primary`].
    #[inline(always)]
    pub(super) unsafe fn block_in_primary(&self, start: NonNull<u8>) -> Option<Block> {
        // SAFETY: By this function's contract it was written before, and is not written again.
        let byte = unsafe { &*self.first.get() }.byte(start)?;
        let offset = Some(Offset::new(0, byte as u64));
        Some(Block { start, offset })
    }

    /// Returns the byte that an address is in its region, and the frame of its page.
    pub(super) fn find(&self, start: NonNull<u8>) -> Option<(usize, &PageDesc)> {
        self.views.iter().find_map(|view| view.find(start))
    }
}

impl First {
    /// Returns the byte that an address is in the region, if it is there.
    #[inline(always)]
    fn byte(&self, start: NonNull<u8>) -> Option<usize> {
        let byte = start.addr().get().wrapping_sub(self.start);
        if byte >= self.bytes {
            return None;
        }
        // SAFETY: By the invariant of `View` no region has as many bytes.
        unsafe { assert_unchecked(byte < 1 << REGION_SHIFT) };
        Some(byte)
    }
}

impl View {
    /// Returns the byte that an address is in the region, if it is there.
    #[inline(always)]
    fn byte(&self, address: usize) -> Option<usize> {
        let bytes = self.bytes.load(Acquire);
        let byte = address.wrapping_sub(self.start.load(Relaxed).addr());
        if byte >= bytes {
            return None;
        }
        // SAFETY: By the type invariant no region has as many bytes.
        unsafe { assert_unchecked(byte < 1 << REGION_SHIFT) };
        Some(byte)
    }

    /// Returns the byte that an address is in the region, and the frame of its page.
    #[inline]
    fn find(&self, start: NonNull<u8>) -> Option<(usize, &PageDesc)> {
        let byte = self.byte(start.addr().get())?;
        let descs = self.descs.load(Relaxed);
        // SAFETY: By the type invariant: a region that has this byte has bytes.
        unsafe { assert_unchecked(!descs.is_null()) };
        // SAFETY: By the type invariant there is a frame for each page of the region.
        Some((byte, unsafe { &*descs.add(byte >> PAGE_SHIFT) }))
    }
}
