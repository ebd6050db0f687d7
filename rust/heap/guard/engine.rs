// SPDX-License-Identifier: GPL-2.0

//! A guard as an engine, which it is for everybody who does not ask.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use super::{
    Caller, Fault, Freed, Guard, State,
    records::{
        self,
        Standing, //
    },
    zones::{
        POISON,
        RED,
        Shape,
        WORD,
        Whole, //
    },
};
use crate::{
    Block, Cost, Engine, Refusal,
    check::{
        Broken,
        Progress,
        Sweep,
        Walk, //
    },
    engine::{
        BadFree,
        Capabilities, //
    },
    lock::Lock,
    map::{
        Extent,
        Mapped,
        NoMap, //
    },
    region::RegionError,
    stats::{
        BuddyStats,
        ClassStats,
        GuardStats,
        OrderStats,
        Totals,
        Visitor, //
    },
};

impl Fault {
    /// Returns what an engine says of such a free.
    fn bad_free(self) -> BadFree {
        match self {
            Self::ForeignFree => BadFree::Foreign,
            Self::InteriorFree => BadFree::Interior,
            Self::WrongSizeFree => BadFree::WrongSize,
            _ => BadFree::NotOut,
        }
    }
}

/// A visitor that hears what callers asked for in place of what the engine was asked for.
struct Corrected<'v> {
    visitor: &'v mut dyn Visitor,
    requested_bytes: u64,
    stats: GuardStats,
}

impl Visitor for Corrected<'_> {
    fn totals(&mut self, totals: &Totals) {
        self.visitor.totals(&Totals {
            requested_bytes: self.requested_bytes,
            ..*totals
        });
        self.visitor.guard(&self.stats);
    }

    fn class(&mut self, index: u8, class: &ClassStats) {
        self.visitor.class(index, class);
    }

    fn order(&mut self, order: u8, stats: &OrderStats) {
        self.visitor.order(order, stats);
    }

    fn buddy(&mut self, buddy: &BuddyStats) {
        self.visitor.buddy(buddy);
    }
}

/// Bytes of a new region that are poisoned between two looks whether to go on: 16 MiB.
const PIECE: usize = 16 << 20;

impl<E: Engine, L: Lock<State> + Sync, C: Caller> Guard<E, L, C> {
    /// Returns the wholes of a block and of what it is to become, if it may do so where it is.
    ///
    /// It may as long as the engine gives the same memory for both: then only the zone behind it
    /// changes, and grows.
    fn shrunk(&self, layout: Layout, new: Layout) -> Option<(Shape, Shape)> {
        let (shape, shrunk) = (Shape::of(layout)?, Shape::of(new)?);
        let stays = new.size() <= layout.size()
            && self.engine.usable(shape.whole) == self.engine.usable(shrunk.whole)
            && self.engine.keeps(shape.whole, shrunk.whole);
        stays.then_some((shape, shrunk))
    }

    /// Registers a region, has the engine add it, and notes what that calls it.
    ///
    /// # Safety
    ///
    /// As for [`Engine::add_region`].
    unsafe fn add(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        let _moving = self.moving();
        let engine_bytes = self.engine.table_bytes(bytes).next_multiple_of(WORD);
        // SAFETY: The table is as long as `table_bytes` says.
        let own = unsafe { table.add(engine_bytes) };
        // Before the engine can hand out a block of it.
        //
        // SAFETY: By this function's contract; the engine gets the part in front.
        let place = self
            .state
            .with(|state| unsafe { state.add(start, bytes, own) });
        let place = place.ok_or(RegionError::TooMany)?;
        // SAFETY: By this function's contract; the engine does not have it yet.
        let whole = unsafe { Whole::new(start, bytes) };
        let poisoned = (0..bytes).step_by(PIECE).all(|begin| {
            let goes_on = !self.caller.interrupted();
            if goes_on {
                whole.fill(begin, begin + PIECE, POISON);
            }
            goes_on
        });
        let added = if poisoned {
            // SAFETY: By this function's contract.
            unsafe { self.engine.add_region(start, bytes, table) }
        } else {
            Err(RegionError::Interrupted)
        };
        self.state.with(|state| state.name(place, added.ok()));
        added
    }
}

