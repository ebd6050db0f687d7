// SPDX-License-Identifier: GPL-2.0

//! Owner records: of each place in the pool, which block began there last, and whose it was.
//!
//! A region's records are an array beside it, one for [`GRANULE`] bytes: two blocks never begin as
//! close as that, for their red zones. A record is found by its block's address, and stays until
//! another block begins in its granule: what is inside of a block that came later is out of date.
//! Blocks that are out share no byte, so the nearest one in front of an address is the only one that
//! can have it.

use core::{
    alloc::Layout,
    ptr::NonNull,
    slice, //
};

use super::{
    report::{
        Log,
        Owner, //
    },
    zones::{
        Shape,
        WORD,
        Whole,
        ZONE, //
    },
};
use crate::region::{
    Offset,
    REGIONS_MAX, //
};

/// The bytes of a region for which there is a record.
pub(super) const GRANULE: usize = 2 * ZONE;

/// The records that are looked at with the lock held.
const STEP: usize = 512;

/// What became of the block that began somewhere last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// No block ever did.
    #[default]
    Never = 0,
    /// It is out.
    Live = 1,
    /// It was freed.
    Freed = 2,
}

/// What is known of a block.
///
/// All zeros is that of no block.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Record {
    /// Who allocated it.
    pub(super) allocated: Owner,
    /// Who freed it, if it was.
    pub(super) freed: Owner,
    /// The bytes that were asked for.
    pub(super) size: usize,
    /// log2 of the alignment that was asked for.
    align_log2: u8,
    /// Where it begins in the granule.
    skip: u8,
    pub(super) standing: Standing,
    /// log2 of the bytes of the red zone behind it, at least.
    zone_log2: u8,
    /// Some of the granule's memory is set aside, for ever.
    is_aside: bool,
}

impl Record {
    /// Returns the record of a block that is handed out.
    pub(super) fn live(layout: Layout, zone_log2: u8, allocated: Owner) -> Self {
        Self {
            allocated,
            freed: Owner::default(),
            size: layout.size(),
            align_log2: layout.align().ilog2() as u8,
            skip: 0,
            standing: Standing::Live,
            zone_log2,
            is_aside: false,
        }
    }

    /// Returns the shape of the block.
    pub(super) fn shape(&self) -> Option<Shape> {
        let align = 1_usize.checked_shl(self.align_log2.into())?;
        let layout = Layout::from_size_align(self.size, align).ok()?;
        Shape::with_zone(layout, self.zone_log2)
    }
}

/// A region of the pool.
///
/// # Invariants
///
/// `table` points to `records()` records that nobody else has. `memory` points to `bytes` bytes, which
/// are valid as long as the engine has them.
struct Region {
    /// Its first byte.
    memory: NonNull<u8>,
    /// The address of that.
    start: usize,
    bytes: usize,
    /// What the engine calls it.
    number: u16,
    table: NonNull<Record>,
}

// SAFETY: It owns its records.
unsafe impl Send for Region {}

impl Region {
    fn records(&self) -> usize {
        self.bytes.div_ceil(GRANULE)
    }

    fn table(&self) -> &[Record] {
        // SAFETY: By the type invariant; borrowed for as long as the region is.
        unsafe { slice::from_raw_parts(self.table.as_ptr(), self.records()) }
    }

    fn table_mut(&mut self) -> &mut [Record] {
        // SAFETY: By the type invariant; borrowed alone for as long as the region is.
        unsafe { slice::from_raw_parts_mut(self.table.as_ptr(), self.records()) }
    }
}

/// Returns the bytes of the records of a region of `bytes` bytes.
pub(super) const fn table_bytes(bytes: usize) -> usize {
    bytes.div_ceil(GRANULE) * size_of::<Record>()
}

// Tables are aligned as words are.
const _: () = assert!(align_of::<Record>() <= WORD);

// A block's place in its granule fits.
const _: () = assert!(GRANULE <= u8::MAX as usize + 1);

