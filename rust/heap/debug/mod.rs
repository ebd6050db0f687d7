// SPDX-License-Identifier: GPL-2.0

//! Debug mode: detects misuse of an engine's blocks and reports it with the owners.
//!
//! A [`DebugMode`] wraps any engine that has a pool, as `slub_debug=FZPU` does for SLUB (`mm/slub.c`),
//! for slabs and page blocks alike.
//!
//! - *Red zones*: debug mode requests a larger block from the engine, and fills the bytes in front of the
//!   caller's block and behind it with a known value. A free compares the red zones.
//! - *Poison*: all free memory, including that of a new region, has a known value. An allocation compares the
//!   poison.
//! - *Owner records*: outside the pool, each block has a record of the operations and processes that
//!   allocated and freed it.
//!
//! | misuse | report | detected |
//! |---|---|---|
//! | a byte behind a block is written | [`Fault::Overflow`] | when the block is freed |
//! | a byte in front of a block is written | [`Fault::Underflow`] | when the block is freed |
//! | a byte of free memory is written | [`Fault::WriteAfterFree`] | when the memory is allocated |
//! | a free block is resized | [`Fault::ReallocAfterFree`] | at once |
//! | a bad address or size is freed | the other [`Fault`]s | at once |
//!
//! A bad free is refused and changes nothing. Damaged memory is put into *quarantine*: it stays live in the
//! engine for ever, so it is never allocated again. The rest of the pool works as before.
//!
//! [`Check::check`](crate::check::Check::check) also compares all red zones and all free memory, and returns
//! the first wrong byte. A check makes no report and puts nothing into quarantine.
//!
//! # Limits
//!
//! - A read of free memory or beyond a block is not detected. KASAN detects such a read, in a kernel with
//!   KASAN.
//! - A write beyond the red zone into another live block is not detected.
//! - A second free is not detected if the memory was allocated again as a block with the same address and
//!   size. The free by the new owner is then reported as a double free, as in SLUB.
//! - The bytes of free memory that the engine itself writes are not compared (see
//!   [`free_block_bytes`](crate::engine::Capabilities::free_block_bytes)). An engine that writes more than
//!   [`FREE_BLOCK_BYTES_MAX`] bytes of a free block has no debug mode: see [`supports`].
//! - The owner of a write after free is guessed: a report names the block that was freed last, among the
//!   recorded blocks around the written byte. A record is overwritten when another block begins in its
//!   granule.

// Lock order: debug mode's lock is taken last. With this lock held the engine is not called, except for
// `usable_size`, which takes no lock. Between the call of the engine and the update of the record, only the
// call that allocates, frees or resizes a block uses the block; such a call holds a `ChangeGuard`. Only
// `sweep` accesses the pool with the lock held: one page at a time, and only if no `ChangeGuard` exists,
// because calls with a `ChangeGuard` write the red zones and the poison.

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
        BlockState,
        OwnerRecord, //
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
/// Each damaged block costs a search of the region's records. The limit bounds the time of a request if all
/// free memory is damaged.
const QUARANTINE_MAX: usize = 16;

/// Returns whether an engine can be in debug mode: it must have a pool, and write at most the first
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
/// `E` is the engine, `L` the lock of the [`State`], and `C` the calling process.
pub struct DebugMode<E, L, C> {
    engine: E,
    state: L,
    caller: C,
}

/// A guard that exists while a call allocates, frees or resizes a block.
struct ChangeGuard<'g, L: Lock<State>>(&'g L);

impl<L: Lock<State>> Drop for ChangeGuard<'_, L> {
    fn drop(&mut self) {
        self.0.with(State::end_change);
    }
}

/// A block that its owner has freed and that is still live in the engine, so that no call can allocate it.
struct PendingFree<'g, L: Lock<State>> {
    block: Block,
    layout: Layout,
    memory: RawBytes,
    by: Owner,
    _change: ChangeGuard<'g, L>,
}

/// The result of the first half of a free.
enum FreeResult<'g, L: Lock<State>> {
    /// The block was undamaged. [`DebugMode::finish_free`] frees the block in the engine.
    Sound(PendingFree<'g, L>),
    /// The block was damaged and is in quarantine.
    Damaged(Report),
    /// The free was bad and changed nothing.
    Refused(Report),
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> DebugMode<E, L, C> {
    /// Wraps `engine`, which has no memory and which debug mode [`supports`]. `state` protects a new
    /// [`State`].
    pub const fn new(engine: E, state: L, caller: C) -> Self {
        Self {
            engine,
            state,
            caller,
        }
    }

    /// Returns the wrapped engine.
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
        for _ in 0..QUARANTINE_MAX {
            let block = self.engine.allocate(padded.layout, cost)?;
            // The number is larger than that of the last free of the memory, because that free has ended.
            let by = self.operation();
            // SAFETY: The engine has just allocated the block with this layout, so `usable_size` bytes are
            // valid, and only this call uses them.
            let memory =
                unsafe { RawBytes::new(block.start, self.engine.usable_size(padded.layout)) };
            let region_byte = self.engine.offset(block.start).map_or(0, Offset::byte);
            if let Some(damage) =
                memory.poison_damage(region_byte, self.engine.capabilities().free_block_bytes)
            {
                // The block is in quarantine, because it is never freed in the engine.
                self.found_written(&memory, damage, by);
                continue;
            }
            memory.write_red_zones(&padded);
            // SAFETY: The padded block has more than `front` bytes.
            let start = unsafe { block.start.add(padded.front) };
            let address = start.addr().get();
            self.state
                .with(|state| state.insert(address, OwnerRecord::live(layout, zone_log2, by)));
            return Ok(Block { start });
        }
        // The pool may have more free memory, but an unknown part of this memory is damaged.
        Err(Refusal::Exhausted)
    }

    /// Executes the first half of a free: finds the record of the block, compares the red zones, and poisons
    /// the memory. Refuses the free if no live block of `size` bytes begins at `start`.
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
                    // The lock is held, so a second free of the block finds this state.
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
        // SAFETY: By its record the block was live, so `front` bytes of the padded block lie in front of it.
        let first = unsafe { start.sub(padded.front) };
        // SAFETY: The padded block is live in the engine, so `usable_size` bytes are valid. This call has
        // marked the block as freed, so no other call accesses it.
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

    /// Executes the second half of a free: frees the padded block in the engine.
    fn finish_free(&self, pending: &PendingFree<'_, L>, cost: &mut Cost) {
        // SAFETY: The padded block was allocated with this layout and is live in the engine. `begin_free` has
        // returned it once, so it is freed once, and its owner does not use it any more.
        let freed = unsafe { self.engine.free(pending.block, pending.layout, cost) };
        debug_assert_eq!(freed, Ok(()), "the records and the engine disagree");
    }

    /// Compares the red zones of a freed block. If a red zone is damaged, puts the block into quarantine and
    /// reports the damage, first in the front zone, then in the back zone. Returns the first report.
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
        // The last freed block around the address.
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
            // Live blocks are disjoint, so only the nearest live block can contain the address.
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
