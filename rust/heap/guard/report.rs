// SPDX-License-Identifier: GPL-2.0

//! What a guard reports: which rule was broken, where, and by whom.

use crate::region::Offset;

/// What was found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Bytes behind a block were written.
    Overflow,
    /// Bytes in front of a block were written.
    Underflow,
    /// Bytes of free memory were written.
    WriteAfterFree,
    /// A block was freed that was free already.
    DoubleFree,
    /// An address inside of a block was freed.
    InteriorFree,
    /// An address was freed that is not in the pool.
    ForeignFree,
    /// An address in the pool was freed at which no block began.
    InventedFree,
    /// An address was freed at which no block can begin, being no multiple of a word.
    UnalignedFree,
    /// A block was freed that has another size.
    WrongSizeFree,
    /// A block was resized that is free.
    ReallocAfterFree,
}

impl Fault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Overflow,
        Self::Underflow,
        Self::WriteAfterFree,
        Self::DoubleFree,
        Self::InteriorFree,
        Self::ForeignFree,
        Self::InventedFree,
        Self::UnalignedFree,
        Self::WrongSizeFree,
        Self::ReallocAfterFree,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}

/// An operation on the pool, and who did it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Owner {
    /// Its number, counted from 1 since the pool began; 0 is nobody's.
    pub operation: u64,
    /// The process.
    pub pid: u32,
}

/// One thing that was found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its number, counted from 0 since the pool began.
    pub number: u64,
    /// What was found.
    pub fault: Fault,
    /// The block's first byte, or the address that was freed where no block is known; `None`
    /// outside of the pool.
    pub offset: Option<Offset>,
    /// The bytes that were asked for, 0 where no block is known.
    pub size: usize,
    /// Of a bad free: the size that it named.
    pub named_size: usize,
    /// The first byte that was written, or the address that was freed, counted from the block's
    /// first byte.
    pub byte: isize,
    /// The bytes that are not as they were left.
    pub damaged: usize,
    /// Who allocated the block last, as far as that is known.
    pub allocated: Owner,
    /// Who freed it, if it is free.
    pub freed: Owner,
    /// Whose operation noticed. A bad free notices itself.
    pub noticed: Owner,
}

/// Reports that a guard remembers.
pub const REMEMBERED: usize = 16;

/// The last reports, and how many there were of each kind.
#[derive(Debug)]
pub(super) struct Log {
    /// Report *n* is at *n* modulo the length.
    last: [Option<Report>; REMEMBERED],
    made: u64,
    pub(super) counts: [u64; Fault::COUNT],
}

impl Log {
    /// Returns a log without reports.
    pub(super) const fn new() -> Self {
        Self {
            last: [None; REMEMBERED],
            made: 0,
            counts: [0; Fault::COUNT],
        }
    }

    /// Remembers a report, to which it gives its number, and forgets the oldest.
    pub(super) fn push(&mut self, mut report: Report) -> Report {
        report.number = self.made;
        self.last[(self.made % REMEMBERED as u64) as usize] = Some(report);
        self.made += 1;
        self.counts[report.fault as usize] += 1;
        report
    }

    /// Returns the oldest report that is remembered and has at least that number.
    pub(super) fn from(&self, number: u64) -> Option<Report> {
        let oldest = self.made.saturating_sub(REMEMBERED as u64).max(number);
        if oldest >= self.made {
            return None;
        }
        self.last[(oldest % REMEMBERED as u64) as usize]
    }

    /// Returns how many reports there were.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Returns the reports that are remembered.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Report> {
        self.last.iter().flatten()
    }
}
