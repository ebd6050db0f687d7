// SPDX-License-Identifier: GPL-2.0

//! Correctness checks of the allocators under test.
//!
//! [`CheckedHeap`] wraps an allocator and tracks its live blocks. It checks that no block is refused,
//! misaligned or overlaps another one, and that a stamp at both ends of a block is unchanged until the
//! block is freed. Timed passes run without the wrapper: they count refused and misaligned blocks, which
//! costs the same few instructions for every allocator, and [`check_overlap`] checks the blocks that are
//! live afterwards.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    slice, //
};

use slab_heap::Block;
use thiserror::Error;

use crate::heap::BenchHeap;

/// The number of bytes that are stamped at either end of a block.
const STAMP_BYTES: usize = 8;

/// A wrong answer of an allocator.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum CheckError {
    /// The allocator returned no block although the pool has enough memory.
    #[error("the allocator returned no block for {0} bytes")]
    Refused(usize),
    /// The address is not a multiple of the alignment.
    #[error("a block of {0} bytes is not aligned to {1}")]
    Misaligned(usize, usize),
    /// Two blocks share bytes.
    #[error("a block of {0} bytes overlaps a block of {1} bytes")]
    Overlap(usize, usize),
    /// A byte of a live block changed.
    #[error("a byte of a live block of {0} bytes changed")]
    Changed(usize),
    /// A reallocation lost the content of a block.
    #[error("a block of {0} bytes lost content when it was resized to {1} bytes")]
    Lost(usize, usize),
    /// Allocations of a timed pass were refused or misaligned.
    #[error("{0} blocks of a timed pass were refused or misaligned")]
    Timed(u64),
    /// A pass ran fewer pairs than it was asked for.
    #[error("a pass executed {1} pairs instead of {0}")]
    Count(u64, u64),
}

/// A live block.
#[derive(Clone, Copy, Debug)]
struct StampedBlock {
    size: usize,
    stamp: u8,
}

/// The live blocks of an allocator, by address, and the first wrong answer.
#[derive(Debug, Default)]
struct BlockTracker {
    live: BTreeMap<usize, StampedBlock>,
    stamps: u8,
    wrong: Option<CheckError>,
    allocations: u64,
}

/// A wrapper that checks every answer of an allocator.
pub(crate) struct CheckedHeap<'heap> {
    heap: &'heap dyn BenchHeap,
    tracker: RefCell<BlockTracker>,
    /// Whether a refusal is a wrong answer, because the pool is large enough.
    must_succeed: bool,
}

impl<'heap> CheckedHeap<'heap> {
    /// Wraps an allocator whose pool is large enough for all requests.
    pub(crate) fn new(heap: &'heap dyn BenchHeap) -> Self {
        Self {
            heap,
            tracker: RefCell::default(),
            must_succeed: true,
        }
    }

    /// Wraps an allocator that may refuse requests.
    pub(crate) fn may_refuse(heap: &'heap dyn BenchHeap) -> Self {
        Self {
            must_succeed: false,
            ..Self::new(heap)
        }
    }

    /// Returns the number of blocks that were allocated.
    ///
    /// # Errors
    ///
    /// Returns the first wrong answer.
    pub(crate) fn result(self) -> Result<u64, CheckError> {
        let tracker = self.tracker.into_inner();
        match tracker.wrong {
            Some(wrong) => Err(wrong),
            None => Ok(tracker.allocations),
        }
    }
}

/// Returns the stamped ranges at both ends of a block.
fn ends(size: usize) -> [std::ops::Range<usize>; 2] {
    let stamp = size.min(STAMP_BYTES);
    [0..stamp, size - stamp..size]
}

/// Stamps both ends of a block.
///
/// # Safety
///
/// The block is live, has `size` bytes, and is not accessed by anyone else.
unsafe fn write(block: *mut u8, size: usize, stamp: u8) {
    for end in ends(size) {
        // SAFETY: `write_bytes` requires writable bytes that nobody else accesses. The caller guarantees this
        // for the `size` bytes of the block, and `ends` returns ranges within `size`.
        unsafe { block.add(end.start).write_bytes(stamp, end.len()) };
    }
}

