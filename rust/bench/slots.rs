// SPDX-License-Identifier: GPL-2.0

//! Slots: owners of the blocks of a bench.
//!
//! All live blocks of a bench are in slots, except the block of the pattern `pair`. Dropping the slots
//! frees their blocks, so a bench that is interrupted leaks nothing.

use core::{
    alloc::Layout,
    hint::black_box,
    mem,
    ops::AddAssign,
    ptr, //
};

use kernel::prelude::*;
use slab_heap::Cost;

use super::{
    allocator::Allocator,
    random::mix, //
};

/// The size of a token in bytes. A small block has only a part of the token at each end.
const STAMP: usize = size_of::<u64>();

/// Counters of a pass.
#[derive(Clone, Copy, Default)]
pub(super) struct SlotCounts {
    pub(super) refusals: u64,
    pub(super) checked_blocks: u64,
    pub(super) wrong_blocks: u64,
}

impl AddAssign for SlotCounts {
    fn add_assign(&mut self, other: Self) {
        self.refusals += other.refusals;
        self.checked_blocks += other.checked_blocks;
        self.wrong_blocks += other.wrong_blocks;
    }
}

/// A live block, and the layout for which it was allocated.
struct LiveBlock<B> {
    block: B,
    layout: Layout,
}

/// The blocks of some slots, without a reference to their allocator.
///
/// # Invariants
///
/// Each block is a live block, allocated for the layout beside it, of the allocator that [`Slots::from_buffer`]
/// gets with the buffer. A [`BenchContext`](super::context::BenchContext) has one allocator and all buffers of
/// its blocks, and each buffer is only used with this allocator.
pub(super) struct HandoverBuffer<B>(KVVec<Option<LiveBlock<B>>>);

// SAFETY: A block may be used and freed on any thread, and nobody else uses the blocks of the buffer.
unsafe impl<B> Send for HandoverBuffer<B> {}

/// Slots for blocks of an allocator.
///
/// # Invariants
///
/// Each block is a live block of `allocator` that was allocated for the layout beside it, and nobody
/// else uses it.
pub(super) struct Slots<'a, A: Allocator> {
    allocator: &'a A,
    blocks: KVVec<Option<LiveBlock<A::Block>>>,
    /// The cost of the last call. Nobody reads this field: engines write to it, as they do for sessions.
    cost: Cost,
    pub(super) counts: SlotCounts,
}

/// The bytes that are charged for a slot, whatever the type of its block is.
pub(super) const SLOT_BYTES: usize = size_of::<Option<LiveBlock<slab_heap::Block>>>();

impl<'a, A: Allocator> Slots<'a, A> {
    /// Creates `count` empty slots.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(super) fn new(allocator: &'a A, count: usize) -> Result<Self> {
        let mut blocks = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..count {
            blocks.push(None, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Self::from_buffer(allocator, HandoverBuffer(blocks)))
    }

    /// Returns the slots of a buffer.
    pub(super) fn from_buffer(allocator: &'a A, buffer: HandoverBuffer<A::Block>) -> Self {
        // INVARIANT: By the invariant of `HandoverBuffer` its blocks are live blocks of `allocator`.
        Self {
            allocator,
            blocks: buffer.0,
            cost: Cost::default(),
            counts: SlotCounts::default(),
        }
    }

    /// Returns the slots as a buffer, and the counters.
    pub(super) fn into_buffer(mut self) -> (HandoverBuffer<A::Block>, SlotCounts) {
        // INVARIANT: By the type invariant the blocks are live blocks of the allocator.
        (HandoverBuffer(mem::take(&mut self.blocks)), self.counts)
    }

    /// Returns the number of slots.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Returns whether a slot has a block.
    #[inline(always)]
    pub(super) fn is_full(&self, index: usize) -> bool {
        matches!(self.blocks.get(index), Some(Some(_)))
    }

    /// Allocates a block into a slot, which must be empty.
    #[inline(always)]
    pub(super) fn fill<const CHECKED: bool>(&mut self, index: usize, layout: Layout) {
        let Some(slot) = self.blocks.get_mut(index) else {
            return;
        };
        let Some(block) = self.allocator.allocate(layout, &mut self.cost) else {
            self.counts.refusals += 1;
            return;
        };
        if CHECKED && A::HAS_MEMORY {
            // SAFETY: The block was just allocated for this layout, and nobody else uses it.
            unsafe { stamp::<A>(block, layout, index) };
        }
        // INVARIANT: The block was just allocated for this layout.
        *slot = Some(LiveBlock { block, layout });
    }

