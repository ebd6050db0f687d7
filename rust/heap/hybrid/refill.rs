// SPDX-License-Identifier: GPL-2.0

//! What happens when a magazine cannot serve: blocks move between magazines and heap.
//!
//! The heap is never called with a CPU pinned. Blocks leave one side into the caller's hand, and
//! the hand is emptied on the other side: on whatever CPU that is by then.

use core::{
    alloc::Layout,
    ops::Range,
    sync::atomic::Ordering, //
};

#[cfg(not(test))]
use core::sync::atomic::AtomicUsize;

use super::{
    buddy::Work,
    engine::Hybrid,
    fast::kept,
    frames::Page,
    magazine::{
        BATCH,
        Cache,
        Pages,
        Start,
        Stock,
        Told, //
    },
    state::State,
};
#[cfg(test)]
use crate::testing::atomic::AtomicUsize;
use crate::{
    cost::Cost,
    engine::{
        BadFree,
        Block,
        Refusal, //
    },
    lock::Lock,
    platform::{
        Pinning,
        Platform, //
    },
    region::Offset,
};

/// Refusals to grow a magazine of its own after which a CPU gives up all that it has: its old ones
/// may be of sizes that nobody wants any more.
const DENIALS: u64 = 64;

/// Blocks in the hand of a caller, who is counted as long as he has a hand.
struct Hand<'a> {
    /// As the heap names them.
    blocks: [Offset; BATCH],
    /// As magazines do.
    starts: [Option<Start>; BATCH],
    hands: &'a AtomicUsize,
}

