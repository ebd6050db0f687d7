// SPDX-License-Identifier: GPL-2.0

//! `extent`: runs of granules, behind per-CPU magazines.

#[forbid(unsafe_code)]
mod bins;
#[forbid(unsafe_code)]
mod counts;
mod heap;
mod inspect;
#[forbid(unsafe_code)]
mod matrix;
#[forbid(unsafe_code)]
mod page;
#[forbid(unsafe_code)]
mod place;
#[forbid(unsafe_code)]
mod refusal;
#[forbid(unsafe_code)]
mod runs;
mod table;
#[cfg(test)]
mod tests;

pub use heap::Heap;

use crate::magazines::{
    MagazineEngine,
    State as EngineState, //
};

/// The engine `extent`. `L` is the lock around the heap, `P` the caches of the CPUs.
pub type ExtentEngine<L, P> = MagazineEngine<Heap, L, P>;

/// The state of `extent` behind the lock.
pub type State = EngineState<Heap>;

impl State {
    /// Returns the state of an engine without memory.
    // Inlined into a constant: the state is larger than a stack frame should be.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self::with_heap(Heap::new())
    }
}
