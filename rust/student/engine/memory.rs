// SPDX-License-Identifier: GPL-2.0

//! The memory of a pool, as a learner's allocator sees it.

use core::{
    cell::Cell,
    ops::Range,
    panic::Location, //
};

use slab_heap::{
    PAGE_BYTES,
    violation::{
        Operation,
        Rule,
        Violation, //
    },
};

use crate::{
    live_map::LiveMap,
    violation::{
        Call,
        Error, //
    },
    words::{
        WORD,
        Words, //
    },
};

/// Blocks begin at multiples of this number of bytes, and end there.
pub const GRANULE: usize = WORD;

/// The number of notes that an allocator can keep for each page, outside of the pool.
pub const PAGE_NOTES: usize = 8;

/// The largest number of accesses of one operation. An operation with more accesses counts as endless.
pub const ACCESSES_MAX: u64 = 1 << 24;

/// The number of CPUs that [`Memory::cpu`] distinguishes.
pub const CPUS: usize = 4;

/// The memory of a pool.
///
/// Offsets count the bytes of the pool from 0. Every access is checked: its offset must be in the pool, a multiple of
/// 8, and outside of all live blocks. The first access that breaks one of these rules becomes the [`Violation`] of the
/// engine, with the line of the caller.
///
/// # Examples
///
/// ```
/// # use slab_student::{Error, Memory};
/// /// The header of a free block: its length, and the offset of the next free block.
/// #[derive(Clone, Copy)]
/// struct Header {
///     bytes: u64,
///     next: u64,
/// }
///
/// impl From<[u64; 2]> for Header {
///     fn from([bytes, next]: [u64; 2]) -> Self {
///         Self { bytes, next }
///     }
/// }
///
/// impl From<Header> for [u64; 2] {
///     fn from(header: Header) -> Self {
///         [header.bytes, header.next]
///     }
/// }
///
/// fn second(memory: &mut Memory, first: usize) -> Result<Header, Error> {
///     let header: Header = memory.load(first)?;
///     memory.load(header.next as usize)
/// }
/// ```
pub struct Memory {
    pool: Words,
    /// The notes of all pages, [`PAGE_NOTES`] for each.
    notes: Words,
    pub(crate) live: LiveMap,
    /// The accesses of all calls.
    accesses: Cell<u64>,
    /// The largest value of `accesses` that the call may reach.
    limit: u64,
    call: Call,
    /// The bytes that a block loses if the call, which is one of `resize`, shrinks it.
    tail: Range<usize>,
    /// The first write to `tail`, as the violation to record if the block is not shrunk.
    tail_write: Option<Violation>,
    violation: Cell<Option<Violation>>,
    /// Whether accesses to live blocks, misaligned blocks and overlapping blocks are accepted.
    #[cfg(feature = "test-support")]
    pub(crate) is_unsupervised: bool,
}

impl Memory {
    /// Returns the memory of a pool without bytes.
    pub(crate) const fn empty() -> Self {
        Self {
            pool: Words::EMPTY,
            notes: Words::EMPTY,
            live: LiveMap::EMPTY,
            accesses: Cell::new(0),
            limit: 0,
            call: Call {
                operation: Operation::New,
                number: 0,
                cpu: 0,
            },
            tail: 0..0,
            tail_write: None,
            violation: Cell::new(None),
            #[cfg(feature = "test-support")]
            is_unsupervised: false,
        }
    }

    /// Returns whether accesses to live blocks and the answers of the allocator are checked.
    pub(crate) fn is_supervised(&self) -> bool {
        #[cfg(feature = "test-support")]
        if self.is_unsupervised {
            return false;
        }
        true
    }

    /// Sets the words of the pool, of its notes, and of the map of its live blocks.
    pub(crate) fn set_pool(&mut self, pool: Words, notes: Words, live: Words) {
        (self.pool, self.notes, self.live) = (pool, notes, LiveMap::new(live));
    }

