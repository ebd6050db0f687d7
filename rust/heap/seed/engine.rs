// SPDX-License-Identifier: GPL-2.0

//! The seed's heap as an engine.
//!
//! [`Seed`] adds to [`Heap`] what the [`Engine`] trait needs and the design does not have: a lock, causes of
//! refusals, offsets, counters and the check. `Seed` refuses alignments for which the heap would return
//! misaligned blocks.

use core::{
    alloc::Layout,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicUsize,
        Ordering, //
    },
};

use super::{
    Heap,
    HeapAllocator,
    MemoryError,
    PAGE_SIZE,
    SET_SIZE,
    free_list, //
};
use crate::{
    check::{
        Broken,
        Check,
        Progress,
        Rule,
        STEP,
        Walk, //
    },
    cost::{
        Cost,
        Path, //
    },
    engine::{
        AddRegion,
        BadFree,
        Block,
        Capabilities,
        Engine,
        Interfaces,
        Refusal, //
    },
    fail::{
        FailGrowth,
        Nth, //
    },
    lock::Lock,
    region::{
        Offset,
        RegionError,
        Regions, //
    },
    stats::{
        BuddyStats,
        ClassStats,
        Statistics,
        Totals,
        Visitor, //
    },
};

/// The size of the largest block of the buddy system: `Heap<32>` has lists for 2⁰ to 2³¹ bytes.
const LARGEST_BLOCK: usize = 1 << 31;

/// The state of a [`Seed`], protected by its lock.
///
/// # Invariants
///
/// There is a heap if and only if there are regions, and the heap has the memory of all regions.
pub struct State {
    pub(super) heap: Option<Heap>,
    regions: Regions,
    requested_bytes: usize,
    allocations: u64,
    pub(super) frees: u64,
    refusals: [u64; Refusal::COUNT],
    failing_growth: Nth,
}

/// The engine `seed`: one lock around a [`Heap`].
pub struct Seed<L> {
    pub(super) state: L,
    /// The sum of the sizes of the regions in bytes, for readers without the lock. The sum never becomes
    /// smaller.
    capacity: AtomicUsize,
}

/// Returns the order of a buddy block of `bytes` bytes, which are a power of two: log2 of its pages.
fn order_of(bytes: usize) -> u8 {
    // The buddy system serves requests of a page and more: growths, and blocks above 4096 bytes.
    (bytes / PAGE_SIZE).checked_ilog2().unwrap_or(0) as u8
}

