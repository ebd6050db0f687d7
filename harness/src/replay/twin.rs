// SPDX-License-Identifier: GPL-2.0

//! The seed's twin: what the seed does not tell, by doing the same.
//!
//! The crate that is the seed's buddy system keeps its lists to itself. In a pool that is new, all
//! that it does follows from what is asked of it, so the twin does the same with lists that can be
//! looked at: what was split and merged, how many free blocks were searched for a buddy, and what
//! the pages are. It is written from the crate's documentation of its order (last in, first out; the
//! lower half of a split first), and is compared with the seed: wherever a block does not lie where
//! the twin has it, that is said, and nothing else is believed.

#[cfg(test)]
mod tests;

use std::{
    alloc::Layout,
    collections::HashMap, //
};

use slab_heap::seed::{
    Heap,
    HeapAllocator,
    SET_SIZE, //
};
use slablab_trace::{
    Kind,
    Op, //
};

use super::{
    Answer,
    Fate, //
};
use crate::{
    map::{
        Extent,
        Map,
        Region,
        Use, //
    },
    uapi::{
        Path,
        SLABLAB_OFFSET_REGION_SHIFT as REGION_SHIFT,
        SLABLAB_ORDER_MIN as ORDER_MIN,
        slablab_stats, //
    },
};

/// The bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// The orders of the seed's buddy system: blocks of 2⁰ to 2³¹ bytes.
const ORDERS: usize = 32;

/// What the buddy system did for an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Blocks that were split into halves.
    pub(crate) splits: u32,
    /// Pairs of halves that became a block.
    pub(crate) merges: u32,
    /// Free blocks that were compared with the buddy that was looked for.
    pub(crate) searched: u64,
}

/// The seed did something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seed differs from its model: the block is at {seed:#x}, in the model at {twin:?}")]
pub(crate) struct Parted {
    seed: u64,
    twin: Option<u64>,
}

/// A block that is out.
#[derive(Clone, Copy)]
struct Held {
    offset: u64,
    layout: Layout,
}

/// A seed in a pool.
pub(crate) struct Twin {
    buddy: Buddy,
    /// The slabs' free blocks; the last one is the first out.
    slabs: [Vec<u64>; HeapAllocator::SLABS.len()],
    /// What slabs have taken from the buddy system: where it begins, and which slab.
    sets: Vec<(u64, usize)>,
    /// The live blocks, by the numbers of their operations.
    held: HashMap<u32, Held>,
    /// The bytes of each region.
    regions: Vec<u64>,
}

impl Twin {
    /// Returns the twin of a seed in a new pool of one region.
    pub(crate) fn new(pool_bytes: u64) -> Self {
        let mut twin = Self {
            buddy: Buddy::default(),
            slabs: Default::default(),
            sets: Vec::new(),
            held: HashMap::new(),
            regions: Vec::new(),
        };
        twin.extend(pool_bytes);
        twin
    }

    /// Adds a region to the pool.
    pub(crate) fn extend(&mut self, bytes: u64) {
        self.buddy
            .add((self.regions.len() as u64) << REGION_SHIFT, bytes);
        self.regions.push(bytes);
    }

    /// Does an operation that the seed has answered.
    ///
    /// # Errors
    ///
    /// [`Parted`], for good: the twin is of no use any more.
    pub(crate) fn enter(&mut self, op: &Op, answer: &Answer) -> Result<Work, Parted> {
        let mut work = Work::default();
        if answer.fate != Fate::Done {
            return Ok(work);
        }
        let old = self.held.remove(&op.id);
        let layout = |bytes: u32, align| Layout::from_size_align(bytes as usize, align).ok();
        let wanted = match (op.kind, old) {
            (Kind::Alloc { bytes, align }, _) => layout(bytes, align as usize),
            (Kind::Realloc { bytes }, Some(old)) => layout(bytes, old.layout.align()),
            (Kind::Realloc { .. }, None) | (Kind::Free, _) => None,
        };
        let stays = u32::from(answer.cost.path) == Path::InPlace.raw();
        let new = match (wanted, old) {
            (Some(layout), Some(old)) if stays => Some((old.offset, layout)),
            (Some(layout), _) => self.allocate(layout, &mut work).map(|at| (at, layout)),
            (None, _) => None,
        };
        if wanted.is_some() && new.map(|(offset, _)| offset) != Some(answer.offset) {
            return Err(Parted {
                seed: answer.offset,
                twin: new.map(|(offset, _)| offset),
            });
        }
        // A block that moves is given back when the other one is there.
        if let Some(old) = old.filter(|_| !stays) {
            self.release(old, &mut work);
        }
        if let Some((offset, layout)) = new {
            self.held.insert(op.id, Held { offset, layout });
        }
        Ok(work)
    }

    /// Writes down how many blocks of each order there are.
    pub(crate) fn count(&self, stats: &mut slablab_stats) {
        let lists = self.buddy.lists.iter().skip(ORDER_MIN as usize);
        for (order, list) in stats.orders.iter_mut().zip(lists) {
            order.free_blocks = list.len() as u64;
            order.used_blocks = 0;
        }
        let large = self.held.values().map(|held| held.layout);
        for layout in large.filter(|layout| slab(*layout).is_none()) {
            let order = order_of(layout).checked_sub(ORDER_MIN as usize);
            if let Some(of) = order.and_then(|order| stats.orders.get_mut(order)) {
                of.used_blocks += 1;
            }
        }
    }

