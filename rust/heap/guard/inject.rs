// SPDX-License-Identifier: GPL-2.0

//! Misuse on purpose.
//!
//! A program cannot do what a guard notices: it has no addresses. So these are done for it, to blocks
//! that are allocated for the purpose. What is written is within the memory that the engine gave for
//! such a block. What is freed twice is kept from the engine until the misuse is over, so that nobody
//! else can have it in between.

use core::{
    alloc::Layout,
    hint::black_box,
    ptr::NonNull,
    sync::atomic::{
        AtomicU8,
        Ordering, //
    },
};

use super::{
    Caller, Fault, Freed, Guard, Report, Retired, State,
    zones::{
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
    class::LARGEST,
    lock::Lock, //
};

/// What is done wrong. The names are those of LKDTM (`drivers/misc/lkdtm/heap.c`), as far as it has
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misuse {
    /// Writes the byte behind a block.
    SlabLinearOverflow,
    /// Writes the 8 bytes behind a block.
    SlabLinearOverflow8,
    /// Writes the 32 bytes behind a block.
    SlabLinearOverflow32,
    /// Writes the byte behind a block of whole pages.
    VmallocLinearOverflow,
    /// Writes the 8 bytes in front of a block.
    SlabLinearUnderflow,
    /// Writes into a block that is free.
    WriteAfterFree,
    /// Writes into a block of whole pages that is free.
    WriteBuddyAfterFree,
    /// Frees a block twice.
    SlabFreeDouble,
    /// Frees a block, then others, then the first one again.
    SlabFreeDoubleDelayed,
    /// Frees a block again when it has been handed out again.
    SlabFreeDoubleReused,
    /// Frees an address in a block.
    SlabFreeInterior,
    /// Frees an address that is not in the pool.
    SlabFreeForeign,
    /// Frees an address in the pool at which no block ever began.
    SlabFreeInvented,
    /// Frees an address that is no multiple of a word.
    SlabFreeUnaligned,
    /// Frees a block as one of twice its size, as if into another cache.
    SlabFreeCross,
    /// Writes the 1 MiB behind a block.
    SlabLinearOverflow1M,
    /// Resizes a block that is free.
    ReallocAfterFree,
    /// Reads a block that is free. Debug mode does not notice that: KASAN does, where it is.
    ReadAfterFree,
}

impl Misuse {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 18] = [
        Self::SlabLinearOverflow,
        Self::SlabLinearOverflow8,
        Self::SlabLinearOverflow32,
        Self::VmallocLinearOverflow,
        Self::SlabLinearUnderflow,
        Self::WriteAfterFree,
        Self::WriteBuddyAfterFree,
        Self::SlabFreeDouble,
        Self::SlabFreeDoubleDelayed,
        Self::SlabFreeDoubleReused,
        Self::SlabFreeInterior,
        Self::SlabFreeForeign,
        Self::SlabFreeInvented,
        Self::SlabFreeUnaligned,
        Self::SlabFreeCross,
        Self::SlabLinearOverflow1M,
        Self::ReallocAfterFree,
        Self::ReadAfterFree,
    ];

    /// Says whether it is done to a block of whole pages.
    fn is_of_pages(self) -> bool {
        matches!(
            self,
            Self::VmallocLinearOverflow | Self::WriteBuddyAfterFree
        )
    }
}

/// Why a misuse was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDone {
    /// There is no block to do it to.
    Refused(Refusal),
    /// A block that was freed did not come back: others were faster.
    Elsewhere,
}

/// What is written where nothing should be: neither poison nor red.
const WRONG: u8 = 0x42;

/// log2 of the bytes that the longest overflow writes: the block's own red zone is as long.
const LONG_LOG2: u8 = 20;

/// The bytes that are written into a free block.
const WRITTEN: usize = WORD;

/// The blocks that are asked for until the one that was freed comes back.
const TRIES: usize = 64;

/// Blocks that are freed between the two times of a delayed double free.
const OTHERS: usize = 8;

/// Blocks that are held, and freed together.
struct Held<'g, E: Engine, L: Lock<State> + Sync, C: Caller> {
    guard: &'g Guard<E, L, C>,
    layout: Layout,
    /// Where they begin.
    blocks: [Option<NonNull<u8>>; TRIES],
}

impl<'g, E: Engine, L: Lock<State> + Sync, C: Caller> Held<'g, E, L, C> {
    fn new(guard: &'g Guard<E, L, C>, layout: Layout) -> Self {
        Self {
            guard,
            layout,
            blocks: [None; TRIES],
        }
    }

