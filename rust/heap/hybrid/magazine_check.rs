// SPDX-License-Identifier: GPL-2.0

//! The check of the magazines, after that of the heap behind them.
//!
//! Magazines change without the lock, so what is read of them is right only if nothing happened
//! between a moment before and one after. What has happened on a CPU, that CPU tells when it is
//! pinned, so that it is not in the middle of an operation. If more has happened than before, the
//! walk begins again, whatever it saw.

use core::sync::atomic::Ordering;

use super::{
    engine::Hybrid,
    magazine::{
        Cache,
        SLOTS,
        STOCKS,
        Start,
        Stock, //
    },
    state::State,
};
use crate::{
    check::{
        Broken,
        Progress,
        Rule,
        STEP,
        Walk, //
    },
    class::Class,
    lock::Lock,
    platform::Platform,
    region::Offset,
};

/// The part of a [`Walk`] that looks at magazines, after all parts of the heap's.
pub(super) const MAGAZINES: usize = usize::MAX;

/// Makes what is broken in the magazines, or counted wrong.
fn broken(rule: Rule, stock: Option<Stock>, offset: Option<Offset>) -> Broken {
    Broken {
        rule,
        class: stock.and_then(Stock::class).map(Class::number),
        offset,
    }
}

impl<L: Lock<State> + Sync, P: Platform<Cache>> Hybrid<L, P> {
    /// Goes on to the magazines.
    pub(super) fn begin_magazines(&self, walk: &mut Walk) {
        walk.next_part();
        walk.part = MAGAZINES;
        walk.turns = self.turns();
    }

    /// Returns a number that changes with every change of a magazine.
    fn turns(&self) -> u64 {
        let mut turns = 0;
        for (cpu, cache) in self.platform.all().enumerate() {
            // A CPU that never did anything keeps nothing.
            if cache.epoch() > 0 {
                self.platform
                    .on(cpu, &mut |pin| pin(&mut |cache| turns += cache.epoch()));
            }
        }
        turns
    }

    /// Looks at the next slots, and after the last one at the counters.
    pub(super) fn check_magazines(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        let seen = self.look(walk);
        if seen == Ok(Progress::More) {
            return seen;
        }
        // What was seen counts if nothing happened since `begin_magazines`. Hands come first: what
        // those did who have none any more, the others tell.
        let mut quiet = self.hands.load(Ordering::Acquire) == 0;
        quiet &= walk.turns == self.turns();
        quiet &= self.state.with(|state| walk.epoch == Some(state.epoch()));
        if quiet { seen } else { Ok(walk.restart()) }
    }

    /// Looks at slots; says that all is sound when there are no more.
    fn look(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        let slots = self.platform.cpus() * STOCKS * SLOTS;
        let mut looks = 0;
        while walk.place < slots {
            if looks >= STEP {
                return Ok(Progress::More);
            }
            let (magazine, slot) = (walk.place / SLOTS, walk.place % SLOTS);
            let (cpu, number) = (magazine / STOCKS, magazine % STOCKS);
            let (Some(cache), Some(stock)) = (self.platform.of(cpu), Stock::all().nth(number))
            else {
                break;
            };
            let (len, capacity) = (cache.len(stock), cache.capacity(stock));
            if len > capacity || capacity > stock.most() {
                return Err(broken(Rule::Magazines, Some(stock), None));
            }
            let Some(block) = cache.block(stock, slot) else {
                // There are none in the slots behind either.
                walk.place = (magazine + 1) * SLOTS;
                looks += 1;
                continue;
            };
            looks += self.look_at(walk, stock, block)?;
            walk.place += 1;
            walk.walked += 1;
        }
        self.state
            .with(|state| self.look_at_counters(walk, state))?;
        Ok(Progress::Sound)
    }

    /// Looks at one block, and returns with how many others it was compared.
    fn look_at(&self, walk: &Walk, stock: Stock, block: Start) -> Result<usize, Broken> {
        let offset = self.addresses.block_at(block).offset;
        let is_out = |offset| self.state.with(|state| state.heap.is_out(stock, offset));
        if !offset.is_some_and(is_out) {
            return Err(broken(Rule::Magazines, Some(stock), offset));
        }
        let mut compared = 1;
        // It must not be in a slot before, of this magazine or another CPU's.
        for (cpu, cache) in self.platform.all().enumerate() {
            let first = (cpu * STOCKS + stock.number()) * SLOTS;
            for slot in 0..cache.len(stock).min(SLOTS) {
                compared += 1;
                if first + slot < walk.place && cache.block(stock, slot) == Some(block) {
                    return Err(broken(Rule::Magazines, Some(stock), offset));
                }
            }
        }
        Ok(compared)
    }

    /// Compares counters: what magazines may hold, and what is out.
    fn look_at_counters(&self, walk: &mut Walk, state: &State) -> Result<(), Broken> {
        // What is read of other CPUs may be of different moments, or damaged: sums wrap.
        let (mut held, mut reserved) = (0_usize, 0_usize);
        for (cache, stock) in self
            .platform
            .all()
            .flat_map(|cache| Stock::all().map(move |stock| (cache, stock)))
        {
            held = held.wrapping_add(cache.len(stock));
            let bytes = cache.capacity(stock).wrapping_mul(stock.bytes());
            reserved = reserved.wrapping_add(bytes);
        }
        walk.walked += 1;
        if reserved != state.reserved_bytes {
            return Err(broken(Rule::Magazines, None, None));
        }
        let (objects, ..) = state.heap.slab_bytes();
        let out = objects + state.heap.large_count();
        let counts = self.counts(state);
        // Counters that are read one after the other may have more frees than allocations.
        let live = counts.allocations.wrapping_sub(counts.frees);
        if out as u64 != live.wrapping_add(held as u64) {
            return Err(broken(Rule::LiveBlocks, None, None));
        }
        Ok(())
    }
}
