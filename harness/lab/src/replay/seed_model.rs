// SPDX-License-Identifier: GPL-2.0

//! A model of the seed, for details that the seed does not report.
//!
//! The free lists of the seed's buddy system are private to the crate `buddy_system_allocator`. In a new
//! pool, the state of the seed follows from the requests alone. The model repeats the requests with public
//! lists, and so has the splits, the merges, the number of free blocks that a free compared with the buddy,
//! and the map. The model follows the crate's documentation: lists are last in, first out, and the lower half
//! of a split block is allocated first. Every offset of the seed is compared with the model; after a mismatch
//! the model is not used any more.

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
    OpOutcome, //
};
use crate::{
    map::{
        Extent,
        PoolMap,
        RegionMap,
        Use, //
    },
    uapi::{
        Path,
        SLABLAB_OFFSET_REGION_SHIFT as REGION_SHIFT,
        slablab_stats, //
    },
};

/// The bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// The lists of the seed's buddy system: blocks of 2⁰ to 2³¹ bytes.
const ORDERS: usize = 32;

/// log2 of the bytes of a page: the list of the blocks of order 0.
const PAGE_SHIFT: usize = 12;

/// The work of the buddy system in one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuddyWork {
    /// Blocks that were split into halves.
    pub splits: u32,
    /// Pairs of buddies that were merged.
    pub merges: u32,
    /// Free blocks that were compared with the buddy's offset.
    pub searched: u64,
}

/// The seed returned another offset than the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the seed differs from its model: the block has offset {seed:#x}, {}",
    match .seed_model {
        Some(offset) => format!("but {offset:#x} in the model"),
        None => "but the model refuses the request".to_owned(),
    }
)]
pub struct ModelMismatch {
    seed: u64,
    seed_model: Option<u64>,
}

/// A live block.
#[derive(Clone, Copy)]
struct SeedBlock {
    offset: u64,
    layout: Layout,
}

/// The model of a seed and its pool.
pub struct SeedModel {
    buddy: BuddyModel,
    /// The free blocks of each slab, as a stack.
    slabs: [Vec<u64>; HeapAllocator::SLABS.len()],
    /// The blocks that slabs allocated from the buddy system: offset and index of the slab.
    sets: Vec<(u64, usize)>,
    /// The live blocks, by the numbers of their operations.
    held: HashMap<u32, SeedBlock>,
    /// The bytes of each region.
    regions: Vec<u64>,
}

impl SeedModel {
    /// Returns the model of a seed in a new pool of one region.
    pub fn new(pool_bytes: u64) -> Self {
        let mut seed_model = Self {
            buddy: BuddyModel::default(),
            slabs: Default::default(),
            sets: Vec::new(),
            held: HashMap::new(),
            regions: Vec::new(),
        };
        seed_model.extend(pool_bytes);
        seed_model
    }

    /// Adds a region to the pool.
    pub fn extend(&mut self, bytes: u64) {
        self.buddy
            .add((self.regions.len() as u64) << REGION_SHIFT, bytes);
        self.regions.push(bytes);
    }

    /// Repeats an operation that the seed has answered.
    ///
    /// # Errors
    ///
    /// [`ModelMismatch`] when the offsets differ. The model must not be used afterwards.
    pub fn enter(&mut self, op: &Op, answer: &Answer) -> Result<BuddyWork, ModelMismatch> {
        let mut work = BuddyWork::default();
        if answer.outcome != OpOutcome::Done {
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
            return Err(ModelMismatch {
                seed: answer.offset,
                seed_model: new.map(|(offset, _)| offset),
            });
        }
        // REALLOC that moves a block frees the old block after it has allocated the new one.
        if let Some(old) = old.filter(|_| !stays) {
            self.free(old, &mut work);
        }
        if let Some((offset, layout)) = new {
            self.held.insert(op.id, SeedBlock { offset, layout });
        }
        Ok(work)
    }