/// Returns whether the first `preserved` bytes of a block still have the stamps of a block of `size`
/// bytes.
///
/// # Safety
///
/// The block is live. The stamped bytes among its first `preserved` bytes are initialized, and nobody writes
/// to the block during the call.
unsafe fn reads(block: *const u8, size: usize, preserved: usize, stamp: u8) -> bool {
    ends(size).into_iter().all(|end| {
        let end = end.start.min(preserved)..end.end.min(preserved);
        // SAFETY: The range is a part of a stamped end and of the first `preserved` bytes, which the caller
        // guarantees to be initialized and not written to during the call.
        let bytes = unsafe { slice::from_raw_parts(block.add(end.start), end.len()) };
        bytes.iter().all(|byte| *byte == stamp)
    })
}

impl BlockTracker {
    /// Stores a wrong answer if it is the first one.
    fn report_error(&mut self, wrong: CheckError) {
        self.wrong.get_or_insert(wrong);
    }

    /// Checks a new block, then tracks and stamps it. A bad block is not tracked.
    fn track(&mut self, block: Block, size: usize, align: usize) {
        let start = block.start.addr().get();
        if start % align != 0 {
            return self.report_error(CheckError::Misaligned(size, align));
        }
        let before = self.live.range(..start + size).next_back();
        if let Some(other) = before.filter(|(other, live)| *other + live.size > start) {
            let other = other.1.size;
            return self.report_error(CheckError::Overlap(size, other));
        }
        self.stamps = self.stamps % u8::MAX + 1;
        let stamp = self.stamps;
        self.live.insert(start, StampedBlock { size, stamp });
        self.allocations += 1;
        // SAFETY: The allocator just returned the block, and it overlaps no other live block.
        unsafe { write(block.start.as_ptr(), size, stamp) };
    }

    /// Stops tracking a block and checks its stamps. Returns `None` when the block is not tracked.
    fn untrack(&mut self, block: Block) -> Option<StampedBlock> {
        let live = self.live.remove(&block.start.addr().get())?;
        // SAFETY: Tracked blocks are live, and `track` stamped both ends.
        if !unsafe { reads(block.start.as_ptr(), live.size, live.size, live.stamp) } {
            self.report_error(CheckError::Changed(live.size));
        }
        Some(live)
    }
}

impl BenchHeap for CheckedHeap<'_> {
    fn alloc(&self, size: usize, align: usize) -> Option<Block> {
        let block = self.heap.alloc(size, align);
        let mut tracker = self.tracker.borrow_mut();
        match block {
            Some(block) => tracker.track(block, size, align),
            None if self.must_succeed => tracker.report_error(CheckError::Refused(size)),
            None => {}
        }
        block
    }

    unsafe fn free(&self, block: Block, size: usize, align: usize) {
        // A bad block is never freed: it may overlap a block that is still live.
        if self.tracker.borrow_mut().untrack(block).is_some() {
            // SAFETY: The caller's contract is the same as that of the wrapped heap.
            unsafe { self.heap.free(block, size, align) };
        }
    }

    unsafe fn realloc(&self, block: Block, size: usize, align: usize, new: usize) -> Option<Block> {
        let Some(live) = self.tracker.borrow_mut().untrack(block) else {
            return Some(block);
        };
        // SAFETY: The caller's contract is the same as that of the wrapped heap.
        let to = unsafe { self.heap.realloc(block, size, align, new) };
        let mut tracker = self.tracker.borrow_mut();
        let Some(to) = to else {
            tracker.live.insert(block.start.addr().get(), live);
            if self.must_succeed {
                tracker.report_error(CheckError::Refused(new));
            }
            return None;
        };
        // SAFETY: `to` is live with `new` bytes. A correct allocator preserved the first
        // `size.min(new)` of them, which include the checked stamps.
        if !unsafe { reads(to.start.as_ptr(), size, size.min(new), live.stamp) } {
            tracker.report_error(CheckError::Lost(size, new));
        }
        tracker.track(to, new, align);
        Some(to)
    }
}

/// Checks that no two of the blocks overlap; each block is a start and a size. O(n log n).
///
/// # Errors
///
/// Returns [`CheckError::Overlap`] for the first two blocks that overlap.
pub(crate) fn check_overlap(mut blocks: Vec<(usize, usize)>) -> Result<(), CheckError> {
    blocks.sort_unstable();
    for pair in blocks.windows(2) {
        let [(start, size), (next, other)] = [pair[0], pair[1]];
        if start + size > next {
            return Err(CheckError::Overlap(other, size));
        }
    }
    Ok(())
}
