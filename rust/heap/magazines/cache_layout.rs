// SPDX-License-Identifier: GPL-2.0

//! The memory layout of a CPU's cache, whose size depends on the size of the pool.
//!
//! A small pool has small magazines, and the kernel allocates a cache with only the slots that the magazines
//! need: 1,344 bytes for each CPU of `hybrid` in a pool of 32 KiB, and 18 KiB in a pool of 2 MiB or more.

use core::ptr::{
    self,
    NonNull, //
};

#[cfg(not(test))]
use core::sync::atomic::{
    AtomicPtr,
    AtomicU16,
    AtomicU64, //
};

use super::capacity::{
    BUDGET_SHARE,
    FIRST_CAPACITY, //
};
#[cfg(test)]
use crate::testing::atomic::{
    AtomicPtr,
    AtomicU16,
    AtomicU64, //
};
use crate::{
    PAGE_BYTES,
    backing_heap::BackingHeap,
    magazines::magazine::{
        BLOCKS_MAX,
        CpuCache,
        Magazine,
        Slot, //
    },
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    },
    stats::CLASSES_MAX,
};

/// The largest number of bytes of the blocks in a magazine.
const BYTES_MAX: usize = 128 << 10;

/// The sizes of the magazines of a pool, which determine the memory that a CPU's cache takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSize {
    /// The bytes of a block of each size class.
    class_bytes: &'static [u16],
    /// The largest number of blocks in a magazine.
    blocks_max: usize,
    /// The largest number of bytes of the blocks in a magazine.
    bytes_max: usize,
}

impl CacheSize {
    /// The cache size for large pools of any heap.
    pub const FULL: Self = Self {
        class_bytes: &[1; CLASSES_MAX],
        blocks_max: BLOCKS_MAX,
        bytes_max: BYTES_MAX,
    };

    /// The number of slots of a cache of the size [`CacheSize::FULL`].
    pub const FULL_SLOTS: usize = Self::FULL.slots();

    /// Returns the cache size for large pools of a heap.
    #[must_use]
    pub const fn full<H: BackingHeap>() -> Self {
        Self {
            class_bytes: H::CLASS_BYTES,
            blocks_max: BLOCKS_MAX,
            bytes_max: BYTES_MAX,
        }
    }

    /// Returns the cache size for a pool of a heap whose first region has `bytes` bytes.
    ///
    /// The limit of a magazine is a third of the number of pages of this region, but at least 4 and at most 72 blocks.
    /// No magazine has slots for more bytes than the budget of all magazines, because the budget would never let the
    /// magazine use them. Therefore a block of more than 1/16 of the first region has no magazine, also if the pool
    /// gets more regions later.
    #[must_use]
    pub const fn for_pool<H: BackingHeap>(bytes: usize) -> Self {
        let blocks_max = match bytes / PAGE_BYTES / 3 {
            0..FIRST_CAPACITY => FIRST_CAPACITY,
            blocks @ FIRST_CAPACITY..BLOCKS_MAX => blocks,
            _ => BLOCKS_MAX,
        };
        let bytes_max = match bytes / BUDGET_SHARE {
            bytes @ 0..BYTES_MAX => bytes,
            _ => BYTES_MAX,
        };
        Self {
            class_bytes: H::CLASS_BYTES,
            blocks_max,
            bytes_max,
        }
    }

    /// Returns the limit of the magazine of a kind, in blocks.
    pub(crate) const fn limit(self, kind: MagazineKind) -> usize {
        let bytes = match kind.pages() {
            Some(pages) => pages * PAGE_BYTES,
            None if kind.number() < self.class_bytes.len() => {
                self.class_bytes[kind.number()] as usize
            }
            None => return 0,
        };
        // `Option` stands in for a panic: no size is 0.
        let blocks = match self.bytes_max.checked_div(bytes) {
            Some(blocks) => blocks,
            None => 0,
        };
        if blocks < self.blocks_max {
            blocks
        } else {
            self.blocks_max
        }
    }