    /// Returns what the pages of the pool are.
    pub(crate) fn map(&self) -> Map {
        // The region, and the block in it.
        let extent = |offset: u64, bytes: u64, what| {
            let extent = Extent {
                page: (offset % (1 << REGION_SHIFT) / PAGE_BYTES) as u32,
                pages: (bytes / PAGE_BYTES) as u32,
                what,
            };
            ((offset >> REGION_SHIFT) as usize, extent)
        };
        let lists = (0_u8..).zip(&self.buddy.lists);
        let free = lists.flat_map(|(order, list)| {
            let block = move |offset: &u64| extent(*offset, 1 << order, Use::Free { order });
            list.iter().map(block)
        });
        let large = self
            .held
            .values()
            .filter(|held| slab(held.layout).is_none());
        let large = large.map(|held| extent(held.offset, 1 << order_of(held.layout), Use::Large));
        let sets = self.sets_used().into_iter().map(|(offset, slab, used)| {
            let what = Use::Slab {
                class: slab as u8,
                objects: SET_SIZE as u16,
                used,
            };
            extent(offset, set_bytes(slab), what)
        });
        let mut extents: Vec<_> = free.chain(large).chain(sets).collect();
        extents.sort_unstable_by_key(|(region, extent)| (*region, extent.page));
        let regions = self
            .regions
            .iter()
            .enumerate()
            .map(|(number, bytes)| Region {
                pages: (bytes / PAGE_BYTES) as u32,
                extents: extents
                    .iter()
                    .filter(|(region, _)| *region == number)
                    .map(|(_, extent)| *extent)
                    .collect(),
            });
        Map {
            page_bytes: PAGE_BYTES as u32,
            regions: regions.collect(),
        }
    }

    /// Returns the slabs' sets: where each begins, whose it is, and how many of its blocks are out.
    fn sets_used(&self) -> Vec<(u64, usize, u16)> {
        let whole = |(offset, slab): &(u64, usize)| (*offset, *slab, SET_SIZE as u16);
        let mut sets: Vec<_> = self.sets.iter().map(whole).collect();
        sets.sort_unstable();
        for free in self.slabs.iter().flatten() {
            let behind = sets.partition_point(|(start, ..)| start <= free);
            sets[behind - 1].2 -= 1;
        }
        sets
    }

    fn allocate(&mut self, layout: Layout, work: &mut Work) -> Option<u64> {
        let Some(slab) = slab(layout) else {
            return self.buddy.allocate(order_of(layout), work);
        };
        if self.slabs[slab].is_empty() {
            let bytes = set_bytes(slab);
            let set = self.buddy.allocate(bytes.ilog2() as usize, work)?;
            self.sets.push((set, slab));
            let blocks = (set..set + bytes).step_by(bytes as usize / SET_SIZE);
            self.slabs[slab].extend(blocks);
        }
        self.slabs[slab].pop()
    }

    fn release(&mut self, held: Held, work: &mut Work) {
        match slab(held.layout) {
            Some(slab) => self.slabs[slab].push(held.offset),
            None => self.buddy.release(held.offset, order_of(held.layout), work),
        }
    }
}

/// Returns the number of the slab that serves a layout, unless the buddy system does.
fn slab(layout: Layout) -> Option<usize> {
    let which = Heap::layout_to_allocator(&layout);
    HeapAllocator::SLABS.iter().position(|slab| *slab == which)
}

/// Returns the bytes by which a slab grows.
fn set_bytes(slab: usize) -> u64 {
    let block_bytes = HeapAllocator::SLABS[slab].block_bytes();
    (SET_SIZE * block_bytes.unwrap_or(0)) as u64
}

/// Returns the order of the block that the buddy system gives for a layout.
fn order_of(layout: Layout) -> usize {
    layout
        .size()
        .next_power_of_two()
        .max(layout.align())
        .ilog2() as usize
}

/// The free blocks, by order; the last one of a list is its first.
#[derive(Default)]
struct Buddy {
    lists: [Vec<u64>; ORDERS],
}

impl Buddy {
    /// Adds a region whose first byte has this offset.
    fn add(&mut self, offset: u64, bytes: u64) {
        let mut start = 0_u64;
        while start < bytes {
            // Each is as large as its place allows; a region is aligned to more than its length.
            let fits = (bytes - start).ilog2().min(ORDERS as u32 - 1);
            let order = fits.min(start.trailing_zeros());
            self.lists[order as usize].push(offset + start);
            start += 1 << order;
        }
    }

    fn allocate(&mut self, order: usize, work: &mut Work) -> Option<u64> {
        let found = (order..ORDERS).find(|order| !self.lists[*order].is_empty())?;
        for order in (order..found).rev() {
            let block = self.lists[order + 1].pop()?;
            self.lists[order].extend([block + (1 << order), block]);
            work.splits += 1;
        }
        self.lists[order].pop()
    }

    fn release(&mut self, mut block: u64, mut order: usize, work: &mut Work) {
        while order < ORDERS - 1 {
            let buddy = block ^ (1 << order);
            let list = &mut self.lists[order];
            let place = list.iter().rposition(|free| *free == buddy);
            work.searched += (list.len() - place.unwrap_or(0)) as u64;
            let Some(place) = place else {
                break;
            };
            list.remove(place);
            block = block.min(buddy);
            order += 1;
            work.merges += 1;
        }
        self.lists[order].push(block);
    }
}
