// SPDX-License-Identifier: GPL-2.0

//! Bitmap memory: its bitmaps, its pieces, its size in ordinary use, and a platform that has no memory.

use core::sync::atomic::Ordering::Relaxed;
use std::{
    collections::BTreeSet,
    vec::Vec, //
};

use super::{
    BareHeap,
    add_piece,
    class,
    is_whole, //
};
use crate::{
    Block, Cost, Engine, PAGE_BYTES,
    backing_heap::BackingHeap,
    hybrid::{
        bitmaps::{
            Size,
            bitmap_words, //
        },
        heap::Heap,
    },
    size_class::Class,
    testing::{
        HostHybrid,
        HostMemory,
        TestEngine,
        layout,
        numbers::Numbers,
        sound,
        with_cpus, //
    },
};

/// The sizes whose slabs have their bitmaps in bitmap memory.
const SMALL: [usize; 7] = [8, 16, 24, 32, 40, 48, 56];

/// Allocates blocks of these sizes in turn until one is refused.
fn fill(engine: &HostHybrid, sizes: impl IntoIterator<Item = usize>) -> Vec<(Block, usize)> {
    let serve = |size| {
        let block = engine.allocate(layout(size, 8), &mut Cost::default());
        block.ok().map(|block| (block, size))
    };
    sizes.into_iter().map_while(serve).collect()
}

/// Frees blocks.
fn free_all(engine: &HostHybrid, blocks: Vec<(Block, usize)>) {
    for (block, size) in blocks {
        // SAFETY: The block was allocated with this layout, nobody uses it, and it is freed once.
        unsafe { engine.free(block, layout(size, 8), &mut Cost::default()) }.unwrap();
    }
}

#[test]
fn classes_from_64_bytes_on_have_one_word() {
    for class in Class::all() {
        let words = bitmap_words(class);
        assert!(words * 64 >= class.objects());
        assert_eq!(words == 1, class.bytes() >= 64, "{} bytes", class.bytes());
        let words = Size::of(class).map_or(1, |size| 2 << size.index());
        assert_eq!(words, bitmap_words(class));
    }
}

#[test]
fn bitmaps_of_all_sizes_share_no_word_and_begin_clear() {
    let mut heap = BareHeap::without_bitmaps(&[1]).0;
    let sizes: Vec<_> = Size::all().collect();
    let mut numbers = Numbers(7);
    let (mut live, mut pieces) = (Vec::new(), 0);
    for round in 1..3000_u64 {
        let size = sizes[numbers.below(sizes.len())];
        if numbers.below(3) == 0 && !live.is_empty() {
            let (place, size, value) = live.swap_remove(numbers.below(live.len()));
            let bitmaps = &mut heap.buddy.metadata.bitmaps;
            let bitmap = bitmaps.get(place, size).unwrap();
            assert!(bitmap.iter().all(|word| *word == value));
            bitmaps.free(place, size);
            continue;
        }
        if !heap.buddy.metadata.bitmaps.has(size) {
            assert_eq!(heap.buddy.metadata.bitmaps.allocate(size), None);
            add_piece(&mut heap);
            pieces += 1;
        }
        let bitmaps = &mut heap.buddy.metadata.bitmaps;
        let place = bitmaps.allocate(size).unwrap();
        let bitmap = bitmaps.get(place, size).unwrap();
        assert!(bitmap.len() == 2 << size.index() && bitmap.iter().all(|word| *word == 0));
        bitmap.fill(round);
        live.push((place, size, round));
    }
    assert!(pieces > 8);
    let addresses: BTreeSet<_> = live
        .iter()
        .flat_map(|(place, size, value)| {
            let bitmap = heap.buddy.metadata.bitmaps.get(*place, *size).unwrap();
            assert!(bitmap.iter().all(|word| word == value));
            bitmap.as_ptr_range().start.addr()..bitmap.as_ptr_range().end.addr()
        })
        .collect();
    let bytes: usize = live.iter().map(|(_, size, _)| 16 << size.index()).sum();
    assert_eq!(addresses.len(), bytes);
}

#[test]
fn a_place_outside_of_bitmap_memory_has_no_bitmap() {
    let mut heap = BareHeap::without_bitmaps(&[1]).0;
    add_piece(&mut heap);
    add_piece(&mut heap);
    let bitmaps = &mut heap.buddy.metadata.bitmaps;
    let sizes: Vec<_> = Size::all().collect();
    let place = bitmaps.allocate(sizes[2]).unwrap();
    for wild in [
        0,
        2,
        5,
        u64::from(u32::MAX),
        u64::from(u32::MAX) + 1,
        u64::MAX,
    ] {
        let wild = crate::hybrid::bitmaps::Place(wild);
        assert!(bitmaps.get(wild, sizes[2]).is_none(), "{wild:?}");
        let before = (bitmaps.used, bitmaps.places);
        bitmaps.free(wild, sizes[2]);
        assert_eq!((bitmaps.used, bitmaps.places), before);
    }
    assert!(bitmaps.get(place, sizes[2]).is_some());
}