    /// Returns the number of bytes of the pool.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a pool without bytes is possible only before the allocator exists"
    )]
    #[must_use]
    pub fn len(&self) -> usize {
        self.pool.len() * WORD
    }

    /// Reads the word at offset `at`.
    ///
    /// # Errors
    ///
    /// The access breaks a rule: [`Rule::AccessInPool`], [`Rule::AccessAligned`], [`Rule::AccessOutsideOfBlocks`] or
    /// [`Rule::OperationEnds`].
    #[track_caller]
    pub fn read(&self, at: usize) -> Result<u64, Error> {
        let index = self.index(at, Location::caller())?;
        // This cannot fail, because `index` is in the pool.
        self.pool.get(index).ok_or(Error(None))
    }

    /// Writes the word at offset `at`.
    ///
    /// # Errors
    ///
    /// As for [`Memory::read`].
    #[track_caller]
    pub fn write(&mut self, at: usize, word: u64) -> Result<(), Error> {
        let location = Location::caller();
        let index = self.index(at, location)?;
        if self.tail.contains(&at) {
            let write = (self.call).violation(Rule::AccessOutsideOfBlocks, at, Some(location));
            self.tail_write.get_or_insert(write);
        }
        self.pool.set(index, word);
        Ok(())
    }

    /// Reads `N` words from offset `at` on, and returns the value that is made of them, for example a header.
    ///
    /// # Errors
    ///
    /// As for [`Memory::read`].
    #[track_caller]
    pub fn load<T: From<[u64; N]>, const N: usize>(&self, at: usize) -> Result<T, Error> {
        let mut words = [0; N];
        for (number, word) in words.iter_mut().enumerate() {
            *word = self.read(at.saturating_add(number * WORD))?;
        }
        Ok(words.into())
    }

    /// Writes a value as `N` words from offset `at` on.
    ///
    /// # Errors
    ///
    /// As for [`Memory::read`]. The words before the one that breaks a rule are written.
    #[track_caller]
    pub fn store<T: Into<[u64; N]>, const N: usize>(
        &mut self,
        at: usize,
        value: T,
    ) -> Result<(), Error> {
        let words: [u64; N] = value.into();
        for (number, word) in words.into_iter().enumerate() {
            self.write(at.saturating_add(number * WORD), word)?;
        }
        Ok(())
    }

    /// Returns the number of pages of the pool. A page has 4096 bytes.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.notes.len() / PAGE_NOTES
    }

    /// Reads note `number` of a page. All notes are 0 at first.
    ///
    /// # Errors
    ///
    /// [`Rule::NoteExists`] or [`Rule::OperationEnds`] is broken.
    #[track_caller]
    pub fn note(&self, page: usize, number: usize) -> Result<u64, Error> {
        let index = self.note_index(page, number, Location::caller())?;
        self.notes.get(index).ok_or(Error(None))
    }

    /// Writes note `number` of a page.
    ///
    /// # Errors
    ///
    /// As for [`Memory::note`].
    #[track_caller]
    pub fn set_note(&mut self, page: usize, number: usize, note: u64) -> Result<(), Error> {
        let index = self.note_index(page, number, Location::caller())?;
        self.notes.set(index, note);
        Ok(())
    }

    /// Returns the number of accesses to the pool and to notes so far.
    #[must_use]
    pub fn accesses(&self) -> u64 {
        self.accesses.get()
    }

    /// Returns the error for a broken rule of the allocator's own data, which
    /// [`Allocator::check`](crate::Allocator::check) found at `offset`. `sentence` says what is wrong, for example "the
    /// free list has a loop".
    #[track_caller]
    pub fn broken(&self, sentence: &'static str, offset: usize) -> Error {
        self.say(Rule::OwnCheck, sentence, offset, Location::caller())
    }

    /// Returns the error for a mistake of the program that uses the allocator: the program wrote to memory at `offset`
    /// that was not its own. `sentence` says what the program did, for example "a write behind the block". Any function
    /// of the allocator may report it.
    #[track_caller]
    pub fn program_error(&self, sentence: &'static str, offset: usize) -> Error {
        self.say(Rule::ProgramError, sentence, offset, Location::caller())
    }

    /// Records a broken rule with a sentence of the allocator.
    fn say(
        &self,
        rule: Rule,
        sentence: &'static str,
        offset: usize,
        location: &Location<'_>,
    ) -> Error {
        let violation = self.call.violation(rule, offset, Some(location));
        self.record(Violation {
            sentence: Some(sentence),
            ..violation
        })
    }

    /// Returns the number of the CPU that makes the call. It is below [`CPUS`] and does not change during a call.
    ///
    /// The number is a hint: on a machine with more CPUs several CPUs have the same number, and the program may move to
    /// another CPU between two calls. An allocator must be correct with any numbers.
    #[must_use]
    pub fn cpu(&self) -> usize {
        self.call.cpu
    }

    /// Begins a call of the allocator on a CPU. On a machine with more than [`CPUS`] CPUs the numbers wrap around.
    pub(crate) fn begin(&mut self, operation: Operation, cpu: usize) {
        let number = match operation {
            Operation::New => 0,
            _ => self.call.number + 1,
        };
        self.call = Call {
            operation,
            number,
            cpu: cpu % CPUS,
        };
        self.limit = self.accesses().saturating_add(ACCESSES_MAX);
    }

    /// Allows accesses to `tail`, the bytes that a block loses if the next call shrinks it.
    pub(crate) fn begin_shrink(&mut self, tail: Range<usize>) {
        self.live.mark(tail.start, tail.end, false);
        self.tail = tail;
    }

    /// Ends the call that [`Memory::begin_shrink`] prepared. If the block was not shrunk, the tail is live again, and a
    /// write to it is a violation.
    pub(crate) fn end_shrink(&mut self, is_shrunk: bool) {
        let tail = core::mem::replace(&mut self.tail, 0..0);
        let write = self.tail_write.take();
        if !is_shrunk {
            self.live.mark(tail.start, tail.end, true);
            write.map(|write| self.record(write));
        }
    }

    /// Records that the call breaks a rule, unless a violation is recorded already.
    pub(crate) fn violate(
        &self,
        rule: Rule,
        offset: usize,
        location: Option<&Location<'_>>,
    ) -> Error {
        self.record(self.call.violation(rule, offset, location))
    }

    fn record(&self, violation: Violation) -> Error {
        let first = self.violation().unwrap_or(violation);
        self.violation.set(Some(first));
        Error(Some((first.rule, first.offset)))
    }

    /// Returns the first violation.
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violation.get()
    }

    /// Counts an access.
    fn count(&self, offset: usize, location: &Location<'_>) -> Result<(), Error> {
        self.accesses.set(self.accesses().saturating_add(1));
        if self.accesses() > self.limit {
            return Err(self.violate(Rule::OperationEnds, offset, Some(location)));
        }
        Ok(())
    }

    /// Returns the index of the word at offset `at`, if the access breaks no rule.
    fn index(&self, at: usize, location: &Location<'_>) -> Result<usize, Error> {
        self.count(at, location)?;
        let index = at / WORD;
        let broken = if index >= self.pool.len() {
            Rule::AccessInPool
        } else if at % WORD != 0 {
            Rule::AccessAligned
        } else if self.live.is_live(index) && self.is_supervised() {
            Rule::AccessOutsideOfBlocks
        } else {
            return Ok(index);
        };
        Err(self.violate(broken, at, Some(location)))
    }

    /// Returns the byte at an offset, unless it belongs to a live block or does not exist. The access is not counted.
    pub(crate) fn free_byte(&self, at: usize) -> Option<u8> {
        let index = at / WORD;
        if self.live.is_live(index) {
            return None;
        }
        let word = self.pool.get(index)?;
        Some(word.to_ne_bytes()[at % WORD])
    }

    /// Writes the byte at an offset, as a faulty program does. Returns `false` if the byte belongs to a live block or
    /// does not exist. The access is not counted.
    pub(crate) fn stray_write(&mut self, at: usize, byte: u8) -> bool {
        let index = at / WORD;
        let word = match self.pool.get(index) {
            Some(word) if !self.live.is_live(index) => word,
            _ => return false,
        };
        let mut bytes = word.to_ne_bytes();
        bytes[at % WORD] = byte;
        self.pool.set(index, u64::from_ne_bytes(bytes))
    }

    /// Returns the index of a note, if it exists.
    fn note_index(
        &self,
        page: usize,
        number: usize,
        location: &Location<'_>,
    ) -> Result<usize, Error> {
        self.count(page, location)?;
        if page >= self.pages() || number >= PAGE_NOTES {
            let violation = self.call.violation(Rule::NoteExists, 0, Some(location));
            let offset = slab_heap::violation::note_offset(page, number);
            return Err(self.record(Violation {
                offset,
                ..violation
            }));
        }
        Ok(page * PAGE_NOTES + number)
    }

    /// The bytes of notes and of the live map for each page.
    pub(crate) const TABLE_BYTES_PER_PAGE: usize =
        PAGE_NOTES * WORD + PAGE_BYTES / GRANULE / u8::BITS as usize;
}
