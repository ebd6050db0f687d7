// SPDX-License-Identifier: GPL-2.0

//! Magazines: blocks that a CPU keeps to itself.
//!
//! Each CPU has a stack of free blocks of each size in front of the heap. To allocate is to pop, to
//! free is to push, and neither takes a lock that others want: the CPU is kept to its own for as
//! long as that takes ([`Platform`](crate::platform::Platform)). A magazine that is empty is filled
//! by half, one that is full is emptied by half, up to [`BATCH`] blocks, so that the heap's lock is
//! taken once in many operations, and not again at once when the direction changes. One block less
//! goes back than comes: what is in a magazine in the end of a period of allocations and frees that
//! needs both creeps up until it needs neither.
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
    hint::assert_unchecked,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::Ordering::Relaxed, //
};

#[cfg(not(test))]
use core::sync::atomic::{
    AtomicPtr,
    AtomicU32,
    AtomicU64, //
};

use super::heap::pages_of;
use crate::class::{
    CLASSES,
    Class,
    PAGE_BYTES, //
};
use crate::nospec;
#[cfg(test)]
use crate::testing::atomic::{
    AtomicPtr,
    AtomicU32,
    AtomicU64, //
};

/// The bytes that a caller asked for, if they are to be counted.
pub(super) type Told = Option<usize>;

/// A block's first byte.
pub(super) type Start = NonNull<u8>;

/// The most blocks that a magazine holds: with its two counters it has nine cache lines. There is room
/// for the 64 that a SUBMIT allocates at once, and some that stay.
pub(super) const SLOTS: usize = 71;

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

/// What a magazine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stock {
    /// Objects of a class.
    Class(Class),
    /// Blocks of so many pages.
    Pages(Pages),
}

/// A number of pages.
///
/// # Invariants
///
/// It is 2 to [`PAGES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pages(u8);

impl Pages {
    /// Returns what serves a layout that no class does, unless that is too large for magazines, or
    /// too aligned.
    #[inline]
    pub(super) fn of(layout: &Layout) -> Option<Self> {
        let pages = pages_of(layout);
        // INVARIANT: Compared here.
        if layout.align() <= PAGE_BYTES && (2..=PAGES_MAX).contains(&pages) {
            // The size is a program's.
            Some(Self(nospec::below::<{ 2 * PAGES_MAX }>(pages) as u8))
        } else {
            None
        }
    }

    /// Returns the layout of a block of so many.
    pub(super) fn layout(self) -> Layout {
        let page = Layout::new::<[u8; PAGE_BYTES]>();
        // So many pages are far from the end of the numbers.
        Layout::from_size_align(self.count() * PAGE_BYTES, PAGE_BYTES).unwrap_or(page)
    }

    /// Returns how many these are.
    #[inline]
    pub(super) const fn count(self) -> usize {
        let pages = self.0 as usize;
        // SAFETY: By the type invariant.
        unsafe { assert_unchecked(2 <= pages && pages <= PAGES_MAX) };
        pages
    }
}

impl Stock {
    /// Returns what serves a layout, unless that is too large for magazines, or too aligned.
    #[inline]
    pub(super) fn of(layout: &Layout) -> Option<Self> {
        match Class::of(layout) {
            Some(class) => Some(Self::Class(class)),
            None => Pages::of(layout).map(Self::Pages),
        }
    }