impl State {
    /// Returns the state of an engine without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            heap: None,
            regions: Regions::new(),
            requested_bytes: 0,
            allocations: 0,
            frees: 0,
            refusals: [0; Refusal::COUNT],
            failing_growth: Nth::new(),
        }
    }

    /// Returns a number that changes with every change of the free lists.
    fn epoch(&self) -> u64 {
        self.allocations + self.frees + self.regions.count() as u64
    }

    /// Allocates a block, or returns the cause of the refusal.
    fn allocate(&mut self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        let heap = self.heap.as_mut().ok_or(Refusal::TooBig)?;
        // The heap would return a misaligned block: see the drawbacks in the documentation of the module.
        if layout.align() > PAGE_SIZE {
            return Err(Refusal::Unsupported);
        }
        if layout.size() > self.regions.largest() {
            return Err(Refusal::TooBig);
        }

        let which = Heap::layout_to_allocator(&layout);
        // The number of bytes that this request takes from the buddy system, or `None` if a slab has a free
        // block.
        let (wanted, path) = match heap.slab_stats(which) {
            Some(slab) if slab.free_blocks > 0 => (None, Path::Slab),
            Some(slab) => (Some(SET_SIZE * slab.block_bytes), Path::Growth),
            None => (Some(layout.size().next_power_of_two()), Path::Buddy),
        };
        if path == Path::Growth && self.failing_growth.should_fail() {
            return Err(Refusal::Injected);
        }
        let Ok(start) = heap.allocate(layout) else {
            let wanted = wanted.unwrap_or(layout.size());
            return Err(if wanted > self.regions.largest().min(LARGEST_BLOCK) {
                Refusal::TooBig
            } else if wanted > heap.buddy_free_bytes() {
                Refusal::Exhausted
            } else {
                Refusal::Fragmented
            });
        };
        *cost = Cost::new(path)
            .with_class(which.block_bytes().map(|_| which as u8))
            .with_order(wanted.map(order_of))
            .with_merges(0);
        if wanted.is_none() {
            *cost = cost.with_splits(0);
        }
        self.allocations += 1;
        self.requested_bytes += layout.size();
        let block = NonNull::new(ptr::with_exposed_provenance_mut(start));
        Ok(Block {
            start: block.ok_or(Refusal::Exhausted)?,
        })
    }

    /// Checks up to [`STEP`] free blocks of the slab that the walk is visiting.
    fn check_slab(&self, heap: &Heap, walk: &mut Walk) -> Result<Progress, Broken> {
        let class = walk.part as u8;
        let broken = |rule, offset| Broken {
            rule,
            class: Some(class),
            offset,
        };
        let Some(slab) = HeapAllocator::SLABS
            .get(walk.part)
            .and_then(|slab| heap.slab_stats(*slab))
        else {
            return Ok(Progress::Sound);
        };
        if slab.free_blocks > slab.total_blocks {
            return Err(broken(Rule::ClassCounters, None));
        }
        if walk.seen == 0 {
            walk.place = slab.first_free.unwrap_or(0);
        }
        for _ in 0..STEP {
            if walk.place == 0 {
                if walk.seen != slab.free_blocks {
                    return Err(broken(Rule::ListLength, None));
                }
                walk.next_part();
                return Ok(Progress::More);
            }
            let Some(offset) = self.regions.offset(walk.place, slab.block_bytes) else {
                return Err(broken(Rule::BlockInPool, None));
            };
            if walk.place % slab.block_bytes != 0 {
                return Err(broken(Rule::BlockAligned, Some(offset)));
            }
            if walk.seen == slab.free_blocks {
                return Err(broken(Rule::ListLength, Some(offset)));
            }
            // SAFETY: The checks above found that the block lies in a region, so its bytes are readable, and
            // that it is aligned to its size of at least 64 bytes. `add_region` exposed the provenance of the
            // region.
            walk.place = unsafe { free_list::link(walk.place) };
            walk.seen += 1;
            walk.walked += 1;
        }
        Ok(Progress::More)
    }

    /// Compares the counters of the slabs, of the buddy system and of the engine with each other.
    fn check_counters(&self, heap: &Heap) -> Result<Progress, Broken> {
        let broken = |rule| Broken {
            rule,
            class: None,
            offset: None,
        };
        let buddy = &heap.buddy_allocator;
        let slab_bytes = heap.slab_bytes(|slab| slab.total_blocks);
        if slab_bytes > buddy.stats_alloc_actual()
            || buddy.stats_alloc_user() > buddy.stats_alloc_actual()
            || buddy.stats_alloc_actual() > buddy.stats_total_bytes()
        {
            return Err(broken(Rule::BuddyCounters));
        }
        if buddy.stats_total_bytes() != self.regions.bytes() {
            return Err(broken(Rule::PoolBytes));
        }
        // The crate `buddy_system_allocator` does not count its live blocks. If all bytes that the buddy
        // system has allocated are slabs, all live blocks are blocks of slabs. Otherwise there may be more
        // live blocks.
        let live = self.allocations - self.frees;
        let used = heap.used_blocks() as u64;
        let only_slabs = slab_bytes == buddy.stats_alloc_actual();
        if used > live || (only_slabs && used != live) {
            return Err(broken(Rule::LiveBlocks));
        }
        Ok(Progress::Sound)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl<L: Lock<State>> Seed<L> {
    /// Returns an engine without memory. `state` protects a new [`State`].
    pub const fn new(state: L) -> Self {
        Self {
            state,
            capacity: AtomicUsize::new(0),
        }
    }
}

// SAFETY: `Engine` requires that nobody but the caller uses a live block, and that the block has the size and
// alignment of the layout.
// - The free lists and the buddy system remove a block from their lists when they allocate it, and write
//   links only into free blocks.
// - A block of a slab lies at a multiple of its size in a page-aligned block of the buddy system, and a block
//   of the buddy system is aligned to its size. Alignments above a page are refused.
unsafe impl<L: Lock<State> + Sync> Engine for Seed<L> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            mmap: true,
            // A free to the buddy system searches all free blocks of its size, O(n).
            quick: false,
            // Each free block, of a slab or of the buddy system, begins with one link.
            free_block_bytes: size_of::<usize>(),
            // 64 is the block size of the smallest slab. The other block sizes are multiples of 64.
            free_block_align: 64,
        }
    }

    fn interfaces(&self) -> Interfaces<'_> {
        Interfaces {
            statistics: self,
            add_region: Some(self),
            check: Some(self),
            // The lists of the buddy system are private to its crate.
            map: None,
            shrink: None,
            fail_growth: Some(self),
            supervise: None,
        }
    }

    #[inline]
    fn usable_size(&self, layout: Layout) -> usize {
        let which = Heap::layout_to_allocator(&layout);
        // The size of the buddy block. `Heap::usable_size` returns the requested size instead, as the design
        // specifies.
        let power_of_two = || layout.size().checked_next_power_of_two();
        which
            .block_bytes()
            .or_else(power_of_two)
            .unwrap_or(layout.size())
    }

    #[inline]
    fn capacity(&self) -> usize {
        // Relaxed suffices: the value is a hint, and `allocate` checks the size under the lock.
        self.capacity.load(Ordering::Relaxed)
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        self.state
            .with(|state| state.regions.offset(byte.addr().get(), 1))
    }

    #[inline]
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.state.with(|state| {
            state.allocate(layout, cost).inspect_err(|refusal| {
                state.refusals[*refusal as usize] += 1;
            })
        })
    }

    #[inline]
    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        let which = Heap::layout_to_allocator(&layout);
        *cost = match which.block_bytes() {
            Some(_) => Cost::new(Path::Slab)
                .with_class(Some(which as u8))
                .with_work(0, 0),
            None => Cost::new(Path::Buddy)
                .with_order(Some(order_of(layout.size().next_power_of_two())))
                .with_splits(0),
        };
        self.state.with(|state| {
            if let Some(heap) = &mut state.heap {
                // SAFETY: The caller promises that this engine allocated the block with this layout, and that
                // the block is live and unused. The heap of an engine never changes, so this heap allocated
                // the block.
                unsafe { heap.deallocate(block.start.addr().get(), layout) };
                state.frees += 1;
                state.requested_bytes -= layout.size();
            }
        });
        // The heap does not check a free: see the drawbacks in the documentation of the module.
        Ok(())
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        match Heap::layout_to_allocator(&layout) {
            // The buddy system subtracts the size of the freed layout from its counters, so a block must be
            // freed with the layout of its allocation.
            HeapAllocator::BuddyAllocator => layout == new,
            slab => slab == Heap::layout_to_allocator(&new),
        }
    }

    unsafe fn resize(&self, _block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let stays = self.fits_in_place(layout, new);
        if stays {
            let which = Heap::layout_to_allocator(&layout);
            *cost = Cost::new(Path::InPlace)
                .with_class(which.block_bytes().map(|_| which as u8))
                .with_work(0, 0);
            self.state.with(|state| {
                state.requested_bytes = state.requested_bytes - layout.size() + new.size();
            });
        }
        stays
    }
}

