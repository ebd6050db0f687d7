// SPDX-License-Identifier: GPL-2.0

//! Damage to one field at a time. The check must name exactly the rule that the damage breaks.

use super::{
    PAGES,
    RUNS,
    broken,
    checked,
    rule,
    start,
    with_prepared, //
};
use crate::{
    backing_heap::InspectHeap as _,
    check::{
        Progress,
        Rule, //
    },
    extent::{
        bins::{
            BINS,
            SHORT_BINS,
            bin_of, //
        },
        class::Class,
        counts::LOGS,
        heap::Heap,
        page::{
            Links,
            PageDesc, //
        },
        place::Granule,
    },
    map::Extent,
    stats::Visitor,
};

/// Returns the descriptor of the page of a granule.
fn desc(heap: &Heap, at: Granule) -> &PageDesc {
    heap.runs.tables.desc(at.region(), at.page()).unwrap()
}

/// Returns granule `index` of the first region.
fn at(index: usize) -> Granule {
    Granule::new(0, index)
}

/// Returns the number of the run of this length in the first region.
fn number(len: usize) -> usize {
    RUNS[0].iter().position(|(other, _)| *other == len).unwrap()
}

/// Returns the first granule of the run of this length in the first region.
fn of(len: usize) -> Granule {
    start(0, number(len))
}

/// Returns the link that names a granule.
fn link(at: Granule) -> u32 {
    at.to_bits() + 1
}

#[test]
fn the_prepared_heap_is_sound() {
    with_prepared(|heap| {
        assert_eq!(checked(heap), Ok(Progress::Sound));
        let first = heap.runs.long[bin_of(512) - SHORT_BINS];
        assert_eq!(first, link(of(520)));
        assert_eq!(heap.runs.links(first).next, link(of(530)));
        assert_eq!([512, 520, 530].map(bin_of), [SHORT_BINS; 3]);
    });
}

/// Records that no run begins at a granule.
fn clear(place: Granule) -> Rule {
    rule(|heap| desc(heap, place).clear_begin(place.in_page()))
}

/// Records that a run begins at a granule.
fn set(place: Granule, is_free: bool) -> Rule {
    rule(|heap| desc(heap, place).set_begin(place.in_page(), is_free))
}

#[test]
fn a_run_that_does_not_begin_where_the_run_before_ends_is_found() {
    assert_eq!(clear(at(0)), Rule::Partition);
    assert_eq!(clear(start(1, 0)), Rule::Partition);
    // The run before crosses the end of a page.
    for len in [700, 247, 530, 30, 520] {
        if number(len) > 0 && RUNS[0][number(len) - 1].0 > 256 {
            assert_eq!(clear(of(len)), Rule::Partition, "{len}");
        }
    }
    // The run before ends at the end of a page.
    for len in [256, 16, 1024] {
        assert_eq!(clear(of(len)), Rule::Partition, "{len}");
    }
}

#[test]
fn a_run_that_begins_inside_of_a_longer_run_is_found() {
    for inside in [600, 800, 1024, 1800, 2304, 60_000, 65_535] {
        for is_free in [false, true] {
            assert_eq!(set(at(inside), is_free), Rule::Partition, "{inside}");
        }
    }
}

#[test]
fn two_blocks_that_became_one_and_one_that_became_two_are_found() {
    // The blocks of 2 and 3 granules lie in one page.
    let merged = broken(|heap| desc(heap, at(10)).clear_begin(10));
    assert_eq!(merged.rule, Rule::ClassCounters);
    assert_eq!(merged.class, Class::of_granules(2).map(Class::number));
    assert_eq!(set(at(100), false), Rule::ClassCounters);
}

#[test]
fn a_free_run_that_became_part_of_a_block_is_found() {
    assert_eq!(clear(at(13)), Rule::Lists);
    // The tail of a block between blocks is a free run that is in no bin.
    assert_eq!(set(at(1100), true), Rule::Lists);
}

#[test]
fn free_runs_side_by_side_are_found() {
    for len in [3, 200, 700, 256, 16, 30, 10] {
        let place = if len == 3 { at(10) } else { of(len) };
        assert_eq!(set(place, true), Rule::Merged, "{len}");
    }
    let found = broken(|heap| desc(heap, at(100)).set_begin(100, true));
    assert_eq!(found.offset, Some(at(233).offset()));
    // A free run was cut in two.
    assert_eq!(set(at(20), true), Rule::Merged);
}

