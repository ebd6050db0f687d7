// SPDX-License-Identifier: GPL-2.0

//! The heap behind the contract of an engine: magazines first, then the lock; addresses, counters.

// Lock order: there is one lock, the heap's. A CPU is never pinned under it, nor is it taken while
// a CPU is pinned: what moves between magazines and heap is in the caller's hand in between.

use core::{
    alloc::Layout,
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
        Page,
        REGION_PAGES_MAX,
        Table, //
    },
    heap::{
        Heap,
        pages_of, //
    },
    links::Links,
    magazine::{
        Cache,
        Counts,
        Pages,
        STOCKS,
        Start,
        Stock,
        Told, //
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
        Class,
        PAGE_BYTES,
        PAGE_SHIFT, //
    },
    cost::{
        Cost,
        Path, //
    },
    engine::{
        BadFree,
        Block,
        Capabilities,
        Engine,
        Refusal, //
    },
    errand::{
        AtHand,
        Errand, //
    },
    fail::Nth,
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
/// `L` is the lock around the heap, `P` the machine and what its CPUs keep.
pub struct Hybrid<L, P> {
    pub(super) state: L,
    pub(super) platform: P,
    pub(super) addresses: Addresses,
    /// A copy of the regions' bytes that can be read without the lock. It only grows.
    capacity: AtomicUsize,
    /// Callers that have blocks in hand, between magazines and heap.
    pub(super) hands: AtomicUsize,
    pub(super) failing_growth: Nth,
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

    /// Serves a request, with up to `blocks.len()` blocks of which the first is the caller's, and
    /// counts the bytes that it is told.
    pub(super) fn serve(
        &mut self,
        layout: Layout,
        told: Told,
        blocks: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        let mut served = self.heap.serve(layout, blocks, work, cost)?;
        self.counts.allocated(told);
        // What is to fill a magazine may be in several slabs. How the caller's block came is told.
        while let Some(rest) = blocks.get_mut(served..).filter(|rest| !rest.is_empty()) {
            let (work, cost) = (&mut Work::default(), &mut Cost::default());
            match self.heap.serve_more(layout, rest, work, cost) {
                Some(more) => served += more,
                None => break,
            }
        }
        Ok(served)
    }

    /// Refuses a request for which a slab would have to grow, if that is the growth to refuse.
    #[cold]
    pub(super) fn fail_growth(&mut self, layout: Layout, growth: &Nth) -> Result<(), Refusal> {
        let grows = Class::of(&layout).is_some_and(|class| {
            let slabs = &self.heap.classes[class.index()];
            !slabs.has_partial() && slabs.empty().is_none()
        });
        if grows && growth.strikes() {
            self.refusals[Refusal::Injected as usize] += 1;
            return Err(Refusal::Injected);
        }
        Ok(())
    }