impl<L: Lock<State> + Sync> AddRegion for Seed<L> {
    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        _table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        let address = start.as_ptr().expose_provenance();
        let refuse = |error| match error {
            MemoryError::Misaligned => RegionError::Misaligned,
            MemoryError::TooSmall | MemoryError::BadSize => RegionError::BadLength,
            MemoryError::Overflow => RegionError::Overflow,
        };
        self.state.with(|state| {
            // Validate before mutate: the region is added to a copy, which replaces the original
            // when the heap has accepted the memory.
            let mut regions = state.regions.clone();
            let region = regions.add(address, bytes)?;
            let is_first = state.heap.is_none();
            if is_first {
                Heap::check_size(bytes).map_err(refuse)?;
            }
            // `Heap::try_new` would build the heap on the stack, which is too small for it in a
            // kernel. Here the heap is built in place.
            let heap = state.heap.get_or_insert_with(Heap::empty);
            // SAFETY: The caller promises that the memory is valid as long as the engine exists, and that
            // nothing else uses the memory. `expose_provenance` was called above.
            if let Err(error) = unsafe { heap.try_add_memory(address, bytes) } {
                if is_first {
                    // INVARIANT: There are no regions, so there is no heap.
                    state.heap = None;
                }
                return Err(refuse(error));
            }
            // INVARIANT: `try_add_memory` has added the memory of the new region to the heap.
            state.regions = regions;
            self.capacity
                .store(state.regions.bytes(), Ordering::Relaxed);
            Ok(region)
        })
    }
}

