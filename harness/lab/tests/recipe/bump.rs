// SPDX-License-Identifier: GPL-2.0

//! The peer `bump`: each block begins where the block before ends.
//!
//! A freed block is reused if it was the last one, or if no block is live any more.

use std::{
    alloc::Layout,
    ptr::NonNull, //
};

use crate::{
    Facts,
    Peer, //
};

/// The allocator.
///
/// # Invariants
///
/// The pool has `bytes` bytes from `start` on, and no live block has a byte at the offset `next` or behind it.
pub struct Bump {
    start: NonNull<u8>,
    bytes: usize,
    next: usize,
    live_blocks: usize,
}

// SAFETY: The allocator owns its pool, and nothing belongs to a thread.
unsafe impl Send for Bump {}

impl Bump {
    fn offset(&self, block: NonNull<u8>) -> usize {
        block.addr().get() - self.start.addr().get()
    }
}

// SAFETY: By the type invariant a new block, which begins at `next` or behind it, shares no byte with a live block. The
// allocator never accesses the pool.
unsafe impl Peer for Bump {
    fn facts() -> Facts {
        Facts {
            name: "bump",
            package: "slablab_peers",
            version: "0.1.0",
            description: "blocks one behind the other",
            metadata_bytes: size_of::<Self>(),
            align_max: None,
            cannot: Some("reuse a freed block while a later block is live"),
        }
    }

    unsafe fn new(pool: NonNull<[u8]>) -> Option<Self> {
        // INVARIANT: No block is live.
        Some(Self {
            start: pool.cast(),
            bytes: pool.len(),
            next: 0,
            live_blocks: 0,
        })
    }

    unsafe fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let base = self.start.addr().get();
        let begin = (base + self.next).checked_next_multiple_of(layout.align())? - base;
        let end = begin.checked_add(layout.size())?;
        if end > self.bytes {
            return None;
        }
        // INVARIANT: The new block ends at `end`, and all others end before it.
        self.next = end;
        self.live_blocks += 1;
        // SAFETY: `begin` is at most `end`, which is at most the length of the pool.
        Some(unsafe { self.start.add(begin) })
    }

    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        let begin = self.offset(block);
        self.live_blocks -= 1;
        // INVARIANT: Either no block is live, or all live blocks end at `begin` or before it.
        if self.live_blocks == 0 {
            self.next = 0;
        } else if begin + layout.size() == self.next {
            self.next = begin;
        }
    }

    unsafe fn resize_in_place(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        new_bytes: usize,
    ) -> bool {
        let begin = self.offset(block);
        let is_last = begin + layout.size() == self.next;
        if is_last && new_bytes <= self.bytes - begin {
            // INVARIANT: The last block ends there.
            self.next = begin + new_bytes;
            return true;
        }
        new_bytes <= layout.size()
    }
}
