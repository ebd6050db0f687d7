// SPDX-License-Identifier: GPL-2.0

//! Several operations in a row, on what an engine has at hand.
//!
//! Some engines serve most requests from what the CPU keeps. Who has many makes an [`Errand`] of
//! them: it is run once the CPU is kept to the caller, and compiled for the engine that runs it, so
//! what is the same for all of them is done once.

use core::{
    alloc::Layout,
    num::NonZeroU16, //
};

use crate::{
    cost::Cost,
    engine::Block, //
};

/// What an engine knows of a block that was at hand, and need not look up when it is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known(pub(crate) NonZeroU16);

/// What an engine has at hand, as long as the CPU is kept to the caller.
///
/// # Safety
///
/// Blocks are those of the engine, and [`Engine`](crate::Engine)'s promises are kept: it is the same
/// whether a block was allocated, or is released, here or there. The bytes of a block are a multiple
/// of 8, and so is its address.
pub unsafe trait AtHand {
    /// What blocks of some layouts are that may be at hand.
    type Size: Copy;

    /// Returns what a block of this layout is, if one may be at hand.
    fn size(&self, layout: Layout) -> Option<Self::Size>;

    /// Returns the bytes that such a block has.
    fn usable(&self, size: Self::Size) -> usize;

    /// Allocates a block for a layout of that size, and tells what that cost, if one is at hand: else
    /// nothing has happened, and [`Engine::allocate`](crate::Engine::allocate) is to be asked.
    fn allocate(&self, size: Self::Size, layout: Layout) -> Option<(Block, Cost)>;

    /// Returns what is known of such a block.
    fn known(&self, size: Self::Size) -> Known;

    /// Takes a block back, and tells what that cost, if there is room for it: else nothing has
    /// happened, and [`Engine::release`](crate::Engine::release) is to be asked.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`](crate::Engine::release). What is `known`, if anything is, is what
    /// [`AtHand::known`] said of the size for which [`AtHand::allocate`] of the same engine gave the
    /// block, which was not resized since.
    unsafe fn release(&self, block: Block, layout: Layout, known: Option<Known>) -> Option<Cost>;
}

/// Operations to be done on what an engine has at hand.
pub trait Errand {
    /// What there is to say of them.
    type Outcome;

    /// Does them. Must not sleep, take a lock, or take long: it is not preempted.
    fn run(self, engine: &impl AtHand) -> Self::Outcome;
}
