// SPDX-License-Identifier: GPL-2.0

//! Magazines: blocks that a CPU keeps to itself.
//!
//! Each CPU has a stack of free blocks of each size in front of the heap. To allocate is to pop, to
//! free is to push, and neither takes a lock that others want: the CPU is kept to its own for as
//! long as that takes ([`Platform`](crate::platform::Platform)). A magazine that is empty is filled
//! by half, one that is full is emptied by half, so that the heap's lock is taken once in many
//! operations, and not again at once when the direction changes.
//!
//! The idea is Bonwick and Adams's (Magazines and Vmem, 2001), and that of SLUB's sheaves. Theirs
//! are exchanged whole, two to a CPU, with a depot behind. Here a magazine is loaded from the
//! bitmaps of slabs, a word for up to 64 objects, and goes back there, where a bad free is found.
//! As theirs do, magazines grow where the lock is wanted often: a CPU that never uses a size keeps
//! nothing of it, and what one may keep does not depend on how many CPUs there are.
//!
//! Only the CPU that owns a magazine changes it. It is made of atomics all the same, which are used
//! like plain words, so that others may count what is in it.

use core::{
    alloc::Layout,
    sync::atomic::Ordering::Relaxed, //
};

#[cfg(not(test))]
use core::sync::atomic::{
    AtomicU32,
    AtomicU64, //
};

use super::heap::pages_of;
#[cfg(test)]
use crate::testing::atomic::{
    AtomicU32,
    AtomicU64, //
};
use crate::{
    class::{
        CLASSES,
        Class,
        PAGE_BYTES, //
    },
    region::Offset,
};

/// The most blocks that a magazine holds: with its two counters it has eight cache lines.
pub(super) const SLOTS: usize = 63;

/// The most blocks that move at once.
pub(super) const BATCH: usize = 32;

/// The most bytes that a magazine holds, where that is less than [`SLOTS`] blocks.
const BYTES: usize = 128 << 10;

/// The blocks that a magazine may hold when it is first wanted.
const FIRST: usize = 4;

/// The largest blocks of whole pages that magazines hold.
const PAGES_MAX: usize = 16;

/// The number of sizes that there are magazines for.
pub(super) const STOCKS: usize = CLASSES + PAGES_MAX - 1;

/// What a magazine holds: objects of a class, or blocks of 2 to [`PAGES_MAX`] pages.
///
/// # Invariants
///
/// The number is below [`STOCKS`]: first the classes, then the numbers of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stock(u8);

impl Stock {
    /// Returns what serves a layout, unless that is too large for magazines, or too aligned.
    #[inline]
    pub(super) const fn of(layout: &Layout) -> Option<Self> {
        // INVARIANT: A class's number is below `CLASSES`, the pages are compared here.
        match Class::of(layout) {
            Some(class) => Some(Self(class.number())),
            None => {
                let pages = pages_of(layout);
                if layout.align() <= PAGE_BYTES && 2 <= pages && pages <= PAGES_MAX {
                    Some(Self((CLASSES + pages - 2) as u8))
                } else {
                    None
                }
            }
        }
    }

    /// Returns all of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        // INVARIANT: The range ends below `STOCKS`.
        (0..STOCKS as u8).map(Self)
    }

    /// Returns the number, below [`STOCKS`].
    pub(super) const fn number(self) -> usize {
        self.0 as usize
    }

    /// Returns the class, if it is one.
    #[inline]
    pub(super) const fn class(self) -> Option<Class> {
        Class::new(self.0)
    }

    /// Returns the pages of a block that is no object.
    #[inline]
    pub(super) const fn pages(self) -> usize {
        (self.0 as usize + 2).saturating_sub(CLASSES)
    }

    /// Returns the bytes of a block.
    #[inline]
    pub(super) const fn bytes(self) -> usize {
        match self.class() {
            Some(class) => class.bytes(),
            None => self.pages() * PAGE_BYTES,
        }
    }

    /// Returns the most blocks that a magazine holds.
    #[inline]
    pub(super) fn most(self) -> usize {
        (BYTES / self.bytes()).min(SLOTS)
    }

    /// Returns how many blocks a magazine that holds up to `capacity`, and was found empty or full,
    /// is to hold.
    #[inline]
    pub(super) fn next(self, capacity: usize) -> usize {
        (2 * capacity).max(FIRST).min(self.most())
    }
}