#[test]
fn freed_bitmaps_are_used_again() {
    let memory = HostMemory::new(1 << 20);
    let engine = HostHybrid::over(&memory);
    let mut bytes = Vec::new();
    for _ in 0..4 {
        let blocks = fill(&engine, SMALL.into_iter().cycle());
        bytes.push(engine.per_cpu.pieces.bytes());
        sound(&engine);
        free_all(&engine, blocks);
    }
    assert!(
        bytes[0] > 0 && bytes.iter().all(|later| *later == bytes[0]),
        "{bytes:?}"
    );
    is_whole(&engine, core::slice::from_ref(&memory));
}

#[test]
fn the_pieces_of_a_pool_are_bounded() {
    let memory = HostMemory::new(1 << 20);
    let engine = HostHybrid::over(&memory);
    // Slabs of the larger bitmaps come last, so that divided cells do not serve them.
    for size in [32, 16, 8] {
        let blocks = fill(&engine, core::iter::repeat(size));
        assert!(blocks.len() * size >= (1 << 20) * 99 / 100);
        sound(&engine);
        free_all(&engine, blocks);
    }
    let pages = (1 << 20) / PAGE_BYTES;
    assert!(engine.per_cpu.pieces.bytes() <= Heap::pieces_bytes_max(pages));
}

#[test]
fn without_memory_for_bitmaps_small_requests_get_64_bytes() {
    for pieces in [0, 3] {
        let memory = HostMemory::new(1 << 20);
        let engine = with_cpus(2);
        memory.lend(&engine).unwrap();
        let mut blocks = Vec::new();
        while engine.per_cpu.pieces.bytes() < pieces * 64 {
            blocks.extend(fill(&engine, SMALL));
        }
        engine.per_cpu.pieces.refuses.store(true, Relaxed);
        let before = engine.per_cpu.pieces.bytes();
        blocks.extend(fill(&engine, SMALL.into_iter().cycle()));
        assert_eq!(engine.per_cpu.pieces.bytes(), before);
        // Three quarters of the pool at least are objects of 64 bytes.
        assert!(
            blocks.len() * 64 >= (1 << 20) * 3 / 4,
            "{} blocks",
            blocks.len()
        );
        sound(&engine);
        free_all(&engine, blocks);
        sound(&engine);
        is_whole(&engine, core::slice::from_ref(&memory));
    }
}

#[test]
fn in_ordinary_use_the_metadata_is_at_most_six_thousandths_of_the_pool() {
    for pool in [1 << 20, 64 << 20] {
        let memory = HostMemory::new(pool);
        let engine = HostHybrid::over(&memory);
        let mut numbers = Numbers(11);
        // The sizes are log-uniform: 8 bytes to 64 KiB.
        let sizes = core::iter::repeat_with(|| {
            let order = 3 + numbers.below(13);
            (1 << order) + numbers.below(1 << order)
        });
        let blocks = fill(&engine, sizes);
        let bytes = Heap::metadata_bytes(pool / PAGE_BYTES) + engine.per_cpu.pieces.bytes();
        assert!(
            bytes * 1000 <= pool * 6,
            "{bytes} bytes for a pool of {pool}"
        );
        assert!(engine.per_cpu.pieces.bytes() > 0);
        free_all(&engine, blocks);
    }
}

#[test]
fn a_lack_of_bitmaps_is_known_before_anything_changes() {
    let mut heap = BareHeap::without_bitmaps(&[16]);
    assert!(heap.0.lacks_memory(layout(8, 8)) && !heap.0.lacks_memory(layout(64, 8)));
    let before = heap.figures();
    let mut block = [super::at(0)];
    assert!(heap.0.allocate(layout(8, 8), &mut block).is_err());
    assert_eq!(heap.figures(), before);
    // The fallback serves the request with a new slab of the next class.
    let block = heap.0.allocate_fallback(layout(8, 8)).unwrap();
    assert_eq!(heap.0.classes[class(64).index()].used, 1);
    heap.sound();
    heap.free(block, layout(8, 8)).unwrap();
    add_piece(&mut heap.0);
    assert!(!heap.0.lacks_memory(layout(8, 8)));
    heap.allocate(layout(8, 8)).unwrap();
    heap.sound();
}
