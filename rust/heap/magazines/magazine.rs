// SPDX-License-Identifier: GPL-2.0

//! Magazines and per-CPU caches: stacks of free blocks in front of the heap and its lock.
//!
//! A CPU has a magazine for each size class and for each small number of pages. To allocate is to pop a
//! block, to free is to push one. Most blocks of a full magazine move to the depot, and an empty one is refilled
//! from there, so the engine's lock is taken once in many operations. If the depot has no room or no blocks, a few
//! blocks move to or from the heap. The number is bounded, so that no operation takes long.
//!
//! A free into a magazine does not detect a second free of a block in a magazine, because the heap counts the block as
//! allocated. In `hybrid` the page descriptor does not even say whether an object is free. After such a double free the
//! block is in magazines twice, and two allocations may return it. A flush to the heap detects the double free if the
//! block is free in the heap at that time. A check detects it while the block is in magazines twice.
//!
//! ```text
//!  slots   │ ● ● · · ────────── │ ────────────────── │ … │ ● · │     ●  a free block
//!            ▲   ▲   ▲            ▲                                   ·  room for one
//!            begin   end          limit                               ─  beyond the capacity
//!                top
//!           8 B                   16 B                  …  64 KiB
//! ```
//!
//! Magazines are Bonwick and Adams's (Magazines and Vmem, 2001).

use core::{
    ptr::NonNull,
    sync::atomic::Ordering::Relaxed, //
};

#[cfg(not(test))]
use core::sync::atomic::{
    AtomicPtr,
    AtomicU16,
    AtomicU64, //
};

#[cfg(test)]
use crate::testing::atomic::{
    AtomicPtr,
    AtomicU16,
    AtomicU64, //
};
use crate::{
    Block,
    per_cpu::Exclusive,
    size_class::{
        MAGAZINE_KINDS,
        MagazineKind, //
    },
};

/// The largest number of blocks of a magazine. SUBMIT executes up to 64 operations under one hold of the session's
/// lock, so a full magazine serves the allocations of one hold and then has 8 blocks left.
pub(crate) const BLOCKS_MAX: usize = 72;

/// A CPU's free blocks of one size, last in first out. The fields are indexes of the cache's slots.
///
/// ```text
/// no capacity ── found empty or full: capacity 4, 8, … up to the limit, while the budget allows
///      ▲                                       │ full, and cannot grow: blocks leave for the depot or the heap
///      ├── reclaim: all blocks are flushed, and the capacity is returned
///      └── redistribution: a block is flushed, and the unused capacity is returned
/// ```
///
/// # Invariants
///
/// - `begin <= top <= end <= limit`, and `limit` is at most the number of slots. No other magazine uses the
///   slots from `begin` up to `limit`.
/// - The slots from `begin` up to `top` contain blocks of the magazine's kind that are not live, and that the heap
///   counts as allocated.
#[derive(Default)]
pub(crate) struct Magazine {
    pub(crate) begin: u16,
    pub(crate) top: AtomicU16,
    pub(crate) end: AtomicU16,
    pub(crate) limit: u16,
}

/// A place for the address of a block in a magazine.
#[derive(Default)]
#[repr(transparent)]
pub struct Slot(pub(crate) AtomicPtr<u8>);

impl Slot {
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<Block> {
        let start = NonNull::new(self.0.load(Relaxed))?;
        Some(Block { start })
    }

    #[inline(always)]
    pub(crate) fn set(&self, block: Block) {
        self.0.store(block.start.as_ptr(), Relaxed);
    }

    /// Copies the blocks of `from` to the slots of `to`, up to the length of the shorter slice, and returns how many.
    #[inline(always)]
    pub(crate) fn copy(from: &[Self], to: &[Self]) -> usize {
        for (from, to) in from.iter().zip(to) {
            to.0.store(from.0.load(Relaxed), Relaxed);
        }
        from.len().min(to.len())
    }
}

