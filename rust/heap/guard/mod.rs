// SPDX-License-Identifier: GPL-2.0

//! Debug mode: an engine whose misuse is noticed, and named.
//!
//! A [`Guard`] stands in front of any engine that has a pool. It asks that for more than it hands
//! out, and keeps *red zones* on both sides of a block, which are looked at when the block is freed.
//! All free memory is *poison*, from the pool's beginning on, and is looked at when it is handed out
//! again. Beside the pool there is a *record* of each block's owners: which operation of which
//! process allocated it, and which one freed it. This is SLUB's debug mode (`slub_debug=FZPU`,
//! `mm/slub.c`), for slabs and whole pages alike.
//!
//! | what is done | what is reported | when |
//! |---|---|---|
//! | a byte behind a block is written | [`Fault::Overflow`] | it is freed |
//! | a byte in front of it is written | [`Fault::Underflow`] | it is freed |
//! | a byte of free memory is written | [`Fault::WriteAfterFree`] | it is handed out again |
//! | a block that is free is resized | [`Fault::ReallocAfterFree`] | at once |
//! | what is no block is freed, or not so | the other [`Fault`]s | at once |
//!
//! [`Engine::check`] looks at the zones of all live blocks and at all free memory besides, and names
//! the first byte that is wrong; it sets nothing aside and is no report.
//!
//! A bad free is refused and changes nothing. Damaged memory is *set aside*: the engine has it out
//! for ever, so that nobody gets it, and the pool goes on with the rest.
//!
//! Who is named for memory that was written while it was free is who freed a block around it last, as
//! far as the records go: when memory is cut otherwise, one that begins where another one began
//! takes the place of its record.
//!
//! What is not noticed: reading, which KASAN reports in a kernel that has it; writing beyond the zones into another block; and a free of a block
//! that was freed before and is by then the like of it again, somebody else's. That is reported when
//! its owner frees it, as SLUB does. The bytes that the engine itself writes in free memory are not
//! looked at (see [`Engine::free_block_bytes`]). An engine that writes more than
//! [`FREE_BLOCK_BYTES_MAX`] of them has no debug mode: see [`supports`].

// Lock order: the guard's lock, then nothing: the engine is not called with it held, but for what a
// layout comes to. A block on its way between the engine and the caller belongs to the call that moves
// it. Memory of the pool is touched with the lock held only by `sweep`, a page at a time and while no
// such call is under way: that is how the owners of zones and poison are kept out.

mod engine;
mod inject;
mod records;
#[forbid(unsafe_code)]
mod report;
mod sweep;
#[cfg(test)]
mod tests;
mod zones;

pub use inject::{
    Misuse,
    NotDone, //
};
pub use records::State;
pub use report::{
    Fault,
    Owner,
    REMEMBERED,
    Report, //
};

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use self::{
    records::{
        Record,
        Standing, //
    },
    zones::{
        Damage,
        POISON,
        Shape,
        WORD,
        Whole,
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

/// The most bytes at the start of a free block that an engine may write and still be guarded: half
/// of the red zone in front of a block, so that no byte of the block itself is left unwatched.
pub const FREE_BLOCK_BYTES_MAX: usize = ZONE / 2;

/// The damaged blocks that one request sets aside at most before it is refused.
///
/// Each costs a search through the records of a region: a request must end also where all free
/// memory is damaged.
const SET_ASIDE_MAX: usize = 16;

/// Says whether an engine can be in debug mode: it has a pool, and leaves the poison of free memory
/// alone but for the first [`FREE_BLOCK_BYTES_MAX`] bytes of a free block.
pub fn supports(engine: &impl Engine) -> bool {
    engine.capabilities().pool && engine.free_block_bytes() <= FREE_BLOCK_BYTES_MAX
}

/// Tells whose operation it is.
pub trait Caller: Sync {
    /// Returns the number of the process that runs.
    fn pid(&self) -> u32;

    /// Says whether that process is about to end, so that what takes long is to be given up.
    fn interrupted(&self) -> bool {
        false
    }

    /// Does work that reads free memory: a checker of memory accesses is not to report that.
    fn reading_free<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// An engine in debug mode.
///
/// `E` is the engine, `L` the lock around the records, `C` knows the callers.
pub struct Guard<E, L, C> {
    engine: E,
    state: L,
    caller: C,
}

/// A call that moves or resizes a block is under way as long as this lives.
struct Moving<'g, L: Lock<State>>(&'g L);

impl<L: Lock<State>> Drop for Moving<'_, L> {
    fn drop(&mut self) {
        self.0.with(State::moved);
    }
}

/// A block that was freed, and that the engine still has out: nobody can get its memory.
struct Retired<'g, L: Lock<State>> {
    block: Block,
    whole: Layout,
    memory: Whole,
    by: Owner,
    _moving: Moving<'g, L>,
}

