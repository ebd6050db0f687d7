// SPDX-License-Identifier: GPL-2.0

//! Tests of [`Drawing`]: the map of the seed must agree with the statistics.

use super::*;
use crate::{
    map::Use,
    rng::Rng,
    sim::Sim,
    uapi::SLABLAB_EVENTS_MAX, //
};

const NEW: Origin = Origin {
    is_new: true,
    debug: false,
};

/// Opens a session on an engine in a pool of 1 MiB, with its operations recorded.
fn session(engine: Engine) -> Sim {
    let sim = Sim::private(engine, 1 << 20).unwrap();
    sim.record(SLABLAB_EVENTS_MAX).unwrap();
    sim
}

/// Returns the bytes of all free blocks of a map. Asserts that the extents cover each region without a gap
/// or an overlap.
fn free_bytes(map: &PoolMap) -> u64 {
    let mut free = 0;
    for region in &map.regions {
        let mut page = 0;
        for extent in &region.extents {
            assert_eq!(extent.page, page, "a gap, or an overlap");
            page += extent.pages;
            if extent.what == Use::Free {
                free += u64::from(extent.pages) * u64::from(map.page_bytes);
            }
        }
        assert_eq!(page, region.pages);
    }
    free
}

#[test]
fn the_seed_is_drawn_as_it_says_it_is_also_in_a_pool_that_grows() {
    let sim = session(Engine::Seed);
    let mut drawing = Drawing::begin(&sim, NEW).unwrap();
    let mut random = Rng::new(7);
    let mut live = Vec::new();
    let mut refused = 0;
    for step in 0..4000 {
        match random.below(6) {
            0..3 => match sim.alloc(random.doubling(1, 40_000), 1 << random.below(13)) {
                Ok(block) => live.push(block.handle),
                Err(_) => refused += 1,
            },
            3 if !live.is_empty() => {
                let handle = live[random.index(live.len())];
                refused += u32::from(sim.realloc(handle, random.doubling(1, 40_000)).is_err());
            }
            _ if !live.is_empty() => {
                let handle = live.swap_remove(random.index(live.len()));
                sim.free(handle).unwrap();
            }
            _ => {}
        }
        if step % 1000 == 900 {
            sim.extend(96 << 10).unwrap();
            drawing.follow();
        }
        if step % 50 == 0 {
            let map = drawing.map().unwrap();
            assert_eq!(
                free_bytes(&map),
                sim.stats().unwrap().free_bytes,
                "step {step}"
            );
        }
    }
    assert!(refused > 10, "the pool was never full");
    assert_eq!(drawing.map().unwrap().regions.len(), 5);
}

#[test]
fn an_engine_with_a_map_tells_it_itself() {
    let sim = session(Engine::Hybrid);
    let mut drawing = Drawing::begin(&sim, NEW).unwrap();
    sim.alloc(5000, 8).unwrap();
    assert_eq!(
        drawing.map(),
        PoolMap::read(&sim).map_err(DrawingError::Call)
    );
}

#[test]
fn a_pool_that_cannot_be_drawn_has_a_reason() {
    let reason = |origin, sim: &Sim| Drawing::begin(sim, origin).unwrap().map().unwrap_err();
    let sim = session(Engine::Seed);
    let shared = Origin {
        is_new: false,
        ..NEW
    };
    assert_eq!(reason(shared, &sim), DrawingError::Shared);
    let debug = Origin { debug: true, ..NEW };
    assert_eq!(reason(debug, &sim), DrawingError::Debug);
    sim.end_record().unwrap();
    assert_eq!(reason(NEW, &sim), DrawingError::Unrecorded);
}

#[test]
fn events_that_are_overwritten_unread_are_noticed() {
    let sim = Sim::private(Engine::Seed, 1 << 20).unwrap();
    sim.record(1024).unwrap();
    let mut drawing = Drawing::begin(&sim, NEW).unwrap();
    for _ in 0..2000 {
        let block = sim.alloc(64, 8).unwrap();
        sim.free(block.handle).unwrap();
    }
    assert_eq!(drawing.map(), Err(DrawingError::Unrecorded));
}
