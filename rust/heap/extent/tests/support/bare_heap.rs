// SPDX-License-Identifier: GPL-2.0

//! A heap without a pool, because the heap reads and writes only metadata, with a shadow of its blocks.
//!
//! The shadow knows the blocks by what the heap returned. Everything else is computed from them in the plainest way:
//! what lies between two blocks is a free run.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};
use std::{
    collections::BTreeMap,
    vec,
    vec::Vec, //
};

use crate::{
    Cost,
    Offset,
    PAGE_BYTES,
    Refusal,
    backing_heap::BackingHeap,
    engine::BadFree,
    extent::{
        Heap,
        place::Granule,
        runs::Runs, //
    },
    testing::layout, //
};

/// The bytes of a granule.
pub(crate) const GRANULE: usize = 16;

/// The address of the first region of a bare heap: a multiple of the size of the largest region. A region of 4 GiB
/// follows at the next multiple.
const ADDRESS: usize = 1 << 40;

/// A heap without a pool, and the shadow of its blocks.
pub(crate) struct BareHeap {
    pub(crate) heap: Heap,
    /// The addresses and the bytes of the regions.
    regions: Vec<(usize, usize)>,
    /// The allocated blocks with their layouts.
    pub(crate) blocks: BTreeMap<Offset, Layout>,
}

/// Returns zeroed memory for metadata, which is leaked.
pub(crate) fn metadata(bytes: usize) -> NonNull<u8> {
    let words: &mut [u64] = vec![0; bytes.div_ceil(8)].leak();
    NonNull::from(words).cast()
}

impl BareHeap {
    /// Constructs a heap over regions of these numbers of pages, all of them free.
    pub(crate) fn new(regions: &[usize]) -> Self {
        let mut heap = Self {
            heap: Heap::new(),
            regions: Vec::new(),
            blocks: BTreeMap::new(),
        };
        for pages in regions {
            heap.add_region(*pages);
        }
        heap
    }

    /// Adds a region at an address that is a multiple of its size.
    pub(crate) fn add_region(&mut self, pages: usize) {
        self.add_region_at(pages, 0);
    }

    /// Adds a region at an address that is `skew` pages past a multiple of its size.
    pub(crate) fn add_region_at(&mut self, pages: usize, skew: usize) {
        let number = self.regions.len();
        let memory = metadata(Heap::metadata_bytes(pages));
        let address = ADDRESS + (number << 32) + skew * PAGE_BYTES;
        // SAFETY: `add_region` requires a new number below `REGIONS_MAX`, at most `REGION_PAGES_MAX` pages, and zeroed,
        // aligned bytes that nobody else uses: tests add few regions of few pages, and the memory is leaked. No memory
        // is at the address, but the heap only computes with it.
        unsafe { (self.heap).add_region(number, address, pages, memory) };
        self.regions.push((address, pages * PAGE_BYTES));
    }

    /// Returns the addresses and the bytes of the regions.
    pub(crate) fn regions(&self) -> &[(usize, usize)] {
        &self.regions
    }

    /// Returns the bytes of a region.
    fn bytes(&self, region: usize) -> usize {
        self.regions[region].1
    }

