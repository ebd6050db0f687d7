// SPDX-License-Identifier: GPL-2.0

//! Examples of magazines: allocation, free, refill, flush, and capacity.

use super::{
    Machine,
    at,
    kind, //
};
use crate::{
    Offset, PAGE_BYTES, Path,
    backing_heap::BackingHeap,
    hybrid::Heap,
    magazines::{
        CacheSize,
        CpuCache,
        Slot,
        magazine::BLOCKS_MAX, //
    },
    per_cpu::PerCpu,
    size_class::MagazineKind,
    testing::{
        HostMemory,
        layout,
        prelude::*,
        totals, //
    },
};
use std::vec::Vec;

#[test]
fn the_first_allocation_refills_a_magazine_which_serves_the_next_ones() {
    let machine = Machine::new(1, 1 << 20);
    let small = layout(64, 8);
    // The slab is the last page of the pool.
    let object = |number: usize| at((1 << 20) - PAGE_BYTES + number * 64);
    assert_eq!(machine.serve(small), Ok((object(0), Path::Growth)));
    assert_eq!(machine.capacity(0, 64), 4);
    assert_eq!(machine.held(0, 64), [object(2), object(1)]);
    assert_eq!(machine.serve(small), Ok((object(1), Path::Magazine)));
    assert_eq!(machine.serve(small), Ok((object(2), Path::Magazine)));
    assert_eq!(machine.serve(small), Ok((object(3), Path::Slab)));
}

#[test]
fn the_block_that_was_freed_last_is_allocated_first() {
    for size in [64, 3000, 4096, 8192, 40_000] {
        let machine = Machine::new(1, 4 << 20);
        let blocks = machine.allocate_all(size, 3);
        for block in &blocks[..2] {
            assert_eq!(machine.free(*block), Path::Magazine);
        }
        for block in blocks[..2].iter().rev() {
            let again = machine.serve(layout(size, 8));
            assert_eq!(again, Ok((*block, Path::Magazine)));
        }
    }
}

#[test]
fn magazines_serve_the_objects_of_a_new_slab_from_the_lowest_up() {
    let machine = Machine::new(1, 1 << 20);
    let blocks = machine.allocate_all(64, 200);
    let first = |number: usize| blocks[number / 64 * 64].byte() as usize;
    let lowest = (0..200).map(|number| at(first(number) + number % 64 * 64));
    assert!(lowest.eq(blocks.iter().copied()));
    assert!((0..200).all(|number| first(number) % PAGE_BYTES == 0));
}

#[test]
fn an_empty_magazine_is_refilled_by_half() {
    let machine = Machine::new(1, 1 << 20);
    let mut held = Vec::new();
    for _ in 0..200 {
        let (_, path) = machine.serve(layout(64, 8)).unwrap();
        if path != Path::Magazine {
            held.push((machine.capacity(0, 64), machine.held(0, 64).len()));
        }
    }
    let half = [
        (4, 2),
        (8, 4),
        (16, 8),
        (32, 15),
        (64, 15),
        (BLOCKS_MAX, 15),
    ];
    assert_eq!(held[..6], half);
    // A refill takes at most 16 blocks from the heap.
    assert!(held[6..].iter().all(|held| *held == (BLOCKS_MAX, 15)));
}

/// Returns the successive capacities of the magazine of `size` bytes on a machine with one CPU: first while
/// blocks are allocated, then, after a shrink, while they are freed.
fn capacities(size: usize) -> [Vec<usize>; 2] {
    let machine = Machine::new(1, 16 << 20);
    let mut blocks = Vec::new();
    let mut seen = || {
        blocks.push(machine.serve_unchecked(layout(size, 8)).unwrap().0);
        machine.capacity(0, size)
    };
    let mut growing: Vec<_> = (0..200).map(|_| seen()).collect();
    machine.engine.shrink();
    let mut seen = |block| {
        machine.free_unchecked(block);
        machine.capacity(0, size)
    };
    let mut freeing: Vec<_> = blocks.into_iter().map(&mut seen).collect();
    growing.dedup();
    freeing.dedup();
    machine.check();
    [growing, freeing]
}

#[test]
fn a_capacity_doubles_up_to_the_limit_of_its_size() {
    for (size, expected) in [
        (8, &[4, 8, 16, 32, 64, BLOCKS_MAX][..]),
        (64, &[4, 8, 16, 32, 64, BLOCKS_MAX]),
        (2048, &[4, 8, 16, 32, 64]),
        (3072, &[4, 8, 16, 32, 42]),
        (4096, &[4, 8, 16, 32]),
        (2 * PAGE_BYTES, &[4, 8, 16]),
        (5 * PAGE_BYTES, &[4, 6]),
        (10 * PAGE_BYTES, &[3]),
        (16 * PAGE_BYTES, &[2]),
    ] {
        let [growing, freeing] = capacities(size);
        assert_eq!((&growing[..], &freeing[..]), (expected, expected), "{size}");
    }
}