/// What the lock of a [`Guard`](super::Guard) protects: the records, and the reports.
pub struct State {
    regions: [Option<Region>; REGIONS_MAX],
    operations: u64,
    pub(super) log: Log,
    /// The bytes that were asked for, of the blocks that are out.
    pub(super) requested_bytes: usize,
    /// Times that a call began to move a block between engine and caller, or to resize one.
    changes: u64,
    /// The calls that are about to: what they move is theirs alone.
    moving: usize,
    pub(super) set_aside_blocks: u64,
    pub(super) set_aside_bytes: u64,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// Returns the state of a guard without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            regions: [const { None }; REGIONS_MAX],
            operations: 0,
            log: Log::new(),
            requested_bytes: 0,
            changes: 0,
            moving: 0,
            set_aside_blocks: 0,
            set_aside_bytes: 0,
        }
    }

    /// Notes that a call begins to move or resize a block, which ends with [`State::moved`].
    pub(super) fn moves(&mut self) {
        self.changes += 1;
        self.moving += 1;
    }

    /// Notes that such a call ended.
    pub(super) fn moved(&mut self) {
        self.moving -= 1;
    }

    /// Marks memory as set aside, from `begin` to `end`, for a bounded time; moves `begin`, and
    /// returns whether there is more.
    pub(super) fn mark_aside(&mut self, begin: &mut usize, end: usize) -> bool {
        let Some((place, first)) = self.find(*begin) else {
            return false;
        };
        let base = *begin - first;
        let granules = first / GRANULE..(end - base).div_ceil(GRANULE);
        for granule in granules.clone().take(STEP) {
            if let Some(slot) = self.slot(place, granule * GRANULE) {
                slot.is_aside = true;
            }
        }
        *begin = base + (granules.start + STEP) * GRANULE;
        granules.len() > STEP
    }

    /// Counts an operation.
    pub(super) fn operation(&mut self, pid: u32) -> Owner {
        self.operations += 1;
        Owner {
            operation: self.operations,
            pid,
        }
    }

    /// Adds a region, and returns its place among the others unless there are too many.
    ///
    /// # Safety
    ///
    /// As for [`Engine::add_region`](crate::Engine::add_region), with a table of [`table_bytes`].
    pub(super) unsafe fn add(
        &mut self,
        memory: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Option<usize> {
        let place = self.regions.iter().position(Option::is_none)?;
        // INVARIANT: The table has as many records, all zeros, which is one of no block.
        self.regions[place] = Some(Region {
            memory,
            start: memory.addr().get(),
            bytes,
            number: place as u16,
            table: table.cast(),
        });
        Some(place)
    }

    /// Notes what the engine calls a region, or forgets one that it did not take.
    pub(super) fn name(&mut self, place: usize, number: Option<u16>) {
        let region = &mut self.regions[place];
        match (number, &mut *region) {
            (Some(number), Some(region)) => region.number = number,
            _ => *region = None,
        }
    }

    /// Returns the region that an address is in, and the byte in that.
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

    /// Returns the address `bytes` bytes ahead, or the region's last.
    pub(super) fn ahead(&self, address: usize, bytes: usize) -> usize {
        let Some((place, byte)) = self.find(address) else {
            return address;
        };
        let last = self.regions[place]
            .as_ref()
            .map_or(byte, |region| region.bytes - 1);
        address - byte + (byte + bytes).min(last)
    }

    /// Returns the record of the block that began at an address last, if one did.
    pub(super) fn at(&mut self, address: usize) -> Option<&mut Record> {
        let (place, byte) = self.find(address)?;
        let record = self.slot(place, byte)?;
        let is_there =
            record.standing != Standing::Never && usize::from(record.skip) == byte % GRANULE;
        is_there.then_some(record)
    }

    fn slot(&mut self, place: usize, byte: usize) -> Option<&mut Record> {
        let region = self.regions[place].as_mut()?;
        region.table_mut().get_mut(byte / GRANULE)
    }

    /// Remembers a block that begins at an address of the pool.
    pub(super) fn put(&mut self, address: usize, record: Record) {
        if let Some((place, byte)) = self.find(address) {
            self.requested_bytes += record.size;
            if let Some(slot) = self.slot(place, byte) {
                *slot = Record {
                    skip: (byte % GRANULE) as u8,
                    is_aside: slot.is_aside,
                    ..record
                };
            }
        }
    }

    /// Shows `see` the records of blocks that begin at `below` or in front of it, the nearest first
    /// and a bounded number, until it says that it has seen enough.
    ///
    /// Moves `below`, and returns whether there is more to see.
    pub(super) fn look_back(
        &self,
        below: &mut usize,
        mut see: impl FnMut(usize, &Record) -> bool,
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
            let start = region.start + granule * GRANULE + usize::from(record.skip);
            if record.standing != Standing::Never && start <= *below && see(start, record) {
                return false;
            }
        }
        if first == 0 {
            return false;
        }
        *below = region.start + first * GRANULE - 1;
        true
    }

    /// Returns the number of changes, if no call moves a block now.
    pub(super) fn still(&self) -> Option<u64> {
        (self.moving == 0).then_some(self.changes)
    }

    /// Returns the bytes of a region.
    pub(super) fn region_bytes(&self, place: usize) -> Option<usize> {
        Some(self.regions.get(place)?.as_ref()?.bytes)
    }

    /// Returns what the engine calls a region.
    pub(super) fn region_number(&self, place: usize) -> Option<u16> {
        Some(self.regions.get(place)?.as_ref()?.number)
    }

    /// Returns how many records a region has.
    pub(super) fn records(&self, place: usize) -> usize {
        let region = self.regions.get(place).and_then(Option::as_ref);
        region.map_or(0, Region::records)
    }

    /// Returns the number of the record of a block that begins at a byte of a region.
    pub(super) fn record_of(&self, byte: usize) -> usize {
        byte / GRANULE
    }

    /// Says whether some memory of the granule of a byte is set aside.
    pub(super) fn is_aside(&self, place: usize, byte: usize) -> bool {
        let region = self.regions.get(place).and_then(Option::as_ref);
        let record = region.and_then(|region| region.table().get(byte / GRANULE));
        record.is_some_and(|record| record.is_aside)
    }

    /// Returns the records below `below`, a bounded number and the highest first: of each the record
    /// and the byte at which its block begins, if that is live.
    pub(super) fn live_records(
        &self,
        place: usize,
        below: usize,
    ) -> impl Iterator<Item = Option<(&Record, usize)>> {
        let region = self.regions.get(place).and_then(Option::as_ref);
        let table = region.map_or(&[][..], Region::table);
        let first = below.saturating_sub(STEP);
        let part = table.get(first..below).unwrap_or(&[]);
        part.iter().enumerate().rev().map(move |(index, record)| {
            let start = (first + index) * GRANULE + usize::from(record.skip);
            (record.standing == Standing::Live).then_some((record, start))
        })
    }

    /// Returns memory of a region, from one byte to another.
    ///
    /// Nobody else may touch it as long as the value is used: the lock is held, and no call moves a
    /// block.
    pub(super) fn memory(&self, place: usize, from: usize, to: usize) -> Whole {
        let region = self.regions.get(place).and_then(Option::as_ref);
        let Some(region) = region.filter(|region| from <= to && to <= region.bytes) else {
            // SAFETY: There are no bytes.
            return unsafe { Whole::new(NonNull::dangling(), 0) };
        };
        // SAFETY: By the type invariant the region has so many bytes.
        let start = unsafe { region.memory.add(from) };
        // SAFETY: By the type invariant the memory is valid. It is a red zone or free, which only
        // calls that move blocks write, and none is under way.
        unsafe { Whole::new(start, to - from) }
    }
}
