// SPDX-License-Identifier: GPL-2.0

//! Experiments that show weaknesses of an allocator. `seed` has the weaknesses, and `hybrid` has none of
//! them. The same experiments run on both.

use core::{
    alloc::Layout,
    ptr, //
};
use std::{
    panic::catch_unwind,
    vec::Vec, //
};

use super::{
    HostMemory,
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

/// An allocator as `docs/seed-design.md` describes it, without a session above it that would refuse wrong
/// results and bad frees.
pub(crate) trait BareAllocator: Sized {
    /// A block.
    type Block: Copy + core::fmt::Debug + PartialEq;

    /// Returns the address of a block.
    fn address(block: Self::Block) -> usize;

    /// Constructs an allocator over the `bytes` bytes of `memory` from `skip` on. Returns `None` if the
    /// allocator does not accept this memory. `skip + bytes` is at most the size of `memory`.
    fn at(memory: &HostMemory, skip: usize, bytes: usize) -> Option<Self>;

    /// Allocates a block.
    fn allocate(&mut self, layout: Layout) -> Option<Self::Block>;

    /// Frees a block.
    ///
    /// # Safety
    ///
    /// - This allocator allocated the block with this layout.
    /// - If the block was already freed, the caller afterwards only allocates blocks of the same layout, and
    ///   does not use their memory.
    unsafe fn free(&mut self, block: Self::Block, layout: Layout) -> Result<(), BadFree>;

    /// Returns the total and the used bytes that the allocator reports.
    fn total_and_used(&self) -> (usize, usize);
}

impl BareAllocator for Heap {
    type Block = usize;

    fn address(block: usize) -> usize {
        block
    }

    fn at(memory: &HostMemory, skip: usize, bytes: usize) -> Option<Self> {
        // SAFETY: The bytes lie in `memory`, which exposed its provenance. The experiments drop their heaps
        // before the memory, and use the memory for one heap.
        Some(unsafe { Self::new(memory.addr() + skip, bytes) })
    }

    fn allocate(&mut self, layout: Layout) -> Option<Self::Block> {
        self.allocate(layout).ok()
    }

    unsafe fn free(&mut self, block: Self::Block, layout: Layout) -> Result<(), BadFree> {
        // SAFETY: By this function's contract, this heap allocated the block with this layout. A second free
        // breaks the contract of `deallocate` on purpose. The second free only damages the free list of the
        // slab, and the caller does not use the memory of blocks that are then allocated twice.
        unsafe { self.deallocate(block, layout) };
        Ok(())
    }

    fn total_and_used(&self) -> (usize, usize) {
        (self.total_bytes(), self.used_bytes())
    }
}

impl<L, P> BareAllocator for Hybrid<L, P>
where
    Self: TestEngine,
{
    type Block = Block;

    fn address(block: Block) -> usize {
        block.start.addr().get()
    }

    fn at(memory: &HostMemory, skip: usize, bytes: usize) -> Option<Self> {
        let engine = Self::empty();
        memory.lend_part(&engine, skip, bytes).ok()?;
        Some(engine)
    }

    fn allocate(&mut self, layout: Layout) -> Option<Self::Block> {
        Engine::allocate(self, layout, &mut Cost::default()).ok()
    }

    unsafe fn free(&mut self, block: Self::Block, layout: Layout) -> Result<(), BadFree> {
        // SAFETY: By this function's contract, this engine allocated the block with this layout. A second
        // free breaks the contract of `Engine::free` on purpose. The engine then refuses the free or
        // allocates the block twice, and the caller does not use the memory of the block.
        unsafe { Engine::free(self, block, layout, &mut Cost::default()) }
    }

    fn total_and_used(&self) -> (usize, usize) {
        let totals = totals(self);
        (totals.total_bytes as usize, totals.used_bytes as usize)
    }
}

/// Constructs an allocator over all of `memory`.
fn over<B: BareAllocator>(memory: &HostMemory) -> B {
    B::at(memory, 0, memory.bytes()).unwrap()
}

/// Allocates 64 blocks of 64 bytes with alignment 8192, and returns how many are misaligned.
pub(crate) fn misaligned<B: BareAllocator>() -> usize {
    let memory = HostMemory::new(1 << 20);
    let mut heap: B = over(&memory);
    let blocks = (0..64).map(|_| heap.allocate(layout(64, 8192)).unwrap());
    blocks
        .filter(|block| B::address(*block) % 8192 != 0)
        .count()
}

/// Returns the powers of two from 64 to 4096 that a new heap of `bytes` bytes cannot allocate.
pub(crate) fn unserved<B: BareAllocator>(bytes: usize) -> Vec<usize> {
    let served = |size| {
        let memory = HostMemory::new(bytes);
        let mut heap: B = over(&memory);
        heap.allocate(layout(size, 8)).is_some()
    };
    let sizes = (6..=12).map(|order| 1 << order);
    sizes.filter(|size| !served(*size)).collect()
}

/// Fills 1 MiB with blocks of 64 bytes, frees all of them, and returns which of five sizes can be
/// allocated then.
pub(crate) fn served_by_freed_slabs<B: BareAllocator>() -> Vec<usize> {
    let memory = HostMemory::new(1 << 20);
    let mut heap: B = over(&memory);
    let small = layout(64, 8);
    let blocks: Vec<_> = core::iter::from_fn(|| heap.allocate(small)).collect();
    assert_eq!(blocks.len(), (1 << 20) / 64);
    for block in blocks {
        // SAFETY: The block was allocated above with this layout, and is freed once.
        unsafe { heap.free(block, small) }.unwrap();
    }
    let mut served = |size: &usize| {
        let Some(block) = heap.allocate(layout(*size, 8)) else {
            return false;
        };
        // SAFETY: The block was just allocated with this layout, and is freed once.
        unsafe { heap.free(block, layout(*size, 8)) }.is_ok()
    };
    let mut sizes = std::vec![64, 128, 4096, 8192, 1 << 20];
    sizes.retain(&mut served);
    sizes
}

/// Returns the number of used bytes that a block of `size` bytes adds, in a heap that already has a slab of
/// the class.
pub(crate) fn taken<B: BareAllocator>(size: usize) -> usize {
    let memory = HostMemory::new(1 << 20);
    taken_of(&mut over::<B>(&memory), size)
}

/// Returns the number of used bytes that the second block of `size` bytes adds.
fn taken_of<B: BareAllocator>(heap: &mut B, size: usize) -> usize {
    let layout = layout(size, 1);
    let first = heap.allocate(layout).unwrap();
    let before = heap.total_and_used().1;
    let second = heap.allocate(layout).unwrap();
    let taken = heap.total_and_used().1 - before;
    for block in [first, second] {
        // SAFETY: The block was allocated above with this layout, and is freed once.
        unsafe { heap.free(block, layout) }.unwrap();
    }
    taken
}

/// Returns the internal fragmentation, in percent of the used bytes, over one block of each size.
pub(crate) fn waste<B: BareAllocator>(sizes: impl Iterator<Item = usize> + Clone) -> usize {
    let memory = HostMemory::new(1 << 20);
    let mut heap: B = over(&memory);
    let asked: usize = sizes.clone().sum();
    let taken: usize = sizes.map(|size| taken_of(&mut heap, size)).sum();
    (taken - asked) * 100 / taken
}

/// Writes an address to a freed block, and returns whether the second allocation after the write returns this
/// address.
pub(crate) fn write_after_free_chooses<B: BareAllocator>() -> bool {
    let memory = HostMemory::new(1 << 20);
    let mut heap: B = over(&memory);
    let small = layout(64, 8);
    let chosen = memory.addr() + (1 << 19) + 24;
    let block = heap.allocate(small).unwrap();
    // SAFETY: The block was allocated above with this layout, and is freed once.
    unsafe { heap.free(block, small) }.unwrap();
    // SAFETY: The address lies in `memory`, which this function owns, and is aligned to 64 bytes. The
    // experiment writes on purpose to a block after its free.
    unsafe { ptr::with_exposed_provenance_mut::<usize>(B::address(block)).write(chosen) };
    assert_eq!(heap.allocate(small), Some(block));
    heap.allocate(small).map(B::address) == Some(chosen)
}

/// Frees a block twice. Returns the result of the second free, and whether two allocations return the
/// same block afterwards.
pub(crate) fn double_free<B: BareAllocator>() -> (Result<(), BadFree>, bool) {
    let memory = HostMemory::new(1 << 20);
    let mut heap: B = over(&memory);
    let small = layout(64, 8);
    let block = heap.allocate(small).unwrap();
    // SAFETY: The block was allocated above with this layout, and is freed once.
    unsafe { heap.free(block, small) }.unwrap();
    // SAFETY: The block was allocated with this layout and already freed. After this second free, only the
    // two allocations below follow, which have the same layout and whose memory is not used.
    let second = unsafe { heap.free(block, small) };
    (second, heap.allocate(small) == heap.allocate(small))
}

/// Returns the total and the used bytes of a heap of 1 MiB with one live block of 64 bytes.
pub(crate) fn total_and_used<B: BareAllocator>() -> (usize, usize) {
    let memory = HostMemory::new(1 << 20);
    let mut heap: B = over(&memory);
    heap.allocate(layout(64, 8)).unwrap();
    heap.total_and_used()
}

/// Returns log2 of the bytes of the largest block that a heap of 1 MiB can allocate. The memory of the heap
/// begins `skew` bytes after a multiple of 1 MiB.
pub(crate) fn largest<B: BareAllocator>(skew: usize) -> Option<u32> {
    let memory = HostMemory::skewed(1 << 20, skew);
    let mut heap: B = over(&memory);
    let mut orders = (12..=20).rev();
    orders.find(|order| heap.allocate(layout(1 << order, 8)).is_some())
}

/// Returns whether the allocator panics when its memory is too small or misaligned.
pub(crate) fn bad_memory_panics<B: BareAllocator>() -> bool {
    let panics = |skip, bytes| {
        let made = catch_unwind(|| B::at(&HostMemory::new(1 << 16), skip, bytes).is_some());
        assert!(
            !made.as_ref().is_ok_and(|made| *made),
            "bad memory is accepted"
        );
        made.is_err()
    };
    let (misaligned, short) = (panics(1, 32 << 10), panics(0, 100));
    assert_eq!(misaligned, short);
    short
}
