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

/// A block: the request and the reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockInfo {
    /// The handle.
    pub(super) handle: u32,
    /// The offset in the pool; for an engine without a pool, 2⁶⁴ − 1.
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
    /// An upper bound of the length of each region.
    regions: Vec<u64>,
    /// The blocks with an offset: from the offset to the end.
    ranges: BTreeMap<u64, u64>,
    handles: HashSet<u32>,
    live_bytes: u64,
    peak_live_bytes: u64,
    trace: u64,
}

impl BlockModel {
    /// Creates a model without live blocks.
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

    /// Checks a new or reallocated block, and adds the block to the model.
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

    /// Checks the offset of a block.
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
        // The ranges in the map are disjoint, so the last range that begins before the end of the block
        // overlaps the block if any range does.
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

    /// Removes a block from the model.
    pub(super) fn remove(&mut self, place: &BlockInfo) {
        self.handles.remove(&place.handle);
        if self.pool {
            self.ranges.remove(&place.offset);
        }
        self.live_bytes -= place.size;
    }

    /// Adds a reply to the hash of all replies. Two runs can be compared by their hashes.
    pub(super) fn note(&mut self, handle: u32, offset: u64, usable: u64, cost: slablab_cost) {
        for word in [u64::from(handle), offset, usable, cost.bits()] {
            self.trace = mix(self.trace ^ word);
        }
    }

    /// Returns the number of live blocks.
    pub(super) fn live_blocks(&self) -> u64 {
        self.handles.len() as u64
    }

    /// Returns the peak of the requested bytes of live blocks.
    pub(super) fn peak_live_bytes(&self) -> u64 {
        self.peak_live_bytes
    }

    /// Returns the hash of all replies so far.
    pub(super) fn trace(&self) -> u64 {
        self.trace
    }
}