/// The magazines of a CPU, and its counters.
///
/// Only the holder of the [`Exclusive`] cache changes it, except for `last_epoch`. The fields are atomic so that
/// other CPUs may read them for statistics and checks. The owner uses plain loads and stores, without the x86 `lock`
/// prefix.
#[repr(C, align(64))]
pub struct CpuCache<S: ?Sized = [Slot]> {
    /// Allocations from magazines, and frees into magazines.
    pub(crate) allocations: AtomicU64,
    pub(crate) frees: AtomicU64,
    /// Bytes requested by these allocations, minus those of these frees. A block may be freed on another
    /// CPU than it was allocated on, so the number wraps.
    pub(crate) requested_bytes: AtomicU64,
    /// Refills, flushes and changes of a capacity, so that [`CpuCache::epoch`] changes with each.
    pub(crate) transfers: AtomicU64,
    /// The capacities of all magazines in bytes: the CPU's part of the budget of magazines
    /// ([`State::grow_magazine`](super::state::State::grow_magazine)).
    pub(crate) capacity_bytes: AtomicU64,
    /// Growths that were refused or granted only in part, and full magazines for which the depot had no room, since the
    /// magazines last lost their capacity, the budget was redistributed, or the pool was shrunk.
    pub(crate) grow_failures: AtomicU64,
    /// The epoch when the activities of all CPUs were last compared. Any CPU writes it: see `redistribution`.
    pub(crate) last_epoch: AtomicU64,
    pub(crate) magazines: [Magazine; MAGAZINE_KINDS],
    pub(crate) slots: S,
}

/// Adds to a counter that only its CPU changes. The addition may wrap.
#[inline(always)]
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

impl CpuCache {
    #[inline(always)]
    fn magazine(&self, kind: MagazineKind) -> &Magazine {
        &self.magazines[kind.number()]
    }

    /// Returns the number of blocks of a kind.
    #[inline]
    pub(crate) fn len(&self, kind: MagazineKind) -> usize {
        let magazine = self.magazine(kind);
        magazine.top.load(Relaxed).wrapping_sub(magazine.begin) as usize
    }

    /// Returns the capacity for blocks of a kind.
    #[inline]
    pub(crate) fn capacity(&self, kind: MagazineKind) -> usize {
        let magazine = self.magazine(kind);
        magazine.end.load(Relaxed).wrapping_sub(magazine.begin) as usize
    }

    /// Returns the largest possible capacity for blocks of a kind.
    #[inline]
    pub(crate) fn limit(&self, kind: MagazineKind) -> usize {
        let magazine = self.magazine(kind);
        magazine.limit.wrapping_sub(magazine.begin) as usize
    }

    /// Returns the slots of a magazine up to its limit.
    pub(crate) fn slots(&self, kind: MagazineKind) -> &[Slot] {
        let magazine = self.magazine(kind);
        let slots = magazine.begin as usize..magazine.limit as usize;
        self.slots.get(slots).unwrap_or_default()
    }

    /// Returns the block in slot `number` of a magazine, if there is one.
    pub(crate) fn block(&self, kind: MagazineKind, number: usize) -> Option<Block> {
        let used = self.slots(kind).get(..self.len(kind))?;
        used.get(number)?.get()
    }

    /// Returns a number that changes with every change of the magazines.
    pub(crate) fn epoch(&self) -> u64 {
        let counters = [&self.allocations, &self.frees, &self.transfers];
        let counts = counters.map(|counter| counter.load(Relaxed));
        counts.into_iter().fold(0, u64::wrapping_add)
    }
}