    /// Returns the number of slots of all magazines of a CPU.
    #[must_use]
    pub const fn slots(self) -> usize {
        let (mut number, mut slots) = (0, 0);
        while let Some(kind) = MagazineKind::new(number) {
            slots += self.limit(kind);
            number += 1;
        }
        slots
    }
}

// A slot of a cache has a 16-bit index.
const _: () = assert!(CacheSize::FULL_SLOTS <= u16::MAX as usize);

impl<const SLOTS: usize> CpuCache<[Slot; SLOTS]> {
    /// Returns an empty cache.
    ///
    /// # Panics
    ///
    /// If the size needs more than `SLOTS` slots.
    #[must_use]
    pub fn new(size: CacheSize) -> Self {
        assert!(size.slots() <= SLOTS, "the cache has too few slots");
        let mut cache = CpuCache {
            allocations: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            requested_bytes: AtomicU64::new(0),
            transfers: AtomicU64::new(0),
            capacity_bytes: AtomicU64::new(0),
            grow_failures: AtomicU64::new(0),
            last_epoch: AtomicU64::new(0),
            magazines: core::array::from_fn(|_| Magazine::default()),
            slots: [const { Slot(AtomicPtr::new(ptr::null_mut())) }; SLOTS],
        };
        place(&mut cache.magazines, size);
        cache
    }
}

/// Gives each magazine of an empty cache its slots.
fn place(magazines: &mut [Magazine; MAGAZINE_KINDS], size: CacheSize) {
    let mut first = 0;
    for (magazine, kind) in magazines.iter_mut().zip(MagazineKind::all()) {
        // INVARIANT: The slots of a magazine follow the slots of the magazine before, and the magazine has no
        // blocks.
        let limit = first + size.limit(kind) as u16;
        *magazine = Magazine {
            begin: first,
            top: AtomicU16::new(first),
            end: AtomicU16::new(first),
            limit,
        };
        first = limit;
    }
}

impl CpuCache {
    /// The alignment of a cache: a cache line.
    pub const ALIGN: usize = align_of::<CpuCache<[Slot; 0]>>();

    /// Returns the bytes of a cache of this size: a multiple of the alignment.
    #[must_use]
    pub fn bytes(size: CacheSize) -> usize {
        let slots = size.slots() * size_of::<Slot>();
        size_of::<CpuCache<[Slot; 0]>>() + slots.next_multiple_of(Self::ALIGN)
    }

    /// Places an empty cache in `memory`.
    ///
    /// # Safety
    ///
    /// `memory` points to [`CpuCache::bytes`] bytes. These bytes are zero and aligned to [`CpuCache::ALIGN`],
    /// and nobody else accesses them during the call.
    pub unsafe fn new_in(memory: NonNull<u8>, size: CacheSize) {
        let slots = NonNull::slice_from_raw_parts(memory.cast::<Slot>(), size.slots());
        let cache = slots.as_ptr() as *mut Self;
        // SAFETY: `&mut` requires valid, aligned and initialized memory that nobody else accesses. The header and the
        // slots take at most `bytes` bytes, zeros are valid for all fields, and by this function's contract the
        // memory has that size and alignment, is zero, and is not accessed by others.
        let cache = unsafe { &mut *cache };
        place(&mut cache.magazines, size);
    }

    /// Returns the cache that [`CpuCache::new_in`] placed in `memory`, with its number of slots.
    ///
    /// # Safety
    ///
    /// - [`CpuCache::new_in`] was called with this memory and a size of `slots` slots, and so has placed an
    ///   aligned and initialized cache there.
    /// - The memory is valid, and accessed only through shared references, as long as the result is used.
    #[inline(always)]
    #[must_use]
    pub unsafe fn from_memory<'m>(memory: NonNull<u8>, slots: usize) -> &'m Self {
        let slots = NonNull::slice_from_raw_parts(memory.cast::<Slot>(), slots);
        // SAFETY: A shared reference requires valid, aligned and initialized memory that changes only through
        // atomics. The first three are this function's contract. The memory is accessed only through shared
        // references, and all fields that change are atomic. The length of a `CpuCache` is the number of its
        // slots.
        unsafe { &*(slots.as_ptr() as *const Self) }
    }
}
