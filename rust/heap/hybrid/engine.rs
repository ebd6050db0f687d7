// SPDX-License-Identifier: GPL-2.0

//! The heap behind the contract of an engine: one lock, addresses, counters.

use core::{
    alloc::Layout,
    ptr::NonNull,
    slice,
    sync::atomic::{
        AtomicUsize,
        Ordering, //
    },
};

use super::{
    frames::{
        BITMAP_WORDS,
        Frame,
        REGION_PAGES_MAX, //
    },
    heap::{
        Heap,
        pages_of, //
    },
};
use crate::{
    check::{
        Broken,
        Progress,
        Rule,
        Walk, //
    },
    class::{
        Class,
        PAGE_BYTES, //
    },
    engine::{
        BadFree,
        Block,
        Capabilities,
        Cost,
        Engine,
        Refusal, //
    },
    lock::Lock,
    map::{
        Extent,
        Mapped,
        NoMap, //
    },
    region::{
        Offset,
        REGIONS_MAX,
        RegionError,
        Regions, //
    },
    stats::{
        BuddyStats,
        ClassStats,
        Totals,
        Visitor, //
    },
};

/// What the lock of a [`Hybrid`] protects.
pub struct State {
    pub(super) heap: Heap,
    regions: Regions,
    starts: [Option<NonNull<u8>>; REGIONS_MAX],
    requested_bytes: usize,
    allocations: u64,
    pub(super) frees: u64,
    resizes: u64,
    refusals: [u64; Refusal::COUNT],
}

// SAFETY: A state has its regions and tables to itself; nothing in it is tied to a thread.
unsafe impl Send for State {}

/// The engine `hybrid`.
pub struct Hybrid<L> {
    pub(super) state: L,
    /// A copy of the regions' bytes that can be read without the lock. It only grows.
    capacity: AtomicUsize,
}

