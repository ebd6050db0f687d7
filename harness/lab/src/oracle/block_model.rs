// SPDX-License-Identifier: GPL-2.0

//! A model of the live blocks, independent of the engine.

use std::collections::{
    BTreeMap,
    HashSet, //
};

use super::violation::Violation;
use crate::{
    rng::mix,
    uapi::{
        self,
        slablab_cost, //
    },
};

/// The reply for a block, with the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockInfo {
    /// Its handle.
    pub(super) handle: u32,
    /// Where it is, if the engine has a pool.
    pub(super) offset: u64,
    /// The usable bytes.
    pub(super) usable: u64,
    /// The requested bytes.
    pub(super) size: u64,
    /// The requested alignment.
    pub(super) align: u64,
}

/// The live blocks.
#[derive(Debug)]
pub(super) struct BlockModel {
    /// Whether the engine has a pool.
    pool: bool,
    /// The most that each region can be long.
    regions: Vec<u64>,
    /// Blocks with an offset: where they begin and end.
    ranges: BTreeMap<u64, u64>,
    handles: HashSet<u32>,
    live_bytes: u64,
    peak_live_bytes: u64,
    trace: u64,
}

impl BlockModel {
    /// Begins with no block out.
    pub(super) fn new(pool: bool, regions: Vec<u64>) -> Self {
        Self {
            pool,
            regions,
            ranges: BTreeMap::new(),
            handles: HashSet::new(),
            live_bytes: 0,
            peak_live_bytes: 0,
            trace: 0,
        }
    }

    /// Checks a block that comes, and enters it.
    pub(super) fn admit(&mut self, place: &BlockInfo) -> Result<(), Violation> {
        let &BlockInfo {
            handle,
            usable,
            size,
            ..
        } = place;
        if handle == 0 || handle >= 1 << 31 {
            return Err(Violation::BadHandle { handle });
        }
        if usable < size {
            return Err(Violation::TooSmall { size, usable });
        }
        self.check_offset(place)?;
        if !self.handles.insert(handle) {
            return Err(Violation::HandleInUse { handle });
        }
        if self.pool {
            self.ranges.insert(place.offset, place.offset + usable);
        }
        self.live_bytes += size;
        self.peak_live_bytes = self.peak_live_bytes.max(self.live_bytes);
        Ok(())
    }

    /// Checks where a block is.
    fn check_offset(&self, place: &BlockInfo) -> Result<(), Violation> {
        let &BlockInfo {
            handle,
            offset,
            usable,
            align,
            ..
        } = place;
        if self.pool != (offset != uapi::NO_OFFSET) {
            return Err(Violation::WrongKindOfOffset {
                handle,
                pool: self.pool,
                offset,
            });
        }
        if !self.pool {
            return Ok(());
        }
        let region = offset >> uapi::SLABLAB_OFFSET_REGION_SHIFT;
        let byte = offset & ((1 << uapi::SLABLAB_OFFSET_REGION_SHIFT) - 1);
        let inside = usize::try_from(region)
            .ok()
            .and_then(|region| self.regions.get(region))
            .is_some_and(|bytes| byte.checked_add(usable).is_some_and(|end| end <= *bytes));
        if !inside {
            return Err(Violation::OutsidePool { offset, usable });
        }
        if byte % align != 0 {
            return Err(Violation::Misaligned { offset, align });
        }
        // Ranges in the map are disjoint, so the last one that begins before this one's end is the
        // only one that can reach into it.
        match self.ranges.range(..offset + usable).next_back() {
            Some((&first, &end)) if end > offset => Err(Violation::Overlap {
                first,
                first_usable: end - first,
                second: offset,
                second_usable: usable,
            }),
            _ => Ok(()),
        }
    }

    /// Removes a block that goes.
    pub(super) fn remove(&mut self, place: &BlockInfo) {
        self.handles.remove(&place.handle);
        if self.pool {
            self.ranges.remove(&place.offset);
        }
        self.live_bytes -= place.size;
    }

    /// Adds a reply to the hash of all replies, by which two runs can be compared.
    pub(super) fn note(&mut self, handle: u32, offset: u64, usable: u64, cost: slablab_cost) {
        for word in [u64::from(handle), offset, usable, cost.bits()] {
            self.trace = mix(self.trace ^ word);
        }
    }

    /// Returns the number of live blocks.
    pub(super) fn live_blocks(&self) -> u64 {
        self.handles.len() as u64
    }

    /// Returns the most bytes that were out at a time, as asked for.
    pub(super) fn peak_live_bytes(&self) -> u64 {
        self.peak_live_bytes
    }

    /// Returns what all replies so far come to.
    pub(super) fn trace(&self) -> u64 {
        self.trace
    }
}