#[test]
fn a_free_run_that_is_marked_as_a_block_or_the_other_way_is_found() {
    // The block of 247 granules lies between two blocks.
    assert_eq!(set(of(247), true), Rule::Lists);
    for len in [20, 100, 512, 530, 600, 60416] {
        assert_eq!(set(of(len), false), Rule::Lists, "{len}");
    }
}

#[test]
fn a_wrong_end_of_a_run_is_found() {
    // These are the last runs that begin in their pages.
    for len in [100, 700, 247, 256, 512, 530, 520, 600, 342, 1024, 60416] {
        let (place, end) = (of(len), of(len).index() + len);
        for wrong in [
            0,
            place.index(),
            place.index() + 1,
            end - 1,
            end + 1,
            end + 256,
            PAGES[0] * 256 + 1,
            u32::MAX as usize,
        ] {
            let found = rule(|heap| desc(heap, place).set_end(wrong));
            assert_eq!(found, Rule::Partition, "{len}: {wrong}");
        }
    }
}

#[test]
fn a_wrong_head_of_a_run_is_found() {
    for len in [100, 700, 512, 530, 520, 600, 1024, 60416] {
        let (first, last) = (of(len), at(of(len).index() + len - 1));
        for wrong in [0, first.index() - 1, first.index() + 1, u32::MAX as usize] {
            let found = rule(|heap| desc(heap, last).set_head(wrong));
            assert_eq!(found, Rule::Partition, "{len}: {wrong}");
        }
    }
}

#[test]
fn each_bit_of_the_matrix_is_checked() {
    for (region, pages) in PAGES.iter().enumerate() {
        with_prepared(|heap| {
            let shape = heap.runs.tables.rows(region).unwrap().0;
            // Words of a row: those of the lowest level, and one above if there are several.
            let low = pages.div_ceil(64);
            let row = shape.words() / SHORT_BINS;
            assert_eq!(row, low + usize::from(low > 1));
            for bit in 0..shape.words() * 64 {
                let flip = |heap: &mut Heap| {
                    heap.runs.tables.region(region).unwrap().matrix()[bit / 64] ^= 1 << (bit % 64);
                };
                flip(heap);
                let expected = if bit / 64 % row < low {
                    Rule::Lists
                } else {
                    Rule::Summary
                };
                let found = checked(heap).map_err(|broken| broken.rule);
                assert_eq!(found, Err(expected), "region {region}, bit {bit}");
                flip(heap);
            }
            assert_eq!(checked(heap), Ok(Progress::Sound));
        });
    }
}

#[test]
fn each_bit_of_the_set_of_bins_is_checked() {
    for bin in 0..BINS.next_multiple_of(64) {
        let found = rule(|heap| {
            if heap.runs.bins.next(bin) == Some(bin) {
                heap.runs.bins.remove(bin);
            } else {
                heap.runs.bins.insert(bin);
            }
        });
        assert_eq!(found, Rule::Summary, "{bin}");
    }
}

#[test]
fn a_wrong_first_run_of_a_list_is_found() {
    let wild = [
        1,
        2,
        link(at(13)),
        link(of(600)),
        link(of(530)),
        1 << 28,
        u32::MAX - 1,
        u32::MAX,
    ];
    for bin in 0..BINS - SHORT_BINS {
        for first in [0].into_iter().chain(wild) {
            with_prepared(|heap| {
                let was = core::mem::replace(&mut heap.runs.long[bin], first);
                if was != first {
                    let found = checked(heap).map_err(|broken| broken.rule);
                    assert_eq!(found, Err(Rule::Lists), "{bin}: {first:#x}");
                }
            });
        }
    }
    // Each list has runs of another bin.
    let bin = |len| bin_of(len) - SHORT_BINS;
    let swapped = rule(|heap| heap.runs.long.swap(bin(512), bin(600)));
    assert_eq!(swapped, Rule::Lists);
}

#[test]
fn a_wrong_link_is_found() {
    let second_page = |len: usize| at(of(len).index() + 256);
    let (lists, wild) = (
        [512, 530, 520, 600, 60416],
        [
            0,
            1,
            2,
            link(of(512)),
            link(of(530)),
            link(of(520)),
            link(of(600)),
            u32::MAX,
        ],
    );
    for len in lists {
        for wrong in wild {
            for is_next in [true, false] {
                with_prepared(|heap| {
                    let desc = desc(heap, second_page(len));
                    let links = desc.links();
                    let changed = if is_next {
                        Links {
                            next: wrong,
                            ..links
                        }
                    } else {
                        Links {
                            prev: wrong,
                            ..links
                        }
                    };
                    desc.set_links(changed);
                    if changed != links {
                        let found = checked(heap).map_err(|broken| broken.rule);
                        assert_eq!(found, Err(Rule::Lists), "{len}: {changed:?}");
                    }
                });
            }
        }
    }
}