impl<'a> Hand<'a> {
    fn new(hands: &'a AtomicUsize) -> Self {
        // Before the heap's lock is taken, so whoever has it sees who holds what the heap gave.
        hands.fetch_add(1, Ordering::AcqRel);
        Self {
            blocks: [Offset::new(0, 0); BATCH],
            starts: [None; BATCH],
            hands,
        }
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        self.hands.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<L: Lock<State> + Sync, P: Platform<Cache>> Hybrid<L, P> {
    /// Allocates what no magazine has.
    #[cold]
    #[inline(never)]
    pub(super) fn allocate_from_heap(
        &self,
        layout: Layout,
        told: Told,
        cost: &mut Cost,
    ) -> Result<Block, Refusal> {
        // Once for a request, however often it is tried.
        if self.failing_growth.is_set() {
            let growth = &self.failing_growth;
            self.state.with(|state| state.fail_growth(layout, growth))?;
        }
        let mut work = Work::default();
        let mut refusal = match self.serve(layout, told, &mut work, cost) {
            Ok(block) => return self.found(block),
            Err(refusal) => refusal,
        };
        let mut block = [NOWHERE];
        // Before memory is said to be short, CPUs give up what they keep: first this one.
        if matches!(refusal, Refusal::Exhausted | Refusal::Fragmented) {
            for empty in [Self::empty_own, Self::empty_others] {
                if empty(self) == 0 {
                    continue;
                }
                let again =
                    |state: &mut State| state.serve(layout, told, &mut block, &mut work, cost);
                match self.state.with(again) {
                    Ok(_) => return self.found(block[0]),
                    Err(now) => refusal = now,
                }
            }
        }
        self.state
            .with(|state| state.serve_last(layout, told, refusal, &mut block, &mut work, cost))?;
        self.found(block[0])
    }

    /// Returns the block at an offset that the heap gave.
    fn found(&self, offset: Offset) -> Result<Block, Refusal> {
        // The heap gives nothing that is not in the pool.
        self.addresses.block(offset).ok_or(Refusal::Exhausted)
    }

    /// Has the heap serve a request, and fills the magazine that could not.
    #[inline]
    fn serve(
        &self,
        layout: Layout,
        told: Told,
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<Offset, Refusal> {
        match self.magazine_for(&layout) {
            // Pages are not taken on suspicion: magazines hold those that were freed.
            Some((stock, capacity)) if stock.class().is_some() || capacity < stock.most() => {
                self.serve_and_fill(layout, stock, capacity, told, work, cost)
            }
            _ => {
                let mut block = [NOWHERE];
                self.state
                    .with(|state| state.serve(layout, told, &mut block, work, cost))?;
                Ok(block[0])
            }
        }
    }

    /// As [`Hybrid::serve`], from a magazine that may hold `capacity` blocks, and may then hold more.
    #[inline(never)]
    fn serve_and_fill(
        &self,
        layout: Layout,
        stock: Stock,
        capacity: usize,
        told: Told,
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<Offset, Refusal> {
        let mut hand = Hand::new(&self.hands);
        let next = stock.next(capacity);
        let (served, granted) = self.state.with(|state| {
            let granted = state.reserve(next - capacity, stock.bytes());
            let filled = match stock.class() {
                Some(_) => (capacity + granted) / 2,
                None => 0,
            };
            let most = (1 + filled).min(BATCH);
            let served = state.serve(layout, told, &mut hand.blocks[..most], work, cost);
            if served.is_err() {
                state.unreserve(granted, stock.bytes());
            }
            served.map(|served| (served, granted))
        })?;
        let block = hand.blocks[0];
        self.fill(stock, granted, &mut hand, 1..served);
        if granted < next - capacity {
            self.denied();
        }
        Ok(block)
    }

    /// Returns the size of a request, and how many blocks the CPU's magazine for it may hold.
    #[inline]
    fn magazine_for(&self, layout: &Layout) -> Option<(Stock, usize)> {
        let stock = Stock::of(layout)?;
        let capacity = self.platform.pinned(|cache| cache.capacity(stock))?;
        // Whichever CPU that was, it is no more than any may hold.
        Some((stock, capacity.min(stock.most())))
    }

    /// Lets the CPU's magazine hold `granted` blocks more, and puts some of the hand's into it.
    ///
    /// What it has no room for, as this may be another CPU than the one it was meant for, goes back
    /// to the heap.
    fn fill(&self, stock: Stock, granted: usize, hand: &mut Hand<'_>, blocks: Range<usize>) {
        if granted == 0 && blocks.is_empty() {
            return;
        }
        let Hand {
            blocks: all,
            starts,
            ..
        } = hand;
        let blocks = &all[blocks];
        let starts = &mut starts[..blocks.len()];
        self.addresses.starts(blocks, starts);
        let filled = self.platform.pinned(|cache| {
            let surplus = match granted {
                0 => 0,
                granted => cache.grow(stock, granted),
            };
            (surplus, cache.fill(stock, starts))
        });
        let (surplus, rest) = filled.unwrap_or((granted, blocks.len()));
        if surplus > 0 || rest > 0 {
            self.state.with(|state| {
                state.unreserve(surplus, stock.bytes());
                state.take_back(stock, &blocks[..rest], &mut Work::default());
            });
        }
    }

    /// Takes back a block of any size in any region, for which the bytes were counted that are told.
    pub(super) fn release_block(
        &self,
        start: Start,
        layout: Layout,
        told: Told,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        match Stock::of(&layout) {
            // What is no block of that size does not get into a magazine: the heap says what it is.
            Some(stock) if self.is_block(stock, start) => {
                let is_kept = match self.offer(stock, start, told) {
                    Ok(()) => true,
                    // Whichever CPU that was, it is no more than any may hold.
                    Err(capacity) => {
                        self.make_room(stock, capacity.min(stock.most()))
                            && self.put(stock, start, told)
                    }
                };
                if is_kept {
                    *cost = kept(stock);
                    return Ok(());
                }
            }
            _ => {}
        }
        self.release_to_heap(start, layout, told, cost)
    }

    /// Frees pages which the magazine, that may hold `capacity` blocks, did not take: if that is all
    /// that it may ever have, by the shortest way.
    #[cold]
    #[inline(never)]
    pub(super) fn free_past_magazine(
        &self,
        start: Start,
        page: Page,
        pages: Pages,
        capacity: usize,
    ) -> Result<(), BadFree> {
        if capacity >= Stock::Pages(pages).most() {
            self.release_large(page, pages)
        } else {
            self.free_block(start, pages.layout())
        }
    }

    /// Frees a block of any size: makes room for it, or says what is wrong.
    #[cold]
    #[inline(never)]
    pub(super) fn free_block(&self, start: Start, layout: Layout) -> Result<(), BadFree> {
        self.release_block(start, layout, None, &mut Cost::default())
    }

    /// Gives the heap a block of pages, for which no bytes were counted.
    #[cold]
    #[inline(never)]
    fn release_large(&self, page: Page, pages: Pages) -> Result<(), BadFree> {
        self.state.with(|state| {
            let work = &mut Work::default();
            state.heap.release_large(page, pages.count(), work)?;
            state.counts.freed(None);
            Ok(())
        })
    }

    /// Gives a block to the heap, or what is none.
    #[cold]
    fn release_to_heap(
        &self,
        start: Start,
        layout: Layout,
        told: Told,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        let block = self.addresses.block_at(start).offset;
        let block = block.ok_or(BadFree::Foreign)?;
        self.state.with(|state| {
            state.heap.release(block, layout, cost)?;
            state.counts.freed(told);
            Ok(())
        })
    }

    /// Makes room in the CPU's magazine, and says whether it did: lets it grow, or gives what came first
    /// to the heap.
    ///
    /// Pages are given one by one, by the caller: what it costs to merge them is not to come at once.
    fn make_room(&self, stock: Stock, capacity: usize) -> bool {
        let wanted = stock.next(capacity) - capacity;
        if wanted == 0 && stock.class().is_none() {
            return false;
        }
        // What is reserved is in no magazine yet.
        let mut hand = Hand::new(&self.hands);
        if wanted > 0 {
            let granted = self
                .state
                .with(|state| state.reserve(wanted, stock.bytes()));
            if granted > 0 {
                self.grow(stock, granted);
                return true;
            }
            self.denied();
        }
        if stock.class().is_none() {
            return false;
        }
        // Less than come when it is empty: see `magazine`.
        let most = (capacity / 2).min(BATCH - 1);
        let taken = self
            .platform
            .pinned(|cache| cache.empty(stock, &mut hand.starts[..most]));
        self.take_back(stock, taken.unwrap_or(0), 0, &mut hand);
        taken > Some(0)
    }

    /// Lets the CPU's magazine hold `granted` blocks more.
    fn grow(&self, stock: Stock, granted: usize) {
        let surplus = self.platform.pinned(|cache| cache.grow(stock, granted));
        let surplus = surplus.unwrap_or(granted);
        if surplus > 0 {
            self.state
                .with(|state| state.unreserve(surplus, stock.bytes()));
        }
    }

    /// Gives the first `taken` blocks of a hand to the heap, and what was set aside for `closed`
    /// ones, and returns how many pages became free.
    fn take_back(&self, stock: Stock, taken: usize, closed: usize, hand: &mut Hand<'_>) -> usize {
        if taken == 0 && closed == 0 {
            return 0;
        }
        for (block, start) in hand.blocks.iter_mut().zip(&hand.starts[..taken]) {
            // Only what is in the pool got into a magazine.
            let start = start.and_then(|start| self.addresses.block_at(start).offset);
            *block = start.unwrap_or(NOWHERE);
        }
        self.state.with(|state| {
            let before = state.heap.buddy.free_pages();
            state.unreserve(closed, stock.bytes());
            state.take_back(stock, &hand.blocks[..taken], &mut Work::default());
            state.heap.buddy.free_pages() - before
        })
    }

    /// Notes that a magazine cannot grow.
    fn denied(&self) {
        if self.platform.pinned(Cache::deny) >= Some(DENIALS) {
            self.empty_own();
        }
    }

    /// Gives all that this CPU keeps to the heap, and returns how many blocks that was.
    pub(super) fn empty_own(&self) -> usize {
        // Should the caller be moved to another CPU, that one's are emptied: it has the time now.
        self.empty(|f| {
            self.platform.pinned(f);
        })
        .blocks
    }

    /// Has each CPU that keeps something give it to the heap, and returns how many blocks that was.
    pub(super) fn empty_others(&self) -> usize {
        self.empty_all().blocks
    }

    /// As [`Hybrid::empty_others`], in blocks and in pages that became free.
    pub(super) fn empty_all(&self) -> Emptied {
        let mut all = Emptied::default();
        for (cpu, cache) in self.platform.all().enumerate() {
            if cache.is_idle() {
                continue;
            }
            self.platform.on(cpu, &mut |pin: Pinning<'_, Cache>| {
                let emptied = self.empty(pin);
                all.blocks += emptied.blocks;
                all.pages += emptied.pages;
            });
        }
        all
    }

    /// Empties and closes the magazines that `pin` leads to.
    fn empty(&self, pin: impl Fn(&mut dyn FnMut(&Cache))) -> Emptied {
        let mut hand = Hand::new(&self.hands);
        let mut all = Emptied::default();
        for stock in Stock::all() {
            loop {
                let (mut taken, mut closed) = (0, 0);
                pin(&mut |cache| {
                    if cache.capacity(stock) > 0 {
                        taken = cache.empty(stock, &mut hand.starts);
                        closed = cache.close(stock);
                    }
                });
                if taken == 0 && closed == 0 {
                    break;
                }
                all.blocks += taken;
                all.pages += self.take_back(stock, taken, closed, &mut hand);
            }
        }
        all
    }
}

/// What went from magazines to the heap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Emptied {
    pub(super) blocks: usize,
    /// Pages that became free.
    pub(super) pages: usize,
}

/// The offset of what is in no pool.
const NOWHERE: Offset = Offset::new(u16::MAX, 0);
