// SPDX-License-Identifier: GPL-2.0

//! Compares timelines with the results of replays and with the maps of pools.

use proptest::prelude::*;
use slablab_trace::{
    Builder,
    pattern,
    rng::Rng, //
};

use super::{
    super::checked,
    map_deltas::{
        PageBlockState,
        flat, //
    },
    *, //
};
use crate::{
    sim::{
        Pool,
        Sim, //
    },
    uapi::Engine,
};

const LIMITS: Limits = Limits {
    frames: 50,
    writes: 100_000,
};

fn sim(engine: Engine, pool_bytes: u64) -> Sim {
    Sim::private(engine, pool_bytes).unwrap()
}

fn taken(engine: Engine, pool_bytes: u64, trace: &Trace, limits: Limits) -> Timeline {
    timeline(&sim(engine, pool_bytes), trace, limits)
        .unwrap()
        .unwrap()
}

/// Returns, for each page in the map of frame `until`, the first page and the state of its block.
fn picture(map_deltas: &MapDeltas, until: usize) -> Vec<(u32, PageBlockState)> {
    let mut pages = vec![(0, PageBlockState::Free { pages: 0 }); map_deltas.pages as usize];
    let shown = map_deltas
        .frames
        .iter()
        .take_while(|frame| **frame <= until);
    for writes in &map_deltas.writes[..shown.count()] {
        let mut page = 0;
        for pair in writes.chunks(2) {
            page += pair[0];
            let state = map_deltas.states[pair[1] as usize];
            pages[page as usize..][..state.pages() as usize].fill((page, state));
        }
    }
    pages
}

/// Returns, for each page, the first page and the state of its block.
fn spread(blocks: Vec<(u32, PageBlockState)>) -> Vec<(u32, PageBlockState)> {
    let pages = |(page, state): (u32, PageBlockState)| {
        std::iter::repeat_n((page, state), state.pages() as usize)
    };
    blocks.into_iter().flat_map(pages).collect()
}

#[test]
fn curves_are_what_the_replay_counts() {
    for pattern in pattern::workloads() {
        let trace = pattern.make(1, 2);
        for engine in Pool::ENGINES {
            // A pool of the size of the peak refuses some requests.
            let pool = (trace.peak_bytes().div_ceil(32 << 10) * (32 << 10)).max(64 << 10);
            let timeline = taken(engine, pool, &trace, LIMITS);
            let ran = checked(&sim(engine, pool), &trace).unwrap();
            let about = format!("{} on {engine}", pattern.name);
            let rows = timeline.operations.len();
            assert!(rows <= LIMITS.frames + 2, "{about}");
            assert_eq!(timeline.operations[0], 0);
            assert_eq!(timeline.operations[rows - 1], trace.ops().len() as u64);
            assert_eq!(
                timeline.live_max.iter().max(),
                Some(&ran.figures.peak_bytes),
                "{about}"
            );
            let mut refused = [0; uapi::SLABLAB_CAUSES as usize];
            for refusals in &timeline.refusals {
                refused[refusals.cause.raw() as usize] += refusals.count;
                let first = &ran.answers[refusals.first as usize - 1];
                assert_eq!(first.outcome, OpOutcome::Refused(refusals.cause));
                let rows = &timeline.operations[refusals.frame - 1..=refusals.frame];
                assert!(
                    rows[0] < refusals.first && refusals.first <= rows[1],
                    "{about}"
                );
            }
            assert_eq!(refused, ran.figures.refusals, "{about}");
            for row in 0..rows {
                assert!(timeline.live_min[row] <= timeline.live[row]);
                assert!(timeline.live[row] <= timeline.live_max[row]);
                assert!(timeline.live[row] <= timeline.usable[row]);
                assert!(
                    timeline.usable[row] <= timeline.reserved[row],
                    "{about}, row {row}"
                );
            }
        }
    }
}

#[test]
fn rows_are_what_the_engine_says_at_that_moment() {
    let trace = pattern::named("larson").unwrap().make(1, 2);
    for engine in Pool::ENGINES {
        let timeline = taken(engine, 1 << 20, &trace, LIMITS);
        let row = timeline.operations.len() / 2;
        let target = sim(engine, 1 << 20);
        let oracle = Oracle::new(&target, 1).unwrap();
        let mut run = Checked::new(&trace, &oracle);
        run.advance(timeline.operations[row] as usize).unwrap();
        let stats = target.stats().unwrap();
        assert_eq!(timeline.live[row], stats.requested_bytes, "{engine}");
        assert_eq!(timeline.usable[row], stats.live_bytes, "{engine}");
        assert_eq!(
            timeline.reserved[row],
            stats.live_bytes + stats.cached_bytes
        );
        let class = |number: usize| {
            let mut rows = timeline.classes[..=row]
                .iter()
                .flat_map(|row| row.chunks(4));
            let printed = rows.rfind(|printed| printed[0] == number as u64);
            printed.map_or([0; 3], |printed| [printed[1], printed[2], printed[3]])
        };
        for (number, printed) in stats.classes[..timeline.class_bytes.len()]
            .iter()
            .enumerate()
        {
            let printed = [
                printed.used_blocks,
                printed.total_blocks,
                printed.magazine_blocks,
            ];
            assert_eq!(class(number), printed, "{engine}, class {number}");
        }
        let answer = run.answers().last().unwrap();
        let step = timeline.last[row].as_ref().unwrap();
        assert_eq!(step.done, answer.outcome == OpOutcome::Done);
    }
}