    /// Returns all of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let pages = (2..=PAGES_MAX as u8).map(Pages);
        Class::all().map(Self::Class).chain(pages.map(Self::Pages))
    }

    /// Returns the number, below [`STOCKS`]: in the order of [`Stock::all`].
    #[inline]
    pub(super) const fn number(self) -> usize {
        match self {
            Self::Class(class) => class.index(),
            Self::Pages(pages) => CLASSES + pages.count() - 2,
        }
    }

    /// Returns [`Class::STRIDE`] times the number and one: as a class, its code.
    #[inline]
    const fn code(self) -> usize {
        match self {
            Self::Class(class) => class.code() as usize,
            Self::Pages(pages) => Class::STRIDE * (CLASSES + pages.count() - 1),
        }
    }

    /// Returns the class, if it is one.
    #[inline]
    pub(super) const fn class(self) -> Option<Class> {
        match self {
            Self::Class(class) => Some(class),
            Self::Pages(_) => None,
        }
    }

    /// Returns the bytes of a block.
    #[inline]
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Class(class) => class.bytes(),
            Self::Pages(pages) => pages.count() * PAGE_BYTES,
        }
    }

    /// Returns the most blocks that a magazine holds.
    #[inline]
    pub(super) fn most(self) -> usize {
        BYTES.checked_div(self.bytes()).unwrap_or(0).min(SLOTS)
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
/// As the CPU that owns it sees them, `len ≤ capacity ≤ SLOTS`, and the first `len` blocks are not
/// null.
#[repr(C, align(64))]
struct Magazine {
    len: AtomicU32,
    capacity: AtomicU32,
    blocks: [AtomicPtr<u8>; SLOTS],
}

const _: () = assert!(size_of::<Magazine>() == 8 * Class::STRIDE);

impl Magazine {
    /// Takes out the block that was put in last.
    #[inline]
    fn pop(&self) -> Option<Start> {
        let len = self.len.load(Relaxed) as usize;
        if len == 0 {
            return None;
        }
        // SAFETY: By the type invariant.
        unsafe { assert_unchecked(len <= SLOTS) };
        let block = self.blocks[len - 1].load(Relaxed);
        // INVARIANT: There are fewer blocks than before.
        self.len
            .store(self.len.load(Relaxed).wrapping_sub(1), Relaxed);
        // SAFETY: By the type invariant.
        Some(unsafe { NonNull::new_unchecked(block) })
    }

    /// Puts a block in, unless there is no room.
    #[inline]
    fn push(&self, block: Start) -> bool {
        let len = self.len.load(Relaxed);
        if len >= self.capacity.load(Relaxed) {
            return false;
        }
        // SAFETY: By the type invariant, the capacity is no larger.
        unsafe { assert_unchecked((len as usize) < SLOTS) };
        // INVARIANT: The block is not null, and the length is at most the capacity.
        self.blocks[len as usize].store(block.as_ptr(), Relaxed);
        self.len
            .store(self.len.load(Relaxed).wrapping_add(1), Relaxed);
        true
    }
}

/// What one CPU keeps to itself. Zeros are one that keeps nothing.
#[repr(C, align(128))]
pub struct Cache {
    /// By number and one, as codes of classes are: a free then finds its magazine without a
    /// subtraction. The first one is never used.
    magazines: [Magazine; STOCKS + 1],
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
    pub(super) fn allocated(&mut self, told: Told) {
        self.allocations += 1;
        let bytes = told.unwrap_or(0) as u64;
        self.requested_bytes = self.requested_bytes.wrapping_add(bytes);
    }

    /// Counts a free.
    #[inline]
    pub(super) fn freed(&mut self, told: Told) {
        self.frees = self.frees.wrapping_add(1);
        let bytes = told.unwrap_or(0) as u64;
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
                    blocks: [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS],
                }
            }; STOCKS + 1],
            allocations: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            requested_bytes: AtomicU64::new(0),
            denials: AtomicU64::new(0),
        }
    }

    #[inline]
    fn magazine(&self, stock: Stock) -> &Magazine {
        let first = self.magazines.as_ptr();
        // Not by an index, which would be the code divided and multiplied again.
        //
        // SAFETY: The code is an eighth of a magazine's bytes times the index, which is at most `STOCKS`.
        unsafe { &*first.byte_add(8 * stock.code()) }
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
    pub(super) fn block(&self, stock: Stock, slot: usize) -> Option<Start> {
        let block = (slot < self.len(stock)).then(|| self.magazine(stock).blocks.get(slot))??;
        NonNull::new(block.load(Relaxed))
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

    /// Serves a request with the block that was put in last.
    #[inline(always)]
    pub(super) fn allocate(&self, stock: Stock, told: Told) -> Option<Start> {
        let block = self.magazine(stock).pop()?;
        add(&self.allocations, 1);
        if let Some(bytes) = told {
            add(&self.requested_bytes, bytes as u64);
        }
        Some(block)
    }

    /// Takes a block back, unless there is no room.
    #[inline(always)]
    pub(super) fn release(&self, stock: Stock, block: Start, told: Told) -> bool {
        let put = self.magazine(stock).push(block);
        if put {
            add(&self.frees, 1);
            if let Some(bytes) = told {
                add(&self.requested_bytes, (bytes as u64).wrapping_neg());
            }
        }
        put
    }

    /// Lets a magazine hold up to `more` blocks more; returns how many more than it can that is.
    pub(super) fn grow(&self, stock: Stock, more: usize) -> usize {
        add(&self.turns, 1);
        let magazine = self.magazine(stock);
        let wanted = self.capacity(stock) + more;
        // INVARIANT: No magazine may hold more than `SLOTS`.
        let capacity = wanted.min(stock.most());
        magazine.capacity.store(capacity as u32, Relaxed);
        wanted - capacity
    }

    /// Puts blocks in, the last one first, and returns for how many of the first there is no room.
    pub(super) fn fill(&self, stock: Stock, blocks: &[Option<Start>]) -> usize {
        add(&self.turns, 1);
        let magazine = self.magazine(stock);
        let (mut len, capacity) = (self.len(stock), self.capacity(stock));
        let mut rest = blocks;
        while let Some((block, before)) = rest.split_last() {
            if let Some(block) = block {
                let Some(slot) = magazine.blocks[..capacity.min(SLOTS)].get(len) else {
                    break;
                };
                slot.store(block.as_ptr(), Relaxed);
                len += 1;
            }
            rest = before;
        }
        // INVARIANT: There is a block in each of these slots, which are fewer than the capacity.
        magazine.len.store(len as u32, Relaxed);
        rest.len()
    }

    /// Takes out those blocks that were put in first, as many as `blocks` has room for or there
    /// are, and returns how many.
    pub(super) fn empty(&self, stock: Stock, blocks: &mut [Option<Start>]) -> usize {
        add(&self.turns, 1);
        let magazine = self.magazine(stock);
        let len = self.len(stock).min(SLOTS);
        let taken = blocks.len().min(len);
        for (block, slot) in blocks.iter_mut().zip(&magazine.blocks[..taken]) {
            *block = NonNull::new(slot.load(Relaxed));
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
    pub(super) fn damage(&self, stock: Stock) -> (&AtomicU32, &AtomicU32, &[AtomicPtr<u8>; SLOTS]) {
        let magazine = self.magazine(stock);
        (&magazine.len, &magazine.capacity, &magazine.blocks)
    }

    /// Lends the counters of allocations and of frees, to be damaged.
    #[cfg(test)]
    pub(super) fn damage_counts(&self) -> (&AtomicU64, &AtomicU64) {
        (&self.allocations, &self.frees)
    }
}
