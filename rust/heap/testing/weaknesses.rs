// SPDX-License-Identifier: GPL-2.0

//! Questions that show an allocator's weaknesses: the same for the seed, which has them, and for
//! the hybrid, which has not.

use core::{
    alloc::Layout,
    ptr, //
};
use std::{
    panic::catch_unwind,
    vec::Vec, //
};

use super::{
    Memory,
    TestEngine,
    layout,
    totals, //
};
use crate::{
    Block,
    Cost,
    Engine,
    engine::BadFree,
    hybrid::Hybrid,
    seed::Heap, //
};

/// An allocator as bare as the architecture document has it: without a session that would refuse
/// what the allocator does wrong.
pub(crate) trait Bare: Sized {
    /// Makes an allocator in the first `bytes` bytes of `memory`, which is not shorter, from
    /// `skip` bytes on.
    fn at(memory: &Memory, skip: usize, bytes: usize) -> Option<Self>;

    /// Allocates a block and returns its address.
    fn allocate(&mut self, layout: Layout) -> Option<usize>;

    /// Takes back the block at `address`.
    ///
    /// # Safety
    ///
    /// - `address` is that of a block that this allocator handed out for this layout.
    /// - When it was taken back since, nothing is done with the allocator after it but to allocate
    ///   blocks of the same layout, which nobody uses.
    unsafe fn release(&mut self, address: usize, layout: Layout) -> Result<(), BadFree>;

    /// Returns the bytes that the allocator says it has, and that it says are used.
    fn total_and_used(&self) -> (usize, usize);
}

impl Bare for Heap {
    fn at(memory: &Memory, skip: usize, bytes: usize) -> Option<Self> {
        // SAFETY: The tests drop their heaps before they drop the memory, and use it for one heap.
        Some(unsafe { Self::new(memory.addr() + skip, bytes) })
    }

    fn allocate(&mut self, layout: Layout) -> Option<usize> {
        self.allocate(layout).ok()
    }

    unsafe fn release(&mut self, address: usize, layout: Layout) -> Result<(), BadFree> {
        // SAFETY: By this function's contract. A second free damages free lists only, and only
        // their blocks are handed out by it twice.
        unsafe { self.deallocate(address, layout) };
        Ok(())
    }

    fn total_and_used(&self) -> (usize, usize) {
        (self.total_bytes(), self.used_bytes())
    }
}

impl<L, P> Bare for Hybrid<L, P>
where
    Self: TestEngine,
{
    fn at(memory: &Memory, skip: usize, bytes: usize) -> Option<Self> {
        let engine = Self::empty();
        memory.lend_part(&engine, skip, bytes).ok()?;
        Some(engine)
    }

    fn allocate(&mut self, layout: Layout) -> Option<usize> {
        let block = Engine::allocate(self, layout, &mut Cost::default()).ok()?;
        Some(block.start.addr().get())
    }

    unsafe fn release(&mut self, address: usize, layout: Layout) -> Result<(), BadFree> {
        let block = Block {
            start: ptr::NonNull::new(ptr::with_exposed_provenance_mut(address)).unwrap(),
            offset: None,
        };
        // SAFETY: By this function's contract. Of a second free the engine says that it is one, or
        // hands out twice what the tests do not use.
        unsafe { Engine::release(self, block, layout, &mut Cost::default()) }
    }

    fn total_and_used(&self) -> (usize, usize) {
        let totals = totals(self);
        (totals.total_bytes as usize, totals.used_bytes as usize)
    }
}

/// Makes an allocator in all of `memory`.
fn over<B: Bare>(memory: &Memory) -> B {
    B::at(memory, 0, memory.bytes()).unwrap()
}

/// Returns how many of 64 blocks of 64 bytes, aligned to 8192, are not.
pub(crate) fn misaligned<B: Bare>() -> usize {
    let memory = Memory::new(1 << 20);
    let mut heap: B = over(&memory);
    let blocks = (0..64).map(|_| heap.allocate(layout(64, 8192)).unwrap());
    blocks.filter(|block| block % 8192 != 0).count()
}

/// Returns which sizes from 64 to 4096 a new heap of `bytes` bytes cannot serve.
pub(crate) fn unserved<B: Bare>(bytes: usize) -> Vec<usize> {
    let served = |size| {
        let memory = Memory::new(bytes);
        let mut heap: B = over(&memory);
        heap.allocate(layout(size, 8)).is_some()
    };
    let sizes = (6..=12).map(|order| 1 << order);
    sizes.filter(|size| !served(*size)).collect()
}

