// SPDX-License-Identifier: GPL-2.0

//! The engine in figures.

use super::{
    buddy::{
        ORDERS,
        order_of, //
    },
    engine::Hybrid,
    heap::Heap,
    magazine::{
        Cache,
        Counts,
        STOCKS,
        Stock, //
    },
    state::State,
};
use crate::{
    class::{
        Class,
        PAGE_BYTES,
        PAGE_SHIFT, //
    },
    lock::Lock,
    platform::Platform,
    stats::{
        BuddyStats,
        ClassStats,
        OrderStats,
        Totals,
        Visitor, //
    },
};

impl<L: Lock<State> + Sync, P: Platform<Cache>> Hybrid<L, P> {
    /// Tells a visitor all figures.
    pub(super) fn tell(&self, visitor: &mut dyn Visitor) {
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
            tell_parts(heap, &held, visitor);
            visitor.buddy(&BuddyStats {
                user_bytes: (total - free) as u64,
                actual_bytes: (total - free) as u64,
                total_bytes: total as u64,
            });
        });
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

/// Tells a visitor the figures of each class and order, of which magazines hold the blocks in `held`.
///
/// Out of line: with what its caller has, it would be a large frame.
#[inline(never)]
fn tell_parts(heap: &Heap, held: &[usize; STOCKS], visitor: &mut dyn Visitor) {
    for (class, held) in Class::all().zip(held.iter().copied()) {
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
    for order in 0..ORDERS {
        let held = Stock::all()
            .zip(held.iter().copied())
            .filter(|(stock, _)| match stock {
                Stock::Pages(pages) => order_of(pages.count()) as usize == order,
                Stock::Class(_) => false,
            });
        let held = held.map(|(_, held)| held as u64).sum();
        let stats = OrderStats {
            used_blocks: u64::from(heap.large_blocks[order]).saturating_sub(held),
            magazine_blocks: held,
            free_blocks: heap.buddy.list(order).len.into(),
        };
        visitor.order(order as u8 + PAGE_SHIFT as u8, &stats);
    }
}
