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
    random::mix,
    subject::Subject, //
};

/// Bytes of a stamp.
const STAMP: usize = size_of::<u64>();

/// What was noticed.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) refusals: u64,
    pub(super) checked_blocks: u64,
    pub(super) wrong_blocks: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.refusals += other.refusals;
        self.checked_blocks += other.checked_blocks;
        self.wrong_blocks += other.wrong_blocks;
    }
}

/// A block that is out, and the layout that it was allocated for.
struct Held<B> {
    block: B,
    layout: Layout,
}

/// The blocks of some slots, without the subject that they are of.
///
/// # Invariants
///
/// The blocks were handed out by the subject that [`Slots::adopt`] is given with the shelf: there
/// is one for all shelves of a [`Court`](super::court::Court), and they do not leave it.
pub(super) struct Shelf<B>(KVVec<Option<Held<B>>>);

// SAFETY: A block is a name for memory, and what it is a name for belongs to who has the shelf.
unsafe impl<B> Send for Shelf<B> {}

/// Slots of a subject.
///
/// # Invariants
///
/// Each block was handed out by `subject` for the layout beside it, and is out.
pub(super) struct Slots<'a, S: Subject> {
    subject: &'a S,
    held: KVVec<Option<Held<S::Block>>>,
    pub(super) tally: Tally,
}

/// Bytes that are charged for a slot, whatever is in it.
pub(super) const SLOT_BYTES: usize = size_of::<Option<Held<slab_heap::Block>>>();

impl<'a, S: Subject> Slots<'a, S> {
    /// Makes `count` slots that are empty.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(super) fn new(subject: &'a S, count: usize) -> Result<Self> {
        let mut held = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..count {
            held.push(None, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Self::adopt(subject, Shelf(held)))
    }

    /// Returns the slots of a shelf.
    pub(super) fn adopt(subject: &'a S, shelf: Shelf<S::Block>) -> Self {
        // INVARIANT: By the invariant of `Shelf`.
        Self {
            subject,
            held: shelf.0,
            tally: Tally::default(),
        }
    }

    /// Puts the slots on a shelf, and returns what was noticed.
    pub(super) fn shelve(mut self) -> (Shelf<S::Block>, Tally) {
        // INVARIANT: The blocks are those of the subject.
        (Shelf(mem::take(&mut self.held)), self.tally)
    }

    /// Returns how many slots there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Says whether there is a block in a slot.
    #[inline(always)]
    pub(super) fn is_full(&self, index: usize) -> bool {
        matches!(self.held.get(index), Some(Some(_)))
    }

    /// Allocates a block in a slot, which is empty.
    #[inline(always)]
    pub(super) fn fill<const CHECKED: bool>(&mut self, index: usize, layout: Layout) {
        let Some(slot) = self.held.get_mut(index) else {
            return;
        };
        let Some(block) = self.subject.allocate(layout) else {
            self.tally.refusals += 1;
            return;
        };
        if CHECKED && S::REAL {
            // SAFETY: Handed out just above.
            unsafe { stamp::<S>(block, layout, index) };
        }
        // INVARIANT: Handed out just above.
        *slot = Some(Held { block, layout });
    }

    /// Frees the block in a slot, if there is one.
    #[inline(always)]
    pub(super) fn empty<const CHECKED: bool>(&mut self, index: usize) {
        let Some(held) = self.held.get_mut(index).and_then(Option::take) else {
            return;
        };
        if CHECKED && S::REAL {
            self.tally.checked_blocks += 1;
            // SAFETY: By the type invariant; `CHECKED` is the same for all that is done with slots.
            let right = unsafe { is_stamped::<S>(held.block, held.layout, index) };
            self.tally.wrong_blocks += u64::from(!right);
        }
        // SAFETY: By the type invariant; the block has left its slot just above.
        let released = unsafe { self.subject.release(held.block, held.layout) };
        self.tally.wrong_blocks += u64::from(!released);
    }

    /// Allocates a block and frees it at once.
    #[inline(always)]
    pub(super) fn pair<const CHECKED: bool>(&mut self, index: usize, layout: Layout) {
        let Some(block) = self.subject.allocate(layout) else {
            self.tally.refusals += 1;
            return;
        };
        let block = black_box(block);
        if CHECKED && S::REAL {
            // SAFETY: Handed out just above.
            unsafe { stamp::<S>(block, layout, index) };
            self.tally.checked_blocks += 1;
            // SAFETY: Stamped just above.
            let right = unsafe { is_stamped::<S>(block, layout, index) };
            self.tally.wrong_blocks += u64::from(!right);
        }
        // SAFETY: Handed out just above.
        let released = unsafe { self.subject.release(block, layout) };
        self.tally.wrong_blocks += u64::from(!released);
    }
}

impl<S: Subject> Drop for Slots<'_, S> {
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
unsafe fn stamp<S: Subject>(block: S::Block, layout: Layout, index: usize) {
    let (first, bytes) = (S::start(block), stamp_bytes(layout));
    let token = token(index);
    // SAFETY: By the contract of `Subject` the block has its size.
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
unsafe fn is_stamped<S: Subject>(block: S::Block, layout: Layout, index: usize) -> bool {
    let (first, bytes) = (S::start(block), stamp_bytes(layout));
    let token = token(index);
    // SAFETY: By the contract of `Subject` the block has its size.
    let last = unsafe { first.add(layout.size() - bytes) };
    let same = [first, last].into_iter().all(|end| {
        let mut found = [0; STAMP];
        // SAFETY: So many bytes are in the block, whichever end it is, and were written.
        unsafe { ptr::copy_nonoverlapping(end.as_ptr(), found.as_mut_ptr(), bytes) };
        found[..bytes] == token[..bytes]
    });
    same && first.addr().get() % layout.align() == 0
}
