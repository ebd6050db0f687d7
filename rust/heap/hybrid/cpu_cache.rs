// SPDX-License-Identifier: GPL-2.0

//! Per-CPU caches: the magazines of one CPU, and the CPU's counters.
//!
//! ```text
//!          len  capacity  limit  slots
//!  8 B       2         4     71      ──▶ │ ● ● · · ────── │   ●  a free block
//!  16 B      0         0     71      ──▶ │ ────────────── │   ·  room for one
//!  …                                       ▲                  ─  beyond the capacity
//!  64 KiB    1         2      2      ──▶ │ ● · │
//!                                          └ the block that was freed first
//! ```
//!
//! Only [`PerCpu`](crate::per_cpu::PerCpu) leads to the methods that change a cache: its closures
//! exclude each other. The fields are atomic so that other CPUs may read them for statistics and
//! checks; they are used like plain words, without a `lock` prefix.

use core::{
    ptr::NonNull,
    sync::atomic::Ordering::Relaxed, //
};

#[cfg(not(test))]
use core::sync::atomic::{
    AtomicPtr,
    AtomicU32,
    AtomicU64, //
};

use super::magazine::{
    CacheSize,
    KINDS,
    MagazineKind, //
};
#[cfg(test)]
use crate::testing::atomic::{
    AtomicPtr,
    AtomicU32,
    AtomicU64, //
};

/// The address of a block's first byte.
pub(super) type Start = NonNull<u8>;

/// The bytes that a caller asked for, where they are to be counted.
pub(super) type Requested = Option<usize>;

/// Room for the address of a block. Zero is none.
#[repr(transparent)]
pub(super) struct Slot(AtomicPtr<u8>);

impl Slot {
    #[inline(always)]
    fn get(&self) -> Option<Start> {
        NonNull::new(self.0.load(Relaxed))
    }

    #[inline(always)]
    pub(super) fn set(&self, block: Start) {
        self.0.store(block.as_ptr(), Relaxed);
    }
}

/// Tells the compiler that the path which calls it is rare, so that it stands out of line.
#[cold]
#[inline(always)]
const fn rare() {}

/// One CPU's free blocks of one size, last in first out.
///
/// # Invariants
///
/// - From `slots` on there are `limit` slots that no other magazine has, as long as the cache is used.
/// - Between two closures of [`PerCpu`](crate::per_cpu::PerCpu), `len ≤ capacity ≤ limit`, and the
///   first `len` slots hold blocks.
// A magazine is as large as a row of the table of classes, so that the code of a class, which is the
// offset of its row, also is the offset of its magazine.
#[repr(C, align(32))]
struct Magazine {
    len: AtomicU32,
    capacity: AtomicU32,
    slots: NonNull<Slot>,
    limit: u32,
}

impl Magazine {
    /// Returns the slots up to the capacity.
    fn slots(&self) -> &[Slot] {
        let capacity = self.capacity.load(Relaxed).min(self.limit) as usize;
        // SAFETY: By the type invariant there are so many slots. They are atomic, and their zeros
        // are valid.
        unsafe { NonNull::slice_from_raw_parts(self.slots, capacity).as_ref() }
    }

    /// Takes out the block that was put in last.
    #[inline(always)]
    fn pop(&self) -> Option<Start> {
        let len = self.len.load(Relaxed) as usize;
        if len == 0 {
            rare();
            return None;
        }
        // SAFETY: By the type invariant there are at least `len` slots.
        let slot = unsafe { self.slots.add(len - 1).as_ref() };
        // SAFETY: By the type invariant the slot holds a block, whose address is not null.
        let block = unsafe { NonNull::new_unchecked(slot.0.load(Relaxed)) };
        // INVARIANT: There are fewer blocks than before.
        self.add_to_len(u32::MAX);
        Some(block)
    }

    /// Puts a block in, unless there is no room.
    #[inline(always)]
    fn push(&self, block: Start) -> bool {
        let len = self.len.load(Relaxed);
        if len >= self.capacity.load(Relaxed) {
            return false;
        }
        // SAFETY: By the type invariant there are more than `len` slots.
        unsafe { self.slots.add(len as usize).as_ref() }.set(block);
        // INVARIANT: The slot holds a block, and `len` was less than the capacity.
        self.add_to_len(1);
        true
    }

