// SPDX-License-Identifier: GPL-2.0

//! What happens when a magazine cannot serve: blocks move between magazines and heap.
//!
//! The heap is never called with a CPU pinned. Blocks leave one side into the caller's hand, and
//! the hand is emptied on the other side: on whatever CPU that is by then.

use core::{
    alloc::Layout,
    ops::Deref,
    sync::atomic::Ordering, //
};

#[cfg(not(test))]
use core::sync::atomic::AtomicUsize;

use super::{
    buddy::Work,
    engine::{
        Hybrid,
        State,
        kept, //
    },
    magazine::{
        BATCH,
        Cache,
        Stock, //
    },
};
#[cfg(test)]
use crate::testing::atomic::AtomicUsize;
use crate::{
    engine::{
        BadFree,
        Block,
        Cost,
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
    blocks: [Offset; BATCH],
    hands: &'a AtomicUsize,
}

impl<'a> Hand<'a> {
    fn new(hands: &'a AtomicUsize) -> Self {
        // Before the heap's lock is taken, so whoever has it sees who holds what the heap gave.
        hands.fetch_add(1, Ordering::AcqRel);
        Self {
            blocks: [Offset::new(0, 0); BATCH],
            hands,
        }
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        self.hands.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<L, P, C> Hybrid<L, P, C>
where
    L: Lock<State> + Sync,
    P: Platform,
    C: Deref<Target = [Cache]> + Sync,
{
    /// Allocates what no magazine has.
    #[cold]
    #[inline(never)]
    pub(super) fn allocate_from_heap(
        &self,
        layout: Layout,
        cost: &mut Cost,
    ) -> Result<Block, Refusal> {
        let mut work = Work::default();
        let mut hand = Hand::new(&self.hands);
        let mut refusal = match self.serve(layout, &mut hand, &mut work, cost) {
            Ok(block) => return self.found(block),
            Err(refusal) => refusal,
        };
        // Before memory is said to be short, CPUs give up what they keep: first this one.
        if matches!(refusal, Refusal::Exhausted | Refusal::Fragmented) {
            for empty in [Self::empty_own, Self::empty_others] {
                empty(self);
                let again =
                    |state: &mut State| state.serve(layout, &mut hand.blocks[..1], &mut work, cost);
                match self.state.with(again) {
                    Ok(_) => return self.found(hand.blocks[0]),
                    Err(now) => refusal = now,
                }
            }
        }
        self.state.with(|state| {
            state.serve_last(layout, refusal, &mut hand.blocks[..1], &mut work, cost)
        })?;
        self.found(hand.blocks[0])
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
        hand: &mut Hand<'_>,
        work: &mut Work,
        cost: &mut Cost,
    ) -> Result<Offset, Refusal> {
        let Some((stock, capacity)) = self.magazine_for(&layout) else {
            self.state
                .with(|state| state.serve(layout, &mut hand.blocks[..1], work, cost))?;
            return Ok(hand.blocks[0]);
        };
        let next = stock.next(capacity);
        let (served, granted) = self.state.with(|state| {
            let granted = state.reserve(next - capacity, stock.bytes());
            // Pages are not taken on suspicion: magazines hold those that were freed.
            let filled = match stock.class() {
                Some(_) => (capacity + granted) / 2,
                None => 0,
            };
            let most = (1 + filled).min(BATCH);
            let served = state.serve(layout, &mut hand.blocks[..most], work, cost);
            if served.is_err() {
                state.unreserve(granted, stock.bytes());
            }
            served.map(|served| (served, granted))
        })?;
        self.fill(stock, granted, &hand.blocks[1..served]);
        if granted < next - capacity {
            self.denied();
        }
        Ok(hand.blocks[0])
    }

    /// Returns the size of a request, and how many blocks the CPU's magazine for it may hold.
    #[inline]
    fn magazine_for(&self, layout: &Layout) -> Option<(Stock, usize)> {
        let stock = Stock::of(layout)?;
        let capacity = self
            .platform
            .pinned(|cpu| Some(self.caches.get(cpu)?.capacity(stock)))?;
        // Whichever CPU that was, it is no more than any may hold.
        Some((stock, capacity.min(stock.most())))
    }

    /// Lets the CPU's magazine hold `granted` blocks more, and puts `blocks` into it.
    ///
    /// What it has no room for, as this may be another CPU than the one it was meant for, goes back
    /// to the heap.
    fn fill(&self, stock: Stock, granted: usize, blocks: &[Offset]) {
        if granted == 0 && blocks.is_empty() {
            return;
        }
        let (surplus, rest) = self.platform.pinned(|cpu| match self.caches.get(cpu) {
            Some(cache) => {
                let surplus = if granted > 0 {
                    cache.grow(stock, granted)
                } else {
                    0
                };
                (surplus, cache.fill(stock, blocks))
            }
            None => (granted, blocks),
        });
        if surplus > 0 || !rest.is_empty() {
            self.state.with(|state| {
                state.unreserve(surplus, stock.bytes());
                state.take_back(stock, rest, &mut Work::default());
            });
        }
    }

    /// Takes back what no magazine has room for. `stocked` says that it is a block of that size.
    #[cold]
    #[inline(never)]
    pub(super) fn release_to_heap(
        &self,
        block: Block,
        layout: Layout,
        stocked: Option<(Stock, Offset)>,
        cost: &mut Cost,
    ) -> Result<(), BadFree> {
        if let Some((stock, offset)) = stocked {
            if let Some((_, capacity)) = self.magazine_for(&layout) {
                self.make_room(stock, capacity);
                let put = self.platform.pinned(|cpu| {
                    let cache = self.caches.get(cpu)?;
                    cache.release(stock, offset, layout.size()).then_some(())
                });
                if put.is_some() {
                    *cost = kept(stock);
                    return Ok(());
                }
            }
        }
        let (offset, _) = self
            .addresses
            .find(block.start.addr().get())
            .ok_or(BadFree::Foreign)?;
        self.state.with(|state| {
            state.heap.release(offset, layout, cost)?;
            state.counts.freed(layout.size());
            Ok(())
        })
    }

    /// Makes room in the CPU's magazine: lets it grow, or gives the older half of it to the heap.
    fn make_room(&self, stock: Stock, capacity: usize) {
        let mut hand = Hand::new(&self.hands);
        let wanted = stock.next(capacity) - capacity;
        if wanted > 0 {
            let granted = self
                .state
                .with(|state| state.reserve(wanted, stock.bytes()));
            if granted > 0 {
                return self.fill(stock, granted, &[]);
            }
            self.denied();
        }
        let most = (capacity / 2).min(BATCH);
        let taken = self.platform.pinned(|cpu| match self.caches.get(cpu) {
            Some(cache) => cache.empty(stock, &mut hand.blocks[..most]),
            None => 0,
        });
        if taken > 0 {
            self.state.with(|state| {
                state.take_back(stock, &hand.blocks[..taken], &mut Work::default());
            });
        }
    }

    /// Notes that a magazine cannot grow.
    fn denied(&self) {
        let denials = self
            .platform
            .pinned(|cpu| self.caches.get(cpu).map_or(0, Cache::deny));
        if denials >= DENIALS {
            self.empty_own();
        }
    }

    /// Gives all that this CPU keeps to the heap, and returns how many pages became free.
    pub(super) fn empty_own(&self) -> usize {
        let cpu = self.platform.pinned(|cpu| cpu);
        let Some(cache) = self.caches.get(cpu) else {
            return 0;
        };
        // Should the caller be moved to another CPU, that one's are emptied: it has the time now.
        let pin = |f: &mut dyn FnMut(&Cache)| {
            self.platform.pinned(|cpu| self.caches.get(cpu).map(f));
        };
        if cache.is_idle() { 0 } else { self.empty(pin) }
    }

    /// Has each CPU that keeps something give it to the heap, and returns how many pages became
    /// free.
    pub(super) fn empty_others(&self) -> usize {
        let mut pages = 0;
        for (cpu, cache) in self.caches.iter().enumerate() {
            if cache.is_idle() {
                continue;
            }
            self.platform.on(cpu, &mut |pin: Pinning<'_>| {
                pages += self.empty(|f| pin(&mut || f(cache)));
            });
        }
        pages
    }

    /// Empties and closes the magazines that `pin` leads to.
    fn empty(&self, pin: impl Fn(&mut dyn FnMut(&Cache))) -> usize {
        let mut hand = Hand::new(&self.hands);
        let mut pages = 0;
        for stock in Stock::all() {
            loop {
                let (mut taken, mut closed) = (0, 0);
                pin(&mut |cache| {
                    if cache.capacity(stock) > 0 {
                        taken = cache.empty(stock, &mut hand.blocks);
                        closed = cache.close(stock);
                    }
                });
                if taken == 0 && closed == 0 {
                    break;
                }
                pages += self.state.with(|state| {
                    let before = state.heap.buddy.free_pages();
                    state.unreserve(closed, stock.bytes());
                    state.take_back(stock, &hand.blocks[..taken], &mut Work::default());
                    state.heap.buddy.free_pages() - before
                });
            }
        }
        pages
    }
}
