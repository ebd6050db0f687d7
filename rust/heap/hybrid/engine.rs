// SPDX-License-Identifier: GPL-2.0

//! The heap behind the contract of an engine: magazines first, then the lock; addresses, counters.

// Lock order: there is one lock, the heap's. A CPU is never pinned under it, nor is it taken while
// a CPU is pinned: what moves between magazines and heap is in the caller's hand in between.

use core::{
    alloc::Layout,
    ops::Deref,
    ptr::NonNull,
    slice,
    sync::atomic::Ordering, //
};

#[cfg(not(test))]
use core::sync::atomic::AtomicUsize;

use super::{
    address::Addresses,
    buddy::{
        ORDERS,
        Work,
        order_of, //
    },
    frames::{
        BITMAP_WORDS,
        Frame,
        REGION_PAGES_MAX, //
    },
    heap::{
        Heap,
        pages_of, //
    },
    magazine::{
        Cache,
        Counts,
        STOCKS,
        Stock, //
    },
    magazine_check::MAGAZINES,
};
#[cfg(test)]
use crate::testing::atomic::AtomicUsize;
use crate::{
    check::{
        Broken,
        Progress,
        Rule,
        Walk, //
    },
    class::{
        CLASSES,
        Class,
        PAGE_BYTES,
        PAGE_SHIFT, //
    },
    engine::{
        BadFree,
        Block,
        Capabilities,
        Cost,
        Engine,
        Path,
        Refusal, //
    },
    lock::Lock,
    map::{
        Extent,
        Mapped,
        NoMap, //
    },
    platform::Platform,
    region::{
        Offset,
        RegionError,
        Regions, //
    },
    stats::{
        BuddyStats,
        ClassStats,
        OrderStats,
        Totals,
        Visitor, //
    },
};

/// What the lock of a [`Hybrid`] protects.
pub struct State {
    pub(super) heap: Heap,
    regions: Regions,
    /// Bytes that magazines may hold, of all that they may hold together.
    pub(super) reserved_bytes: usize,
    /// What the lock's holders did; magazines count their own.
    pub(super) counts: Counts,
    resizes: u64,
    refusals: [u64; Refusal::COUNT],
    /// Frees of what was not out, which were seen when magazines were emptied.
    pub(super) late_refusals: u64,
}

/// The engine `hybrid`.
///
/// `L` is the lock around the heap, `P` the machine, `C` what its CPUs keep: with fewer of those
/// than CPUs, the others keep nothing.
pub struct Hybrid<L, P, C> {
    pub(super) state: L,
    pub(super) platform: P,
    pub(super) caches: C,
    pub(super) addresses: Addresses,
    /// A copy of the regions' bytes that can be read without the lock. It only grows.
    capacity: AtomicUsize,
    /// Callers that have blocks in hand, between magazines and heap.
    pub(super) hands: AtomicUsize,
}

/// The part of the pool that all magazines together may hold.
const MAGAZINE_SHARE: usize = 16;