#[test]
fn page_blocks_are_cached_by_frees_and_prefetched_from_the_same_free_block() {
    for pages in 2..=16 {
        let machine = Machine::new(1, 16 << 20);
        let layout = layout(pages * PAGE_BYTES, 8);
        let (block, path) = machine.serve(layout).unwrap();
        // A first capacity of four blocks allows two, in a power of two of pages with the block of the caller.
        let capacity = machine.capacity(0, pages * PAGE_BYTES);
        let prefetched = ((1 << (pages * (1 + capacity / 2)).ilog2()) / pages).max(1) - 1;
        let bytes = prefetched * pages * PAGE_BYTES;
        assert_eq!((path, machine.magazine_bytes()), (Path::Buddy, bytes));
        assert_eq!(machine.free(block), Path::Magazine);
        assert_eq!(machine.magazine_bytes(), bytes + pages * PAGE_BYTES);
        let order = pages.next_power_of_two().ilog2() as usize;
        let cached = machine.figures().orders[order].magazine_blocks as usize;
        assert_eq!(cached, 1 + prefetched);
        assert_eq!(machine.serve(layout), Ok((block, Path::Magazine)));
    }
}

#[test]
fn blocks_larger_than_16_pages_or_aligned_to_more_than_one_are_not_cached() {
    let machine = Machine::new(1, 16 << 20);
    for (size, align) in [
        (17 * PAGE_BYTES, 8),
        (16 * PAGE_BYTES + 1, 8),
        (8, 2 * PAGE_BYTES),
        (PAGE_BYTES, 2 * PAGE_BYTES),
        (2 * PAGE_BYTES, 2 * PAGE_BYTES),
        (16 * PAGE_BYTES, 16 * PAGE_BYTES),
    ] {
        for _ in 0..2 {
            let (block, path) = machine.serve(layout(size, align)).unwrap();
            assert_eq!(path, Path::Buddy);
            assert_eq!(machine.free(block), Path::Buddy);
        }
    }
    assert_eq!(machine.reserved_bytes(), 0);
    let (block, _) = machine.serve(layout(2 * PAGE_BYTES, PAGE_BYTES)).unwrap();
    assert_eq!(machine.free(block), Path::Magazine);
}

#[test]
fn a_page_in_place_of_a_slab_is_freed_to_the_buddy_system() {
    let machine = Machine::new(1, 5 * PAGE_BYTES);
    let blocks = machine.allocate_all(3000, 6);
    assert_eq!(machine.figures().orders[0].used_blocks, 2);
    for block in &blocks[4..] {
        assert_eq!(machine.free(*block), Path::Buddy);
    }
}

/// Returns every size for which there is a magazine.
fn sizes() -> impl Iterator<Item = usize> {
    let kinds = MagazineKind::all();
    let kinds =
        kinds.filter(|kind| kind.pages().is_some() || kind.number() < Heap::CLASS_BYTES.len());
    kinds.map(Heap::block_bytes)
}

/// Allocates and frees every size on each of four CPUs. Returns the highest number of bytes in magazines, and
/// the highest number of bytes of capacity.
fn most_in_magazines(bytes: usize) -> (usize, usize) {
    let machine = Machine::new(4, bytes);
    let mut most = (0, 0);
    for size in sizes().chain(sizes()) {
        for cpu in 0..4 {
            machine.on(cpu);
            let next = || machine.serve(layout(size, 8)).ok();
            let blocks: Vec<_> = core::iter::from_fn(next).take(5).collect();
            for (block, _) in blocks {
                machine.free(block);
                most.0 = most.0.max(machine.magazine_bytes());
                most.1 = most.1.max(machine.reserved_bytes());
            }
        }
    }
    most
}

#[test]
fn all_magazines_together_hold_at_most_a_sixteenth_of_the_pool() {
    for bytes in [32 << 10, 1 << 20] {
        let (held, reserved) = most_in_magazines(bytes);
        assert!(held <= reserved && reserved <= bytes / 16);
        // More than half of the budget is used.
        assert!(held > bytes / 32, "{held} of {bytes}");
    }
}

#[test]
fn the_budget_grows_with_the_pool() {
    let machine = Machine::new(1, 32 << 10);
    machine.allocate(4096);
    assert_eq!(machine.reserved_bytes(), 0);
    let more = HostMemory::new(1 << 20);
    assert_eq!(more.lend(&machine.engine), Ok(1));
    machine.allocate(4096);
    assert_eq!(machine.reserved_bytes(), 4 * 4096);
}

#[test]
fn a_magazine_grows_by_the_rest_of_the_budget() {
    // The budget of 16 KiB has room for four blocks of 3 KiB on one CPU, one such block on the other CPU, and
    // two blocks of 512 bytes.
    let machine = Machine::new(2, 256 << 10);
    machine.allocate(3072);
    machine.on(1).allocate(3072);
    let capacities = [0, 1].map(|cpu| machine.capacity(cpu, 3072));
    assert_eq!((capacities, machine.reserved_bytes()), ([4, 1], 15 << 10));
    machine.allocate(512);
    assert_eq!(machine.capacity(1, 512), 2);
    // The budget is used up, so blocks of other sizes are allocated from the heap without a magazine.
    let blocks = machine.allocate_all(1024, 10);
    machine.free_all(blocks);
    assert_eq!(
        (machine.capacity(1, 1024), machine.reserved_bytes()),
        (0, 16 << 10)
    );
}

