// SPDX-License-Identifier: GPL-2.0

//! The heaps behind magazines, for tests that run on each of them.

use core::alloc::Layout;
use std::{
    sync::Mutex,
    vec::Vec, //
};

use super::{
    Host,
    NoCpus,
    TestEngine,
    blocks::ShadowMap, //
};
use crate::{
    backing_heap::InspectHeap,
    magazines::{
        MagazineEngine,
        State, //
    },
};

/// A heap behind magazines that tests can construct.
pub(crate) trait TestHeap: InspectHeap + Sized + 'static {
    /// Returns the state of an engine without memory.
    fn state() -> State<Self>;

    /// Returns whether the heap must serve a layout in a pool of one region with these live blocks and without cached
    /// memory. The rule is computed from the live blocks alone.
    fn must_serve(blocks: &ShadowMap, pages: usize, layout: Layout) -> bool;

    /// Returns the pages of the fewest blocks that take all memory of regions of these numbers of pages, the largest
    /// first.
    fn largest_blocks(regions: &[usize]) -> Vec<usize>;

    /// Panics unless the heap's own state is that of a heap without live blocks.
    fn is_unused(&self);
}

/// An engine on simulated CPUs, with magazines in front of a heap.
pub(crate) type OnHost<H> = MagazineEngine<H, Mutex<State<H>>, Host>;

/// An engine without magazines: every request takes the lock.
pub(crate) type Locked<H> = MagazineEngine<H, Mutex<State<H>>, NoCpus>;

impl<H: TestHeap> TestEngine for OnHost<H> {
    fn empty() -> Self {
        on_cpus(1)
    }
}

impl<H: TestHeap> TestEngine for Locked<H> {
    fn empty() -> Self {
        Self::new(Mutex::new(H::state()), NoCpus::default())
    }
}

/// Constructs an engine without regions, on `cpus` simulated CPUs.
pub(crate) fn on_cpus<H: TestHeap>(cpus: usize) -> OnHost<H> {
    OnHost::new(Mutex::new(H::state()), Host::new::<H>(cpus))
}

/// Makes tests of functions that have the heap as their type parameter: one test for each function and heap.
macro_rules! on_each_heap {
    ($($test:ident),* $(,)?) => {
        mod hybrid {
            $(#[test] fn $test() { super::$test::<crate::hybrid::Heap>(); })*
        }
        mod extent {
            $(#[test] fn $test() { super::$test::<crate::extent::Heap>(); })*
        }
    };
}
pub(crate) use on_each_heap;