    /// Adds to the length. As in [`add`], the compiler makes one instruction of the load and the store.
    #[inline(always)]
    fn add_to_len(&self, blocks: u32) {
        let len = self.len.load(Relaxed);
        self.len.store(len.wrapping_add(blocks), Relaxed);
    }
}

/// The magazines of a CPU.
#[repr(C, align(64))]
pub struct CpuCache {
    /// Allocations that magazines served.
    allocations: AtomicU64,
    /// Frees that magazines took.
    frees: AtomicU64,
    /// Bytes requested by these allocations, less those of these frees. A block may be freed on
    /// another CPU than it was allocated on: the number wraps.
    requested_bytes: AtomicU64,
    /// Changes of magazines other than these allocations and frees.
    transfers: AtomicU64,
    /// Bytes of the pool's reserve that these magazines have: the sum of their capacities.
    reserved_bytes: AtomicU64,
    /// Times that the pool's reserve was used up when a magazine was to grow, since the CPU last gave
    /// up its part of the reserve, or asked for another CPU's.
    grow_failures: AtomicU64,
    /// The epoch when the reserve was last redistributed for any CPU.
    last_epoch: AtomicU64,
    magazines: [Magazine; KINDS],
}

// SAFETY: The slots belong to the cache, and everything in it is atomic or never changes.
unsafe impl Send for CpuCache {}

// SAFETY: As above.
unsafe impl Sync for CpuCache {}

/// Adds to a counter that only its CPU changes: one instruction without a `lock` prefix.
#[inline]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// Operations that CPUs count in their caches, and holders of the lock beside the heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) allocations: u64,
    pub(super) frees: u64,
    /// Blocks that went from magazines to the heap, and times that a part of the reserve did.
    pub(super) transfers: u64,
    /// Bytes requested, less those of blocks that were freed; it wraps.
    pub(super) requested_bytes: u64,
}

impl Counts {
    /// No operations.
    pub(super) const NONE: Self = Self {
        allocations: 0,
        frees: 0,
        transfers: 0,
        requested_bytes: 0,
    };

    /// Counts an allocation.
    #[inline]
    pub(super) fn allocated(&mut self, requested: Requested) {
        self.allocations += 1;
        let bytes = requested.unwrap_or(0) as u64;
        self.requested_bytes = self.requested_bytes.wrapping_add(bytes);
    }

    /// Counts a free.
    #[inline]
    pub(super) fn freed(&mut self, requested: Requested) {
        self.frees = self.frees.wrapping_add(1);
        let bytes = requested.unwrap_or(0) as u64;
        self.requested_bytes = self.requested_bytes.wrapping_sub(bytes);
    }

    /// Counts that a block of `old` bytes has `new` ones.
    pub(super) fn resized(&mut self, old: usize, new: usize) {
        let requested_bytes = self.requested_bytes.wrapping_sub(old as u64);
        self.requested_bytes = requested_bytes.wrapping_add(new as u64);
    }

    /// Returns the sum of both.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            allocations: self.allocations.wrapping_add(other.allocations),
            frees: self.frees.wrapping_add(other.frees),
            transfers: self.transfers.wrapping_add(other.transfers),
            requested_bytes: self.requested_bytes.wrapping_add(other.requested_bytes),
        }
    }
}

impl CpuCache {
    /// The alignment of a cache: a cache line.
    pub const ALIGN: usize = align_of::<Self>();

    /// Returns the bytes that a cache of this size takes, with its slots: a multiple of the alignment.
    #[must_use]
    pub fn bytes(size: CacheSize) -> usize {
        let slots = size.slots() * size_of::<Slot>();
        size_of::<Self>() + slots.next_multiple_of(Self::ALIGN)
    }