#[test]
fn the_reel_shows_the_engines_map() {
    let trace = pattern::named("tree").unwrap().make(1, 3);
    let timeline = taken(Engine::Hybrid, 1 << 20, &trace, LIMITS);
    let map_deltas = timeline.map_deltas.unwrap();
    for row in [0, 1, 20, timeline.operations.len() - 1] {
        let target = sim(Engine::Hybrid, 1 << 20);
        let oracle = Oracle::new(&target, 1).unwrap();
        let mut run = Checked::new(&trace, &oracle);
        run.advance(timeline.operations[row] as usize).unwrap();
        let map = PoolMap::read(&target).unwrap();
        assert_eq!(picture(&map_deltas, row), spread(flat(&map)), "row {row}");
    }
}

#[test]
fn pictures_that_are_left_out_change_no_other() {
    let trace = pattern::named("larson").unwrap().make(1, 20);
    let limits = |writes| Limits {
        frames: 200,
        writes,
    };
    let all = taken(Engine::Hybrid, 2 << 20, &trace, limits(usize::MAX));
    let all = all.map_deltas.unwrap();
    let written =
        |map_deltas: &MapDeltas| map_deltas.writes.iter().map(Vec::len).sum::<usize>() / 2;
    let budget = written(&all) * 3 / 4;
    let few = taken(Engine::Hybrid, 2 << 20, &trace, limits(budget));
    let few = few.map_deltas.unwrap();
    assert!(few.frames.len() < all.frames.len() && written(&few) <= budget);
    assert_eq!(few.frames.last(), all.frames.last());
    for frame in &few.frames {
        assert_eq!(picture(&few, *frame), picture(&all, *frame), "{frame}");
    }
}

#[test]
fn the_seeds_pages_are_its_twins() {
    let mut builder = Builder::new();
    let small = builder.alloc(100, 8);
    let large = builder.alloc(10_000, 8);
    builder.alloc(120, 8);
    builder.free(large);
    builder.free(small);
    let trace = builder.finish("pages", "");
    let timeline = taken(Engine::Seed, 64 << 10, &trace, LIMITS);
    let map_deltas = timeline.map_deltas.unwrap();
    let slab = |used| PageBlockState::Slab {
        pages: 2,
        class: 1,
        objects: 64,
        used,
    };
    let free = |pages| PageBlockState::Free { pages };
    let states = |row| -> Vec<PageBlockState> {
        let mut pages = picture(&map_deltas, row);
        pages.dedup();
        pages.into_iter().map(|(_, state)| state).collect()
    };
    assert_eq!(states(0), [free(16)]);
    // A slab of 64 blocks of 128 B takes 8 KiB. The free blocks are the halves that remain when 64 KiB are
    // split.
    assert_eq!(states(1), [slab(1), free(2), free(4), free(8)]);
    // 10,000 bytes take 16 KiB, the next power of two.
    let large = PageBlockState::Large { pages: 4 };
    assert_eq!(states(3), [slab(2), free(2), large, free(8)]);
    assert_eq!(states(5), [slab(1), free(2), free(4), free(8)]);
    let (largest, orders) = (&timeline.largest_free, &timeline.orders);
    assert_eq!(largest[..], [64, 32, 32, 32, 32, 32].map(|kib| kib << 10));
    assert_eq!(orders[2], [2, 0, 1]);
}

/// Returns a random partition of 64 pages that keeps some blocks of the partition `before`.
fn partition(rng: &mut Rng, before: &[(u32, PageBlockState)]) -> Vec<(u32, PageBlockState)> {
    let mut blocks = Vec::new();
    let mut page = 0;
    while page < 64 {
        let kept = before.iter().find(|(first, _)| *first == page);
        let state = match kept {
            Some((_, state)) if rng.below(4) > 0 && page + state.pages() <= 64 => *state,
            _ => match rng.below(3) {
                0 => PageBlockState::Slab {
                    pages: 1,
                    class: 0,
                    objects: 1,
                    used: 1,
                },
                1 => PageBlockState::Large {
                    pages: 1 + rng.below((64 - page).min(6).into()) as u32,
                },
                _ => PageBlockState::Free { pages: 1 },
            },
        };
        blocks.push((page, state));
        page += state.pages();
    }
    blocks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Dropping snapshots does not change the remaining ones.
    #[test]
    fn differences_give_back_the_pictures(seed: u64, budget in 1_usize..2000) {
        let mut rng = Rng::new(seed);
        let mut recorder = MapRecorder::new(budget);
        let mut all: Vec<Vec<(u32, PageBlockState)>> = Vec::new();
        for frame in 0..100 {
            let before = all.last().cloned().unwrap_or_default();
            all.push(partition(&mut rng, &before));
            if recorder.wants(frame) || frame == 99 {
                recorder.record_blocks(frame, all[frame].clone());
            }
        }
        let map_deltas = recorder.finish().unwrap();
        prop_assert!(map_deltas.frames.contains(&0) && map_deltas.frames.contains(&99));
        for frame in &map_deltas.frames {
            prop_assert_eq!(picture(&map_deltas, *frame), spread(all[*frame].clone()));
        }
    }
}