/// What comes of freeing a block.
enum Freed<'g, L: Lock<State>> {
    /// It was sound, and may be given back to the engine.
    Sound(Retired<'g, L>),
    /// It was damaged, and is set aside.
    Damaged(Report),
    /// It was not to be freed, and nothing has changed.
    Refused(Report),
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> Guard<E, L, C> {
    /// Puts an engine without memory, which debug mode [`supports`], in debug mode; `state` is new.
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

    /// Returns the oldest report that is remembered and has at least that number.
    pub fn report(&self, number: u64) -> Option<Report> {
        self.state.with(|state| state.log.from(number))
    }

    /// Notes that a call moves or resizes a block.
    fn moving(&self) -> Moving<'_, L> {
        self.state.with(State::moves);
        Moving(&self.state)
    }

    /// Counts an operation of the caller.
    fn operation(&self) -> Owner {
        let pid = self.caller.pid();
        self.state.with(|state| state.operation(pid))
    }

    /// Allocates a block, from memory that is as it was left.
    #[inline(never)]
    fn hand_out(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.hand_out_with(layout, ZONE_LOG2, cost)
    }

    /// Allocates a block with a red zone behind it of at least 2^`zone_log2` bytes.
    fn hand_out_with(
        &self,
        layout: Layout,
        zone_log2: u8,
        cost: &mut Cost,
    ) -> Result<Block, Refusal> {
        let shape = Shape::with_zone(layout, zone_log2).ok_or(Refusal::TooBig)?;
        let _moving = self.moving();
        let by = self.operation();
        for _ in 0..SET_ASIDE_MAX {
            let block = self.engine.allocate(shape.whole, cost)?;
            // SAFETY: The engine has handed it out just now, with so many usable bytes.
            let whole = unsafe { Whole::new(block.start, self.engine.usable(shape.whole)) };
            let region_byte = block.offset.map_or(0, Offset::byte);
            if let Some(damage) = whole.poison_damage(region_byte, self.engine.free_block_bytes()) {
                // It stays out, for good.
                self.found_written(&whole, damage, by);
                continue;
            }
            whole.redden(&shape);
            // SAFETY: The whole has more bytes than that.
            let start = unsafe { block.start.add(shape.front) };
            let address = start.addr().get();
            let offset = self.state.with(|state| {
                state.put(address, Record::live(layout, zone_log2, by));
                state.offset(address)
            });
            return Ok(Block { start, offset });
        }
        // More may be free, but nobody can tell how much of it is sound.
        Err(Refusal::Exhausted)
    }

    /// Frees the block at `start`, if there is one of `size` bytes.
    ///
    /// `start` is no more than a number until it is known as that of a block.
    ///
    /// # Safety
    ///
    /// If a block of so many bytes is out there, nobody uses it any more, and `start` is what it was
    /// handed out as.
    #[inline(never)]
    unsafe fn retire(&self, start: NonNull<u8>, size: usize) -> Freed<'_, L> {
        let moving = self.moving();
        let (address, pid) = (start.addr().get(), self.caller.pid());
        let (by, found) = self.state.with(|state| {
            let by = state.operation(pid);
            let record = state.at(address);
            let found = record
                .filter(|record| record.standing == Standing::Live && record.size == size)
                .map(|record| {
                    // Who comes now finds it free.
                    record.standing = Standing::Freed;
                    record.freed = by;
                    *record
                });
            if found.is_some() {
                state.requested_bytes -= size;
            }
            (by, found)
        });
        let shape = found.and_then(|record| Some((record, record.shape()?)));
        let Some((record, shape)) = shape else {
            return Freed::Refused(self.bad_free(address, size, by));
        };
        // SAFETY: It is a block's, as the record says, and lies behind so many bytes of its whole.
        let first = unsafe { start.sub(shape.front) };
        // SAFETY: The whole is out, and its block was this call's to take.
        let memory = unsafe { Whole::new(first, self.engine.usable(shape.whole)) };
        if let Some(report) = self.damaged(&memory, &shape, &record, address) {
            return Freed::Damaged(report);
        }
        memory.fill(0, memory.bytes(), POISON);
        let offset = self.state.with(|state| state.offset(first.addr().get()));
        Freed::Sound(Retired {
            block: Block {
                start: first,
                offset,
            },
            whole: shape.whole,
            memory,
            by,
            _moving: moving,
        })
    }

    /// Gives a block back to the engine.
    fn give_back(&self, retired: &Retired<'_, L>, cost: &mut Cost) {
        // SAFETY: The whole is out, asked for with that layout, and was retired once.
        let released = unsafe { self.engine.release(retired.block, retired.whole, cost) };
        debug_assert_eq!(released, Ok(()), "the records and the engine disagree");
    }

    /// Looks at the zones of a block that was freed; if one is damaged, sets the block aside and
    /// reports it, and the front's before the back's.
    fn damaged(
        &self,
        memory: &Whole,
        shape: &Shape,
        record: &Record,
        address: usize,
    ) -> Option<Report> {
        let front = memory.front_damage(shape);
        let back = memory.back_damage(shape);
        if front.is_none() && back.is_none() {
            return None;
        }
        self.mark_aside(memory);
        self.state.with(|state| {
            state.set_aside_blocks += 1;
            state.set_aside_bytes += memory.bytes() as u64;
            let mut push = |fault, damage: Damage| {
                let report = Report {
                    number: 0,
                    fault,
                    offset: state.offset(address),
                    size: shape.size,
                    named_size: shape.size,
                    byte: damage.first as isize - shape.front as isize,
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

    /// Has memory left out of sweeps: it is damaged, and stays so.
    #[cold]
    fn mark_aside(&self, memory: &Whole) {
        let mut begin = memory.start().addr().get();
        let end = begin + memory.bytes();
        while self.state.with(|state| state.mark_aside(&mut begin, end)) {}
    }

    /// Reports memory that was written while it was free, and that is set aside.
    #[cold]
    fn found_written(&self, whole: &Whole, damage: Damage, noticed: Owner) {
        let address = whole.start().addr().get() + damage.first;
        // The block that was freed there last.
        let mut last: Option<(usize, Record)> = None;
        let reach = self.state.with(|state| state.ahead(address, ZONE));
        self.look_back(reach, |start, record| {
            let reach = start.saturating_sub(ZONE)..start + record.size + ZONE;
            let is_later =
                |(_, other): &(usize, Record)| record.freed.operation > other.freed.operation;
            if record.standing == Standing::Freed
                && reach.contains(&address)
                && last.as_ref().is_none_or(is_later)
            {
                last = Some((start, *record));
            }
            false
        });
        let (start, record) = last.unwrap_or((address, Record::default()));
        self.mark_aside(whole);
        self.state.with(|state| {
            state.set_aside_blocks += 1;
            state.set_aside_bytes += whole.bytes() as u64;
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

    /// Reports that a block is to be resized that is not live.
    #[cold]
    fn bad_resize(&self, address: usize, new_size: usize) -> Report {
        let by = self.operation();
        self.state.with(|state| {
            let record = state.at(address).copied().unwrap_or_default();
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

    /// Says what is wrong with a free, and reports it.
    #[cold]
    fn bad_free(&self, address: usize, size: usize, by: Owner) -> Report {
        let exact = self.state.with(|state| state.at(address).copied());
        let mut around = None;
        self.look_back(address, |start, record| {
            let is_live = record.standing == Standing::Live;
            if is_live && address - start < record.size {
                around = Some((start, *record));
            }
            // The nearest one that is out is the only one that can have it.
            is_live
        });
        let is_in_pool = self.state.with(|state| state.offset(address).is_some());
        let (fault, (start, record)) = match (exact, around) {
            _ if !is_in_pool => (Fault::ForeignFree, (address, Record::default())),
            _ if address % WORD != 0 => (
                Fault::UnalignedFree,
                around.unwrap_or((address, Record::default())),
            ),
            (Some(record), _) if record.standing == Standing::Live => {
                (Fault::WrongSizeFree, (address, record))
            }
            // A record of what was there before the block around it is out of date.
            (_, Some(around)) => (Fault::InteriorFree, around),
            (Some(record), None) => (Fault::DoubleFree, (address, record)),
            (None, None) => (Fault::InventedFree, (address, Record::default())),
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

    /// Shows `see` the records of blocks that begin at `below` or in front of it, until it says that
    /// it has seen enough; the lock is let go in between.
    fn look_back(&self, mut below: usize, mut see: impl FnMut(usize, &Record) -> bool) {
        while self
            .state
            .with(|state| state.look_back(&mut below, &mut see))
        {}
    }
}