    /// Makes an empty cache in `memory`.
    ///
    /// # Safety
    ///
    /// `memory` is valid for reads and writes of [`CpuCache::bytes`] bytes, which are zero; it is
    /// aligned to [`CpuCache::ALIGN`], and nobody else uses it as long as the cache is used.
    #[must_use]
    pub unsafe fn new_in(memory: NonNull<u8>, size: CacheSize) -> NonNull<Self> {
        let cache = memory.cast::<Self>();
        // SAFETY: By this function's contract the memory has room for the slots behind the cache.
        let mut slots = unsafe { cache.add(1) }.cast::<Slot>();
        // SAFETY: As above; zeros are counters, and a magazine is written before it is used.
        let first = unsafe { &raw mut (*cache.as_ptr()).magazines }.cast::<Magazine>();
        for kind in MagazineKind::all() {
            let limit = size.limit(kind);
            // INVARIANT: The slots of the next magazine begin behind these. There are no blocks.
            let magazine = Magazine {
                len: AtomicU32::default(),
                capacity: AtomicU32::default(),
                slots,
                limit: limit as u32,
            };
            // SAFETY: There is a magazine for each kind.
            unsafe { first.add(kind.number()).write(magazine) };
            // SAFETY: `CacheSize::slots` is the sum of all limits.
            slots = unsafe { slots.add(limit) };
        }
        cache
    }

    #[inline(always)]
    fn magazine(&self, kind: MagazineKind) -> &Magazine {
        &self.magazines[kind.number()]
    }

    /// Returns how many blocks of a kind there are.
    #[inline]
    pub(super) fn len(&self, kind: MagazineKind) -> usize {
        self.magazine(kind).len.load(Relaxed) as usize
    }

    /// Returns how many blocks of a kind there may be.
    #[inline]
    pub(super) fn capacity(&self, kind: MagazineKind) -> usize {
        self.magazine(kind).capacity.load(Relaxed) as usize
    }

    /// Returns the most blocks of a kind that there can ever be.
    pub(super) fn limit(&self, kind: MagazineKind) -> usize {
        self.magazine(kind).limit as usize
    }

    /// Returns the first kind, from a number on, whose magazine has a capacity.
    pub(super) fn next_enabled(&self, from: usize) -> Option<MagazineKind> {
        let mut kinds = (from..KINDS).filter_map(MagazineKind::new);
        kinds.find(|kind| self.capacity(*kind) > 0)
    }

    /// Returns the block in a slot, if there is one.
    pub(super) fn block(&self, kind: MagazineKind, slot: usize) -> Option<Start> {
        let is_used = slot < self.len(kind);
        is_used
            .then(|| self.magazine(kind).slots().get(slot))??
            .get()
    }