#[test]
fn a_block_freed_on_another_cpu_is_cached_there() {
    let machine = Machine::new(2, 1 << 20);
    let blocks = machine.allocate_all(64, 8);
    machine.on(1);
    for block in &blocks[..4] {
        assert_eq!(machine.free(*block), Path::Magazine);
    }
    assert_eq!(machine.held(1, 64), blocks[..4]);
    assert!(!machine.held(0, 64).contains(&blocks[0]));
    machine.free_all(blocks[4..].iter().copied());
}

#[test]
fn allocations_on_one_cpu_and_frees_on_another_need_no_more_memory_over_time() {
    let machine = Machine::new(2, 64 << 10);
    let sizes = [64, 1024, 8192];
    for _ in 0..200 {
        let blocks = machine.on(0);
        let blocks = sizes.map(|size| blocks.allocate_all(size, 2));
        machine.on(1).free_all(blocks.into_iter().flatten());
    }
    assert_eq!(totals(&machine.engine).refusals, [0; 7]);
    machine.engine.shrink();
    assert_eq!(totals(&machine.engine).free_bytes, 64 << 10);
}

#[test]
fn a_shrink_returns_all_cached_memory() {
    let machine = Machine::new(3, 1 << 20);
    let blocks: Vec<Offset> = (0..3)
        .flat_map(|cpu| machine.on(cpu).allocate_all(64, 10))
        .collect();
    for (number, block) in blocks.into_iter().enumerate() {
        machine.on(number % 3).free(block);
    }
    let cached = totals(&machine.engine).cached_bytes as usize;
    assert!(machine.magazine_bytes() > 0);
    assert_eq!(machine.engine.shrink(), cached);
    let totals = totals(&machine.engine);
    assert_eq!((totals.cached_bytes, totals.free_bytes), (0, 1 << 20));
    assert_eq!((machine.reserved_bytes(), machine.engine.shrink()), (0, 0));
    machine.check();
}

#[test]
fn a_cpu_without_magazines_uses_the_heap() {
    let machine = Machine::without_caches(2, 1..2, 1 << 20);
    machine.on(0);
    machine.free_all(machine.allocate_all(64, 3));
    machine.on(1);
    let (block, path) = machine.serve(layout(64, 8)).unwrap();
    assert_eq!(path, Path::Slab);
    assert_eq!(machine.free(block), Path::Slab);
    assert!(machine.magazine_bytes() > 0);
    machine.engine.shrink();
    assert_eq!(machine.magazine_bytes(), 0);
}

#[test]
fn the_caches_of_small_pools_are_small() {
    let bytes = |pool: usize| CpuCache::bytes(CacheSize::for_pool::<Heap>(pool));
    assert_eq!(bytes(32 << 10), 1344);
    assert_eq!(bytes(64 << 10), 1664);
    for pool in [2 << 20, 64 << 20, 4 << 30] {
        assert_eq!(CacheSize::for_pool::<Heap>(pool), CacheSize::full::<Heap>());
    }
    assert_eq!(CpuCache::bytes(CacheSize::full::<Heap>()), 18_496);
}

#[test]
fn the_epoch_changes_when_an_older_block_is_removed() {
    let machine = Machine::new(1, 1 << 20);
    machine.free_all(machine.allocate_all(PAGE_BYTES, 3));
    let removed = machine.engine.per_cpu.with_local(|cache| {
        let epoch = cache.epoch();
        let removed = cache.remove_below(kind::<Heap>(PAGE_BYTES), 1);
        assert_ne!(cache.epoch(), epoch);
        removed
    });
    assert!(removed.flatten().is_some());
}

#[test]
fn no_magazine_has_slots_that_the_budget_does_not_allow() {
    for pool in [32 << 10, 100 << 10, 1 << 20, 64 << 20] {
        let size = CacheSize::for_pool::<Heap>(pool);
        for kind in MagazineKind::all() {
            assert!(size.limit(kind) * Heap::block_bytes(kind) <= pool / 16);
        }
    }
    // Two blocks of 1 KiB take the budget of a pool of 32 KiB, and no block of 4 KiB fits.
    let limit = |bytes| CacheSize::for_pool::<Heap>(32 << 10).limit(kind::<Heap>(bytes));
    assert_eq!([64, 512, 1024, 2048, 4096].map(limit), [4, 4, 2, 1, 0]);
}

#[test]
#[should_panic(expected = "too few slots")]
fn a_cache_needs_a_slot_for_each_block() {
    let _ = CpuCache::<[Slot; 1]>::new(CacheSize::full::<Heap>());
}
