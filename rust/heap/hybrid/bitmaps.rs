// SPDX-License-Identifier: GPL-2.0

//! Bitmap memory: the bitmaps of slabs that have more than 64 objects.
//!
//! The metadata of a page has one word for a bitmap, which is enough for classes from 64 bytes on. A slab of a smaller
//! class has a bitmap of 2, 4 or 8 words in bitmap memory, and the word of its first page contains the place. Bitmap
//! memory grows with the number of such slabs, because most pools have few of them. The engine gets the memory from
//! its platform, in pieces, and the lock is not held meanwhile: see `PerCpu::metadata`.
//!
//! ```text
//! piece 0 │ cell 0 │                          a cell has 8 words: one bitmap of 8 words, two of 4, or four of 2
//! piece 1 │ cell 1 │
//! piece 2 │ cell 2 │ cell 3 │                 piece n has cells 2ⁿ⁻¹ to 2ⁿ - 1, so that each piece
//! piece 3 │ cell 4 │ … │ cell 7 │             doubles the bitmap memory
//! ```
//!
//! A freed bitmap is kept for the next slab that needs as many words. The first word of a free bitmap is the link to
//! the next free one. Cells that are divided stay divided, so at most 112 bytes for each page of the pool are ever in
//! use: the sum of the largest numbers of bitmaps of each size.

use core::{
    ptr::NonNull,
    slice, //
};

use crate::{
    backing_heap::Piece,
    size_class::Class, //
};

/// The words of a cell.
const CELL_WORDS: usize = 8;

/// The unit of a [`Place`], in words: the smallest bitmap.
const UNIT_WORDS: usize = 2;

/// The units of a cell.
const CELL_UNITS: u32 = (CELL_WORDS / UNIT_WORDS) as u32;

/// The sizes of bitmaps: 2, 4 and 8 words.
pub(super) const SIZES: usize = 3;

/// The largest number of pieces: 2²⁶ cells, more than the 112 bytes for each of the 2²⁴ pages of a pool.
const PIECES: usize = 27;

/// Returns the number of words of the bitmap of a slab: a power of two.
#[inline]
pub(super) const fn bitmap_words(class: Class) -> usize {
    class.objects().div_ceil(64).next_power_of_two()
}

/// The size of a bitmap in bitmap memory, as an index of an array: 2, 4 or 8 words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(usize);

impl Size {
    /// Returns the size of the bitmaps of a class, or `None` if a slab has at most 64 objects.
    #[inline]
    pub(super) const fn of(class: Class) -> Option<Self> {
        match bitmap_words(class) {
            8 => Some(Self(2)),
            4 => Some(Self(1)),
            2 => Some(Self(0)),
            _ => None,
        }
    }

    /// Returns all sizes.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..SIZES).map(Self)
    }

    /// Returns the size as an index.
    pub(super) const fn index(self) -> usize {
        self.0
    }

    /// Returns the number of units.
    #[inline]
    const fn units(self) -> u32 {
        1 << self.0
    }

    /// Returns the number of words.
    #[inline]
    const fn words(self) -> usize {
        UNIT_WORDS << self.0
    }
}

/// The place of a bitmap in bitmap memory or none: one more than its first unit, or zero.
///
/// Units are numbered like cells, from piece to piece. A place that was read from memory may be damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(pub(super) u64);

impl Place {
    pub(super) const NONE: Self = Self(0);

    #[inline]
    const fn of(unit: u32) -> Self {
        Self(unit as u64 + 1)
    }
}

/// Free bitmaps of a size.
#[derive(Clone, Copy, Debug)]
pub(super) struct FreeList {
    pub(super) first: Place,
    /// The number of bitmaps, and the sum of their places, with which a check compares the list.
    pub(super) len: u32,
    pub(super) places: u64,
}

impl FreeList {
    const EMPTY: Self = Self {
        first: Place::NONE,
        len: 0,
        places: 0,
    };
}

/// Bitmap memory.
///
/// # Invariants
///
/// - The first `piece_count` pointers point to pieces, as the picture shows: zeroed when they were added, and accessed
///   by nobody but this value.
/// - Each of the first `used_cells` cells consists of bitmaps, which are free and in a list, or in use.
pub(super) struct Bitmaps {
    pieces: [NonNull<u64>; PIECES],
    piece_count: usize,
    used_cells: u32,
    pub(super) free: [FreeList; SIZES],
    /// The number of bitmaps in use, by size, and the sum of their places. A check compares both with the slabs.
    pub(super) used: [u32; SIZES],
    pub(super) places: u64,
}

// SAFETY: By the type invariant only this value accesses the pieces.
unsafe impl Send for Bitmaps {}

/// Returns the number of cells of the first `pieces` pieces.
const fn cells(pieces: usize) -> u32 {
    match pieces {
        0 => 0,
        _ => 1 << (pieces - 1),
    }
}

impl Bitmaps {
    /// Returns bitmap memory without pieces.
    pub(super) const fn new() -> Self {
        // INVARIANT: There are no pieces and no used cells.
        Self {
            pieces: [NonNull::dangling(); PIECES],
            piece_count: 0,
            used_cells: 0,
            free: [FreeList::EMPTY; SIZES],
            used: [0; SIZES],
            places: 0,
        }
    }

    /// Returns an upper bound of the bytes of all pieces of a pool of so many pages: each size has a bitmap for each page at
    /// most, in whole cells, and the last piece doubles the memory.
    pub(super) fn bytes_max(pages: usize) -> usize {
        let cells = Size::all().map(|size| (pages * size.words()).div_ceil(CELL_WORDS));
        cells.sum::<usize>() * CELL_WORDS * 8 * 2
    }