/// Fills 1 MiB with blocks of 64 bytes, takes all of them back, and returns which of some sizes
/// are served then.
pub(crate) fn served_by_freed_slabs<B: Bare>() -> Vec<usize> {
    let memory = Memory::new(1 << 20);
    let mut heap: B = over(&memory);
    let small = layout(64, 8);
    let blocks: Vec<_> = core::iter::from_fn(|| heap.allocate(small)).collect();
    assert_eq!(blocks.len(), (1 << 20) / 64);
    for block in blocks {
        // SAFETY: Allocated above with this layout, and freed once.
        unsafe { heap.release(block, small) }.unwrap();
    }
    let mut served = |size: &usize| {
        let Some(block) = heap.allocate(layout(*size, 8)) else {
            return false;
        };
        // SAFETY: Allocated just above with this layout, and freed once.
        unsafe { heap.release(block, layout(*size, 8)) }.is_ok()
    };
    let mut sizes = std::vec![64, 128, 4096, 8192, 1 << 20];
    sizes.retain(&mut served);
    sizes
}

/// Returns the bytes that a block of `size` bytes takes of a heap that has served its class before.
pub(crate) fn taken<B: Bare>(size: usize) -> usize {
    let memory = Memory::new(1 << 20);
    taken_of(&mut over::<B>(&memory), size)
}

fn taken_of<B: Bare>(heap: &mut B, size: usize) -> usize {
    let layout = layout(size, 1);
    let first = heap.allocate(layout).unwrap();
    let before = heap.total_and_used().1;
    let second = heap.allocate(layout).unwrap();
    let taken = heap.total_and_used().1 - before;
    for block in [first, second] {
        // SAFETY: Allocated above with this layout, and freed once.
        unsafe { heap.release(block, layout) }.unwrap();
    }
    taken
}

/// Returns the part that is wasted, in percent, when sizes are served once, each of them on its
/// own.
pub(crate) fn waste<B: Bare>(sizes: impl Iterator<Item = usize> + Clone) -> usize {
    let memory = Memory::new(1 << 20);
    let mut heap: B = over(&memory);
    let asked: usize = sizes.clone().sum();
    let taken: usize = sizes.map(|size| taken_of(&mut heap, size)).sum();
    (taken - asked) * 100 / taken
}

/// Writes an address to a block that was freed, and says whether the allocator hands that address
/// out next but one.
pub(crate) fn write_after_free_chooses<B: Bare>() -> bool {
    let memory = Memory::new(1 << 20);
    let mut heap: B = over(&memory);
    let small = layout(64, 8);
    let chosen = memory.addr() + (1 << 19) + 24;
    let block = heap.allocate(small).unwrap();
    // SAFETY: Allocated above with this layout.
    unsafe { heap.release(block, small) }.unwrap();
    // SAFETY: The memory is this test's. That the heap now owns the block is the point.
    unsafe { ptr::with_exposed_provenance_mut::<usize>(block).write(chosen) };
    assert_eq!(heap.allocate(small), Some(block));
    heap.allocate(small) == Some(chosen)
}

/// Frees a block twice. Returns what the allocator says to that, and whether it hands the block out
/// twice then.
pub(crate) fn double_free<B: Bare>() -> (Result<(), BadFree>, bool) {
    let memory = Memory::new(1 << 20);
    let mut heap: B = over(&memory);
    let small = layout(64, 8);
    let block = heap.allocate(small).unwrap();
    // SAFETY: Allocated above with this layout.
    unsafe { heap.release(block, small) }.unwrap();
    // SAFETY: Nothing is done after it but the two allocations below, whose blocks are not used.
    let second = unsafe { heap.release(block, small) };
    (second, heap.allocate(small) == heap.allocate(small))
}

/// Returns the totals of 1 MiB of which one block of 64 bytes is out.
pub(crate) fn total_and_used<B: Bare>() -> (usize, usize) {
    let memory = Memory::new(1 << 20);
    let mut heap: B = over(&memory);
    heap.allocate(layout(64, 8)).unwrap();
    heap.total_and_used()
}

/// Returns log2 of the largest block that 1 MiB, which lies `skew` bytes past a multiple of its
/// size, can serve.
pub(crate) fn largest<B: Bare>(skew: usize) -> Option<u32> {
    let memory = Memory::skewed(1 << 20, skew);
    let mut heap: B = over(&memory);
    let mut orders = (12..=20).rev();
    orders.find(|order| heap.allocate(layout(1 << order, 8)).is_some())
}

/// Says whether memory that is too small or misaligned makes the allocator panic.
pub(crate) fn bad_memory_panics<B: Bare>() -> bool {
    let panics = |skip, bytes| {
        let made = catch_unwind(|| B::at(&Memory::new(1 << 16), skip, bytes).is_some());
        assert!(
            !made.as_ref().is_ok_and(|made| *made),
            "bad memory is taken"
        );
        made.is_err()
    };
    let (misaligned, short) = (panics(1, 32 << 10), panics(0, 100));
    assert_eq!(misaligned, short);
    short
}
