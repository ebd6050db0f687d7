// SPDX-License-Identifier: GPL-2.0

//! The implementation of the engine's traits for debug mode.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};

use super::{
    Caller, DebugMode, Fault, FreeResult, State,
    records::{
        self,
        BlockState, //
    },
    zones::{
        POISON,
        PaddedLayout,
        RED,
        RawBytes,
        WORD, //
    },
};
use crate::{
    Block, Cost, Engine, Offset, Refusal,
    check::{
        Broken,
        Check,
        Progress,
        Sweep,
        Walk, //
    },
    engine::{
        AddRegion,
        BadFree,
        Capabilities,
        Interfaces, //
    },
    lock::Lock,
    region::{
        RegionError, //
    },
    stats::{
        BuddyStats,
        ClassStats,
        DebugStats,
        OrderStats,
        ShortRunStats,
        Statistics,
        Totals,
        Visitor, //
    },
};

impl Fault {
    /// Returns the engine's error for a bad free.
    fn bad_free(self) -> BadFree {
        match self {
            Self::ForeignFree => BadFree::Foreign,
            Self::InteriorFree => BadFree::Interior,
            Self::WrongSizeFree => BadFree::WrongSize,
            _ => BadFree::NotLive,
        }
    }
}

/// A visitor that changes an engine's statistics: `requested_bytes` becomes the sum of the sizes that the
/// callers requested, without the red zones.
struct StatsAdapter<'v> {
    visitor: &'v mut dyn Visitor,
    requested_bytes: u64,
    stats: DebugStats,
}

impl Visitor for StatsAdapter<'_> {
    fn totals(&mut self, totals: &Totals) {
        self.visitor.totals(&Totals {
            requested_bytes: self.requested_bytes,
            ..*totals
        });
        self.visitor.debug(&self.stats);
    }

    fn class(&mut self, index: u8, class: &ClassStats) {
        self.visitor.class(index, class);
    }

    fn order(&mut self, order: u8, stats: &OrderStats) {
        self.visitor.order(order, stats);
    }

    fn short_runs(&mut self, stats: &ShortRunStats) {
        self.visitor.short_runs(stats);
    }

    fn buddy(&mut self, buddy: &BuddyStats) {
        self.visitor.buddy(buddy);
    }
}

/// The number of bytes of a new region that are poisoned between two checks for a fatal signal: 16 MiB.
const PIECE: usize = 16 << 20;

impl<E: Engine, L: Lock<State> + Sync, C: Caller> DebugMode<E, L, C> {
    /// Returns the padded layouts of a block and of the smaller block that it becomes, if the resize is
    /// possible in place.
    ///
    /// The resize is possible if the engine's block has the same usable size for both layouts. Then only the
    /// red zone behind the block grows.
    fn shrunk(&self, layout: Layout, new: Layout) -> Option<(PaddedLayout, PaddedLayout)> {
        let (padded, shrunk) = (PaddedLayout::of(layout)?, PaddedLayout::of(new)?);
        let stays = new.size() <= layout.size()
            && self.engine.usable_size(padded.layout) == self.engine.usable_size(shrunk.layout)
            && self.engine.fits_in_place(padded.layout, shrunk.layout);
        stays.then_some((padded, shrunk))
    }

    /// Returns the number of bytes of the engine's part of a region's metadata.
    fn engine_table_bytes(&self, bytes: usize) -> usize {
        let engine = self.engine.interfaces().add_region;
        let engine_bytes = engine.map_or(0, |engine| engine.table_bytes(bytes));
        engine_bytes.next_multiple_of(WORD)
    }

    /// Registers a region, poisons it, adds it to the engine, and stores the number that the engine gives the
    /// region.
    ///
    /// # Safety
    ///
    /// The contract of [`AddRegion::add_region`].
    unsafe fn add(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        let _change = self.begin_change();
        let engine_bytes = self.engine_table_bytes(bytes);
        // SAFETY: The caller promises that the table has `table_bytes` bytes, and the engine's part is
        // shorter.
        let own = unsafe { table.add(engine_bytes) };
        // SAFETY: The caller promises that the range and the table are valid and unused, and that the table
        // is zero and aligned. `own` is the part of the table behind the engine's part, so only the records
        // use it. The region is registered before the engine can allocate a block of it.
        let place = self
            .state
            .with(|state| unsafe { state.add(start, bytes, own) });
        let place = place.ok_or(RegionError::TooMany)?;
        // SAFETY: The caller promises that the range is valid and unused. The engine does not have the range
        // yet, so nothing else accesses it.
        let memory = unsafe { RawBytes::new(start, bytes) };
        let poisoned = (0..bytes).step_by(PIECE).all(|begin| {
            let goes_on = !self.caller.interrupted();
            if goes_on {
                memory.fill(begin, begin + PIECE, POISON);
            }
            goes_on
        });
        let added = match self.engine.interfaces().add_region {
            _ if !poisoned => Err(RegionError::Interrupted),
            // SAFETY: This function's contract is the contract of `add_region`. The engine's part of the
            // table, which is at the start of the table, has the number of bytes that the engine requires.
            Some(engine) => unsafe { engine.add_region(start, bytes, table) },
            None => Err(RegionError::NoPool),
        };
        self.state
            .with(|state| state.set_region_number(place, added.ok()));
        added
    }
}