    /// Serves a request that [`State::serve`] refused, or counts that it was refused.
    #[cold]
    pub(super) fn serve_last(
        &mut self,
        layout: Layout,
        told: Told,
        refusal: Refusal,
        blocks: &mut [Offset],
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<usize, Refusal> {
        let served = self.heap.last_resort(layout, refusal, blocks, work, cost);
        match served {
            Ok(_) => self.counts.allocated(told),
            Err(refusal) => self.refusals[refusal as usize] += 1,
        }
        served
    }

    /// Makes a block serve `new` where it is, if it can, and counts that.
    fn resize(&mut self, block: Offset, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let resized = self.heap.resize(block, layout, new, cost);
        if resized {
            self.resizes += 1;
            self.counts.resized(layout.size(), new.size());
        }
        resized
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
        let mut rest = blocks;
        while !rest.is_empty() {
            self.counts.moves += 1;
            let taken = self.heap.take_back(stock, rest, work).unwrap_or_else(|_| {
                // It was freed twice, and the magazines saw it too late to say so to who did it.
                self.counts.frees = self.counts.frees.wrapping_sub(1);
                self.late_refusals += 1;
                1
            });
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl<L: Lock<State> + Sync, P: Platform<Cache>> Hybrid<L, P> {
    /// Makes an engine without memory around the state in `state`, which is new, on a machine whose
    /// CPUs keep nothing yet.
    pub const fn new(state: L, platform: P) -> Self {
        Self {
            state,
            platform,
            addresses: Addresses::new(),
            capacity: AtomicUsize::new(0),
            hands: AtomicUsize::new(0),
            failing_growth: Nth::new(),
        }
    }

    /// Serves a request with what the CPU keeps.
    #[inline(always)]
    fn take(&self, stock: Stock, told: Told) -> Option<Start> {
        self.platform.pinned(|cache| cache.allocate(stock, told))?
    }

    /// Has the CPU keep a block of this size, and says whether it does.
    #[inline(always)]
    pub(super) fn put(&self, stock: Stock, start: Start, told: Told) -> bool {
        self.platform
            .pinned(|cache| cache.release(stock, start, told))
            .unwrap_or(false)
    }

    /// Has the CPU keep a block of this size, or returns how many it may keep if it has as many.
    #[inline]
    pub(super) fn offer(&self, stock: Stock, start: Start, told: Told) -> Result<(), usize> {
        let offered = self.platform.pinned(|cache| {
            let put = cache.release(stock, start, told);
            put.then_some(()).ok_or_else(|| cache.capacity(stock))
        });
        // Where CPUs keep nothing, there is no room to be made.
        offered.unwrap_or(Err(stock.most()))
    }

    /// Has the CPU keep an object of the first region, and returns its class if it does.
    ///
    /// The page knows the class, as it does for `kfree`, and the size is to agree. What is no object
    /// does not get into a magazine.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`].
    #[inline(always)]
    unsafe fn put_object(&self, start: Start, layout: &Layout, told: Told) -> Option<Class> {
        // SAFETY: What is released was handed out.
        let (byte, frame) = unsafe { self.addresses.find_in_first(start) }?;
        let class = frame.object(byte, layout.size())?;
        self.put(Stock::Class(class), start, told).then_some(class)
    }

    /// Says whether a block of this size begins here.
    #[inline]
    pub(super) fn is_block(&self, stock: Stock, start: Start) -> bool {
        let found = self.addresses.find(start);
        found.is_some_and(|(byte, frame)| match stock {
            Stock::Class(class) => frame.has_object(class, byte),
            Stock::Pages(pages) => byte % PAGE_BYTES == 0 && frame.is_large(pages.count()),
        })
    }

    /// Allocates memory for `layout`, of which the size may be 0, or says that there is none.
    ///
    /// For those who want memory and no account of it: the engine does not count how many bytes
    /// were asked for. What was allocated so is to be given to [`Hybrid::free`].
    #[inline(always)]
    pub fn alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        let Some(class) = Class::of(&layout) else {
            return self.alloc_pages(layout);
        };
        match self.take(Stock::Class(class), None) {
            Some(start) => Some(start),
            None => self.alloc_from_heap(layout),
        }
    }

    /// Does the work of [`Hybrid::alloc`] for whole pages.
    #[inline(never)]
    fn alloc_pages(&self, layout: Layout) -> Option<NonNull<u8>> {
        let start = Pages::of(&layout).and_then(|pages| self.take(Stock::Pages(pages), None));
        match start {
            Some(start) => Some(start),
            None => self.alloc_from_heap(layout),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_from_heap(&self, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.allocate_from_heap(layout, None, &mut Cost::default());
        Some(block.ok()?.start)
    }

    /// Takes memory back.
    ///
    /// # Errors
    ///
    /// What is wrong with the free; nothing has happened then.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`].
    #[inline(always)]
    pub unsafe fn free(&self, start: NonNull<u8>, layout: Layout) -> Result<(), BadFree> {
        // SAFETY: By this function's contract.
        match unsafe { self.put_object(start, &layout, None) } {
            Some(_) => Ok(()),
            // SAFETY: As above.
            None => unsafe { self.free_pages(start, layout) },
        }
    }

    /// Does the work of [`Hybrid::free`] for whole pages.
    ///
    /// # Safety
    ///
    /// As for [`Engine::release`].
    #[inline(never)]
    unsafe fn free_pages(&self, start: Start, layout: Layout) -> Result<(), BadFree> {
        let Some(pages) = Pages::of(&layout) else {
            return self.free_block(start, layout);
        };
        // SAFETY: What is released was handed out.
        let Some((byte, frame)) = (unsafe { self.addresses.find_in_first(start) }) else {
            return self.free_block(start, layout);
        };
        if byte % PAGE_BYTES != 0 || !frame.is_large(pages.count()) {
            return self.free_block(start, layout);
        }
        let page = Page::new(0, byte / PAGE_BYTES);
        match self.offer(Stock::Pages(pages), start, None) {
            Ok(()) => Ok(()),
            Err(capacity) => self.free_past_magazine(start, layout, page, capacity),
        }
    }

    /// Returns the sum of what all CPUs and the lock's holders counted.
    pub(super) fn counts(&self, state: &State) -> Counts {
        let caches = self.platform.all().map(Cache::counts);
        caches.fold(state.counts, Counts::plus)
    }

    /// Returns how many blocks of a size magazines hold.
    fn magazine_blocks(&self, stock: Stock) -> usize {
        self.platform.all().map(|cache| cache.len(stock)).sum()
    }
}

/// Returns the bytes of the table that a region of `bytes` bytes needs.
#[must_use]
pub const fn table_bytes(bytes: usize) -> usize {
    bytes / PAGE_BYTES * Table::PAGE_BYTES
}

// SAFETY: The heap partitions its pages, and hands out each block or object once until it comes
// back, to a caller or to a magazine, which does the same: only its CPU touches it, by the contract
// of `Platform`. None of them touches a byte of the pool. Objects are multiples of their size
// within slabs, which are page-aligned, blocks of pages are aligned as `large` asks the buddy
// system, both within regions that are aligned to their rounded-up size; for one that is not,
// `large` refuses what would not be. Magazines serve no request of more than a page's alignment.
unsafe impl<L: Lock<State> + Sync, P: Platform<Cache>> Engine for Hybrid<L, P> {
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
            Some((block, kept)) => {
                *cost = kept;
                Ok(block)
            }
            None => self.allocate_from_heap(layout, Some(layout.size()), cost),
        }
    }

    #[inline(always)]
    fn allocate_at_once(&self, layout: Layout) -> Option<(Block, Cost)> {
        let stock = Stock::of(&layout)?;
        let start = self.take(stock, Some(layout.size()))?;
        Some((self.addresses.block_at(start), kept(stock)))
    }

    #[inline(always)]
    unsafe fn release_at_once(&self, block: Block, layout: Layout) -> Option<Cost> {
        // SAFETY: By this function's contract.
        let class = unsafe { self.put_object(block.start, &layout, Some(layout.size())) }?;
        Some(kept(Stock::Class(class)))
    }

    #[inline(always)]
    fn at_hand<E: Errand>(&self, errand: E) -> Option<E::Outcome> {
        self.platform.pinned(|cache| {
            errand.run(&Own {
                cache,
                addresses: &self.addresses,
            })
        })
    }

    #[inline]
    unsafe fn release(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        // SAFETY: By this function's contract.
        match unsafe { self.release_at_once(block, layout) } {
            Some(kept) => {
                *cost = kept;
                Ok(())
            }
            None => self.release_block(block.start, layout, Some(layout.size()), cost),
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
            self.empty_own();
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
        let frames = table.cast::<Frame>();
        // SAFETY: In the table, by its length.
        let links = unsafe { frames.add(pages) }.cast::<Links>();
        // SAFETY: As above.
        let bits = unsafe { links.add(pages) }.cast::<u64>();
        // SAFETY: The table begins with room for so many frames, is aligned for them, and zeros are
        // frames; it is the engine's as long as it lives.
        let frames = unsafe { slice::from_raw_parts(frames.as_ptr(), pages) };
        // SAFETY: As above, of the links that follow, and nobody else has them.
        let links = unsafe { slice::from_raw_parts_mut(links.as_ptr(), pages) };
        // SAFETY: As above, of the bitmaps that follow.
        let bits = unsafe { slice::from_raw_parts_mut(bits.as_ptr(), pages * BITMAP_WORDS) };
        self.state.with(|state| {
            let region = state.regions.add(address, bytes)?;
            // SAFETY: By this function's contract; the number is new, and the frames are as many, which
            // was compared above.
            unsafe { self.addresses.add(region, start, bytes, frames) };
            let align_order = (address / PAGE_BYTES).trailing_zeros();
            let table = Table {
                frames,
                links,
                bits,
            };
            state.heap.add(usize::from(region), table, align_order);
            self.capacity
                .store(state.regions.bytes(), Ordering::Relaxed);
            Ok(region)
        })
    }

    fn drain(&self) -> usize {
        let pages = self.empty_all().pages;
        (pages + self.state.with(|state| state.heap.drain())) * PAGE_BYTES
    }

    fn fail_growth(&self, nth: u64) {
        self.failing_growth.set(nth);
    }

    fn visit(&self, visitor: &mut dyn Visitor) {
        self.state.with(|state| {
            state.heap.settle();
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
                let slabs = &heap.classes[class.index()];
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
            for (stock, held) in Stock::all().zip(held) {
                if let Stock::Pages(pages) = stock {
                    orders[order_of(pages.count()) as usize].magazine_blocks += held as u64;
                }
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
#[inline(always)]
pub(super) fn kept(stock: Stock) -> Cost {
    Cost::new(Path::Magazine).with_class(stock.class().map(Class::number))
}

/// What the CPU keeps, to which the caller is kept.
struct Own<'a> {
    cache: &'a Cache,
    addresses: &'a Addresses,
}

// SAFETY: What magazines have is the engine's, and objects of classes, which are aligned to 8 bytes
// and multiples of them.
unsafe impl AtHand for Own<'_> {
    type Size = Class;

    #[inline(always)]
    fn size(&self, layout: Layout) -> Option<Class> {
        Class::of(&layout)
    }

    #[inline(always)]
    fn usable(&self, class: Class) -> usize {
        class.bytes()
    }

    #[inline(always)]
    fn allocate(&self, class: Class, layout: Layout) -> Option<(Block, Cost)> {
        let stock = Stock::Class(class);
        let start = self.cache.allocate(stock, Some(layout.size()))?;
        Some((self.addresses.block_at(start), kept(stock)))
    }

    #[inline(always)]
    unsafe fn release(&self, block: Block, layout: Layout) -> Option<Cost> {
        // SAFETY: What is released was handed out.
        let (byte, frame) = unsafe { self.addresses.find_in_first(block.start) }?;
        let stock = Stock::Class(frame.object(byte, layout.size())?);
        self.cache
            .release(stock, block.start, Some(layout.size()))
            .then_some(kept(stock))
    }
}
