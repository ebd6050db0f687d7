// SPDX-License-Identifier: GPL-2.0

//! Whether an allocator's answers are right.
//!
//! [`Checked`] stands between a pattern and an allocator and knows what is out: no block is null,
//! misaligned, or shares a byte with another, and what is written to both ends of a block is there
//! until it is freed. Timed passes go without it, so their answers are looked at as far as that
//! costs all allocators the same two instructions, and [`distinct`] looks at what they left.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    slice, //
};

use thiserror::Error;

use crate::heap::Heap;

/// The bytes at either end of a block that are stamped.
const STAMP_BYTES: usize = 8;

/// What is wrong with an answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// There was room, and no block.
    #[error("no block of {0} bytes")]
    Null(usize),
    /// The address is not a multiple of the alignment.
    #[error("a block of {0} bytes is not aligned to {1}")]
    Misaligned(usize, usize),
    /// Two blocks share bytes.
    #[error("a block of {0} bytes overlaps one of {1}")]
    Overlap(usize, usize),
    /// The bytes of a block changed while it was out.
    #[error("a byte of a block of {0} bytes changed while it was out")]
    Changed(usize),
    /// A block that moved or grew lost what was in it.
    #[error("a block of {0} bytes lost contents when it became {1}")]
    Lost(usize, usize),
    /// A pass freed or allocated something else than it was to.
    #[error("{0} answers of a timed pass were null or misaligned")]
    Timed(u64),
    /// A pass did another number of operations than it was asked for.
    #[error("{0} pairs were to be done, {1} were")]
    Count(u64, u64),
}

/// A block that is out.
#[derive(Clone, Copy, Debug)]
struct Live {
    size: usize,
    stamp: u8,
}

/// What is known of an allocator's blocks.
#[derive(Debug, Default)]
struct Shadow {
    live: BTreeMap<usize, Live>,
    stamps: u8,
    wrong: Option<Wrong>,
    allocations: u64,
}

/// An allocator whose answers are checked.
pub(crate) struct Checked<'heap> {
    heap: &'heap dyn Heap,
    shadow: RefCell<Shadow>,
    /// Whether null is a wrong answer.
    roomy: bool,
}

impl<'heap> Checked<'heap> {
    /// Puts the check around an allocator that has room for everything it will be asked for.
    pub(crate) fn new(heap: &'heap dyn Heap) -> Self {
        Self {
            heap,
            shadow: RefCell::default(),
            roomy: true,
        }
    }

    /// Puts the check around an allocator that may say no.
    pub(crate) fn tight(heap: &'heap dyn Heap) -> Self {
        Self {
            roomy: false,
            ..Self::new(heap)
        }
    }

    /// Returns how many blocks were handed out.
    ///
    /// # Errors
    ///
    /// The first wrong answer.
    pub(crate) fn verdict(self) -> Result<u64, Wrong> {
        let shadow = self.shadow.into_inner();
        match shadow.wrong {
            Some(wrong) => Err(wrong),
            None => Ok(shadow.allocations),
        }
    }
}

/// Returns the two ends of a block.
fn ends(size: usize) -> [std::ops::Range<usize>; 2] {
    let stamp = size.min(STAMP_BYTES);
    [0..stamp, size - stamp..size]
}

/// Stamps both ends of a block.
///
/// # Safety
///
/// The block is out and has so many bytes.
unsafe fn write(block: *mut u8, size: usize, stamp: u8) {
    for end in ends(size) {
        // SAFETY: By this function's contract; the range lies in the block.
        unsafe { block.add(end.start).write_bytes(stamp, end.len()) };
    }
}

/// Says whether the first `kept` bytes of a block still have the stamps that it got with a size.
///
/// # Safety
///
/// The block is out and has `kept` bytes that were written.
unsafe fn reads(block: *const u8, size: usize, kept: usize, stamp: u8) -> bool {
    ends(size).into_iter().all(|end| {
        let end = end.start.min(kept)..end.end.min(kept);
        // SAFETY: By this function's contract; the range lies in the block and was written.
        let bytes = unsafe { slice::from_raw_parts(block.add(end.start), end.len()) };
        bytes.iter().all(|byte| *byte == stamp)
    })
}

impl Shadow {
    /// Notes a wrong answer, if it is the first.
    fn complain(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }

    /// Takes note of a new block and stamps it, if it is a good one.
    fn admit(&mut self, block: *mut u8, size: usize, align: usize) {
        let start = block.addr();
        if start % align != 0 {
            return self.complain(Wrong::Misaligned(size, align));
        }
        let before = self.live.range(..start + size).next_back();
        if let Some(other) = before.filter(|(other, live)| *other + live.size > start) {
            let other = other.1.size;
            return self.complain(Wrong::Overlap(size, other));
        }
        self.stamps = self.stamps % u8::MAX + 1;
        let stamp = self.stamps;
        self.live.insert(start, Live { size, stamp });
        self.allocations += 1;
        // SAFETY: The allocator says that it is a block, and no other has its bytes.
        unsafe { write(block, size, stamp) };
    }

    /// Strikes a block off and says whether it was a good one, as it was.
    fn dismiss(&mut self, block: *mut u8) -> Option<Live> {
        let live = self.live.remove(&block.addr())?;
        // SAFETY: The block is out, and was stamped when it came.
        if !unsafe { reads(block, live.size, live.size, live.stamp) } {
            self.complain(Wrong::Changed(live.size));
        }
        Some(live)
    }
}

impl Heap for Checked<'_> {
    fn alloc(&self, size: usize, align: usize) -> *mut u8 {
        let block = self.heap.alloc(size, align);
        let mut shadow = self.shadow.borrow_mut();
        if !block.is_null() {
            shadow.admit(block, size, align);
        } else if self.roomy {
            shadow.complain(Wrong::Null(size));
        }
        block
    }

    unsafe fn free(&self, block: *mut u8, size: usize, align: usize) {
        // What was no good when it came is not given back: there is no telling whose it is.
        if self.shadow.borrow_mut().dismiss(block).is_some() {
            // SAFETY: By this function's contract.
            unsafe { self.heap.free(block, size, align) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, size: usize, align: usize, new: usize) -> *mut u8 {
        let Some(live) = self.shadow.borrow_mut().dismiss(block) else {
            return block;
        };
        // SAFETY: By this function's contract.
        let to = unsafe { self.heap.realloc(block, size, align, new) };
        let mut shadow = self.shadow.borrow_mut();
        if to.is_null() {
            shadow.live.insert(block.addr(), live);
            if self.roomy {
                shadow.complain(Wrong::Null(new));
            }
            return to;
        }
        // SAFETY: The block is out with its new size, and so much of it was copied or has stayed.
        if !unsafe { reads(to, size, size.min(new), live.stamp) } {
            shadow.complain(Wrong::Lost(size, new));
        }
        shadow.admit(to, new, align);
        to
    }
}

/// Checks that blocks share no bytes.
///
/// # Errors
///
/// [`Wrong::Overlap`].
pub(crate) fn distinct(mut blocks: Vec<(usize, usize)>) -> Result<(), Wrong> {
    blocks.sort_unstable();
    for pair in blocks.windows(2) {
        let [(start, size), (next, other)] = [pair[0], pair[1]];
        if start + size > next {
            return Err(Wrong::Overlap(other, size));
        }
    }
    Ok(())
}