impl State {
    /// Returns the state of an engine without memory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            heap: Heap::new(),
            regions: Regions::new(),
            starts: [None; REGIONS_MAX],
            requested_bytes: 0,
            allocations: 0,
            frees: 0,
            resizes: 0,
            refusals: [0; Refusal::COUNT],
        }
    }

    /// Changes with every change of what the heap keeps.
    fn epoch(&self) -> u64 {
        // A refused request may have made slabs give their pages back.
        let changes = self.allocations + self.frees + self.resizes + self.heap.reclaims;
        changes + self.regions.count() as u64
    }

    /// Returns the block that begins at an offset of the pool.
    #[inline]
    fn block(&self, offset: Offset) -> Option<Block> {
        let start = (*self.starts.get(usize::from(offset.region()))?)?;
        Some(Block {
            // SAFETY: The heap's offsets lie in their region, whose first byte this is.
            start: unsafe { start.add(offset.byte() as usize) },
            offset: Some(offset),
        })
    }

    /// Returns the offset of a block that callers say is theirs.
    #[inline]
    fn offset(&self, block: &Block) -> Result<Offset, BadFree> {
        self.regions
            .offset(block.start.addr().get(), 1)
            .ok_or(BadFree::Foreign)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl<L: Lock<State>> Hybrid<L> {
    /// Makes an engine without memory around the state in `state`, which is new.
    pub const fn new(state: L) -> Self {
        Self {
            state,
            capacity: AtomicUsize::new(0),
        }
    }
}

/// Returns the bytes of a region's frames, which come first in its table.
const fn frames_bytes(pages: usize) -> usize {
    pages * size_of::<Frame>()
}

// SAFETY: The heap partitions its pages, and hands out each block or object once until it comes
// back. It touches no byte of the pool. Objects are multiples of their size within slabs, which are
// page-aligned, blocks of pages are aligned as `large` asks the buddy system, both within regions
// that are aligned to their rounded-up size; for one that is not, `large` refuses what would not be.
unsafe impl<L: Lock<State> + Sync> Engine for Hybrid<L> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pool: true,
            map: true,
        }
    }

    #[inline]
    fn usable(&self, layout: Layout) -> usize {
        match Class::of(&layout) {
            Some(class) => class.bytes(),
            None => pages_of(&layout) * PAGE_BYTES,
        }
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    #[inline]
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.state.with(|state| {
            let served = state.heap.allocate(layout, cost);
            match served.map(|offset| state.block(offset)) {
                Ok(Some(block)) => {
                    state.allocations += 1;
                    state.requested_bytes += layout.size();
                    Ok(block)
                }
                Ok(None) => Err(Refusal::Exhausted),
                Err(refusal) => {
                    state.refusals[refusal as usize] += 1;
                    Err(refusal)
                }
            }
        })
    }

    #[inline]
    unsafe fn release(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        self.state.with(|state| {
            let offset = state.offset(&block)?;
            state.heap.release(offset, layout, cost)?;
            state.frees += 1;
            state.requested_bytes -= layout.size();
            Ok(())
        })
    }

    fn keeps(&self, layout: Layout, new: Layout) -> bool {
        match (Class::of(&layout), Class::of(&new)) {
            (Some(old), Some(new)) => old == new,
            (None, None) => pages_of(&new) <= pages_of(&layout),
            _ => false,
        }
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        self.state.with(|state| {
            let Ok(offset) = state.offset(&block) else {
                return false;
            };
            let resized = state.heap.resize(offset, layout, new, cost);
            if resized {
                state.resizes += 1;
                state.requested_bytes = state.requested_bytes - layout.size() + new.size();
            }
            resized
        })
    }

    fn table_bytes(&self, bytes: usize) -> usize {
        let pages = bytes / PAGE_BYTES;
        frames_bytes(pages) + pages * BITMAP_WORDS * size_of::<u64>()
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        let address = start.as_ptr().expose_provenance();
        let pages = bytes / PAGE_BYTES;
        if address % PAGE_BYTES != 0 {
            return Err(RegionError::Misaligned);
        }
        if bytes == 0 || bytes % PAGE_BYTES != 0 || pages > REGION_PAGES_MAX {
            return Err(RegionError::BadLength);
        }
        self.state.with(|state| {
            let region = state.regions.add(address, bytes)?;
            let frames = table.cast::<Frame>();
            for page in 0..pages {
                // SAFETY: The table has room for so many frames, and is aligned for them.
                unsafe { frames.add(page).write(Frame::TAIL) };
            }
            // SAFETY: Written just above; the table is the engine's as long as it lives.
            let frames = unsafe { slice::from_raw_parts_mut(frames.as_ptr(), pages) };
            // SAFETY: The bitmaps follow, in the table too, and are zeros.
            let bits = unsafe {
                slice::from_raw_parts_mut(
                    table.add(frames_bytes(pages)).cast::<u64>().as_ptr(),
                    pages * BITMAP_WORDS,
                )
            };
            state.starts[usize::from(region)] = Some(start);
            let align_order = (address / PAGE_BYTES).trailing_zeros();
            state
                .heap
                .add(usize::from(region), frames, bits, align_order);
            self.capacity
                .store(state.regions.bytes(), Ordering::Relaxed);
            Ok(region)
        })
    }

    fn drain(&self) -> usize {
        self.state.with(|state| state.heap.drain() * PAGE_BYTES)
    }

    fn visit(&self, visitor: &mut dyn Visitor) {
        self.state.with(|state| {
            let heap = &state.heap;
            let (objects, object_bytes, slab_bytes) = heap.slab_bytes();
            let live = object_bytes + heap.large_pages * PAGE_BYTES;
            let free = heap.buddy.free_pages() * PAGE_BYTES;
            let total = state.regions.bytes();
            visitor.totals(&Totals {
                total_bytes: total as u64,
                used_bytes: live as u64,
                available_bytes: (total - live) as u64,
                pool_bytes: total as u64,
                live_bytes: live as u64,
                cached_bytes: (slab_bytes - object_bytes) as u64,
                free_bytes: free as u64,
                requested_bytes: state.requested_bytes as u64,
                live_blocks: (objects + heap.large_blocks) as u64,
                regions: state.regions.count() as u32,
                allocations: state.allocations,
                frees: state.frees,
                refusals: state.refusals,
            });
            for class in Class::all() {
                let slabs = &heap.classes[usize::from(class.number())];
                visitor.class(
                    class.number(),
                    &ClassStats {
                        block_bytes: class.bytes() as u64,
                        total_blocks: (slabs.slabs * class.objects()) as u64,
                        used_blocks: slabs.used as u64,
                        growths: slabs.growths,
                    },
                );
            }
            visitor.buddy(&BuddyStats {
                user_bytes: (total - free) as u64,
                actual_bytes: (total - free) as u64,
                total_bytes: total as u64,
            });
        });
    }

    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        self.state.with(|state| {
            if !walk.resume(state.epoch()) {
                return Ok(Progress::Disturbed);
            }
            let heap = &mut state.heap;
            if heap.pages * PAGE_BYTES != state.regions.bytes() {
                return Err(Broken {
                    rule: Rule::PoolBytes,
                    class: None,
                    offset: None,
                });
            }
            match heap.check(walk)? {
                Progress::Sound => {
                    let (objects, ..) = heap.slab_bytes();
                    let live = (objects + heap.large_blocks) as u64;
                    if live == state.allocations - state.frees {
                        return Ok(Progress::Sound);
                    }
                    Err(Broken {
                        rule: Rule::LiveBlocks,
                        class: None,
                        offset: None,
                    })
                }
                progress => Ok(progress),
            }
        })
    }

    fn map(&self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        self.state.with(|state| state.heap.map(region, page, out))
    }
}
