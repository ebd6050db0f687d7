// SPDX-License-Identifier: GPL-2.0

//! The rules of an allocator that is checked at each access: the engine `student`, which a learner writes.
//!
//! The crate `slab_student` checks the rules. The types are here because the layers above an engine report them.

/// A rule of the engine `student`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Rule {
    /// An access lies in the pool.
    AccessInPool = 1,
    /// An access begins at a multiple of 8 bytes.
    AccessAligned = 2,
    /// An access does not touch a live block.
    AccessOutsideOfBlocks = 3,
    /// An operation ends after a bounded number of accesses.
    OperationEnds = 4,
    /// A page note exists.
    NoteExists = 5,
    /// A new block lies in the pool.
    BlockInPool = 6,
    /// A new block is aligned as requested.
    BlockAligned = 7,
    /// A new block, or a block that grows, shares no byte with another live block.
    BlockDisjoint = 8,
    /// The rules that the learner's own check tests hold.
    OwnCheck = 9,
    /// The program uses its own blocks only. The learner's allocator reports this rule, for example when a red zone was
    /// written.
    ProgramError = 10,
}

/// A function of the learner's allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Operation {
    /// `new`
    New = 1,
    /// `allocate`
    Allocate = 2,
    /// `free`
    Free = 3,
    /// `resize`
    Resize = 4,
    /// `check`
    Check = 5,
}

/// The first rule that an allocator broke, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The function that was called.
    pub operation: Operation,
    /// The number of the call, from 1: calls of `allocate`, `free`, `resize` and `check` count. 0 for `new`.
    pub call: u64,
    /// The offset in the pool: of the access, of the block, or of the first byte that belongs to another block. For a
    /// page note, [`note_offset`].
    pub offset: u64,
    /// The line of the learner's file, or 0 if the function's answer breaks the rule.
    pub line: u32,
    /// The text of the learner's allocator about a broken rule of its own, or about an error of the program.
    pub sentence: Option<&'static str>,
}

/// Returns the [`Violation::offset`] of a page note: the number of the page in the lower half, and that of the note in the
/// upper half. Numbers that do not fit are replaced by the largest one that does.
#[must_use]
pub fn note_offset(page: usize, note: usize) -> u64 {
    let half = |number: usize| u64::from(u32::try_from(number).unwrap_or(u32::MAX));
    half(note) << 32 | half(page)
}

/// An engine that checks the accesses of its allocator.
pub trait Supervise {
    /// Returns the first rule that the allocator broke. The engine refuses all requests after it.
    fn violation(&self) -> Option<Violation>;

    /// Returns the number of accesses of the allocator to its memory so far.
    fn accesses(&self) -> u64;

    /// Returns the byte at an offset of the pool, unless it belongs to a live block or does not exist.
    fn free_byte(&self, offset: u64) -> Option<u8>;

    /// Writes the byte at an offset of the pool behind the allocator's back, as a program does that errs. Returns
    /// `false`, and changes nothing, if the byte belongs to a live block or does not exist.
    fn stray_write(&self, offset: u64, byte: u8) -> bool;
}