    /// Returns whether [`Bitmaps::allocate`] has a bitmap.
    #[inline]
    pub(super) fn has(&self, size: Size) -> bool {
        self.free[size.0].len > 0 || self.used_cells < cells(self.piece_count)
    }

    /// Returns the number of cells of all pieces.
    #[cfg(test)]
    pub(super) fn cells(&self) -> usize {
        cells(self.piece_count) as usize
    }

    /// Returns the piece that is added next, if there may be one more.
    pub(super) fn next_piece(&self) -> Option<Piece> {
        let number = self.piece_count;
        (number < PIECES).then(|| Piece {
            number,
            bytes: (cells(number + 1) - cells(number)) as usize * CELL_WORDS * 8,
        })
    }

    /// Adds a piece, if it is the next one.
    ///
    /// # Safety
    ///
    /// `memory` points to the bytes of the piece, which are zero and aligned to 8, and which nobody else accesses as
    /// long as this value exists, if the piece was not added before.
    pub(super) unsafe fn add(&mut self, piece: Piece, memory: NonNull<u8>) {
        if self.next_piece() == Some(piece) {
            // INVARIANT: The memory is as long as the next piece, and nobody else accesses it, by this function's
            // contract.
            self.pieces[self.piece_count] = memory.cast();
            self.piece_count += 1;
        }
    }

    /// Allocates a bitmap, whose bits are clear. O(1).
    pub(super) fn allocate(&mut self, size: Size) -> Option<Place> {
        if self.free[size.0].len == 0 {
            self.divide_cell(size)?;
        }
        let place = self.free[size.0].first;
        // If the link to this bitmap is damaged, there is no such bitmap. A check reports the damage.
        let bitmap = self.get(place, size)?;
        let next = Place(bitmap[0]);
        bitmap[0] = 0;
        let list = &mut self.free[size.0];
        *list = FreeList {
            first: next,
            len: list.len - 1,
            places: list.places.wrapping_sub(place.0),
        };
        self.used[size.0] += 1;
        self.places = self.places.wrapping_add(place.0);
        Some(place)
    }

    /// Frees a bitmap, if there is one at the place. O(1).
    pub(super) fn free(&mut self, place: Place, size: Size) {
        if self.put(place, size).is_some() {
            self.used[size.0] = self.used[size.0].saturating_sub(1);
            self.places = self.places.wrapping_sub(place.0);
        }
    }

    /// Divides an unused cell into free bitmaps, of which the first one is first in its list.
    fn divide_cell(&mut self, size: Size) -> Option<()> {
        if self.used_cells == cells(self.piece_count) {
            return None;
        }
        let first = self.used_cells * CELL_UNITS;
        // INVARIANT: The cell is used, and all its bitmaps are put into the list.
        self.used_cells += 1;
        let units = (first..first + CELL_UNITS).step_by(size.units() as usize);
        for unit in units.rev() {
            self.put(Place::of(unit), size)?;
        }
        Some(())
    }

    /// Puts a bitmap first in the list of its size.
    fn put(&mut self, place: Place, size: Size) -> Option<()> {
        let next = self.free[size.0].first;
        let bitmap = self.get(place, size)?;
        bitmap.fill(0);
        bitmap[0] = next.0;
        let list = &mut self.free[size.0];
        *list = FreeList {
            first: place,
            len: list.len + 1,
            places: list.places.wrapping_add(place.0),
        };
        Some(())
    }

    /// Returns the words of a bitmap of a size, or `None` if no bitmap of this size can be at the place. O(1).
    #[inline]
    pub(super) fn get(&mut self, place: Place, size: Size) -> Option<&mut [u64]> {
        let unit = u32::try_from(place.0.checked_sub(1)?).ok()?;
        let (cell, unit_in_cell) = (unit / CELL_UNITS, unit % CELL_UNITS);
        if cell >= self.used_cells || unit_in_cell % size.units() != 0 {
            return None;
        }
        // Cell 0 is piece 0, and the cells from 2ⁿ⁻¹ on are piece n.
        let piece = cell.checked_ilog2().map_or(0, |log| log as usize + 1);
        let cell_in_piece = (cell - cells(piece)) as usize;
        let word = cell_in_piece * CELL_WORDS + unit_in_cell as usize * UNIT_WORDS;
        // SAFETY: `add` requires that the result is in the same allocation: the cell is used, so by the type invariant
        // its piece was added, and has `CELL_WORDS` words for each of its cells.
        let first = unsafe { self.pieces[piece].add(word) };
        // SAFETY: `from_raw_parts_mut` requires valid, initialised and exclusive words: a bitmap whose first unit is a
        // multiple of its size does not pass the end of the cell, by the type invariant nobody else accesses the piece,
        // and the result borrows `self` mutably.
        Some(unsafe { slice::from_raw_parts_mut(first.as_ptr(), size.words()) })
    }

    /// Returns whether the bitmaps, free and in use, have as many units as the used cells.
    pub(super) fn agrees_with_cells(&self) -> bool {
        let bitmaps = |size: Size| u64::from(self.used[size.0]) + u64::from(self.free[size.0].len);
        let units = Size::all().map(|size| bitmaps(size) * u64::from(size.units()));
        units.sum::<u64>() == u64::from(self.used_cells) * u64::from(CELL_UNITS)
    }
}
