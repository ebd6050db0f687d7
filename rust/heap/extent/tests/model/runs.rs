// SPDX-License-Identifier: GPL-2.0

//! Tests of the runs against a naive model.

use core::ptr::NonNull;
use std::{
    collections::BTreeMap,
    vec,
    vec::Vec, //
};

use crate::extent::{
    place::{
        Demand,
        Granule,
        PAGE_GRANULES,
        Run, //
    },
    runs::Runs,
    table::RegionTable,
};

struct Pool {
    runs: Runs,
    _memory: Vec<Vec<u64>>,
}

fn pool(regions: &[usize]) -> Pool {
    let mut runs = Runs::new();
    let mut memories = Vec::new();
    for (number, pages) in regions.iter().enumerate() {
        let mut memory = vec![0_u64; RegionTable::bytes(*pages) / 8];
        let start = NonNull::new(memory.as_mut_ptr()).unwrap().cast();
        // SAFETY: The memory has the required zeroed bytes, and lives as long as the pool.
        let table = unsafe { RegionTable::new(start, *pages) };
        runs.tables.add(number, table);
        runs.free(Run {
            start: Granule::new(number, 0),
            len: pages * PAGE_GRANULES,
        });
        memories.push(memory);
    }
    Pool {
        runs,
        _memory: memories,
    }
}

/// Checks that the runs cover each region without gaps, that free runs are maximal, and that the allocated ones are
/// exactly those of `live`.
fn check(pool: &Pool, regions: &[usize], live: &BTreeMap<Granule, usize>) {
    let (mut free, mut count, mut allocated) = (0, 0, 0);
    for (region, pages) in regions.iter().enumerate() {
        let (mut at, mut was_free) = (0, false);
        while at < pages * PAGE_GRANULES {
            let start = Granule::new(region, at);
            let run = pool
                .runs
                .tables
                .run(start)
                .expect("a run begins behind each run");
            let is_free = pool.runs.tables.begins_free(start);
            assert!(
                !(is_free && was_free),
                "free runs side by side at {start:?}"
            );
            assert_eq!(
                pool.runs
                    .tables
                    .start_of(Granule::new(region, run.end() - 1)),
                Some(start)
            );
            if is_free {
                free += run.len;
                count += 1;
            } else {
                allocated += 1;
                assert_eq!(live.get(&start), Some(&run.len));
            }
            was_free = is_free;
            at += run.len;
        }
        assert_eq!(at, pages * PAGE_GRANULES);
    }
    assert_eq!(
        (free, count),
        (
            pool.runs.free_counts.granules,
            pool.runs.free_counts.runs.iter().sum()
        )
    );
    assert_eq!(allocated, live.len());
}

#[test]
fn random_operations_keep_the_runs_sound() {
    for (seed, regions) in [
        (1_u64, &[1_usize][..]),
        (2, &[3]),
        (3, &[64]),
        (4, &[70, 2]),
        (5, &[600]),
    ] {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 20) as usize % below
        };
        let mut pool = pool(regions);
        let mut live: BTreeMap<Granule, usize> = BTreeMap::new();
        let granules: usize = regions.iter().sum::<usize>() * PAGE_GRANULES;
        for step in 0..20_000 {
            let is_full = live.values().sum::<usize>() * 10 > granules * 9;
            match next(if is_full { 5 } else { 8 }) {
                0..3 if !live.is_empty() => {
                    let place = next(live.len());
                    let (start, len) = live
                        .iter()
                        .nth(place)
                        .map(|(start, len)| (*start, *len))
                        .unwrap();
                    live.remove(&start);
                    pool.runs.free(Run { start, len });
                }
                3 if !live.is_empty() => {
                    let place = next(live.len());
                    let (start, len) = live
                        .iter()
                        .nth(place)
                        .map(|(start, len)| (*start, *len))
                        .unwrap();
                    let new = 1 + next(2 * len);
                    if new < len {
                        pool.runs.shrink(Run { start, len }, new);
                        live.insert(start, new);
                    } else if new > len && pool.runs.grow(Run { start, len }, new) {
                        live.insert(start, new);
                    }
                }
                4 => {
                    let len = 1 + next(64);
                    if let Some(batch) = pool.runs.cut(len, 1 + next(20)) {
                        for first in (0..batch.len).step_by(len) {
                            assert_eq!(live.insert(batch.start.after(first), len), None);
                        }
                    }
                }
                _ => {
                    let len = (1 + next(16)) << next(if granules > 1 << 14 { 10 } else { 5 });
                    let demand = Demand {
                        len,
                        align: 1 << next(9),
                    };
                    if let Some(block) = pool.runs.allocate(demand) {
                        assert_eq!(block.start.index() % demand.align, 0);
                        assert_eq!(live.insert(block.start, len), None);
                    }
                }
            }
            if step % 64 == 0 {
                check(&pool, regions, &live);
            }
        }
        for (start, len) in &live {
            pool.runs.free(Run {
                start: *start,
                len: *len,
            });
        }
        assert_eq!(
            pool.runs.free_counts.runs.iter().sum::<usize>(),
            regions.len()
        );
        for pages in regions.iter().rev() {
            let demand = Demand {
                len: pages * PAGE_GRANULES,
                align: 1,
            };
            assert!(pool.runs.allocate(demand).is_some());
        }
    }
}
