// SPDX-License-Identifier: GPL-2.0

//! Debug mode: detects misuse of an engine's blocks and reports it with the owners.
//!
//! A [`DebugMode`] wraps any engine that has a pool, as `slub_debug=FZPU` does for SLUB (`mm/slub.c`),
//! for slabs and page blocks alike.
//!
//! - *Red zones*: debug mode requests a larger block from the engine, and fills the bytes in front
//!   of the caller's block and behind it with a known value. A free compares them.
//! - *Poison*: all free memory, also of a new region, has a known value. An allocation compares it.
//! - *Owner records*: outside the pool, each block has a record of the operation and the process
//!   that allocated it, and that freed it.
//!
//! | misuse | report | detected |
//! |---|---|---|
//! | a byte behind a block is written | [`Fault::Overflow`] | when the block is freed |
//! | a byte in front of a block is written | [`Fault::Underflow`] | when the block is freed |
//! | a byte of free memory is written | [`Fault::WriteAfterFree`] | when the memory is allocated |
//! | a free block is resized | [`Fault::ReallocAfterFree`] | at once |
//! | a bad address or size is freed | the other [`Fault`]s | at once |
//!
//! A bad free is refused and changes nothing. Damaged memory is put into *quarantine*: for the
//! engine it stays live for ever, so it is never allocated again, and the rest of the pool works as
//! before.
//!
//! [`Check::check`](crate::check::Check::check) also compares all red zones and all free memory, and returns
//! the first wrong byte. A check makes no report and puts nothing into quarantine.
//!
//! # Limits
//!
//! - A read is not detected. KASAN detects it, in a kernel that has KASAN.
//! - A write beyond the red zone into another live block is not detected.
//! - A second free is not detected if the memory was allocated again as a block of the same address
//!   and size. The new owner's free is then reported as a double free, as in SLUB.
//! - The bytes of free memory that the engine itself writes are not compared (see
//!   [`free_block_bytes`](crate::engine::Capabilities::free_block_bytes)). An engine that writes more than
//!   [`FREE_BLOCK_BYTES_MAX`] of them has no debug mode: see [`supports`].
//! - The owner of a write after free is guessed: it is the last free of a block around the written
//!   byte, among the records that are left. A record is overwritten when another block begins in its
//!   granule.

// Lock order: debug mode's lock is taken last. With this lock held the engine is not called, except
// for `usable`, which takes no lock.
// Between the engine's call and the update of the record, a block belongs to the call that allocates,
// frees or resizes it (a `ChangeGuard`). Only `sweep` accesses the pool with the lock held: one page at a
// time, and only if no `ChangeGuard` exists, because the red zones and the poison are written by changes.

mod engine;
mod inject;
mod records;
#[forbid(unsafe_code)]
mod report;
mod sweep;
#[cfg(test)]
mod tests;
mod zones;

pub use crate::fault::Fault;
pub use inject::{
    Misuse,
    NotDone, //
};
pub use records::State;
pub use report::{
    LOG_LEN,
    Owner,
    Report, //
};

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use self::{
    records::{
        BlockState, //
        OwnerRecord,
    },
    zones::{
        Damage,
        POISON,
        PaddedLayout,
        RawBytes,
        WORD,
        ZONE,
        ZONE_LOG2, //
    },
};
use crate::{
    Block,
    Cost,
    Engine,
    Refusal,
    lock::Lock,
    region::Offset, //
};

/// The maximum of [`free_block_bytes`](crate::engine::Capabilities::free_block_bytes) in debug mode: half of
/// the red zone in front of a block, so that every byte of the block itself is compared.
pub const FREE_BLOCK_BYTES_MAX: usize = ZONE / 2;

/// The maximum number of damaged blocks that one request puts into quarantine before it is refused.
///
/// Each of them costs a search of the region's records. The limit bounds the time of a request if all
/// free memory is damaged.
const QUARANTINE_MAX: usize = 16;

/// Returns whether an engine can be in debug mode: it has a pool, and writes at most the first
/// [`FREE_BLOCK_BYTES_MAX`] bytes of a free block.
pub fn supports(engine: &impl Engine) -> bool {
    engine.interfaces().add_region.is_some()
        && engine.capabilities().free_block_bytes <= FREE_BLOCK_BYTES_MAX
}