impl State {
    /// Returns the state of an engine without memory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            heap: Heap::new(),
            regions: Regions::new(),
            reserved_bytes: 0,
            counts: Counts::default(),
            resizes: 0,
            refusals: [0; Refusal::COUNT],
            late_refusals: 0,
        }
    }

    /// Changes with every change of what the heap keeps.
    pub(super) fn epoch(&self) -> u64 {
        let Counts {
            allocations,
            frees,
            moves,
            ..
        } = self.counts;
        [
            allocations,
            // Less than none were the lock's holders', once one was refused late.
            frees,
            self.late_refusals,
            moves,
            self.resizes,
            // A refused request may have made slabs give their pages back.
            self.heap.reclaims,
            self.regions.count() as u64,
        ]
        .into_iter()
        .fold(0, u64::wrapping_add)
    }

    /// Serves a request, with up to `blocks.len()` blocks of which the first is the caller's.
    pub(super) fn serve(
        &mut self,
        layout: Layout,
        blocks: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        let served = self.heap.serve(layout, blocks, work, cost)?;
        self.counts.allocated(layout.size());
        Ok(served)
    }

    /// Serves a request that [`State::serve`] refused, or counts that it was refused.
    #[cold]
    pub(super) fn serve_last(
        &mut self,
        layout: Layout,
        refusal: Refusal,
        blocks: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        let served = self.heap.last_resort(layout, refusal, blocks, work, cost);
        match served {
            Ok(_) => self.counts.allocated(layout.size()),
            Err(refusal) => self.refusals[refusal as usize] += 1,
        }
        served
    }

    /// Sets bytes aside for magazines that want to hold `wanted` blocks more of `bytes` bytes, and
    /// returns for how many.
    pub(super) fn reserve(&mut self, wanted: usize, bytes: usize) -> usize {
        let most = self.regions.bytes() / MAGAZINE_SHARE;
        let granted = wanted.min(most.saturating_sub(self.reserved_bytes) / bytes);
        self.reserved_bytes += granted * bytes;
        granted
    }

    /// Gives back what [`State::reserve`] set aside.
    pub(super) fn unreserve(&mut self, blocks: usize, bytes: usize) {
        self.reserved_bytes = self.reserved_bytes.saturating_sub(blocks * bytes);
        self.counts.moves += u64::from(blocks > 0);
    }

    /// Takes back blocks that were in magazines.
    pub(super) fn take_back(&mut self, stock: Stock, blocks: &[Offset], work: &mut Work) {
        for block in blocks {
            self.counts.moves += 1;
            if self.heap.take_back(stock, *block, work).is_err() {
                // It was freed twice, and the magazines saw it too late to say so to who did it.
                self.counts.frees = self.counts.frees.wrapping_sub(1);
                self.late_refusals += 1;
            }
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl<L, P, C> Hybrid<L, P, C>
where
    L: Lock<State> + Sync,
    P: Platform,
    C: Deref<Target = [Cache]> + Sync,
{
    /// Makes an engine without memory around the state in `state`, which is new, and the caches in
    /// `caches`, which are too.
    pub const fn new(state: L, platform: P, caches: C) -> Self {
        Self {
            state,
            platform,
            caches,
            addresses: Addresses::new(),
            capacity: AtomicUsize::new(0),
            hands: AtomicUsize::new(0),
        }
    }

    /// Returns the sum of what all CPUs and the lock's holders counted.
    pub(super) fn counts(&self, state: &State) -> Counts {
        let caches = self.caches.iter().map(Cache::counts);
        caches.fold(state.counts, Counts::plus)
    }

    /// Returns how many blocks of a size magazines hold.
    fn magazine_blocks(&self, stock: Stock) -> usize {
        self.caches.iter().map(|cache| cache.len(stock)).sum()
    }
}

/// Returns the bytes of a region's frames, which come first in its table.
const fn frames_bytes(pages: usize) -> usize {
    pages * size_of::<Frame>()
}

/// Returns the bytes of the table that a region of `bytes` bytes needs: frames, then bitmaps.
#[must_use]
pub const fn table_bytes(bytes: usize) -> usize {
    let pages = bytes / PAGE_BYTES;
    frames_bytes(pages) + pages * BITMAP_WORDS * size_of::<u64>()
}

// SAFETY: The heap partitions its pages, and hands out each block or object once until it comes
// back, to a caller or to a magazine, which does the same: only its CPU touches it, by the contract
// of `Platform`. None of them touches a byte of the pool. Objects are multiples of their size
// within slabs, which are page-aligned, blocks of pages are aligned as `large` asks the buddy
// system, both within regions that are aligned to their rounded-up size; for one that is not,
// `large` refuses what would not be. Magazines serve no request of more than a page's alignment.
unsafe impl<L, P, C> Engine for Hybrid<L, P, C>
where
    L: Lock<State> + Sync,
    P: Platform,
    C: Deref<Target = [Cache]> + Sync,
{
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
        if let Some(stock) = Stock::of(&layout) {
            let block = self
                .platform
                .pinned(|cpu| self.caches.get(cpu)?.allocate(stock, layout.size()));
            if let Some(block) = block.and_then(|block| self.addresses.block(block)) {
                *cost = kept(stock);
                return Ok(block);
            }
        }
        self.allocate_from_heap(layout, cost)
    }

    #[inline]
    unsafe fn release(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        // What is not a block of that size does not get into a magazine: the heap says what it is.
        let stocked = Stock::of(&layout).and_then(|stock| {
            let (offset, tag) = self.addresses.find(block.start.addr().get())?;
            let byte = offset.byte() as usize % PAGE_BYTES;
            let right = match stock.class() {
                Some(class) => tag.has_object(class, byte),
                None => byte == 0 && tag.is_large(stock.pages()),
            };
            right.then_some((stock, offset))
        });
        if let Some((stock, offset)) = stocked {
            let put = self.platform.pinned(|cpu| match self.caches.get(cpu) {
                Some(cache) => cache.release(stock, offset, layout.size()),
                None => false,
            });
            if put {
                *cost = kept(stock);
                return Ok(());
            }
        }
        self.release_to_heap(block, layout, stocked, cost)
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
            let Some((offset, _)) = self.addresses.find(block.start.addr().get()) else {
                return false;
            };
            let resized = state.heap.resize(offset, layout, new, cost);
            if resized {
                state.resizes += 1;
                state.counts.resized(layout.size(), new.size());
            }
            resized
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
        // SAFETY: The table begins with room for so many frames, is aligned for them, and zeros are
        // frames; it is the engine's as long as it lives.
        let frames = unsafe { slice::from_raw_parts(table.cast::<Frame>().as_ptr(), pages) };
        // SAFETY: The bitmaps follow, in the table too, and are zeros.
        let bits = unsafe {
            slice::from_raw_parts_mut(
                table.add(frames_bytes(pages)).cast::<u64>().as_ptr(),
                pages * BITMAP_WORDS,
            )
        };
        self.state.with(|state| {
            let region = state.regions.add(address, bytes)?;
            // SAFETY: By this function's contract; the number is new, and the frames are as many.
            unsafe { self.addresses.add(region, start, bytes, frames) };
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
        let pages = self.empty_own() + self.empty_others();
        (pages + self.state.with(|state| state.heap.drain())) * PAGE_BYTES
    }

    fn visit(&self, visitor: &mut dyn Visitor) {
        self.state.with(|state| {
            let heap = &state.heap;
            // A CPU may be at it meanwhile: what is read of it then is of different moments.
            let mut held = [0; STOCKS];
            let mut magazine_bytes = 0;
            let mut magazine_count = 0;
            for (stock, held) in Stock::all().zip(&mut held) {
                *held = self.magazine_blocks(stock);
                magazine_count += *held;
                magazine_bytes += *held * stock.bytes();
            }
            let (objects, object_bytes, _) = heap.slab_bytes();
            let taken = object_bytes + heap.large_pages * PAGE_BYTES;
            let live = taken.saturating_sub(magazine_bytes);
            let free = heap.buddy.free_pages() * PAGE_BYTES;
            let total = state.regions.bytes();
            let counts = self.counts(state);
            visitor.totals(&Totals {
                total_bytes: total as u64,
                used_bytes: live as u64,
                available_bytes: (total - live) as u64,
                pool_bytes: total as u64,
                live_bytes: live as u64,
                cached_bytes: (total - free - live) as u64,
                magazine_bytes: magazine_bytes as u64,
                free_bytes: free as u64,
                requested_bytes: counts.requested_bytes,
                live_blocks: (objects + heap.large_count()).saturating_sub(magazine_count) as u64,
                regions: state.regions.count() as u32,
                allocations: counts.allocations,
                frees: counts.frees,
                refusals: state.refusals,
            });
            for (class, held) in Class::all().zip(held) {
                let slabs = &heap.classes[usize::from(class.number())];
                visitor.class(
                    class.number(),
                    &ClassStats {
                        block_bytes: class.bytes() as u64,
                        total_blocks: (slabs.slabs * class.objects()) as u64,
                        used_blocks: slabs.used.saturating_sub(held) as u64,
                        magazine_blocks: held as u64,
                        growths: slabs.growths,
                    },
                );
            }
            let mut orders = [OrderStats::default(); ORDERS];
            for (stock, held) in Stock::all().zip(held).skip(CLASSES) {
                orders[order_of(stock.pages()) as usize].magazine_blocks += held as u64;
            }
            for (order, stats) in orders.iter_mut().enumerate() {
                let taken = u64::from(heap.large_blocks[order]);
                stats.used_blocks = taken.saturating_sub(stats.magazine_blocks);
                stats.free_blocks = heap.buddy.list(order).len.into();
                visitor.order(order as u8 + PAGE_SHIFT as u8, stats);
            }
            visitor.buddy(&BuddyStats {
                user_bytes: (total - free) as u64,
                actual_bytes: (total - free) as u64,
                total_bytes: total as u64,
            });
        });
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

/// Returns the cost of what a magazine served, or took back.
#[inline]
pub(super) fn kept(stock: Stock) -> Cost {
    Cost {
        path: Path::Magazine,
        class: stock.class().map(Class::number),
        ..Cost::default()
    }
}
