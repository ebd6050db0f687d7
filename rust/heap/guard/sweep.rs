// SPDX-License-Identifier: GPL-2.0

//! A sweep over every byte of the pool: the red zones of live blocks are red, free memory is poison.
//!
//! It goes down through each region, from its end, by the records of live blocks:
//!
//! ```text
//! │ free │◀ zone ▶│ live block │◀ zone ▶│ free │◀ zone ▶│ live block │◀ zone ▶│ free │
//!                                                                           ◀── the sweep
//! ```
//!
//! A step looks at one page, or at the records of 64 KiB, with the guard's lock held and only while no
//! call moves a block: then nobody writes what is looked at. A sweep begins again when blocks were
//! moved between two steps, and gives up as [`Progress::Disturbed`] when that happens too often.
//!
//! Left out are the bytes that the engine writes in free memory, and granules of which some memory is
//! set aside: what is damaged there is known.

use super::{
    Caller, Guard, State,
    zones::{
        POISON,
        RED,
        Shape, //
    },
};
use crate::{
    Engine,
    check::{
        Broken,
        Progress,
        RESTARTS,
        Rule,
        Sweep,
        Task,
        Walk,
        Zones, //
    },
    class::PAGE_BYTES,
    lock::Lock,
    region::{
        Offset,
        REGIONS_MAX, //
    },
};

/// The bytes that a step looks at.
const PIECE: usize = PAGE_BYTES;

/// What the engine writes in free memory.
#[derive(Clone, Copy)]
struct Engines {
    bytes: usize,
    align: usize,
}

impl Engines {
    /// Says whether a byte of a region may be the engine's.
    fn may_have(self, byte: usize) -> bool {
        byte % self.align < self.bytes || byte % PAGE_BYTES < self.bytes
    }

    /// Says whether every byte may be.
    fn may_have_all(self) -> bool {
        self.bytes >= self.align
    }
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> Guard<E, L, C> {
    /// Looks at the next part of the pool.
    pub(super) fn sweep(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        let engines = Engines {
            bytes: self.engine.free_block_bytes(),
            align: self.engine.free_block_align().max(1),
        };
        // What a layout comes to is known without a lock.
        let usable = |shape: &Shape| self.engine.usable(shape.whole);
        let Some(mut sweep) = walk.sweep.take() else {
            return Ok(Progress::Sound);
        };
        let result = self.caller.reading_free(|| {
            self.state
                .with(|state| step(state, &mut sweep, &mut walk.walked, engines, usable))
        });
        walk.sweep = Some(sweep);
        result
    }
}

/// Does a step of a sweep.
fn step(
    state: &State,
    sweep: &mut Sweep,
    walked: &mut u64,
    engines: Engines,
    usable: impl Fn(&Shape) -> usize,
) -> Result<Progress, Broken> {
    let changes = state.still();
    if changes.is_none() || sweep.changes.is_some_and(|begun| changes != Some(begun)) {
        if sweep.restarts == RESTARTS {
            return Ok(Progress::Disturbed);
        }
        *sweep = Sweep {
            restarts: sweep.restarts + 1,
            ..Sweep::default()
        };
        return Ok(Progress::More);
    }
    sweep.changes = changes;
    if sweep.region == REGIONS_MAX {
        return Ok(Progress::Sound);
    }
    let region = sweep.region;
    let Some(bytes) = state.region_bytes(region) else {
        sweep.region += 1;
        return Ok(Progress::More);
    };
    let end = *sweep.end.get_or_insert(bytes);
    let broken = |rule, byte| Broken {
        rule,
        class: None,
        offset: state.region_offset(region, byte),
    };
    let red = |from: usize, to: usize| {
        let part = state.memory(region, from, to);
        match part.first_other(RED, |_| false) {
            Some(byte) => Err(broken(Rule::RedZones, from + byte)),
            None => Ok(()),
        }
    };
    sweep.task = match core::mem::take(&mut sweep.task) {
        Task::Begin => Task::Search(state.records(region)),
        Task::Search(below) => {
            let (next, seen, found) = state.live_below(region, below, end, &usable);
            *walked += seen;
            match found {
                Some(zones) => Task::Free(zones.last.min(end), Some(zones)),
                None if next == 0 => Task::Free(0, None),
                None => Task::Search(next),
            }
        }
        Task::Free(from, zones) if from < end && !engines.may_have_all() => {
            let to = end.min(from + PIECE);
            let part = state.memory(region, from, to);
            let matters_not =
                |byte| engines.may_have(from + byte) || state.is_aside(region, from + byte);
            if let Some(byte) = part.first_other(POISON, matters_not) {
                return Err(broken(Rule::Poison, from + byte));
            }
            Task::Free(to, zones)
        }
        Task::Free(_, Some(zones)) => Task::Behind(zones.end, zones),
        Task::Free(_, None) => {
            sweep.region += 1;
            sweep.end = None;
            Task::Begin
        }
        Task::Behind(from, zones) if from < zones.last => {
            let to = zones.last.min(from + PIECE);
            red(from, to)?;
            Task::Behind(to, zones)
        }
        Task::Behind(_, zones) => Task::InFront(zones.first, zones),
        Task::InFront(from, zones) if from < zones.start => {
            let to = zones.start.min(from + PIECE);
            red(from, to)?;
            Task::InFront(to, zones)
        }
        Task::InFront(_, zones) => {
            sweep.end = Some(zones.first);
            Task::Search(state.record_of(zones.start))
        }
    };
    Ok(Progress::More)
}

impl State {
    /// Returns the offset of a byte of a region.
    fn region_offset(&self, region: usize, byte: usize) -> Option<Offset> {
        self.region_number(region)
            .map(|number| Offset::new(number, byte as u64))
    }

    /// Looks for the live block that begins closest below `end`, from record `below` down and for a
    /// bounded time. Returns the record to go on below, how many were looked at, and the block.
    fn live_below(
        &self,
        region: usize,
        below: usize,
        end: usize,
        usable: &impl Fn(&Shape) -> usize,
    ) -> (usize, u64, Option<Zones>) {
        let mut seen = 0;
        let mut next = below;
        for live in self.live_records(region, below) {
            next -= 1;
            seen += 1;
            let Some((record, start)) = live.filter(|(_, start)| *start < end) else {
                continue;
            };
            let Some(shape) = record.shape() else {
                continue;
            };
            let first = start - shape.front;
            let zones = Zones {
                first,
                start,
                end: first + shape.end(),
                last: first + usable(&shape),
            };
            return (next, seen, Some(zones));
        }
        (next, seen, None)
    }
}
