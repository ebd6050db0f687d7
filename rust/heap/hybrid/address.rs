// SPDX-License-Identifier: GPL-2.0

//! Addresses and offsets, without the lock.
//!
//! What a region is never changes once it was added, so any CPU may turn an offset into an address
//! and back, and read the frame of a page, while another one adds a region.

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

use super::frames::{
    Frame,
    Tag, //
};
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

    /// Returns the offset of an address, and what the frame of its page says, if the pool has it.
    #[inline]
    pub(super) fn find(&self, address: usize) -> Option<(Offset, Tag)> {
        for (region, view) in self.views.iter().enumerate() {
            let bytes = view.bytes.load(Acquire);
            let byte = address.wrapping_sub(view.start.load(Relaxed).addr());
            if byte < bytes {
                let frame = view.frames.load(Relaxed);
                // SAFETY: By the type invariant there is a frame for each page of the region.
                let frame = unsafe { &*frame.add(byte >> PAGE_SHIFT) };
                return Some((Offset::new(region as u16, byte as u64), frame.tag()));
            }
            if bytes == 0 {
                break;
            }
        }
        None
    }
}
