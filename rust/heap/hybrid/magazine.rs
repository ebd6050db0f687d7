// SPDX-License-Identifier: GPL-2.0

//! Magazines: which blocks they hold, and how many.
//!
//! A magazine is one CPU's stack of free blocks of one size, in front of the heap and its lock. To
//! allocate is to pop a block, to free is to push one. An empty magazine is refilled by half of its
//! capacity, a full one is flushed by half, and at most [`TRANSFER_MAX`] blocks move at once: the
//! heap's lock is taken once in many operations, and not again at once when the direction changes.
//!
//! A flush moves one block less than a refill brings (31 and 32 of the largest magazine). A program
//! that repeats a period of allocations and frees, which at first needs both a refill and a flush,
//! therefore gains a block in each period, until its magazine holds enough for the whole period and
//! the lock is not taken any more.
//!
//! The idea is Bonwick and Adams's (Magazines and Vmem, 2001), as is that of Linux's sheaves. Their
//! magazines are exchanged whole with a depot. These are refilled from the bitmaps of slabs, a word
//! for up to 64 objects, and flushed there, where bad frees are found. As theirs do, magazines grow
//! where the lock is taken often: the magazine of a size that a CPU never uses has no capacity.

use core::{
    alloc::Layout,
    hint::assert_unchecked, //
};

use super::page::pages_of;
use crate::{
    class::{
        CLASSES,
        Class,
        PAGE_BYTES, //
    },
    nospec,
};

/// The most blocks that a magazine holds: the 64 of a SUBMIT's batch, and some more.
pub(super) const BLOCKS_MAX: usize = 71;

/// The most blocks that a refill or a flush moves.
pub(super) const TRANSFER_MAX: usize = 32;

/// The most bytes that a magazine holds, where that is less than [`BLOCKS_MAX`] blocks.
const BYTES_MAX: usize = 128 << 10;

/// The capacity of a magazine that is used for the first time.
const FIRST_CAPACITY: usize = 4;

/// The largest blocks of whole pages that magazines hold.
const PAGES_MAX: usize = 16;

/// The number of kinds of magazines.
pub(super) const KINDS: usize = CLASSES + PAGES_MAX - 1;

/// Which blocks a magazine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MagazineKind {
    /// Objects of a class.
    Class(Class),
    /// Blocks of so many pages.
    Pages(PageCount),
}

/// A number of pages.
///
/// # Invariants
///
/// It is 2 to [`PAGES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageCount(u8);

impl PageCount {
    /// Returns the pages that serve a layout which no class serves, unless the layout is too large
    /// for magazines, or is aligned to more than a page.
    ///
    /// The size may be one that a program chose.
    #[inline]
    pub(super) fn of(layout: &Layout) -> Option<Self> {
        let Self(pages) = Self::of_block(layout)?;
        // INVARIANT: The number is the same.
        Some(Self(nospec::below::<{ 2 * PAGES_MAX }>(pages.into()) as u8))
    }

    /// As [`PageCount::of`], for the layout of a block: its size was compared with these bounds before.
    #[inline]
    pub(super) const fn of_block(layout: &Layout) -> Option<Self> {
        let pages = pages_of(layout);
        // INVARIANT: Compared here.
        if layout.align() <= PAGE_BYTES && 2 <= pages && pages <= PAGES_MAX {
            Some(Self(pages as u8))
        } else {
            None
        }
    }

    /// Returns the number.
    #[inline]
    pub(super) const fn get(self) -> usize {
        let pages = self.0 as usize;
        // SAFETY: By the type invariant.
        unsafe { assert_unchecked(2 <= pages && pages <= PAGES_MAX) };
        pages
    }
}

impl MagazineKind {
    /// Returns the kind of magazine that serves a layout, unless the layout is too large for
    /// magazines, or is aligned to more than a page.
    #[inline]
    pub(super) fn of(layout: &Layout) -> Option<Self> {
        match Class::of(layout) {
            Some(class) => Some(Self::Class(class)),
            None => PageCount::of(layout).map(Self::Pages),
        }
    }

    /// Returns the kind with a number below [`KINDS`]: classes first, smallest blocks first.
    pub(super) fn new(number: usize) -> Option<Self> {
        if number < CLASSES {
            Class::new(number as u8).map(Self::Class)
        } else if number < KINDS {
            // INVARIANT: At least 2, and at most `PAGES_MAX`.
            Some(Self::Pages(PageCount((number - CLASSES + 2) as u8)))
        } else {
            None
        }
    }

    /// Returns all kinds, in the order of their numbers.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..KINDS).filter_map(Self::new)
    }

    /// Returns the number, below [`KINDS`].
    #[inline]
    pub(super) const fn number(self) -> usize {
        let number = match self {
            Self::Class(class) => class.index(),
            Self::Pages(pages) => CLASSES + pages.get() - 2,
        };
        // SAFETY: There are `CLASSES` classes, and `PAGES_MAX - 1` numbers of pages.
        unsafe { assert_unchecked(number < KINDS) };
        number
    }

    /// Returns the class, if the kind is one.
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
            Self::Pages(pages) => pages.get() * PAGE_BYTES,
        }
    }

    /// Returns the most blocks that such a magazine holds in a large pool.
    #[inline]
    pub(super) fn blocks_max(self) -> usize {
        let blocks = BYTES_MAX.checked_div(self.bytes()).unwrap_or(0);
        blocks.min(BLOCKS_MAX)
    }

    /// Returns the next capacity of a magazine that was found empty or full with `capacity`, and
    /// whose capacity is `limit` at most.
    #[inline]
    pub(super) fn next_capacity(capacity: usize, limit: usize) -> usize {
        (2 * capacity).max(FIRST_CAPACITY).min(limit)
    }
}

/// How many blocks the magazines of a pool may hold, so how much memory a CPU's cache takes.
///
/// All magazines of a pool together hold at most a sixteenth of it, so a small pool needs no large
/// ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSize {
    blocks_max: usize,
}

impl CacheSize {
    /// The size for large pools.
    pub const FULL: Self = Self {
        blocks_max: BLOCKS_MAX,
    };

    /// Returns the size for a pool whose first region has `bytes` bytes: as many blocks in a magazine
    /// as a third of the pool's pages, from 4 to 71.
    #[must_use]
    pub const fn for_pool(bytes: usize) -> Self {
        let blocks = bytes / PAGE_BYTES / 3;
        let blocks_max = match blocks {
            0..FIRST_CAPACITY => FIRST_CAPACITY,
            FIRST_CAPACITY..BLOCKS_MAX => blocks,
            _ => BLOCKS_MAX,
        };
        Self { blocks_max }
    }

    /// Returns the most blocks that a magazine of a kind may hold.
    pub(super) fn limit(self, kind: MagazineKind) -> usize {
        kind.blocks_max().min(self.blocks_max)
    }

    /// Returns the slots of all magazines of a CPU.
    pub(super) fn slots(self) -> usize {
        MagazineKind::all().map(|kind| self.limit(kind)).sum()
    }
}