/// One CPU's free blocks of one size, last in first out.
///
/// # Invariants
///
/// `len ≤ capacity ≤ SLOTS`, as the CPU that owns it sees them.
#[repr(C, align(64))]
struct Magazine {
    len: AtomicU32,
    capacity: AtomicU32,
    blocks: [AtomicU64; SLOTS],
}

const _: () = assert!(size_of::<Magazine>() == 512);

/// What one CPU keeps to itself. Zeros are one that keeps nothing.
#[repr(C, align(128))]
pub struct Cache {
    magazines: [Magazine; STOCKS],
    /// Allocations that magazines served.
    allocations: AtomicU64,
    /// Frees that magazines took.
    frees: AtomicU64,
    /// Times that magazines were filled, emptied or grew.
    turns: AtomicU64,
    /// Bytes asked for, less bytes given back. What one CPU gives another gives back: it wraps.
    requested_bytes: AtomicU64,
    /// Times that a magazine was refused to grow since all were emptied last.
    denials: AtomicU64,
}

/// Adds to a counter that only its CPU changes: a plain addition, without a `lock` prefix.
#[inline]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// What is counted, by each CPU and by those who have the lock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) allocations: u64,
    pub(super) frees: u64,
    /// Blocks that came back from magazines, and times that room for some did.
    pub(super) moves: u64,
    /// Bytes asked for, less bytes given back; it wraps.
    pub(super) requested_bytes: u64,
}

impl Counts {
    /// Counts an allocation.
    #[inline]
    pub(super) fn allocated(&mut self, bytes: usize) {
        self.allocations += 1;
        self.requested_bytes = self.requested_bytes.wrapping_add(bytes as u64);
    }