impl<L: Lock<State> + Sync> Statistics for Seed<L> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.state.with(|state| {
            let Some(heap) = &state.heap else {
                return visitor.totals(&Totals::default());
            };
            let buddy = &heap.buddy_allocator;
            let slab_free_bytes = heap.slab_bytes(|slab| slab.free_blocks);
            visitor.totals(&Totals {
                total_bytes: heap.total_bytes() as u64,
                used_bytes: heap.used_bytes() as u64,
                available_bytes: heap.available_bytes() as u64,
                pool_bytes: state.regions.bytes() as u64,
                live_bytes: (buddy.stats_alloc_actual() - slab_free_bytes) as u64,
                magazine_bytes: 0,
                cached_bytes: slab_free_bytes as u64,
                free_bytes: heap.buddy_free_bytes() as u64,
                // The buddy system reports no free blocks.
                largest_free_bytes: 0,
                requested_bytes: state.requested_bytes as u64,
                live_blocks: state.allocations - state.frees,
                regions: state.regions.count() as u32,
                allocations: state.allocations,
                frees: state.frees,
                refusals: state.refusals,
            });
            for (index, slab) in HeapAllocator::SLABS.into_iter().enumerate() {
                if let Some(slab) = heap.slab_stats(slab) {
                    visitor.class(
                        index as u8,
                        &ClassStats {
                            block_bytes: slab.block_bytes as u64,
                            total_blocks: slab.total_blocks as u64,
                            used_blocks: slab.used_blocks as u64,
                            magazine_blocks: 0,
                            growths: (slab.total_blocks / SET_SIZE) as u64,
                        },
                    );
                }
            }
            visitor.buddy(&BuddyStats {
                user_bytes: buddy.stats_alloc_user() as u64,
                actual_bytes: buddy.stats_alloc_actual() as u64,
                total_bytes: buddy.stats_total_bytes() as u64,
            });
        });
    }
}

impl<L: Lock<State> + Sync> Check for Seed<L> {
    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        self.state.with(|state| {
            let Some(heap) = &state.heap else {
                return Ok(Progress::Sound);
            };
            if !walk.resume(state.epoch()) {
                return Ok(Progress::Disturbed);
            }
            if walk.part < HeapAllocator::SLABS.len() {
                state.check_slab(heap, walk)
            } else {
                state.check_counters(heap)
            }
        })
    }
}

impl<L: Lock<State> + Sync> FailGrowth for Seed<L> {
    fn fail_growth(&self, nth: u64) {
        self.state.with(|state| state.failing_growth.set(nth));
    }
}
