// SPDX-License-Identifier: GPL-2.0

//! Addresses and offsets, without the lock.
//!
//! What a region is never changes once it was added, so any CPU may turn an offset into an address
//! and back, and read the frame of a page, while another one adds a region.

use core::{
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

use super::frames::Frame;
use crate::{
    class::PAGE_SHIFT,
    engine::Block,
    region::{
        Offset,
        REGIONS_MAX, //
    },
};

/// A region. Without bytes it is none.
///
/// # Invariants
///
/// Where `bytes` is not 0, there are so many bytes at `start`, and a frame at `frames` for each
/// page of them, for as long as the engine lives; neither changes any more.
struct View {
    bytes: AtomicUsize,
    start: AtomicPtr<u8>,
    frames: AtomicPtr<Frame>,
}

/// All regions.
pub(super) struct Addresses {
    views: [View; REGIONS_MAX],
}

impl Addresses {
    /// Returns the addresses of no regions.
    pub(super) const fn new() -> Self {
        Self {
            // INVARIANT: There are no bytes.
            views: [const {
                View {
                    bytes: AtomicUsize::new(0),
                    start: AtomicPtr::new(ptr::null_mut()),
                    frames: AtomicPtr::new(ptr::null_mut()),
                }
            }; REGIONS_MAX],
        }
    }

    /// Adds the `bytes` bytes at `start` as a region.
    ///
    /// # Safety
    ///
    /// - The range is the engine's for as long as it lives, and `start` is a pointer to all of it.
    /// - `frames` has one for each page of it.
    /// - No region was added with this number before.
    pub(super) unsafe fn add(
        &self,
        region: u16,
        start: NonNull<u8>,
        bytes: usize,
        frames: &'static [Frame],
    ) {
        if let Some(view) = self.views.get(usize::from(region)) {
            view.start.store(start.as_ptr(), Relaxed);
            view.frames.store(frames.as_ptr().cast_mut(), Relaxed);
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
    #[inline]
    pub(super) fn block_at(&self, start: NonNull<u8>) -> Block {
        let mut views = (0..).zip(&self.views);
        let offset = views.find_map(|(region, view)| {
            let byte = view.byte(start.addr().get())?;
            Some(Offset::new(region, byte as u64))
        });
        Block { start, offset }
    }

    /// Returns the byte that an address is in the first region, and the frame of its page. Most
    /// pools have no other.
    #[inline]
    pub(super) fn find_in_first(&self, start: NonNull<u8>) -> Option<(usize, &Frame)> {
        self.views[0].find(start)
    }

    /// Returns the byte that an address is in its region, and the frame of its page.
    pub(super) fn find(&self, start: NonNull<u8>) -> Option<(usize, &Frame)> {
        self.views.iter().find_map(|view| view.find(start))
    }
}

impl View {
    /// Returns the byte that an address is in the region, if it is there.
    #[inline]
    fn byte(&self, address: usize) -> Option<usize> {
        let bytes = self.bytes.load(Acquire);
        let byte = address.wrapping_sub(self.start.load(Relaxed).addr());
        (byte < bytes).then_some(byte)
    }

    /// Returns the byte that an address is in the region, and the frame of its page.
    #[inline]
    fn find(&self, start: NonNull<u8>) -> Option<(usize, &Frame)> {
        let byte = self.byte(start.addr().get())?;
        let frames = self.frames.load(Relaxed);
        // SAFETY: By the type invariant: a region that has this byte has bytes.
        unsafe { assert_unchecked(!frames.is_null()) };
        // SAFETY: By the type invariant there is a frame for each page of the region.
        Some((byte, unsafe { &*frames.add(byte >> PAGE_SHIFT) }))
    }
}