    /// Returns the bytes of all regions.
    pub(crate) fn pool_bytes(&self) -> usize {
        self.regions.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Allocates a block, and checks that it is aligned and lies in a gap between the blocks.
    pub(crate) fn allocate(&mut self, layout: Layout) -> Result<Offset, Refusal> {
        let mut block = [Offset::NOWHERE];
        assert_eq!(self.heap.allocate(layout, &mut block)?, 1);
        self.insert(block[0], layout);
        Ok(block[0])
    }

    /// Allocates up to `count` blocks at once, and checks each of them as [`BareHeap::allocate`] does.
    pub(crate) fn allocate_batch(
        &mut self,
        layout: Layout,
        count: usize,
    ) -> Result<Vec<Offset>, Refusal> {
        let mut blocks = vec![Offset::NOWHERE; count];
        let allocated = self.heap.allocate(layout, &mut blocks)?;
        assert!((1..=count).contains(&allocated));
        blocks.truncate(allocated);
        blocks.iter().for_each(|block| self.insert(*block, layout));
        Ok(blocks)
    }

    /// Allocates a block that the shadow does not know.
    pub(crate) fn heap_allocate(&mut self, layout: Layout) -> Offset {
        let mut block = [Offset::NOWHERE];
        self.heap.allocate(layout, &mut block).unwrap();
        block[0]
    }

    /// Frees a block that the shadow does not know.
    pub(crate) fn heap_free(&mut self, block: Offset, layout: Layout) {
        self.heap.free(block, layout).unwrap();
    }

    /// Resizes a block that the shadow does not know.
    pub(crate) fn heap_resize(&mut self, block: Offset, layout: Layout, new: Layout) {
        assert!(self.heap.resize(block, layout, new));
    }

    /// Adds a block to the shadow, and checks that it is aligned and lies in a gap between the blocks.
    pub(crate) fn insert(&mut self, block: Offset, layout: Layout) {
        let bytes = usable(layout);
        let byte = block.byte() as usize;
        let end = byte + bytes;
        let address = self.regions[usize::from(block.region())].0 + byte;
        assert_eq!(address % layout.align().max(GRANULE), 0, "misaligned");
        assert!(bytes % PAGE_BYTES != 0 || byte % PAGE_BYTES == 0, "pages");
        assert!(end <= self.bytes(usize::from(block.region())), "region");
        if let Some((before, layout)) = self.blocks.range(..=block).next_back() {
            assert!(before.plus(usable(*layout)) <= block, "overlap");
        }
        if let Some((after, _)) = self.blocks.range(block..).next() {
            assert!(block.plus(bytes) <= *after, "overlap");
        }
        self.blocks.insert(block, layout);
    }

    /// Frees an allocated block.
    pub(crate) fn free(&mut self, block: Offset) -> Cost {
        let layout = self.blocks.remove(&block).expect("the block is allocated");
        assert_eq!(self.heap.free(block, layout), Ok(()));
        *self.heap.cost()
    }

    /// Frees an allocated block with another layout, and returns the heap's result.
    pub(crate) fn free_as(&mut self, block: Offset, layout: Layout) -> Result<(), BadFree> {
        self.blocks.remove(&block);
        self.heap.free(block, layout)
    }

    /// Makes a bad free, and returns its cause. Panics if the free changes anything.
    #[track_caller]
    pub(crate) fn refused(&mut self, block: Offset, size: usize, align: usize) -> BadFree {
        let error = self.heap.free(block, layout(size, align)).unwrap_err();
        self.check();
        error
    }

    /// Resizes an allocated block in place, and returns whether that was possible. Panics if the outcome is not that
    /// of the gap behind the block.
    #[track_caller]
    pub(crate) fn resize(&mut self, block: Offset, new: Layout) -> bool {
        let old = self.blocks[&block];
        let is_possible = usable(new) <= usable(old) + self.gap_behind(block)
            && (usable(new) % PAGE_BYTES != 0 || block.byte() % PAGE_BYTES as u64 == 0)
            && block.byte() % new.align() as u64 == 0;
        let is_resized = self.heap.resize(block, old, new);
        assert_eq!(is_resized, is_possible, "{old:?} to {new:?} at {block:?}");
        if is_resized {
            self.blocks.insert(block, new);
        }
        is_resized
    }

    /// Returns the bytes between a block and the next block or the end of the region.
    fn gap_behind(&self, block: Offset) -> usize {
        let end = block.plus(usable(self.blocks[&block]));
        let next = self.blocks.range(end..).next();
        let next = next.and_then(|(next, _)| next.after(end));
        next.unwrap_or(self.bytes(usize::from(block.region())) - end.byte() as usize)
    }

    /// Returns the runs of a region as the shadow knows them: the offset, the bytes, and whether the run is free.
    pub(crate) fn expected_runs(&self, region: usize) -> Vec<(usize, usize, bool)> {
        let (mut runs, mut end) = (Vec::new(), 0);
        let first = Offset::new(region as u16, 0);
        let last = Offset::new(region as u16 + 1, 0);
        for (block, layout) in self.blocks.range(first..last) {
            let byte = block.byte() as usize;
            if byte > end {
                runs.push((end, byte - end, true));
            }
            runs.push((byte, usable(*layout), false));
            end = byte + usable(*layout);
        }
        if end < self.bytes(region) {
            runs.push((end, self.bytes(region) - end, true));
        }
        runs
    }

    /// Returns the bytes of the longest free run that the shadow knows.
    pub(crate) fn longest_gap(&self) -> usize {
        let runs = (0..self.regions.len()).flat_map(|region| self.expected_runs(region));
        let free = runs.filter_map(|(_, bytes, is_free)| is_free.then_some(bytes));
        free.max().unwrap_or(0)
    }

    /// Panics unless the metadata describes exactly the blocks of the shadow, and the gaps between them as free runs.
    #[track_caller]
    pub(crate) fn check(&self) {
        let mut free_runs = 0;
        for region in 0..self.regions.len() {
            let expected = self.expected_runs(region);
            free_runs += expected.iter().filter(|(.., is_free)| *is_free).count();
            let found = runs(&self.heap.runs, region, self.bytes(region));
            assert_eq!(found, expected, "region {region}");
        }
        let used = self.used_bytes();
        assert_eq!(self.heap.free_bytes(), self.pool_bytes() - used);
        assert_eq!(free_run_count(&self.heap.runs), free_runs);
        assert_eq!(self.heap.allocated_blocks, self.blocks.len());
        assert_eq!(self.heap.allocated_granules * GRANULE, used);
    }

    /// Returns the usable bytes of all blocks.
    pub(crate) fn used_bytes(&self) -> usize {
        self.blocks.values().copied().map(usable).sum()
    }

    /// Frees all blocks, and panics unless each region can be allocated as one block then.
    pub(crate) fn end(mut self) {
        while let Some((block, _)) = self.blocks.first_key_value() {
            self.free(*block);
        }
        self.check();
        let mut regions: Vec<_> = self.regions.iter().map(|(_, bytes)| *bytes).collect();
        regions.sort_unstable_by(|first, second| second.cmp(first));
        for bytes in regions {
            self.allocate(layout(bytes, PAGE_BYTES)).unwrap();
        }
        assert_eq!(self.heap.free_bytes(), 0);
        assert_eq!(self.allocate(layout(1, 1)), Err(Refusal::Exhausted));
        self.check();
    }
}

/// Returns the usable bytes of a block, which are bounded by its size.
pub(crate) fn usable(layout: Layout) -> usize {
    let bytes = Heap::usable_size(layout);
    let size = layout.size().max(1);
    // A quarter of a doubling and a granule are more than any rounding.
    assert!(bytes >= size && bytes <= size + size / 4 + GRANULE && bytes % GRANULE == 0);
    bytes
}

/// Returns the runs of a region that the metadata describes: the offset, the bytes, and whether the run is free.
pub(crate) fn runs(runs: &Runs, region: usize, bytes: usize) -> Vec<(usize, usize, bool)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes {
        let start = Granule::new(region, at / GRANULE);
        let run = runs.tables.run(start).expect("a run begins here");
        let is_free = runs.tables.begins_free(start);
        found.push((at, run.len * GRANULE, is_free));
        at += run.len * GRANULE;
        let last = Granule::new(region, at / GRANULE - 1);
        assert_eq!(runs.tables.start_of(last), Some(start));
    }
    found
}

/// Returns the number of free runs that the counters of the heap report.
pub(crate) fn free_run_count(runs: &Runs) -> usize {
    runs.free_counts.runs.iter().sum()
}

/// Returns the offset of a byte in the first region.
pub(crate) fn at(byte: usize) -> Offset {
    Offset::new(0, byte as u64)
}
