// SPDX-License-Identifier: GPL-2.0

//! Places for blocks.
//!
//! All blocks of a bench but those of pairs are in slots, from which they are freed at the latest
//! when these are dropped: whatever ends a bench, nothing is left.

use core::{
    alloc::Layout,
    hint::black_box,
    mem,
    ops::AddAssign,
    ptr, //
};

use kernel::prelude::*;

use super::{
    allocator::Allocator, //
    random::mix,
};

/// Bytes of a stamp.
const STAMP: usize = size_of::<u64>();

/// What was counted.
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

/// A block that is out, and the layout that it was allocated for.
struct LiveBlock<B> {
    block: B,
    layout: Layout,
}

/// The blocks of some slots, without the allocator that they are of.
///
/// # Invariants
///
/// The blocks were handed out by the allocator that [`Slots::from_buffer`] is given with the buffer: there
/// is one for all buffers of a [`BenchContext`](super::context::BenchContext), and they do not leave it.
pub(super) struct HandoverBuffer<B>(KVVec<Option<LiveBlock<B>>>);

// SAFETY: A block is a name for memory, and what it is a name for belongs to who has the buffer.
unsafe impl<B> Send for HandoverBuffer<B> {}

/// Slots of a allocator.
///
/// # Invariants
///
/// Each block was handed out by `allocator` for the layout beside it, and is out.
pub(super) struct Slots<'a, A: Allocator> {
    allocator: &'a A,
    blocks: KVVec<Option<LiveBlock<A::Block>>>,
    pub(super) counts: SlotCounts,
}

/// Bytes that are charged for a slot, whatever is in it.
pub(super) const SLOT_BYTES: usize = size_of::<Option<LiveBlock<slab_heap::Block>>>();

impl<'a, A: Allocator> Slots<'a, A> {
    /// Makes `count` slots that are empty.
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
        // INVARIANT: By the invariant of `HandoverBuffer`.
        Self {
            allocator,
            blocks: buffer.0,
            counts: SlotCounts::default(),
        }
    }

    /// Puts the slots on a buffer, and returns what was counted.
    pub(super) fn into_buffer(mut self) -> (HandoverBuffer<A::Block>, SlotCounts) {
        // INVARIANT: The blocks are those of the allocator.
        (HandoverBuffer(mem::take(&mut self.blocks)), self.counts)
    }

    /// Returns how many slots there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Says whether there is a block in a slot.
    #[inline(always)]
    pub(super) fn is_full(&self, index: usize) -> bool {
        matches!(self.blocks.get(index), Some(Some(_)))
    }

    /// Allocates a block in a slot, which is empty.
    #[inline(always)]
    pub(super) fn fill<const CHECKED: bool>(&mut self, index: usize, layout: Layout) {
        let Some(slot) = self.blocks.get_mut(index) else {
            return;
        };
        let Some(block) = self.allocator.allocate(layout) else {
            self.counts.refusals += 1;
            return;
        };
        if CHECKED && A::HAS_MEMORY {
            // SAFETY: Handed out just above.
            unsafe { stamp::<A>(block, layout, index) };
        }
        // INVARIANT: Handed out just above.
        *slot = Some(LiveBlock { block, layout });
    }

    /// Frees the block in a slot, if there is one.
    #[inline(always)]
    pub(super) fn empty<const CHECKED: bool>(&mut self, index: usize) {
        let Some(blocks) = self.blocks.get_mut(index).and_then(Option::take) else {
            return;
        };
        if CHECKED && A::HAS_MEMORY {
            self.counts.checked_blocks += 1;
            // SAFETY: By the type invariant; `CHECKED` is the same for all that is done with slots.
            let right = unsafe { is_stamped::<A>(blocks.block, blocks.layout, index) };
            self.counts.wrong_blocks += u64::from(!right);
        }
        // SAFETY: By the type invariant; the block has left its slot just above.
        let released = unsafe { self.allocator.release(blocks.block, blocks.layout) };
        self.counts.wrong_blocks += u64::from(!released);
    }

    /// Allocates a block and frees it at once.
    #[inline(always)]
    pub(super) fn allocate_and_free<const CHECKED: bool>(&mut self, index: usize, layout: Layout) {
        let Some(block) = self.allocator.allocate(layout) else {
            self.counts.refusals += 1;
            return;
        };
        let block = black_box(block);
        if CHECKED && A::HAS_MEMORY {
            // SAFETY: Handed out just above.
            unsafe { stamp::<A>(block, layout, index) };
            self.counts.checked_blocks += 1;
            // SAFETY: Stamped just above.
            let right = unsafe { is_stamped::<A>(block, layout, index) };
            self.counts.wrong_blocks += u64::from(!right);
        }
        // SAFETY: Handed out just above.
        let released = unsafe { self.allocator.release(block, layout) };
        self.counts.wrong_blocks += u64::from(!released);
    }
}

impl<A: Allocator> Drop for Slots<'_, A> {
    fn drop(&mut self) {
        // Backwards: the seed finds the buddy of what it got last first.
        for index in (0..self.len()).rev() {
            self.empty::<false>(index);
        }
    }
}

/// Returns what is written at both ends of the block in a slot.
fn token(index: usize) -> [u8; STAMP] {
    mix(index as u64).to_ne_bytes()
}

/// Returns the bytes of it that are written: the ends of a small block must not overlap.
fn stamp_bytes(layout: Layout) -> usize {
    (layout.size() / 2).clamp(1, STAMP)
}

/// Writes to both ends of a block.
///
/// # Safety
///
/// The block is out, for this layout, and nobody else uses it.
unsafe fn stamp<A: Allocator>(block: A::Block, layout: Layout, index: usize) {
    let (first, bytes) = (A::start(block), stamp_bytes(layout));
    let token = token(index);
    // SAFETY: By the contract of `Allocator` the block has its size.
    let last = unsafe { first.add(layout.size() - bytes) };
    for end in [first, last] {
        // SAFETY: So many bytes are in the block, whichever end it is.
        unsafe { ptr::copy_nonoverlapping(token.as_ptr(), end.as_ptr(), bytes) };
    }
}

/// Says whether a block is aligned, and has at both ends what [`stamp`] wrote.
///
/// # Safety
///
/// As for [`stamp`], which was called before.
unsafe fn is_stamped<A: Allocator>(block: A::Block, layout: Layout, index: usize) -> bool {
    let (first, bytes) = (A::start(block), stamp_bytes(layout));
    let token = token(index);
    // SAFETY: By the contract of `Allocator` the block has its size.
    let last = unsafe { first.add(layout.size() - bytes) };
    let same = [first, last].into_iter().all(|end| {
        let mut found = [0; STAMP];
        // SAFETY: So many bytes are in the block, whichever end it is, and were written.
        unsafe { ptr::copy_nonoverlapping(end.as_ptr(), found.as_mut_ptr(), bytes) };
        found[..bytes] == token[..bytes]
    });
    same && first.addr().get() % layout.align() == 0
}