    /// Counts a free.
    #[inline]
    pub(super) fn freed(&mut self, bytes: usize) {
        self.frees = self.frees.wrapping_add(1);
        self.requested_bytes = self.requested_bytes.wrapping_sub(bytes as u64);
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
            moves: self.moves.wrapping_add(other.moves),
            requested_bytes: self.requested_bytes.wrapping_add(other.requested_bytes),
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// Returns a cache that is empty.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            // INVARIANT: `0 ≤ 0`.
            magazines: [const {
                Magazine {
                    len: AtomicU32::new(0),
                    capacity: AtomicU32::new(0),
                    blocks: [const { AtomicU64::new(0) }; SLOTS],
                }
            }; STOCKS],
            allocations: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            requested_bytes: AtomicU64::new(0),
            denials: AtomicU64::new(0),
        }
    }

    #[inline]
    fn magazine(&self, stock: Stock) -> &Magazine {
        // By the invariant of `Stock` it is never the last for another's sake.
        &self.magazines[usize::from(stock.0).min(STOCKS - 1)]
    }

    /// Returns how many blocks there are of a size.
    #[inline]
    pub(super) fn len(&self, stock: Stock) -> usize {
        self.magazine(stock).len.load(Relaxed) as usize
    }

    /// Returns how many blocks there may be of a size.
    #[inline]
    pub(super) fn capacity(&self, stock: Stock) -> usize {
        self.magazine(stock).capacity.load(Relaxed) as usize
    }

    /// Returns the block in a slot, if there is one.
    pub(super) fn block(&self, stock: Stock, slot: usize) -> Option<Offset> {
        let block = (slot < self.len(stock)).then(|| self.magazine(stock).blocks.get(slot))??;
        Some(Offset::from_bits(block.load(Relaxed)))
    }

    /// Says whether nothing is kept, nor may be.
    pub(super) fn is_idle(&self) -> bool {
        Stock::all().all(|stock| self.capacity(stock) == 0)
    }

    /// Returns what is counted here.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            allocations: self.allocations.load(Relaxed),
            frees: self.frees.load(Relaxed),
            moves: 0,
            requested_bytes: self.requested_bytes.load(Relaxed),
        }
    }

    /// Returns a number that changes with every change of the magazines. Right on their own CPU.
    pub(super) fn epoch(&self) -> u64 {
        let Counts {
            allocations, frees, ..
        } = self.counts();
        allocations + frees + self.turns.load(Relaxed)
    }

    /// Serves a request of `bytes` bytes with the block that was put in last.
    #[inline]
    pub(super) fn allocate(&self, stock: Stock, bytes: usize) -> Option<Offset> {
        let magazine = self.magazine(stock);
        let len = magazine.len.load(Relaxed).wrapping_sub(1);
        let block = magazine.blocks.get(len as usize)?.load(Relaxed);
        magazine.len.store(len, Relaxed);
        add(&self.allocations, 1);
        add(&self.requested_bytes, bytes as u64);
        Some(Offset::from_bits(block))
    }

    /// Takes back the block of a request of `bytes` bytes, unless there is no room.
    #[inline]
    pub(super) fn release(&self, stock: Stock, block: Offset, bytes: usize) -> bool {
        let put = self.put(stock, block);
        if put {
            add(&self.frees, 1);
            add(&self.requested_bytes, (bytes as u64).wrapping_neg());
        }
        put
    }

    /// Puts a block in, unless there is no room.
    #[inline]
    fn put(&self, stock: Stock, block: Offset) -> bool {
        let magazine = self.magazine(stock);
        let len = magazine.len.load(Relaxed);
        if len >= magazine.capacity.load(Relaxed) {
            return false;
        }
        let Some(slot) = magazine.blocks.get(len as usize) else {
            return false;
        };
        slot.store(block.to_bits(), Relaxed);
        // INVARIANT: Compared with the capacity just above.
        magazine.len.store(len + 1, Relaxed);
        true
    }

    /// Lets a magazine hold up to `more` blocks more; returns how many more than it can that is.
    pub(super) fn grow(&self, stock: Stock, more: usize) -> usize {
        add(&self.turns, 1);
        let magazine = self.magazine(stock);
        let wanted = self.capacity(stock) + more;
        let capacity = wanted.min(stock.most());
        magazine.capacity.store(capacity as u32, Relaxed);
        wanted - capacity
    }

    /// Puts blocks in, the last one first, and returns those for which there is no room.
    pub(super) fn fill<'a>(&self, stock: Stock, blocks: &'a [Offset]) -> &'a [Offset] {
        add(&self.turns, 1);
        let mut rest = blocks;
        while let Some((block, before)) = rest.split_last() {
            if !self.put(stock, *block) {
                break;
            }
            rest = before;
        }
        rest
    }

    /// Takes out those blocks that were put in first, as many as `blocks` has room for or there
    /// are, and returns how many.
    pub(super) fn empty(&self, stock: Stock, blocks: &mut [Offset]) -> usize {
        add(&self.turns, 1);
        let magazine = self.magazine(stock);
        let len = self.len(stock).min(SLOTS);
        let taken = blocks.len().min(len);
        for (block, slot) in blocks.iter_mut().zip(&magazine.blocks[..taken]) {
            *block = Offset::from_bits(slot.load(Relaxed));
        }
        for slot in taken..len {
            let block = magazine.blocks[slot].load(Relaxed);
            magazine.blocks[slot - taken].store(block, Relaxed);
        }
        magazine.len.store((len - taken) as u32, Relaxed);
        taken
    }

    /// Closes a magazine that is empty, and returns how many blocks it could hold.
    pub(super) fn close(&self, stock: Stock) -> usize {
        add(&self.turns, 1);
        if self.len(stock) > 0 {
            return 0;
        }
        let capacity = self.capacity(stock);
        self.magazine(stock).capacity.store(0, Relaxed);
        self.denials.store(0, Relaxed);
        capacity
    }

    /// Counts that a magazine could not grow, and returns how often that was.
    pub(super) fn deny(&self) -> u64 {
        add(&self.denials, 1);
        self.denials.load(Relaxed)
    }
    /// Lends the two counters of a magazine and its slots, to be damaged.
    #[cfg(test)]
    pub(super) fn damage(&self, stock: Stock) -> (&AtomicU32, &AtomicU32, &[AtomicU64; SLOTS]) {
        let magazine = self.magazine(stock);
        (&magazine.len, &magazine.capacity, &magazine.blocks)
    }

    /// Lends the counters of allocations and of frees, to be damaged.
    #[cfg(test)]
    pub(super) fn damage_counts(&self) -> (&AtomicU64, &AtomicU64) {
        (&self.allocations, &self.frees)
    }
}
