// SPDX-License-Identifier: GPL-2.0

//! The heap behind the contract of an engine: magazines first, then the lock; addresses, counters.

// Lock order: the heap's lock, then a CPU's cache. The fast paths use the cache of the current CPU
// without the lock; whoever has a cache never takes the lock. Nothing sleeps under either.

use core::{
    alloc::Layout,
    ptr::NonNull,
    slice,
    sync::atomic::Ordering, //
};

use super::{
    Hybrid,
    cpu_cache::CpuCache,
    fast::magazine_cost,
    inspect::check_magazines::MAGAZINES,
    magazine::MagazineKind,
    page::pages_of,
    page::{
        BITMAP_WORDS,
        Links,
        PageDesc,
        REGION_PAGES_MAX,
        RegionMeta, //
    },
    state::State,
    table_bytes,
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
    cost::Cost,
    engine::{
        BadFree,
        Block,
        Capabilities,
        Engine,
        Refusal, //
    },
    lock::Lock,
    map::{
        Extent,
        Mapped,
        NoMap, //
    },
    per_cpu::PerCpu,
    region::RegionError,
    stats::Visitor,
};

// SAFETY:
// - A block is live, free in the heap, or in one magazine: the heap allocates each block and object once
//   until it is freed, and a magazine is used by one closure at a time, by the contract of `PerCpu`.
// - Neither touches a byte of the pool.
// - Alignment: an object begins at a multiple of its size in a slab, which is page-aligned, and a block of
//   pages is aligned as `Heap::large` asks the buddy system, both within the region. A region is aligned
//   to its rounded-up size; in one that is not, `Heap::large` refuses larger alignments. Magazines serve
//   no request of more than a page's alignment.
unsafe impl<L: Lock<State> + Sync, P: PerCpu<CpuCache>> Engine for Hybrid<L, P> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pool: true,
            map: true,
            mmap: true,
            quick: true,
        }
    }

    #[inline(always)]
    fn usable(&self, layout: Layout) -> usize {
        match Class::of(&layout) {
            Some(class) => class.bytes(),
            None => pages_of(&layout) * PAGE_BYTES,
        }
    }

    #[inline(always)]
    fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    #[inline]
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        match self.allocate_at_once(layout) {
            Some((block, magazine_cost)) => {
                *cost = magazine_cost;
                Ok(block)
            }
            None => self.allocate_slow(layout, Some(layout.size()), cost),
        }
    }

    #[inline(always)]
    fn allocate_at_once(&self, layout: Layout) -> Option<(Block, Cost)> {
        let kind = MagazineKind::of(&layout)?;
        let start = self.pop(kind, Some(layout.size()))?;
        Some((self.addresses.block_at(start), magazine_cost(kind)))
    }

    #[inline(always)]
    unsafe fn release_at_once(&self, block: Block, layout: Layout) -> Option<Cost> {
        // SAFETY: By this function's contract.
        let class = unsafe { self.push_object(block.start, &layout, Some(layout.size())) }?;
        Some(magazine_cost(MagazineKind::Class(class)))
    }

    #[inline]
    unsafe fn release(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        // SAFETY: By this function's contract.
        match unsafe { self.release_at_once(block, layout) } {
            Some(magazine_cost) => {
                *cost = magazine_cost;
                Ok(())
            }
            None => self.free_slow(block.start, layout, Some(layout.size()), cost),
        }
    }

    fn keeps(&self, layout: Layout, new: Layout) -> bool {
        match (Class::of(&layout), Class::of(&new)) {
            (Some(old), Some(new)) => old == new,
            (None, None) => pages_of(&new) <= pages_of(&layout),
            _ => false,
        }
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let Some(offset) = self.addresses.block_at(block.start).offset else {
            return false;
        };
        let resized = self.state.with(|state| {
            let resized = state.resize(offset, layout, new, cost);
            // Where there is not enough for a copy either, it is this or nothing.
            let is_last = !resized && pages_of(&new) > state.heap.buddy.free_pages();
            (!is_last).then_some(resized)
        });
        resized.unwrap_or_else(|| {
            self.flush_local();
            self.state.with(|state| {
                state.heap.drain();
                state.resize(offset, layout, new, cost)
            })
        })
    }

    fn table_bytes(&self, bytes: usize) -> usize {
        table_bytes(bytes)
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
        let descs = table.cast::<PageDesc>();
        // SAFETY: In the table, by its length.
        let links = unsafe { descs.add(pages) }.cast::<Links>();
        // SAFETY: As above.
        let bits = unsafe { links.add(pages) }.cast::<u64>();
        // SAFETY: The table begins with room for so many descs, is aligned for them, and zeros are
        // descs; it is the engine's as long as it lives.
        let descs = unsafe { slice::from_raw_parts(descs.as_ptr(), pages) };
        // SAFETY: As above, of the links that follow.
        let links = unsafe { slice::from_raw_parts(links.as_ptr(), pages) };
        // SAFETY: As above, of the bitmaps that follow, and nobody else has them.
        let bits = unsafe { slice::from_raw_parts_mut(bits.as_ptr(), pages * BITMAP_WORDS) };
        self.state.with(|state| {
            let region = state.regions.add(address, bytes)?;
            // SAFETY: By this function's contract; the number is new, and the descs are as many, which
            // was compared above.
            unsafe { self.addresses.add(region, start, bytes, descs) };
            let align_order = (address / PAGE_BYTES).trailing_zeros();
            let table = RegionMeta { descs, links, bits };
            state.heap.add(usize::from(region), table, align_order);
            self.capacity
                .store(state.regions.bytes(), Ordering::Relaxed);
            Ok(region)
        })
    }

    fn drain(&self) -> usize {
        let pages = self.flush_all().pages;
        (pages + self.state.with(|state| state.heap.drain())) * PAGE_BYTES
    }

    fn fail_growth(&self, nth: u64) {
        self.failing_growth.set(nth);
    }

    fn visit(&self, visitor: &mut dyn Visitor) {
        self.report(visitor);
    }

    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        if walk.part == MAGAZINES {
            return self.check_magazines(walk);
        }
        let progress = self.state.with(|state| {
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
            heap.check(walk)
        })?;
        if progress == Progress::Sound {
            self.begin_magazines(walk);
            return Ok(Progress::More);
        }
        Ok(progress)
    }

    fn map(&self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        self.state.with(|state| state.heap.map(region, page, out))
    }
}