// SAFETY: A block is the inside of one of the engine's, which is out as long as it is, and is
// aligned as the front is. The guard touches the zones while it is out, and all of it before it was
// handed out and after it came back.
unsafe impl<E: Engine, L: Lock<State> + Sync, C: Caller> Engine for Guard<E, L, C> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // All of the block is written.
            quick: false,
            ..self.engine.capabilities()
        }
    }

    /// Returns what was asked for: all that lies behind it is red.
    fn usable(&self, layout: Layout) -> usize {
        layout.size()
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    // Out of line, so that having it among others costs these nothing.
    #[cold]
    #[inline(never)]
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.hand_out(layout, cost)
    }

    #[cold]
    #[inline(never)]
    unsafe fn release(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        // SAFETY: By this function's contract.
        match unsafe { self.retire(block.start, layout.size()) } {
            Freed::Sound(retired) => {
                self.give_back(&retired, cost);
                Ok(())
            }
            // Its owner has got rid of it.
            Freed::Damaged(_) => Ok(()),
            Freed::Refused(report) => Err(report.fault.bad_free()),
        }
    }

    fn keeps(&self, layout: Layout, new: Layout) -> bool {
        self.shrunk(layout, new).is_some()
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let _moving = self.moving();
        let address = block.start.addr().get();
        let is_out = self.state.with(|state| {
            let record = state.at(address);
            record.is_some_and(|record| {
                record.standing == Standing::Live && record.size == layout.size()
            })
        });
        if !is_out {
            self.bad_resize(address, new.size());
            return false;
        }
        let Some((shape, shrunk)) = self.shrunk(layout, new) else {
            return false;
        };
        self.state.with(|state| {
            if let Some(record) = state.at(address) {
                record.size = new.size();
            }
            state.requested_bytes -= layout.size() - new.size();
        });
        // SAFETY: A block lies behind so many bytes of its whole.
        let first = unsafe { block.start.sub(shape.front) };
        // SAFETY: The whole is out, and its block nobody else's while it is resized.
        let whole = unsafe { Whole::new(first, self.engine.usable(shape.whole)) };
        whole.fill(shrunk.end(), shape.end(), RED);
        let inner = Block {
            start: first,
            offset: self.state.with(|state| state.offset(first.addr().get())),
        };
        // SAFETY: As above, and the engine keeps it.
        unsafe { self.engine.resize(inner, shape.whole, shrunk.whole, cost) }
    }

    fn table_bytes(&self, bytes: usize) -> usize {
        self.engine.table_bytes(bytes).next_multiple_of(WORD) + records::table_bytes(bytes)
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        // SAFETY: By this function's contract.
        unsafe { self.add(start, bytes, table) }
    }

    fn drain(&self) -> usize {
        self.engine.drain()
    }

    fn fail_growth(&self, nth: u64) {
        self.engine.fail_growth(nth);
    }

    fn free_block_bytes(&self) -> usize {
        self.engine.free_block_bytes()
    }

    fn free_block_align(&self) -> usize {
        self.engine.free_block_align()
    }

    fn visit(&self, visitor: &mut dyn Visitor) {
        let (requested_bytes, stats) = self.state.with(|state| {
            let stats = GuardStats {
                reports: state.log.counts,
                set_aside_blocks: state.set_aside_blocks,
                set_aside_bytes: state.set_aside_bytes,
            };
            (state.requested_bytes as u64, stats)
        });
        self.engine.visit(&mut Corrected {
            visitor,
            requested_bytes,
            stats,
        });
    }

    /// Has the engine checked, and then the bytes of the pool.
    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        if walk.sweep.is_some() {
            return self.sweep(walk);
        }
        match self.engine.check(walk)? {
            Progress::Sound => {
                walk.sweep = Some(Sweep::default());
                Ok(Progress::More)
            }
            progress => Ok(progress),
        }
    }

    fn map(&self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        self.engine.map(region, page, out)
    }
}