    /// Returns the bytes of the pool's reserve that these magazines have.
    pub(super) fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Relaxed)
    }

    /// Returns the CPU's counters.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            allocations: self.allocations.load(Relaxed),
            frees: self.frees.load(Relaxed),
            transfers: 0,
            requested_bytes: self.requested_bytes.load(Relaxed),
        }
    }

    /// Returns a number that grows with every change of the magazines.
    pub(super) fn epoch(&self) -> u64 {
        let Counts {
            allocations, frees, ..
        } = self.counts();
        allocations
            .wrapping_add(frees)
            .wrapping_add(self.transfers.load(Relaxed))
    }

    /// Returns how much the epoch has grown since the last call.
    pub(super) fn activity(&self) -> u64 {
        let epoch = self.epoch();
        let last = self.last_epoch.load(Relaxed);
        self.last_epoch.store(epoch, Relaxed);
        epoch.wrapping_sub(last)
    }

    /// Allocates the block that was freed last, if there is one.
    #[inline(always)]
    pub(super) fn allocate(&self, kind: MagazineKind, requested: Requested) -> Option<Start> {
        let block = self.magazine(kind).pop()?;
        add(&self.allocations, 1);
        if let Some(bytes) = requested {
            add(&self.requested_bytes, bytes as u64);
        }
        Some(block)
    }

    /// Frees a block into its magazine, and says whether there was room.
    #[inline(always)]
    pub(super) fn free(&self, kind: MagazineKind, block: Start, requested: Requested) -> bool {
        let pushed = self.magazine(kind).push(block);
        if pushed {
            add(&self.frees, 1);
            if let Some(bytes) = requested {
                add(&self.requested_bytes, (bytes as u64).wrapping_neg());
            }
        }
        pushed
    }

    /// Raises the capacity of a magazine by `blocks`, which the limit allows.
    pub(super) fn raise_capacity(&self, kind: MagazineKind, blocks: usize) {
        let capacity = self.capacity(kind) + blocks;
        debug_assert!(capacity <= self.limit(kind));
        if blocks > 0 {
            add(&self.transfers, 1);
            add(&self.reserved_bytes, (blocks * kind.bytes()) as u64);
            // INVARIANT: At most the limit.
            self.magazine(kind).capacity.store(capacity as u32, Relaxed);
        }
    }

    /// Puts blocks into a magazine so that the first is allocated first, and returns how many of the
    /// last ones had room.
    pub(super) fn refill(
        &self,
        kind: MagazineKind,
        blocks: impl DoubleEndedIterator<Item = Start>,
    ) -> usize {
        add(&self.transfers, 1);
        let slots = self.magazine(kind).slots();
        let before = self.len(kind);
        let mut len = before;
        for (slot, block) in slots.iter().skip(before).zip(blocks.rev()) {
            slot.set(block);
            len += 1;
        }
        // INVARIANT: Each of these slots holds a block, and they are at most as many as the capacity.
        self.magazine(kind).len.store(len as u32, Relaxed);
        len - before
    }

    /// Takes out the blocks that were freed first, at most `count`, and gives each to `f`; returns
    /// how many they are.
    pub(super) fn flush(
        &self,
        kind: MagazineKind,
        count: usize,
        mut f: impl FnMut(Start),
    ) -> usize {
        add(&self.transfers, 1);
        let slots = self.magazine(kind).slots();
        let len = self.len(kind).min(slots.len());
        let taken = count.min(len);
        for slot in &slots[..taken] {
            if let Some(block) = slot.get() {
                f(block);
            }
        }
        for slot in taken..len {
            if let Some(block) = slots[slot].get() {
                slots[slot - taken].set(block);
            }
        }
        // INVARIANT: The blocks that stay were moved to the first slots.
        self.magazine(kind).len.store((len - taken) as u32, Relaxed);
        taken
    }

    /// Takes out all blocks of a kind as [`CpuCache::flush`] does, takes the magazine's capacity
    /// away, and returns the number of the blocks and that capacity.
    pub(super) fn disable(&self, kind: MagazineKind, f: impl FnMut(Start)) -> (usize, usize) {
        let taken = self.flush(kind, usize::MAX, f);
        let capacity = self.capacity(kind);
        // INVARIANT: There are no blocks.
        self.magazine(kind).capacity.store(0, Relaxed);
        self.forget_grow_failures();
        let bytes = (capacity * kind.bytes()) as u64;
        add(&self.reserved_bytes, bytes.wrapping_neg());
        (taken, capacity)
    }

    /// Counts that a magazine could not grow, and returns how often that was.
    pub(super) fn count_grow_failure(&self) -> u64 {
        add(&self.grow_failures, 1);
        self.grow_failures.load(Relaxed)
    }

    /// Begins to count anew how often a magazine could not grow.
    pub(super) fn forget_grow_failures(&self) {
        self.grow_failures.store(0, Relaxed);
    }

    /// Lends the two counters of a magazine and its slots, to be damaged.
    #[cfg(test)]
    pub(super) fn damage(&self, kind: MagazineKind) -> (&AtomicU32, &AtomicU32, &[Slot]) {
        let magazine = self.magazine(kind);
        (&magazine.len, &magazine.capacity, magazine.slots())
    }

    /// Lends the counters of allocations and of frees, to be damaged.
    #[cfg(test)]
    pub(super) fn damage_counts(&self) -> (&AtomicU64, &AtomicU64) {
        (&self.allocations, &self.frees)
    }
}