impl Exclusive<'_, CpuCache> {
    /// Allocates the block that was freed last, if there is one, for a request of `bytes` bytes.
    #[inline(always)]
    pub(crate) fn pop(&self, kind: MagazineKind, bytes: usize) -> Option<Block> {
        let magazine = self.magazine(kind);
        let top = usize::from(magazine.top.load(Relaxed));
        if top == usize::from(magazine.begin) {
            return None;
        }
        let top = top.wrapping_sub(1);
        // SAFETY: By the invariant of `Magazine`, `begin <= top` before the subtraction, and they differ, so that
        // `top` is the index of a slot now.
        let slot = unsafe { self.slots.get_unchecked(top) };
        // SAFETY: By the invariant of `Magazine` the slot contains a block, whose address is not null.
        let start = unsafe { NonNull::new_unchecked(slot.0.load(Relaxed)) };
        // INVARIANT: The blocks below stay.
        magazine.top.store(top as u16, Relaxed);
        add(&self.allocations, 1);
        add(&self.requested_bytes, bytes as u64);
        Some(Block { start })
    }

    /// Frees a live block of this kind, which was requested with `bytes` bytes, into its magazine; returns
    /// whether there was room.
    ///
    /// # Safety
    ///
    /// The block is live, it is of this kind, and nobody uses it any more.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, kind: MagazineKind, block: Block, bytes: usize) -> bool {
        let magazine = self.magazine(kind);
        let top = usize::from(magazine.top.load(Relaxed));
        if top >= usize::from(magazine.end.load(Relaxed)) {
            return false;
        }
        // SAFETY: By the invariant of `Magazine`, `end` is at most the number of slots, and `top` is less.
        let slot = unsafe { self.slots.get_unchecked(top) };
        slot.set(block);
        // INVARIANT: The slot contains the block, which is of the magazine's kind by this function's contract, and
        // `top` was below `end`.
        magazine.top.store((top + 1) as u16, Relaxed);
        add(&self.frees, 1);
        add(&self.requested_bytes, (bytes as u64).wrapping_neg());
        true
    }

    /// Sets the number of blocks in a magazine.
    fn set_len(&self, kind: MagazineKind, len: usize) {
        let magazine = self.magazine(kind);
        let top = magazine.begin.wrapping_add(len as u16);
        magazine.top.store(top, Relaxed);
    }

    /// Sets the capacity of a magazine for blocks of `block_bytes` bytes, which is at least its number of blocks. A
    /// capacity above the limit is cut.
    pub(crate) fn set_capacity(&self, kind: MagazineKind, block_bytes: usize, capacity: usize) {
        let capacity = capacity.min(self.limit(kind));
        add(&self.transfers, 1);
        let more = capacity.wrapping_sub(self.capacity(kind));
        add(&self.capacity_bytes, more.wrapping_mul(block_bytes) as u64);
        let magazine = self.magazine(kind);
        let end = magazine.begin.wrapping_add(capacity as u16);
        // INVARIANT: `end` is at most the limit. If it were below `top`, `push` would see a full magazine.
        magazine.end.store(end, Relaxed);
    }

    /// Pushes blocks, for which there is room, so that the first one is allocated first.
    ///
    /// # Safety
    ///
    /// The blocks are of this kind, the heap counts them as allocated, and nobody uses them.
    pub(crate) unsafe fn refill(
        &self,
        kind: MagazineKind,
        blocks: impl DoubleEndedIterator<Item = Block>,
    ) {
        add(&self.transfers, 1);
        let (len, capacity) = (self.len(kind), self.capacity(kind));
        let free = self.slots(kind).iter().take(capacity).skip(len);
        let pushed = free.zip(blocks.rev()).map(|(slot, block)| slot.set(block));
        // INVARIANT: Each of the pushed blocks is in a slot below the capacity.
        self.set_len(kind, len + pushed.count());
    }

    /// Pushes the blocks of `slots`, as far as there is room, so that the last one is allocated first.
    ///
    /// # Safety
    ///
    /// Each slot contains a block of this kind that the heap counts as allocated and nobody uses.
    pub(crate) unsafe fn load(&self, kind: MagazineKind, slots: &[Slot]) {
        add(&self.transfers, 1);
        let len = self.len(kind);
        let free = self.slots(kind).get(len..self.capacity(kind));
        // INVARIANT: Each of the copied blocks is in a slot below the capacity.
        self.set_len(kind, len + Slot::copy(slots, free.unwrap_or_default()));
    }

    /// Returns the slots of the `count` blocks that were freed last, or of all if there are fewer, the oldest of them
    /// first.
    pub(crate) fn newest(&self, kind: MagazineKind, count: usize) -> &[Slot] {
        let slots = self.slots(kind);
        let slots = slots.get(..self.len(kind)).unwrap_or_default();
        let (_, newest) = slots.split_at(slots.len().saturating_sub(count));
        newest
    }

    /// Removes the block that was freed before the `newer` newest ones, and returns it. O(newer).
    pub(crate) fn remove_below(&self, kind: MagazineKind, newer: usize) -> Option<Block> {
        let slots = self.newest(kind, newer + 1);
        let (first, rest) = slots.split_first()?;
        let removed = first.get();
        Slot::copy(rest, slots);
        add(&self.transfers, 1);
        // INVARIANT: The newer blocks moved down by one slot, so the last slot has no block of its own.
        let top = &self.magazine(kind).top;
        top.store(top.load(Relaxed).wrapping_sub(1), Relaxed);
        removed
    }

    /// Removes the `count` blocks that were freed last, which the caller has moved elsewhere.
    pub(crate) fn remove_newest(&self, kind: MagazineKind, count: usize) {
        add(&self.transfers, 1);
        // INVARIANT: The blocks that stay are in the first slots.
        self.set_len(kind, self.len(kind).saturating_sub(count));
    }
}