/// The process that calls debug mode.
pub trait Caller: Sync {
    /// Returns the number of the current process.
    fn pid(&self) -> u32;

    /// Returns whether the process has a fatal signal, so that long work should be aborted.
    fn interrupted(&self) -> bool {
        false
    }

    /// Runs `work`, which reads free memory, without reports of a checker such as KASAN.
    fn reading_free<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// An engine in debug mode.
///
/// `E` is the engine, `L` the lock of the [`State`], `C` names the calling process.
pub struct DebugMode<E, L, C> {
    engine: E,
    state: L,
    caller: C,
}

/// Exists while a call allocates, frees or resizes a block.
struct ChangeGuard<'g, L: Lock<State>>(&'g L);

impl<L: Lock<State>> Drop for ChangeGuard<'_, L> {
    fn drop(&mut self) {
        self.0.with(State::end_change);
    }
}

/// A block that its owner has freed and that is still live for the engine, so no call can allocate it.
struct PendingFree<'g, L: Lock<State>> {
    block: Block,
    layout: Layout,
    memory: RawBytes,
    by: Owner,
    _change: ChangeGuard<'g, L>,
}

/// The result of the first half of a free.
enum FreeResult<'g, L: Lock<State>> {
    /// The block was undamaged. [`DebugMode::finish_free`] frees it in the engine.
    Sound(PendingFree<'g, L>),
    /// The block was damaged and is in quarantine.
    Damaged(Report),
    /// The free was bad and changed nothing.
    Refused(Report),
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> DebugMode<E, L, C> {
    /// Returns debug mode in front of `engine`, which has no memory and which debug mode [`supports`]. `state`
    /// protects a new [`State`].
    pub const fn new(engine: E, state: L, caller: C) -> Self {
        Self {
            engine,
            state,
            caller,
        }
    }

    /// Returns the engine.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// Returns the oldest report in the log with this or a larger number.
    pub fn report(&self, number: u64) -> Option<Report> {
        self.state.with(|state| state.log.from(number))
    }

    /// Begins a call that allocates, frees or resizes a block.
    fn begin_change(&self) -> ChangeGuard<'_, L> {
        self.state.with(State::begin_change);
        ChangeGuard(&self.state)
    }

    /// Counts an operation of the current process and returns it as an owner.
    fn operation(&self) -> Owner {
        let pid = self.caller.pid();
        self.state.with(|state| state.operation(pid))
    }

    /// Allocates a block of memory whose poison is undamaged.
    #[inline(never)]
    fn allocate_checked(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.allocate_with_zone(layout, ZONE_LOG2, cost)
    }

    /// Allocates a block of undamaged memory, with at least 2^`zone_log2` bytes of red zone behind it.
    fn allocate_with_zone(
        &self,
        layout: Layout,
        zone_log2: u8,
        cost: &mut Cost,
    ) -> Result<Block, Refusal> {
        let padded = PaddedLayout::with_zone(layout, zone_log2).ok_or(Refusal::TooBig)?;
        let _change = self.begin_change();
        let by = self.operation();
        for _ in 0..QUARANTINE_MAX {
            let block = self.engine.allocate(padded.layout, cost)?;
            // SAFETY: The engine has just allocated the block with this layout, so `usable` bytes
            // are valid and belong to this call.
            let memory =
                unsafe { RawBytes::new(block.start, self.engine.usable_size(padded.layout)) };
            let region_byte = self.engine.offset(block.start).map_or(0, Offset::byte);
            if let Some(damage) =
                memory.poison_damage(region_byte, self.engine.capabilities().free_block_bytes)
            {
                // Quarantine: the block is never freed in the engine.
                self.found_written(&memory, damage, by);
                continue;
            }
            memory.write_red_zones(&padded);
            // SAFETY: The padded block has `front` bytes and more.
            let start = unsafe { block.start.add(padded.front) };
            let address = start.addr().get();
            self.state
                .with(|state| state.insert(address, OwnerRecord::live(layout, zone_log2, by)));
            return Ok(Block { start });
        }
        // The pool may have more free memory, but it is not known how much of it is undamaged.
        Err(Refusal::Exhausted)
    }

    /// Does the first half of a free: finds the block's record, compares its red zones, and poisons
    /// its memory. The free is refused if no live block of `size` bytes begins at `start`.
    ///
    /// No memory is accessed before the record is found, so `start` may be any address.
    ///
    /// # Safety
    ///
    /// If a live block of `size` bytes begins at `start`, then nothing uses the block any more, and
    /// `start` is the pointer with which it was allocated.
    #[inline(never)]
    unsafe fn begin_free(&self, start: NonNull<u8>, size: usize) -> FreeResult<'_, L> {
        let change = self.begin_change();
        let (address, pid) = (start.addr().get(), self.caller.pid());
        let (by, found) = self.state.with(|state| {
            let by = state.operation(pid);
            let record = state.record_at(address);
            let found = record
                .filter(|record| record.state == BlockState::Live && record.size == size)
                .map(|record| {
                    // Under the lock: a second free of the block now finds a free one.
                    record.state = BlockState::Freed;
                    record.freed = by;
                    *record
                });
            if found.is_some() {
                state.requested_bytes -= size;
            }
            (by, found)
        });
        let padded = found.and_then(|record| Some((record, record.padded_layout()?)));
        let Some((record, padded)) = padded else {
            return FreeResult::Refused(self.bad_free(address, size, by));
        };
        // SAFETY: By its record the block is live, and `front` bytes of its padded block lie in front
        // of it.
        let first = unsafe { start.sub(padded.front) };
        // SAFETY: The padded block is live for the engine, with `usable` valid bytes. This call has
        // marked it as freed, so no other call touches it.
        let memory = unsafe { RawBytes::new(first, self.engine.usable_size(padded.layout)) };
        if let Some(report) = self.damaged(&memory, &padded, &record, address) {
            return FreeResult::Damaged(report);
        }
        memory.fill(0, memory.bytes(), POISON);
        FreeResult::Sound(PendingFree {
            block: Block { start: first },
            layout: padded.layout,
            memory,
            by,
            _change: change,
        })
    }

    /// Does the second half of a free: frees the padded block in the engine.
    fn finish_free(&self, pending: &PendingFree<'_, L>, cost: &mut Cost) {
        // SAFETY: The padded block was allocated with this layout and is live; `begin_free` has
        // returned it once, and its owner does not use it.
        let freed = unsafe { self.engine.free(pending.block, pending.layout, cost) };
        debug_assert_eq!(freed, Ok(()), "the records and the engine disagree");
    }

    /// Compares the red zones of a freed block. If one is damaged, puts the block into quarantine and
    /// reports the damage, first of the front, then of the back. Returns the first report.
    fn damaged(
        &self,
        memory: &RawBytes,
        padded: &PaddedLayout,
        record: &OwnerRecord,
        address: usize,
    ) -> Option<Report> {
        let front = memory.front_damage(padded);
        let back = memory.back_damage(padded);
        if front.is_none() && back.is_none() {
            return None;
        }
        self.mark_quarantined(memory);
        self.state.with(|state| {
            state.quarantined_blocks += 1;
            state.quarantined_bytes += memory.bytes() as u64;
            let mut push = |fault, damage: Damage| {
                let report = Report {
                    number: 0,
                    fault,
                    offset: state.offset(address),
                    size: padded.size,
                    named_size: padded.size,
                    byte: damage.first as isize - padded.front as isize,
                    damaged: damage.bytes,
                    allocated: record.allocated,
                    freed: record.freed,
                    noticed: record.freed,
                };
                state.log.push(report)
            };
            let front = front.map(|damage| push(Fault::Underflow, damage));
            let back = back.map(|damage| push(Fault::Overflow, damage));
            front.or(back)
        })
    }

    /// Marks damaged memory, so that sweeps skip it.
    #[cold]
    fn mark_quarantined(&self, memory: &RawBytes) {
        let mut begin = memory.start().addr().get();
        let end = begin + memory.bytes();
        while self
            .state
            .with(|state| state.mark_quarantined(&mut begin, end))
        {}
    }

    /// Reports free memory that was written, and puts it into quarantine.
    ///
    /// O(n) in the granules of the region.
    #[cold]
    fn found_written(&self, memory: &RawBytes, damage: Damage, noticed: Owner) {
        let address = memory.start().addr().get() + damage.first;
        // The block around the address that was freed last.
        let mut last: Option<(usize, OwnerRecord)> = None;
        let reach = self.state.with(|state| state.clamp_forward(address, ZONE));
        self.scan_backward(reach, |start, record| {
            let reach = start.saturating_sub(ZONE)..start + record.size + ZONE;
            let is_later =
                |(_, other): &(usize, OwnerRecord)| record.freed.operation > other.freed.operation;
            if record.state == BlockState::Freed
                && reach.contains(&address)
                && last.as_ref().is_none_or(is_later)
            {
                last = Some((start, *record));
            }
            false
        });
        let (start, record) = last.unwrap_or((address, OwnerRecord::default()));
        self.mark_quarantined(memory);
        self.state.with(|state| {
            state.quarantined_blocks += 1;
            state.quarantined_bytes += memory.bytes() as u64;
            let report = Report {
                number: 0,
                fault: Fault::WriteAfterFree,
                offset: state.offset(start),
                size: record.size,
                named_size: 0,
                byte: address.wrapping_sub(start) as isize,
                damaged: damage.bytes,
                allocated: record.allocated,
                freed: record.freed,
                noticed,
            };
            state.log.push(report)
        });
    }

    /// Reports a resize of a block that is not live.
    #[cold]
    fn bad_resize(&self, address: usize, new_size: usize) -> Report {
        let by = self.operation();
        self.state.with(|state| {
            let record = state.record_at(address).copied().unwrap_or_default();
            let report = Report {
                number: 0,
                fault: Fault::ReallocAfterFree,
                offset: state.offset(address),
                size: record.size,
                named_size: new_size,
                byte: 0,
                damaged: 0,
                allocated: record.allocated,
                freed: record.freed,
                noticed: by,
            };
            state.log.push(report)
        })
    }

    /// Classifies and reports a bad free.
    ///
    /// O(n) in the granules of the region.
    #[cold]
    fn bad_free(&self, address: usize, size: usize, by: Owner) -> Report {
        let exact = self.state.with(|state| state.record_at(address).copied());
        let mut around = None;
        self.scan_backward(address, |start, record| {
            let is_live = record.state == BlockState::Live;
            if is_live && address - start < record.size {
                around = Some((start, *record));
            }
            // Live blocks are disjoint, so only the nearest live one can contain the address.
            is_live
        });
        let is_in_pool = self.state.with(|state| state.offset(address).is_some());
        let (fault, (start, record)) = match (exact, around) {
            _ if !is_in_pool => (Fault::ForeignFree, (address, OwnerRecord::default())),
            _ if address % WORD != 0 => (
                Fault::UnalignedFree,
                around.unwrap_or((address, OwnerRecord::default())),
            ),
            (Some(record), _) if record.state == BlockState::Live => {
                (Fault::WrongSizeFree, (address, record))
            }
            // The record at the address is older than the live block around it.
            (_, Some(around)) => (Fault::InteriorFree, around),
            (Some(record), None) => (Fault::DoubleFree, (address, record)),
            (None, None) => (Fault::InventedFree, (address, OwnerRecord::default())),
        };
        self.state.with(|state| {
            let report = Report {
                number: 0,
                fault,
                offset: state.offset(start),
                size: record.size,
                named_size: size,
                byte: address.wrapping_sub(start) as isize,
                damaged: 0,
                allocated: record.allocated,
                freed: record.freed,
                noticed: by,
            };
            state.log.push(report)
        })
    }

    /// Calls `see` with the records of blocks that begin at or below `below`, the nearest first, until
    /// it returns `true`. Drops the lock between bounded steps.
    fn scan_backward(&self, mut below: usize, mut see: impl FnMut(usize, &OwnerRecord) -> bool) {
        while self
            .state
            .with(|state| state.scan_backward(&mut below, &mut see))
        {}
    }
}
