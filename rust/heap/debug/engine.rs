// SPDX-License-Identifier: GPL-2.0

//! Debug mode implements the traits of the engine in front of which it stands.

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
        RawBytes, //
        WORD,
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

/// Adapts an engine's statistics: `requested_bytes` is the sum of the callers' sizes, not of the
/// padded sizes.
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

    fn buddy(&mut self, buddy: &BuddyStats) {
        self.visitor.buddy(buddy);
    }
}

/// The bytes of a new region that are poisoned between two checks for a fatal signal: 16 MiB.
const PIECE: usize = 16 << 20;

impl<E: Engine, L: Lock<State> + Sync, C: Caller> DebugMode<E, L, C> {
    /// Returns the padded layouts of a block and of the smaller block that it becomes, if the resize is
    /// possible in place.
    ///
    /// It is possible if the engine's block has the same bytes for both. Then only the red zone behind
    /// the block grows.
    fn shrunk(&self, layout: Layout, new: Layout) -> Option<(PaddedLayout, PaddedLayout)> {
        let (padded, shrunk) = (PaddedLayout::of(layout)?, PaddedLayout::of(new)?);
        let stays = new.size() <= layout.size()
            && self.engine.usable_size(padded.layout) == self.engine.usable_size(shrunk.layout)
            && self.engine.fits_in_place(padded.layout, shrunk.layout);
        stays.then_some((padded, shrunk))
    }

    /// Returns the bytes of the engine's part of a region's metadata.
    fn engine_table_bytes(&self, bytes: usize) -> usize {
        let engine = self.engine.interfaces().add_region;
        let engine_bytes = engine.map_or(0, |engine| engine.table_bytes(bytes));
        engine_bytes.next_multiple_of(WORD)
    }

    /// Registers a region, poisons it, adds it to the engine and stores the engine's number of it.
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
        // SAFETY: The table has `table_bytes` bytes, which is more than the engine's part.
        let own = unsafe { table.add(engine_bytes) };
        // SAFETY: The caller promises that range and table are valid and unused; the records are
        // behind the engine's part of the table. The region is registered before the engine can
        // allocate a block of it.
        let place = self
            .state
            .with(|state| unsafe { state.add(start, bytes, own) });
        let place = place.ok_or(RegionError::TooMany)?;
        // SAFETY: The caller promises that the range is valid and unused; the engine does not have
        // it yet.
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
            // SAFETY: The caller promises all that the engine requires of the range, and the
            // engine's part of the table is at its start.
            Some(engine) => unsafe { engine.add_region(start, bytes, table) },
            None => Err(RegionError::NoPool),
        };
        self.state
            .with(|state| state.set_region_number(place, added.ok()));
        added
    }
}

// SAFETY: A block lies inside of a padded block, which is live in the engine while the block is live,
// so no two blocks share a byte. `front` is a multiple of the alignment. Debug mode writes the red zones
// of a live block, and the block itself only before it is allocated and after it is freed.
unsafe impl<E: Engine, L: Lock<State> + Sync, C: Caller> Engine for DebugMode<E, L, C> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // A free writes the whole block, so its time has no bound.
            quick: false,
            ..self.engine.capabilities()
        }
    }

    /// Returns the requested size: the bytes behind it are red zone.
    fn usable_size(&self, layout: Layout) -> usize {
        layout.size()
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        self.engine.offset(byte)
    }

    // Not inlined, so that debug mode does not enlarge the callers of the other engines.
    #[cold]
    #[inline(never)]
    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.allocate_checked(layout, cost)
    }

    #[cold]
    #[inline(never)]
    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        // SAFETY: The caller promises that a live block is not used any more, with its pointer.
        match unsafe { self.begin_free(block.start, layout.size()) } {
            FreeResult::Sound(pending) => {
                self.finish_free(&pending, cost);
                Ok(())
            }
            // For its owner the block is freed.
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
        // SAFETY: `front` bytes of the padded block lie in front of the block.
        let first = unsafe { block.start.sub(padded.front) };
        // SAFETY: The padded block is live, with `usable` valid bytes. The caller promises that
        // nothing else uses the block during the resize.
        let memory = unsafe { RawBytes::new(first, self.engine.usable_size(padded.layout)) };
        memory.fill(shrunk.end(), padded.end(), RED);
        let inner = Block { start: first };
        // SAFETY: The padded block is live with this layout, the alignment is the same, and the caller
        // promises that nothing else uses it.
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
