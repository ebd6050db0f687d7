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
        WORD,
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
}

impl Record {
    /// Returns the record of a block that is handed out.
    pub(super) fn live(layout: Layout, allocated: Owner) -> Self {
        Self {
            allocated,
            freed: Owner::default(),
            size: layout.size(),
            align_log2: layout.align().ilog2() as u8,
            skip: 0,
            standing: Standing::Live,
        }
    }

    /// Returns the layout that was asked for.
    pub(super) fn layout(&self) -> Option<Layout> {
        let align = 1_usize.checked_shl(self.align_log2.into())?;
        Layout::from_size_align(self.size, align).ok()
    }
}

/// A region of the pool.
///
/// # Invariants
///
/// `table` points to `records()` records that nobody else has.
struct Region {
    /// The address of its first byte.
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
            set_aside_blocks: 0,
            set_aside_bytes: 0,
        }
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
        start: usize,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Option<usize> {
        let place = self.regions.iter().position(Option::is_none)?;
        // INVARIANT: The table has as many records, all zeros, which is one of no block.
        self.regions[place] = Some(Region {
            start,
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
}