    /// Frees the block in a slot, if there is one.
    #[inline(always)]
    pub(super) fn empty<const CHECKED: bool>(&mut self, index: usize) {
        let Some(live) = self.blocks.get_mut(index).and_then(Option::take) else {
            return;
        };
        if CHECKED && A::HAS_MEMORY {
            self.counts.checked_blocks += 1;
            // SAFETY: By the type invariant the block is live, was allocated for this layout, and nobody else
            // uses it. `fill` stamped the block, because all blocks of a pass with checks are allocated with
            // `CHECKED`.
            let right = unsafe { is_stamped::<A>(live.block, live.layout, index) };
            self.counts.wrong_blocks += u64::from(!right);
        }
        // SAFETY: By the type invariant the block is a live block of the allocator for this layout. Nobody uses
        // the block any more, because it was taken out of its slot above.
        let freed = unsafe { self.allocator.free(live.block, live.layout, &mut self.cost) };
        self.counts.wrong_blocks += u64::from(!freed);
    }

    /// Allocates a block and frees it at once.
    #[inline(always)]
    pub(super) fn allocate_and_free<const CHECKED: bool>(&mut self, index: usize, layout: Layout) {
        let Some(block) = self.allocator.allocate(layout, &mut self.cost) else {
            self.counts.refusals += 1;
            return;
        };
        let block = black_box(block);
        if CHECKED && A::HAS_MEMORY {
            // SAFETY: The block was just allocated for this layout, and nobody else uses it.
            unsafe { stamp::<A>(block, layout, index) };
            self.counts.checked_blocks += 1;
            // SAFETY: The block is live, nobody else uses it, and it was stamped above.
            let right = unsafe { is_stamped::<A>(block, layout, index) };
            self.counts.wrong_blocks += u64::from(!right);
        }
        // SAFETY: The block was allocated above for this layout, and nobody uses it any more.
        let freed = unsafe { self.allocator.free(block, layout, &mut self.cost) };
        self.counts.wrong_blocks += u64::from(!freed);
    }
}

impl<A: Allocator> Drop for Slots<'_, A> {
    fn drop(&mut self) {
        // The blocks are freed in reverse order, because `seed` searches the buddy of a freed block in a LIFO list.
        for index in (0..self.len()).rev() {
            self.empty::<false>(index);
        }
    }
}

/// Returns the token of the block in a slot.
fn token(index: usize) -> [u8; STAMP] {
    mix(index as u64).to_ne_bytes()
}

/// Returns the number of bytes of the token that are written at each end, so that the ends of a block of at
/// least two bytes do not overlap.
fn stamp_bytes(layout: Layout) -> usize {
    (layout.size() / 2).clamp(1, STAMP)
}

/// Writes the token to both ends of a block.
///
/// # Safety
///
/// The block is live, was allocated for this layout, and nobody else uses it.
unsafe fn stamp<A: Allocator>(block: A::Block, layout: Layout, index: usize) {
    let (first, bytes) = (A::start(block), stamp_bytes(layout));
    let token = token(index);
    // SAFETY: By the contract of `Allocator` the block has the layout's size, and `bytes` is at most that.
    let last = unsafe { first.add(layout.size() - bytes) };
    for end in [first, last] {
        // SAFETY: Both `first` and `last` are followed by `bytes` bytes of the block, which are valid for
        // writes; `token` has at least as many bytes and is a local variable.
        unsafe { ptr::copy_nonoverlapping(token.as_ptr(), end.as_ptr(), bytes) };
    }
}

/// Returns whether a block is aligned and has the token of [`stamp`] at both ends.
///
/// # Safety
///
/// The block is live, was allocated for this layout, nobody else uses it, and [`stamp`] was called on
/// it.
unsafe fn is_stamped<A: Allocator>(block: A::Block, layout: Layout, index: usize) -> bool {
    let (first, bytes) = (A::start(block), stamp_bytes(layout));
    let token = token(index);
    // SAFETY: By the contract of `Allocator` the block has the layout's size, and `bytes` is at most that.
    let last = unsafe { first.add(layout.size() - bytes) };
    let same = [first, last].into_iter().all(|end| {
        let mut found = [0; STAMP];
        // SAFETY: Both `first` and `last` are followed by `bytes` bytes of the block, which `stamp`
        // initialised; `found` has at least as many bytes and is a local variable.
        unsafe { ptr::copy_nonoverlapping(end.as_ptr(), found.as_mut_ptr(), bytes) };
        found[..bytes] == token[..bytes]
    });
    same && first.addr().get() % layout.align() == 0
}