// SAFETY: `Engine` requires that a live block is valid, is aligned, shares no byte with another block, and is
// not accessed by the engine. A block lies inside a padded block, which is live in the engine while the block
// is live, so it is valid and no two blocks share a byte. `front` is a multiple of the alignment. Debug mode
// writes the red zones of a live block, but the block itself only before it is allocated and after it is
// freed.
unsafe impl<E: Engine, L: Lock<State> + Sync, C: Caller> Engine for DebugMode<E, L, C> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // A free writes the whole block, so its time has no bound.
            quick: false,
            ..self.engine.capabilities()
        }
    }

    /// Returns the requested size, because the bytes behind it are the red zone.
    fn usable_size(&self, layout: Layout) -> usize {
        layout.size()
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        self.engine.offset(byte)
    }

    // Not inlined, so that debug mode does not make the callers of other engines larger.
    #[cold]
    #[inline(never)]
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.allocate_checked(layout, cost)
    }

    #[cold]
    #[inline(never)]
    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        // SAFETY: `begin_free` requires that a live block of this size at `start` is unused, and that `start`
        // is the pointer of its allocation. The caller promises both.
        match unsafe { self.begin_free(block.start, layout.size()) } {
            FreeResult::Sound(pending) => {
                self.finish_free(&pending, cost);
                Ok(())
            }
            // The block is in quarantine, but for its owner the free succeeded.
            FreeResult::Damaged(_) => Ok(()),
            FreeResult::Refused(report) => Err(report.fault.bad_free()),
        }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.shrunk(layout, new).is_some()
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let _change = self.begin_change();
        let address = block.start.addr().get();
        let is_out = self.state.with(|state| {
            let record = state.record_at(address);
            record.is_some_and(|record| {
                record.state == BlockState::Live && record.size == layout.size()
            })
        });
        if !is_out {
            self.bad_resize(address, new.size());
            return false;
        }
        let Some((padded, shrunk)) = self.shrunk(layout, new) else {
            return false;
        };
        self.state.with(|state| {
            if let Some(record) = state.record_at(address) {
                record.size = new.size();
            }
            state.requested_bytes -= layout.size() - new.size();
        });
        // SAFETY: By its record the block is live, so `front` bytes of the padded block lie in front of it.
        let first = unsafe { block.start.sub(padded.front) };
        // SAFETY: The padded block is live, so `usable_size` bytes are valid. The caller promises that
        // nothing else uses the block during the resize.
        let memory = unsafe { RawBytes::new(first, self.engine.usable_size(padded.layout)) };
        memory.fill(shrunk.end(), padded.end(), RED);
        let inner = Block { start: first };
        // SAFETY: The padded block is live with this layout, the new layout has the same alignment, and the
        // caller promises that nothing else uses the block.
        unsafe {
            self.engine
                .resize(inner, padded.layout, shrunk.layout, cost)
        }
    }

    fn interfaces(&self) -> Interfaces<'_> {
        Interfaces {
            statistics: self,
            add_region: Some(self),
            check: Some(self),
            ..self.engine.interfaces()
        }
    }
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> AddRegion for DebugMode<E, L, C> {
    fn table_bytes(&self, bytes: usize) -> usize {
        self.engine_table_bytes(bytes) + records::table_bytes(bytes)
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        // SAFETY: The contract of `add` is that of this function.
        unsafe { self.add(start, bytes, table) }
    }
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> Statistics for DebugMode<E, L, C> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let (requested_bytes, stats) = self.state.with(|state| {
            let stats = DebugStats {
                reports: state.log.counts,
                quarantined_blocks: state.quarantined_blocks,
                quarantined_bytes: state.quarantined_bytes,
            };
            (state.requested_bytes as u64, stats)
        });
        self.engine
            .interfaces()
            .statistics
            .visit(&mut StatsAdapter {
                visitor,
                requested_bytes,
                stats,
            });
    }
}

impl<E: Engine, L: Lock<State> + Sync, C: Caller> Check for DebugMode<E, L, C> {
    /// Checks the engine's metadata, then all red zones and all free memory.
    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        if walk.sweep.is_some() {
            return self.sweep(walk);
        }
        let checked = match self.engine.interfaces().check {
            Some(engine) => engine.check(walk)?,
            None => Progress::Sound,
        };
        match checked {
            Progress::Sound => {
                walk.sweep = Some(Sweep::default());
                Ok(Progress::More)
            }
            progress => Ok(progress),
        }
    }
}
