// SPDX-License-Identifier: GPL-2.0

//! The peers of the crate `slablab_peers`, behind a lock.

use std::{
    alloc::Layout,
    marker::PhantomData,
    ptr::NonNull, //
};

use slab_heap::Block;
use slablab_peers::Peer;

use crate::{
    heap::BenchHeap,
    lock::NewLock,
    pool::MemoryRange, //
};

/// A peer behind a lock.
struct LockedPeer<P, L> {
    lock: L,
    peer: PhantomData<P>,
}

/// Constructs a peer in `memory`.
///
/// # Safety
///
/// The memory is valid for reads and writes, and nobody else accesses it, until the heap is dropped.
pub(super) unsafe fn new<P: Peer + 'static, L: NewLock<P> + 'static>(
    memory: MemoryRange,
) -> Box<dyn BenchHeap> {
    let pool = NonNull::slice_from_raw_parts(memory.start, memory.bytes);
    // SAFETY: Both functions have the same contract.
    let peer = unsafe { P::new(pool) };
    let peer = peer.unwrap_or_else(|| panic!("{} refused its pool", P::facts().name));
    Box::new(LockedPeer {
        lock: L::new(peer),
        peer: PhantomData,
    })
}

/// Returns a request as a `Layout`.
#[inline]
fn layout(size: usize, align: usize) -> Layout {
    // SAFETY: Patterns pass powers of two as alignment, and sizes far below `isize::MAX`.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

impl<P: Peer, L: NewLock<P>> BenchHeap for LockedPeer<P, L> {
    fn alloc(&self, size: usize, align: usize) -> Option<Block> {
        // SAFETY: Patterns request at least 1 byte.
        self.lock
            .with(|peer| unsafe { peer.allocate(layout(size, align)) })
            .map(|start| Block { start })
    }

    unsafe fn free(&self, block: Block, size: usize, align: usize) {
        // SAFETY: The caller passes a live, unused block of this heap with its layout.
        self.lock
            .with(|peer| unsafe { peer.free(block.start, layout(size, align)) });
    }

    unsafe fn realloc(&self, block: Block, size: usize, align: usize, new: usize) -> Option<Block> {
        // SAFETY: The caller passes a live block of this heap with its layout, and a size of at least 1 byte.
        self.lock
            .with(|peer| unsafe { peer.reallocate(block.start, layout(size, align), new) })
            .map(|start| Block { start })
    }

    fn metadata_bytes(&self) -> usize {
        P::facts().metadata_bytes
    }
}
