// SPDX-License-Identifier: GPL-2.0

//! The sweep of a check: compares the red zones of all live blocks and the poison of all free memory.
//!
//! The sweep visits each region from its end to its start, by the records of the live blocks:
//!
//! ```text
//! │ free │◀ zone ▶│ live block │◀ zone ▶│ free │◀ zone ▶│ live block │◀ zone ▶│ free │
//!                                                                           ◀── the sweep
//! ```
//!
//! A step compares one page, or visits the records of 64 KiB, with debug mode's lock held and only if no
//! change is active, so nothing writes to the compared bytes. If a block was allocated, freed or resized
//! between two steps, the sweep begins again. A sweep that has begun again [`RESTARTS`] times ends with
//! [`Progress::Disturbed`].
//!
//! The sweep ignores the bytes that the engine writes in free memory. The sweep also ignores granules with
//! memory in quarantine, because the damage of this memory was already reported.

use super::{
    Caller, DebugMode, State,
    zones::{
        POISON,
        PaddedLayout,
        RED, //
    },
};
use crate::{
    Engine, PAGE_BYTES,
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
    lock::Lock,
    region::{
        Offset,
        REGIONS_MAX, //
    },
};

/// The number of bytes that a step compares.
const PIECE: usize = PAGE_BYTES;

/// The bytes that the engine writes in free memory: the first `bytes` bytes after each multiple of `align`,
/// and the first `bytes` bytes of each page.
#[derive(Clone, Copy)]
struct EngineBytes {
    bytes: usize,
    /// A power of two.
    align: usize,
}

impl EngineBytes {
    /// Returns whether the engine may write a byte of a region while the byte is free.
    fn may_contain(self, byte: usize) -> bool {
        byte & (self.align - 1) < self.bytes || byte % PAGE_BYTES < self.bytes
    }

    /// Returns whether the engine may write every byte of free memory.
    fn may_be_everywhere(self) -> bool {
        self.bytes >= self.align
    }
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> DebugMode<E, L, C> {
    /// Compares the next part of the pool.
    pub(super) fn sweep(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        let engine_bytes = EngineBytes {
            bytes: self.engine.capabilities().free_block_bytes,
            align: self.engine.capabilities().free_block_align.max(1),
        };
        // `usable_size` takes no lock, so it may be called with debug mode's lock held.
        let usable = |padded: &PaddedLayout| self.engine.usable_size(padded.layout);
        let Some(mut sweep) = walk.sweep.take() else {
            return Ok(Progress::Sound);
        };
        let result = self.caller.reading_free(|| {
            self.state
                .with(|state| step(state, &mut sweep, &mut walk.walked, engine_bytes, usable))
        });
        walk.sweep = Some(sweep);
        result
    }
}

/// Executes one bounded step of a sweep.
fn step(
    state: &State,
    sweep: &mut Sweep,
    walked: &mut u64,
    engine_bytes: EngineBytes,
    usable: impl Fn(&PaddedLayout) -> usize,
) -> Result<Progress, Broken> {
    let changes = state.quiescent();
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
        Task::Free(from, zones) if from < end && !engine_bytes.may_be_everywhere() => {
            let to = end.min(from + PIECE);
            let part = state.memory(region, from, to);
            let ignored = |byte| {
                engine_bytes.may_contain(from + byte) || state.is_quarantined(region, from + byte)
            };
            if let Some(byte) = part.first_other(POISON, ignored) {
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

    /// Searches for the live block that begins closest below byte `end`, in a bounded number of records
    /// downwards from the record below index `below`. Returns the index for the next search, the number of
    /// visited records, and the block if it was found.
    fn live_below(
        &self,
        region: usize,
        below: usize,
        end: usize,
        usable: &impl Fn(&PaddedLayout) -> usize,
    ) -> (usize, u64, Option<Zones>) {
        let mut seen = 0;
        let mut next = below;
        for live in self.live_records(region, below) {
            next -= 1;
            seen += 1;
            let Some((record, start)) = live.filter(|(_, start)| *start < end) else {
                continue;
            };
            let Some(padded) = record.padded_layout() else {
                continue;
            };
            let first = start - padded.front;
            let zones = Zones {
                first,
                start,
                end: first + padded.end(),
                last: first + usable(&padded),
            };
            return (next, seen, Some(zones));
        }
        (next, seen, None)
    }
}