    /// Adds the counts of blocks per size to statistics.
    pub fn count(&self, stats: &mut slablab_stats) {
        let lists = self.buddy.lists.iter().skip(PAGE_SHIFT);
        for (order, list) in stats.orders.iter_mut().zip(lists) {
            order.free_blocks = list.len() as u64;
            order.used_blocks = 0;
        }
        let largest = stats.orders.iter().rposition(|of| of.free_blocks > 0);
        stats.largest_free_bytes = largest.map_or(0, |order| PAGE_BYTES << order);
        let large = self.held.values().map(|held| held.layout);
        for layout in large.filter(|layout| slab(*layout).is_none()) {
            let order = order_of(layout).checked_sub(PAGE_SHIFT);
            if let Some(of) = order.and_then(|order| stats.orders.get_mut(order)) {
                of.used_blocks += 1;
            }
        }
    }

    /// Returns the map of the pool.
    pub fn map(&self) -> PoolMap {
        // Returns the region and the extent of a block.
        let extent = |offset: u64, bytes: u64, what| {
            let extent = Extent {
                page: (offset % (1 << REGION_SHIFT) / PAGE_BYTES) as u32,
                pages: (bytes / PAGE_BYTES) as u32,
                what,
            };
            ((offset >> REGION_SHIFT) as usize, extent)
        };
        // No free block is smaller than a page, because growths and large requests take at least a page.
        let lists = (0_u8..).zip(self.buddy.lists.iter().skip(PAGE_SHIFT));
        let free = lists.flat_map(|(order, list)| {
            let bytes = PAGE_BYTES << order;
            let block = move |offset: &u64| extent(*offset, bytes, Use::Free);
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
            .map(|(number, bytes)| RegionMap {
                pages: (bytes / PAGE_BYTES) as u32,
                extents: extents
                    .iter()
                    .filter(|(region, _)| *region == number)
                    .map(|(_, extent)| *extent)
                    .collect(),
            });
        PoolMap {
            page_bytes: PAGE_BYTES as u32,
            regions: regions.collect(),
        }
    }

    /// Returns the blocks of slabs: offset, index of the slab, and number of live objects.
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

    fn allocate(&mut self, layout: Layout, work: &mut BuddyWork) -> Option<u64> {
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

    fn free(&mut self, held: SeedBlock, work: &mut BuddyWork) {
        match slab(held.layout) {
            Some(slab) => self.slabs[slab].push(held.offset),
            None => self.buddy.free(held.offset, order_of(held.layout), work),
        }
    }
}

/// Returns the index of the slab of a layout; `None` for a layout of the buddy system.
fn slab(layout: Layout) -> Option<usize> {
    let which = Heap::layout_to_allocator(&layout);
    HeapAllocator::SLABS.iter().position(|slab| *slab == which)
}

/// Returns the bytes by which a slab grows.
fn set_bytes(slab: usize) -> u64 {
    let block_bytes = HeapAllocator::SLABS[slab].block_bytes();
    (SET_SIZE * block_bytes.unwrap_or(0)) as u64
}

/// Returns log2 of the bytes of the buddy system's block for a layout.
fn order_of(layout: Layout) -> usize {
    layout
        .size()
        .next_power_of_two()
        .max(layout.align())
        .ilog2() as usize
}

/// The free blocks by log2 of their bytes; each list is a stack.
#[derive(Default)]
struct BuddyModel {
    lists: [Vec<u64>; ORDERS],
}

impl BuddyModel {
    /// Adds a region whose first byte has this offset.
    fn add(&mut self, offset: u64, bytes: u64) {
        let mut start = 0_u64;
        while start < bytes {
            // The block is the largest one that the rest of the region and the alignment of `start` allow. A
            // region is aligned to at least its length, so the offset `start` has the alignment of the
            // address.
            let fits = (bytes - start).ilog2().min(ORDERS as u32 - 1);
            let order = fits.min(start.trailing_zeros());
            self.lists[order as usize].push(offset + start);
            start += 1 << order;
        }
    }

    fn allocate(&mut self, order: usize, work: &mut BuddyWork) -> Option<u64> {
        let found = (order..ORDERS).find(|order| !self.lists[*order].is_empty())?;
        for order in (order..found).rev() {
            let block = self.lists[order + 1].pop()?;
            self.lists[order].extend([block + (1 << order), block]);
            work.splits += 1;
        }
        self.lists[order].pop()
    }

    fn free(&mut self, mut block: u64, mut order: usize, work: &mut BuddyWork) {
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