#[test]
fn wrong_counters_of_free_memory_are_found() {
    for log in 0..LOGS {
        let found = rule(|heap| heap.runs.free_counts.runs[log] += 1);
        assert_eq!(found, Rule::FreeCounters);
    }
    let damages: [fn(&mut Heap); 5] = [
        |heap| heap.runs.free_counts.runs[4] -= 1,
        |heap| heap.runs.free_counts.granules += 1,
        |heap| heap.runs.free_counts.granules -= 1,
        |heap| heap.runs.free_counts.sub_page_granules += 1,
        |heap| heap.runs.free_counts.sub_page_granules -= 1,
    ];
    for damage in damages {
        assert_eq!(rule(damage), Rule::FreeCounters);
    }
}

#[test]
fn wrong_counters_of_blocks_are_found() {
    for class in Class::all() {
        for wrong in [1, usize::MAX] {
            let found = broken(|heap| {
                let blocks = &mut heap.blocks.classes[class.index()];
                *blocks = blocks.wrapping_add(wrong);
            });
            let expected = (Rule::ClassCounters, Some(class.number()));
            assert_eq!((found.rule, found.class), expected);
        }
    }
    for order in 0..21 {
        let found = rule(|heap| heap.blocks.orders[order] += 1);
        assert_eq!(found, Rule::LiveBlocks);
    }
    let damages: [fn(&mut Heap); 5] = [
        |heap| heap.blocks.orders[1] -= 1,
        |heap| heap.allocated_blocks += 1,
        |heap| heap.allocated_blocks -= 1,
        |heap| heap.allocated_granules += 1,
        |heap| heap.allocated_granules -= 1,
    ];
    for damage in damages {
        assert_eq!(rule(damage), Rule::LiveBlocks);
    }
}

/// A sequence of numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// Damages a random field of a heap.
fn damage_at_random(heap: &mut Heap, numbers: &mut Numbers) {
    let region = numbers.below(2);
    let granule = Granule::new(region, numbers.below(PAGES[region] * 256));
    let wild = match numbers.below(4) {
        0 => numbers.below(PAGES[region] * 256 + 2),
        1 => numbers.below(1 << 32),
        2 => u32::MAX as usize,
        _ => granule.index() + numbers.below(4),
    };
    let desc = heap.runs.tables.desc(region, granule.page()).unwrap();
    match numbers.below(9) {
        0 => desc.set_begin(granule.in_page(), false),
        1 => desc.set_begin(granule.in_page(), true),
        2 => desc.clear_begin(granule.in_page()),
        3 => desc.set_end(wild),
        4 => desc.set_head(wild),
        5 => desc.set_links(Links {
            prev: wild as u32,
            next: numbers.below(1 << 32) as u32,
        }),
        6 => {
            let words = heap.runs.tables.region(region).unwrap().matrix();
            let word = numbers.below(words.len());
            words[word] = (numbers.0 ^ 1 << numbers.below(64)) | 1;
        }
        7 => heap.runs.long[numbers.below(BINS - SHORT_BINS)] = wild as u32,
        _ => heap.runs.bins.insert(numbers.below(BINS)),
    }
}

#[test]
fn damaged_metadata_makes_a_wrong_answer_and_does_no_other_harm() {
    struct Ignore;
    impl Visitor for Ignore {}

    for seed in 1..=3000 {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        with_prepared(|heap| {
            for _ in 0..=numbers.below(6) {
                damage_at_random(heap, &mut numbers);
                let _ = checked(heap);
                heap.visit(&[1; crate::size_class::MAGAZINE_KINDS], &mut Ignore);
                let _ = heap.totals();
                for (region, pages) in PAGES.iter().enumerate() {
                    let room = 1 + numbers.below(64);
                    let (mut page, mut next) = (0, 0);
                    while page < *pages as u32 {
                        let mut out = std::vec![Extent::default(); room];
                        let mapped = heap.map(region, page, &mut out).unwrap();
                        assert!(mapped.next > page && mapped.next <= mapped.end);
                        for extent in &out[..mapped.extents] {
                            assert!(extent.pages > 0 && extent.page >= next);
                            next = extent.page + extent.pages;
                        }
                        assert!(next <= mapped.next);
                        page = mapped.next;
                    }
                }
            }
        });
    }
}
