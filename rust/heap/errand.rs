// SPDX-License-Identifier: GPL-2.0

//! Several operations in a row on the current CPU's cache.
//!
//! An engine with per-CPU caches serves most requests from the current CPU's. A caller with many
//! requests makes an [`Errand`] of them. The engine pins the CPU once and runs the errand, which is
//! compiled for that engine, so that the work that all requests share is done once.

use core::{
    alloc::Layout,
    num::NonZeroU16, //
};

use crate::{
    block::Block,
    class::Class,
    cost::Cost, //
};

/// The size class of a block of a cache, in the engine's own form, so that a free needs no look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known(pub(crate) NonZeroU16);

impl Known {
    /// Returns the class that was converted with `From`.
    ///
    /// # Safety
    ///
    /// The value was made of a class.
    #[inline(always)]
    pub(crate) unsafe fn class(self) -> Class {
        // SAFETY: By this function's contract the number is the code of a class.
        unsafe { Class::of_code_unchecked(self.0.get()) }
    }
}

impl From<Class> for Known {
    #[inline(always)]
    fn from(class: Class) -> Self {
        // By the type invariant of `Class` no code is 0.
        Self(NonZeroU16::new(class.code()).unwrap_or(NonZeroU16::MIN))
    }
}

/// The current CPU's cache, as long as the CPU is pinned.
///
/// # Safety
///
/// Blocks are those of the engine, and [`Engine`](crate::Engine)'s promises are kept: it is the same
/// whether a block was allocated, or is released, here or there. The bytes of a block are a multiple
/// of 8, and so is its address.
pub unsafe trait AtHand {
    /// A size class of blocks that a cache may hold.
    type Size: Copy;

    /// Returns the size class of a layout, if the cache may hold such blocks.
    fn size(&self, layout: Layout) -> Option<Self::Size>;

    /// Returns the usable bytes of such a block.
    fn usable(&self, size: Self::Size) -> usize;

    /// Allocates a block of that size class for a layout, and returns its cost too. After `None`, which
    /// has changed nothing, the caller calls [`Engine::allocate`](crate::Engine::allocate).
    fn allocate(&self, size: Self::Size, layout: Layout) -> Option<(Block, Cost)>;

    /// Returns the size class in the engine's own form.
    fn known(&self, size: Self::Size) -> Known;

    /// Frees a block, and returns the cost. After `None`, which has changed nothing, the caller calls
    /// [`Engine::release`](crate::Engine::release).
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release). What is `known`, if anything is, is what
    /// [`AtHand::known`] said of the size for which [`AtHand::allocate`] of the same engine gave the
    /// block, which was not resized since.
    unsafe fn release(&self, block: Block, layout: Layout, known: Option<Known>) -> Option<Cost>;
}

/// Operations on the current CPU's cache.
pub trait Errand {
    /// The result of the operations.
    type Outcome;

    /// Runs the operations. They must not sleep, take a lock, or take long: the CPU is not preempted.
    fn run(self, engine: &impl AtHand) -> Self::Outcome;
}