    /// Allocates up to `count` blocks, until `enough` is so of one, which is returned.
    fn until(
        &mut self,
        count: usize,
        mut enough: impl FnMut(&Block) -> bool,
    ) -> Result<Option<Block>, Refusal> {
        for slot in self.blocks.iter_mut().take(count) {
            let block = self.guard.hand_out(self.layout, &mut Cost::default())?;
            if enough(&block) {
                return Ok(Some(block));
            }
            *slot = Some(block.start);
        }
        Ok(None)
    }
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> Drop for Held<'_, E, L, C> {
    fn drop(&mut self) {
        for start in self.blocks.iter().flatten() {
            self.guard.free(*start, self.layout.size());
        }
    }
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> Guard<E, L, C> {
    /// Does what is wrong, to a block of `size` bytes, at least 1, or a few more where the misuse is
    /// of larger ones. Returns what was reported of it, if anything was.
    ///
    /// # Errors
    ///
    /// [`NotDone`]; the pool is then as before.
    pub fn inject(&self, misuse: Misuse, size: usize) -> Result<Option<Report>, NotDone> {
        let size = match misuse {
            _ if misuse.is_of_pages() => size.max(2 * LARGEST),
            // There is to be an inside.
            Misuse::SlabFreeInterior | Misuse::SlabFreeUnaligned => size.max(2 * WORD),
            _ => size.max(1),
        };
        let too_big = NotDone::Refused(Refusal::TooBig);
        let layout = Layout::from_size_align(size, WORD).map_err(|_| too_big)?;
        let zone_log2 = match misuse {
            Misuse::SlabLinearOverflow1M => LONG_LOG2,
            _ => ZONE_LOG2,
        };
        let shape = Shape::with_zone(layout, zone_log2).ok_or(too_big)?;
        // What a delayed free has in between is there before, so that none of it reuses the block.
        let mut others = Held::new(self, layout);
        if misuse == Misuse::SlabFreeDoubleDelayed {
            others.until(OTHERS, |_| false).map_err(NotDone::Refused)?;
        }
        let victim = self.hand_out_with(layout, zone_log2, &mut Cost::default());
        let victim = victim.map_err(NotDone::Refused)?;
        match misuse {
            Misuse::SlabLinearOverflow | Misuse::VmallocLinearOverflow => {
                Ok(self.written_around(victim, &shape, shape.end(), 1))
            }
            Misuse::SlabLinearOverflow8 => Ok(self.written_around(victim, &shape, shape.end(), 8)),
            Misuse::SlabLinearOverflow32 => {
                Ok(self.written_around(victim, &shape, shape.end(), 32))
            }
            Misuse::SlabLinearOverflow1M => {
                Ok(self.written_around(victim, &shape, shape.end(), 1 << LONG_LOG2))
            }
            Misuse::ReallocAfterFree => Ok(self.resized_after(victim, layout)),
            Misuse::ReadAfterFree => {
                self.read_after(victim, size);
                Ok(None)
            }
            Misuse::SlabLinearUnderflow => {
                Ok(self.written_around(victim, &shape, shape.front - WORD, WORD))
            }
            Misuse::WriteAfterFree | Misuse::WriteBuddyAfterFree => {
                self.written_after(victim, &shape, layout)
            }
            Misuse::SlabFreeDouble => Ok(self.freed_twice(victim, size, || {})),
            Misuse::SlabFreeDoubleDelayed => {
                Ok(self.freed_twice(victim, size, move || drop(others)))
            }
            Misuse::SlabFreeDoubleReused => self.freed_when_reused(victim, layout),
            _ => {
                let report = self.freed_badly(misuse, victim, size);
                self.free(victim.start, size);
                Ok(report)
            }
        }
    }

    /// Frees a block that was handed out to the injector.
    fn free(&self, start: NonNull<u8>, size: usize) -> Option<Report> {
        // SAFETY: It is the injector's own, which uses it no more.
        match unsafe { self.retire(start, size) } {
            Freed::Sound(retired) => {
                self.give_back(&retired, &mut Cost::default());
                None
            }
            Freed::Damaged(report) | Freed::Refused(report) => Some(report),
        }
    }

    /// Frees what is no block to be freed, and whatever else may come of it.
    fn free_wrongly(&self, start: NonNull<u8>, size: usize) -> Option<Report> {
        // SAFETY: Only the injector has a block there, if there is one at all: see the callers.
        match unsafe { self.retire(start, size) } {
            // The detector is out of order. It is for the engine to keep, or nobody.
            Freed::Sound(_) => None,
            Freed::Damaged(report) | Freed::Refused(report) => Some(report),
        }
    }

    /// Writes `bytes` bytes from byte `byte` of the whole of a block, and frees that.
    fn written_around(
        &self,
        victim: Block,
        shape: &Shape,
        byte: usize,
        bytes: usize,
    ) -> Option<Report> {
        // SAFETY: A block lies behind so many bytes of its whole.
        let first = unsafe { victim.start.sub(shape.front) };
        // SAFETY: The whole is out, and its block the injector's.
        let whole = unsafe { Whole::new(first, self.engine.usable(shape.whole)) };
        whole.fill(byte, byte + bytes, WRONG);
        self.free(victim.start, shape.size)
    }

    /// Frees a block, writes into it, and allocates until that is noticed.
    ///
    /// Out of line, as it holds blocks of its own: both of them would be a large frame.
    #[inline(never)]
    fn written_after(
        &self,
        victim: Block,
        shape: &Shape,
        layout: Layout,
    ) -> Result<Option<Report>, NotDone> {
        // SAFETY: It is the injector's own.
        let Freed::Sound(retired) = (unsafe { self.retire(victim.start, shape.size) }) else {
            return Ok(None);
        };
        let Retired { memory, by, .. } = &retired;
        // In the middle, as LKDTM does, but off the words in which an engine may keep links.
        let middle = shape.front + shape.size / 2;
        let middle = middle.next_multiple_of(ZONE) - ZONE / 2;
        let middle = if (shape.front..shape.end()).contains(&middle) {
            middle
        } else {
            shape.front
        };
        memory.fill(middle, shape.end().min(middle + WRITTEN), WRONG);
        self.give_back(&retired, &mut Cost::default());

        let noticed = || {
            self.state.with(|state| {
                let mut reports = state.log.iter();
                let is_it =
                    |report: &&Report| report.fault == Fault::WriteAfterFree && report.freed == *by;
                reports.find(is_it).copied()
            })
        };
        let mut held = Held::new(self, layout);
        // Nothing need be left, which does not undo what was written.
        if let Ok(Some(block)) = held.until(TRIES, |_| noticed().is_some()) {
            self.free(block.start, layout.size());
        }
        Ok(noticed())
    }

    /// Frees a block, and resizes it while nobody else can have it.
    fn resized_after(&self, victim: Block, layout: Layout) -> Option<Report> {
        // SAFETY: It is the injector's own.
        let Freed::Sound(retired) = (unsafe { self.retire(victim.start, layout.size()) }) else {
            return None;
        };
        let before = self.state.with(|state| state.log.made());
        // SAFETY: The block is free, which is the misuse: the guard finds that by its records, and
        // touches no memory of a block that is not live. The engine still has it out.
        let resized = unsafe { self.resize(victim, layout, layout, &mut Cost::default()) };
        debug_assert!(!resized, "a block that is free was resized");
        let report = self.state.with(|state| {
            let is_it = |report: &&Report| {
                report.number >= before
                    && report.fault == Fault::ReallocAfterFree
                    && report.freed == retired.by
            };
            state.log.iter().find(is_it).copied()
        });
        self.give_back(&retired, &mut Cost::default());
        report
    }

    /// Frees a block, and reads its first byte.
    fn read_after(&self, victim: Block, size: usize) {
        self.free(victim.start, size);
        // SAFETY: The memory stays the pool's, aligned and mapped, whoever has it now; a byte that
        // others may write meanwhile is read as an atomic one.
        let byte = unsafe { AtomicU8::from_ptr(victim.start.as_ptr()) };
        black_box(byte.load(Ordering::Relaxed));
    }

    /// Frees a block, lets `then` happen, and frees it again.
    fn freed_twice(&self, victim: Block, size: usize, then: impl FnOnce()) -> Option<Report> {
        // SAFETY: It is the injector's own.
        let Freed::Sound(retired) = (unsafe { self.retire(victim.start, size) }) else {
            return None;
        };
        then();
        let report = self.free_wrongly(victim.start, size);
        self.give_back(&retired, &mut Cost::default());
        report
    }

    /// Frees a block, gets it again, has its former owner free it, and then its owner.
    #[inline(never)]
    fn freed_when_reused(&self, victim: Block, layout: Layout) -> Result<Option<Report>, NotDone> {
        self.free(victim.start, layout.size());
        let mut held = Held::new(self, layout);
        let again = held.until(TRIES, |block| block.start == victim.start);
        let again = again.map_err(NotDone::Refused)?;
        let again = again.ok_or(NotDone::Elsewhere)?;
        Ok(self.freed_twice(again, layout.size(), || {}))
    }

    /// Frees what is not a block, or not so, while a block is out; that stays out.
    fn freed_badly(&self, misuse: Misuse, victim: Block, size: usize) -> Option<Report> {
        match misuse {
            Misuse::SlabFreeInterior => {
                let inside = (size / 2).next_multiple_of(WORD).min(size - 1) / WORD * WORD;
                // SAFETY: The block has more bytes than that.
                self.free_wrongly(unsafe { victim.start.add(inside) }, size)
            }
            // Nothing that the engine would know: the guard itself.
            Misuse::SlabFreeForeign => self.free_wrongly(NonNull::from(self).cast(), size),
            Misuse::SlabFreeInvented => self.free_wrongly(self.unused(victim, size)?, size),
            // SAFETY: A block has a zone behind it.
            Misuse::SlabFreeUnaligned => self.free_wrongly(unsafe { victim.start.add(1) }, size),
            _ => self.free_wrongly(victim.start, size.saturating_mul(2)),
        }
    }

    /// Returns an address in the zone behind a block at which no block began, as far as is known.
    ///
    /// None can begin there as long as the block is out. There is one, for a granule has one record.
    fn unused(&self, victim: Block, size: usize) -> Option<NonNull<u8>> {
        let zone = size.next_multiple_of(WORD)..size + ZONE;
        let byte = zone.step_by(WORD).find(|byte| {
            let address = victim.start.addr().get() + byte;
            self.state.with(|state| state.at(address).is_none())
        })?;
        // SAFETY: A block has a zone behind it.
        Some(unsafe { victim.start.add(byte) })
    }
}
