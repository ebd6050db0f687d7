// SPDX-License-Identifier: GPL-2.0

//! Owner records: the last block that began in each granule of the pool, and its owners.
//!
//! ```text
//! region   │ granule 0 │ granule 1 │ granule 2 │ …      GRANULE bytes each
//! records  │ record 0  │ record 1  │ record 2  │ …      outside the pool
//! ```
//!
//! Because of the red zones, two live blocks never begin in the same granule of [`GRANULE`] bytes, so
//! one record for each granule suffices. The address of a block is the index of its record: O(1). A
//! record stays after the free until another block begins in its granule, so a record inside of a
//! newer live block is outdated. Live blocks are disjoint, so the only live block that can contain an
//! address is the nearest one that begins in front of it.

use core::{
    alloc::Layout,
    ptr::NonNull,
    slice, //
};

use super::{
    report::{
        Owner,
        ReportLog, //
    },
    zones::{
        PaddedLayout,
        RawBytes,
        WORD,
        ZONE, //
    },
};
use crate::region::{
    Offset,
    REGIONS_MAX, //
};

/// The number of bytes of a region for each record.
pub(super) const GRANULE: usize = 2 * ZONE;

/// The maximum number of records that are visited under one lock hold.
const STEP: usize = 512;

/// The state of the last block that began in a granule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum BlockState {
    /// No block has begun in the granule.
    #[default]
    Never = 0,
    /// The block is live.
    Live = 1,
    /// The block is free.
    Freed = 2,
}

/// The record of a block. The all-zero bit pattern is a valid record of no block.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct OwnerRecord {
    /// The allocation of the block.
    pub(super) allocated: Owner,
    /// The free of the block, if it is free.
    pub(super) freed: Owner,
    /// The requested size.
    pub(super) size: usize,
    /// log2 of the requested alignment.
    align_log2: u8,
    /// The first byte of the block in the granule.
    granule_offset: u8,
    pub(super) state: BlockState,
    /// log2 of the minimum length of the red zone behind the block.
    zone_log2: u8,
    /// Whether memory of the granule is in quarantine. The flag is never cleared.
    is_quarantined: bool,
}

impl OwnerRecord {
    /// Returns the record of a new live block.
    pub(super) fn live(layout: Layout, zone_log2: u8, allocated: Owner) -> Self {
        Self {
            allocated,
            freed: Owner::default(),
            size: layout.size(),
            align_log2: layout.align().ilog2() as u8,
            granule_offset: 0,
            state: BlockState::Live,
            zone_log2,
            is_quarantined: false,
        }
    }

    /// Returns the layout of the block with its red zones.
    pub(super) fn padded_layout(&self) -> Option<PaddedLayout> {
        let align = 1_usize.checked_shl(self.align_log2.into())?;
        let layout = Layout::from_size_align(self.size, align).ok()?;
        PaddedLayout::with_zone(layout, self.zone_log2)
    }
}

/// A region of the pool.
///
/// # Invariants
///
/// - `table` points to `records()` valid records, and only this value accesses them.
/// - `memory` points to `bytes` bytes that are valid as long as the engine exists.
struct DebugRegion {
    /// The first byte of the region.
    memory: NonNull<u8>,
    /// The address of `memory`.
    start: usize,
    bytes: usize,
    /// The engine's number of the region.
    number: u16,
    table: NonNull<OwnerRecord>,
}

// SAFETY: A region may move to another thread, because by the type invariant only the region accesses its
// records, and the region does not access `memory` itself: see `State::memory`.
unsafe impl Send for DebugRegion {}

impl DebugRegion {
    fn records(&self) -> usize {
        self.bytes.div_ceil(GRANULE)
    }

    fn table(&self) -> &[OwnerRecord] {
        // SAFETY: By the type invariant the records are valid, and `&self` excludes writers.
        unsafe { slice::from_raw_parts(self.table.as_ptr(), self.records()) }
    }

    fn table_mut(&mut self) -> &mut [OwnerRecord] {
        // SAFETY: By the type invariant the records are valid, and `&mut self` excludes other accesses.
        unsafe { slice::from_raw_parts_mut(self.table.as_ptr(), self.records()) }
    }
}

/// Returns the bytes of the records of a region of `bytes` bytes.
pub(super) const fn table_bytes(bytes: usize) -> usize {
    bytes.div_ceil(GRANULE) * size_of::<OwnerRecord>()
}

// The table of a region is aligned to a word.
const _: () = assert!(align_of::<OwnerRecord>() <= WORD);

// `OwnerRecord::granule_offset` is a `u8`.
const _: () = assert!(GRANULE <= u8::MAX as usize + 1);

/// The state of a [`DebugMode`](super::DebugMode), protected by its lock: records and reports.
pub struct State {
    regions: [Option<DebugRegion>; REGIONS_MAX],
    operations: u64,
    pub(super) log: ReportLog,
    /// The sum of the requested sizes of the live blocks.
    pub(super) requested_bytes: usize,
    /// The number of calls that have begun to allocate, free or resize a block.
    changes: u64,
    /// The number of calls in `changes` that have not ended. No two of these calls work on the same block.
    active_changes: usize,
    pub(super) quarantined_blocks: u64,
    pub(super) quarantined_bytes: u64,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Returns the state of debug mode without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            regions: [const { None }; REGIONS_MAX],
            operations: 0,
            log: ReportLog::new(),
            requested_bytes: 0,
            changes: 0,
            active_changes: 0,
            quarantined_blocks: 0,
            quarantined_bytes: 0,
        }
    }

    /// Counts a call that begins to allocate, free or resize a block. The change is active until
    /// [`State::end_change`].
    pub(super) fn begin_change(&mut self) {
        self.changes += 1;
        self.active_changes += 1;
    }

    /// Counts the end of a call that [`State::begin_change`] has counted.
    pub(super) fn end_change(&mut self) {
        self.active_changes -= 1;
    }

    /// Marks up to [`STEP`] granules from `begin` to `end` as quarantined. Advances `begin`, and returns
    /// whether there are more granules.
    pub(super) fn mark_quarantined(&mut self, begin: &mut usize, end: usize) -> bool {
        let Some((place, first)) = self.find(*begin) else {
            return false;
        };
        let base = *begin - first;
        let granules = first / GRANULE..(end - base).div_ceil(GRANULE);
        for granule in granules.clone().take(STEP) {
            if let Some(slot) = self.slot(place, granule * GRANULE) {
                slot.is_quarantined = true;
            }
        }
        *begin = base + (granules.start + STEP) * GRANULE;
        granules.len() > STEP
    }

    /// Counts an operation and returns it as an owner.
    pub(super) fn operation(&mut self, pid: u32) -> Owner {
        self.operations += 1;
        Owner {
            operation: self.operations,
            pid,
        }
    }

    /// Adds a region and returns its index, or `None` if there are [`REGIONS_MAX`] regions.
    ///
    /// # Safety
    ///
    /// The contract of [`AddRegion::add_region`](crate::engine::AddRegion::add_region), with a table of
    /// [`table_bytes`] bytes.
    pub(super) unsafe fn add(
        &mut self,
        memory: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Option<usize> {
        let place = self.regions.iter().position(Option::is_none)?;
        // INVARIANT: By this function's contract, the table has room for the records, all its bytes are zero,
        // which makes each record valid, and nothing else accesses the table. `memory` has `bytes` valid
        // bytes.
        self.regions[place] = Some(DebugRegion {
            memory,
            start: memory.addr().get(),
            bytes,
            number: place as u16,
            table: table.cast(),
        });
        Some(place)
    }

    /// Stores the engine's number of a region, or removes the region if the engine refused it.
    pub(super) fn set_region_number(&mut self, place: usize, number: Option<u16>) {
        let region = &mut self.regions[place];
        match (number, &mut *region) {
            (Some(number), Some(region)) => region.number = number,
            _ => *region = None,
        }
    }

    /// Returns the index of the region that contains an address, and the offset of the address in the region.
    fn find(&self, address: usize) -> Option<(usize, usize)> {
        self.regions.iter().enumerate().find_map(|(place, region)| {
            let region = region.as_ref()?;
            let byte = address.checked_sub(region.start)?;
            (byte < region.bytes).then_some((place, byte))
        })
    }

    /// Returns the offset of an address in the pool.
    pub(super) fn offset(&self, address: usize) -> Option<Offset> {
        let (place, byte) = self.find(address)?;
        let region = self.regions[place].as_ref()?;
        Some(Offset::new(region.number, byte as u64))
    }

    /// Returns `address + bytes`, or the last address of the region if that is lower.
    pub(super) fn clamp_forward(&self, address: usize, bytes: usize) -> usize {
        let Some((place, byte)) = self.find(address) else {
            return address;
        };
        let last = self.regions[place]
            .as_ref()
            .map_or(byte, |region| region.bytes - 1);
        address - byte + (byte + bytes).min(last)
    }

    /// Returns the record of the last block that began at an address, if there is one. O(1).
    pub(super) fn record_at(&mut self, address: usize) -> Option<&mut OwnerRecord> {
        let (place, byte) = self.find(address)?;
        let record = self.slot(place, byte)?;
        let is_there = record.state != BlockState::Never
            && usize::from(record.granule_offset) == byte % GRANULE;
        is_there.then_some(record)
    }

    fn slot(&mut self, place: usize, byte: usize) -> Option<&mut OwnerRecord> {
        let region = self.regions[place].as_mut()?;
        region.table_mut().get_mut(byte / GRANULE)
    }

    /// Stores the record of a new block at an address of the pool.
    pub(super) fn insert(&mut self, address: usize, record: OwnerRecord) {
        if let Some((place, byte)) = self.find(address) {
            self.requested_bytes += record.size;
            if let Some(slot) = self.slot(place, byte) {
                *slot = OwnerRecord {
                    granule_offset: (byte % GRANULE) as u8,
                    is_quarantined: slot.is_quarantined,
                    ..record
                };
            }
        }
    }

    /// Calls `see` with up to [`STEP`] records of blocks that begin at or below `below`, the nearest
    /// first, until it returns `true`.
    ///
    /// Lowers `below` past the visited records, and returns whether there are more records.
    pub(super) fn scan_backward(
        &self,
        below: &mut usize,
        mut see: impl FnMut(usize, &OwnerRecord) -> bool,
    ) -> bool {
        let Some((place, byte)) = self.find(*below) else {
            return false;
        };
        let Some(region) = &self.regions[place] else {
            return false;
        };
        let last = byte / GRANULE;
        let first = (last + 1).saturating_sub(STEP);
        let Some(records) = region.table().get(first..=last) else {
            return false;
        };
        for (index, record) in records.iter().enumerate().rev() {
            let granule = first + index;
            let start = region.start + granule * GRANULE + usize::from(record.granule_offset);
            if record.state != BlockState::Never && start <= *below && see(start, record) {
                return false;
            }
        }
        if first == 0 {
            return false;
        }
        *below = region.start + first * GRANULE - 1;
        true
    }

    /// Returns the number of changes since the pool began, or `None` if a change is active.
    pub(super) fn quiescent(&self) -> Option<u64> {
        (self.active_changes == 0).then_some(self.changes)
    }

    /// Returns the bytes of a region.
    pub(super) fn region_bytes(&self, place: usize) -> Option<usize> {
        Some(self.regions.get(place)?.as_ref()?.bytes)
    }

    /// Returns the engine's number of a region.
    pub(super) fn region_number(&self, place: usize) -> Option<u16> {
        Some(self.regions.get(place)?.as_ref()?.number)
    }

    /// Returns the number of records of a region.
    pub(super) fn records(&self, place: usize) -> usize {
        let region = self.regions.get(place).and_then(Option::as_ref);
        region.map_or(0, DebugRegion::records)
    }

    /// Returns the index of the record of a block that begins at a byte of a region.
    pub(super) fn record_of(&self, byte: usize) -> usize {
        byte / GRANULE
    }

    /// Returns whether memory of the granule of a byte is in quarantine.
    pub(super) fn is_quarantined(&self, place: usize, byte: usize) -> bool {
        let region = self.regions.get(place).and_then(Option::as_ref);
        let record = region.and_then(|region| region.table().get(byte / GRANULE));
        record.is_some_and(|record| record.is_quarantined)
    }

    /// Returns up to [`STEP`] records below index `below`, the highest first: the record and the first
    /// byte of its block if the block is live, else `None`.
    pub(super) fn live_records(
        &self,
        place: usize,
        below: usize,
    ) -> impl Iterator<Item = Option<(&OwnerRecord, usize)>> {
        let region = self.regions.get(place).and_then(Option::as_ref);
        let table = region.map_or(&[][..], DebugRegion::table);
        let first = below.saturating_sub(STEP);
        let part = table.get(first..below).unwrap_or(&[]);
        part.iter().enumerate().rev().map(move |(index, record)| {
            let start = (first + index) * GRANULE + usize::from(record.granule_offset);
            (record.state == BlockState::Live).then_some((record, start))
        })
    }

    /// Returns the memory of a region from one byte to another.
    ///
    /// The caller holds the lock, has checked that no change is active, and reads only red zones and free
    /// memory. Under these conditions nothing else accesses the bytes.
    pub(super) fn memory(&self, place: usize, from: usize, to: usize) -> RawBytes {
        let region = self.regions.get(place).and_then(Option::as_ref);
        let Some(region) = region.filter(|region| from <= to && to <= region.bytes) else {
            // SAFETY: Zero bytes are valid at any aligned address.
            return unsafe { RawBytes::new(NonNull::dangling(), 0) };
        };
        // SAFETY: By the type invariant of `DebugRegion` the memory has `bytes` bytes, and `from` is at most
        // `bytes`.
        let start = unsafe { region.memory.add(from) };
        // SAFETY: By the type invariant of `DebugRegion` the memory is valid. The caller reads only red zones
        // and free memory, which only changes write, and no change is active.
        unsafe { RawBytes::new(start, to - from) }
    }
}
