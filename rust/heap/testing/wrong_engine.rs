// SPDX-License-Identifier: GPL-2.0

//! An engine with a defect. The conformance test must report each defect.

use core::{
    alloc::Layout,
    ptr::NonNull, //
};
use std::sync::Mutex;

use super::blocks::ReportedStatistics;
use crate::{
    Block, Cost, Engine, Offset, Refusal,
    check::{
        Broken,
        Check,
        Progress,
        Rule,
        Walk, //
    },
    engine::{
        Allocated,
        BadFree,
        Capabilities,
        Interfaces,
        Shrink, //
    },
    map::{
        Extent,
        Map,
        Mapped,
        NoMap, //
    },
    stats::{
        Statistics,
        Visitor, //
    },
};

/// The defect of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Allocates a live block again.
    Overlap,
    /// Returns an address behind the pool.
    OutOfPool,
    /// Returns offsets that are 8 bytes too high.
    WrongOffset,
    /// Ignores alignments.
    Misaligned,
    /// Reports more usable bytes than a block has.
    TooManyUsableBytes,
    /// Reports fewer usable bytes than the request.
    TooFewUsableBytes,
    /// Writes into a live block.
    WildWrite,
    /// Loses two pages with each free, and hides the loss in the statistics.
    Leak,
    /// Does not free a block that is freed by the fast path.
    LeakOnFastPath,
    /// Does not free a block of more than 64 bytes that is freed by the fast path.
    LeakOfLargeOnFastPath,
    /// Ignores alignments on the fast path.
    MisalignedOnFastPath,
    /// Counts a request that the fast path does not serve.
    CountsUnservedOnFastPath,
    /// Counts more requested bytes than there are.
    WrongStatistics,
    /// Allocates a block when it refuses a request.
    AllocatesOnRefusal,
    /// Refuses every request.
    ServesNothing,
    /// Refuses every fourth request, and does not count the refusal.
    UncountedRefusal,
    /// Claims that every resize fits in place.
    WrongKeeps,
    /// Has a check that finds a broken rule.
    Unsound,
    /// Has a shrink that reports too few bytes.
    WrongShrink,
    /// Has a map with a gap.
    MapWithGap,
}

impl Defect {
    /// All defects.
    pub(crate) const ALL: [Self; 20] = [
        Self::Overlap,
        Self::OutOfPool,
        Self::WrongOffset,
        Self::Misaligned,
        Self::TooManyUsableBytes,
        Self::TooFewUsableBytes,
        Self::WildWrite,
        Self::Leak,
        Self::LeakOnFastPath,
        Self::LeakOfLargeOnFastPath,
        Self::MisalignedOnFastPath,
        Self::CountsUnservedOnFastPath,
        Self::WrongStatistics,
        Self::AllocatesOnRefusal,
        Self::ServesNothing,
        Self::UncountedRefusal,
        Self::WrongKeeps,
        Self::Unsound,
        Self::WrongShrink,
        Self::MapWithGap,
    ];

    /// Returns a part of the message with which the conformance test must report the defect.
    pub(crate) fn message(self) -> &'static str {
        match self {
            // The usable size that the engine reports is that of an aligned block, which is larger than the
            // block.
            Self::Overlap | Self::TooManyUsableBytes | Self::MisalignedOnFastPath => "overlaps",
            Self::OutOfPool | Self::WrongOffset => "outside of the pool, or with a wrong offset",
            Self::Misaligned => "misaligned",
            Self::TooFewUsableBytes => "too small",
            Self::WildWrite => "contents changed",
            Self::Leak => "are lost",
            Self::LeakOnFastPath | Self::LeakOfLargeOnFastPath | Self::AllocatesOnRefusal => {
                "live blocks"
            }
            Self::CountsUnservedOnFastPath => "a fast path that serves nothing changes a total",
            Self::WrongStatistics => "requested bytes",
            Self::ServesNothing => "an empty pool refuses 64 bytes",
            Self::UncountedRefusal => "a refusal changes a total, or is not counted",
            Self::WrongKeeps => "a resize that fits in place was refused",
            Self::Unsound => "PoolBytes",
            Self::WrongShrink => "a shrink reports other bytes",
            Self::MapWithGap => "the map has a gap",
        }
    }
}

/// The size and the alignment of a lost block.
const LEAK: usize = 8192;

/// An engine with a defect.
pub(crate) struct WrongEngine<E> {
    engine: E,
    defect: Defect,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    requests: usize,
    /// The block that was allocated last, unless it was freed.
    last: Option<(Block, Layout)>,
    /// The number of lost blocks of [`LEAK`] bytes.
    leaks: u64,
}

impl<E: Engine> WrongEngine<E> {
    /// Wraps `engine` with a defect.
    pub(crate) fn new(engine: E, defect: Defect) -> Self {
        Self {
            engine,
            defect,
            state: Mutex::default(),
        }
    }

    /// Returns the layout that is passed to the engine inside for `layout`.
    fn inner(&self, layout: Layout) -> Layout {
        match self.defect {
            Defect::Misaligned => Layout::from_size_align(layout.size(), 1).unwrap(),
            _ => layout,
        }
    }

    /// Removes a freed block from the state.
    fn forget(&self, block: Block) {
        let mut state = self.state.lock().unwrap();
        state.last.take_if(|(last, _)| *last == block);
    }
}

// SAFETY: The defects break the contract on purpose. This is acceptable because the conformance test checks
// the place of each block before it uses the memory, so it only accesses memory of the pool.
unsafe impl<E: Engine> Engine for WrongEngine<E> {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn usable_size(&self, layout: Layout) -> usize {
        let bytes = self.engine.usable_size(self.inner(layout));
        match self.defect {
            Defect::TooManyUsableBytes => bytes + 8,
            Defect::TooFewUsableBytes => layout.size() / 2,
            _ => bytes,
        }
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        let offset = self.engine.offset(byte)?;
        match self.defect {
            Defect::WrongOffset => Some(Offset::new(offset.region(), offset.byte() + 8)),
            _ => Some(offset),
        }
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        match (self.defect, state.last) {
            (Defect::ServesNothing, _) => return Err(Refusal::Unsupported),
            (Defect::UncountedRefusal, _) if state.requests.is_multiple_of(4) => {
                return Err(Refusal::Unsupported);
            }
            (Defect::Overlap, Some((block, last))) if last == layout => return Ok(block),
            (Defect::WildWrite, Some((block, _))) => {
                // SAFETY: The block is live, so its first byte is in the pool.
                let byte = unsafe { block.start.read() };
                // SAFETY: The first byte of the block is in the pool, as above. The write to a live block is
                // on purpose.
                unsafe { block.start.write(!byte) };
            }
            _ => {}
        }
        let mut block = self
            .engine
            .allocate(self.inner(layout), cost)
            .inspect_err(|_| {
                if self.defect == Defect::AllocatesOnRefusal {
                    let small = Layout::new::<u8>();
                    let _ = self.engine.allocate(small, &mut Cost::default());
                }
            })?;
        if self.defect == Defect::OutOfPool {
            let past = block.start.as_ptr().wrapping_add(1 << 30);
            block.start = NonNull::new(past).unwrap();
        }
        state.last = Some((block, layout));
        Ok(block)
    }

    fn try_allocate_fast(&self, layout: Layout) -> Option<Allocated> {
        match self.defect {
            Defect::LeakOnFastPath | Defect::LeakOfLargeOnFastPath => {
                self.engine.try_allocate_fast(layout)
            }
            Defect::MisalignedOnFastPath => {
                let unaligned = Layout::from_size_align(layout.size(), 1).unwrap();
                self.engine.try_allocate_fast(unaligned)
            }
            Defect::CountsUnservedOnFastPath => {
                let huge = Layout::from_size_align(1 << 40, 1).unwrap();
                let _ = self.engine.allocate(huge, &mut Cost::default());
                None
            }
            _ => None,
        }
    }

    unsafe fn try_free_fast(&self, block: Block, layout: Layout) -> Option<Cost> {
        match self.defect {
            Defect::LeakOnFastPath => {}
            Defect::LeakOfLargeOnFastPath if layout.size() > 64 => {}
            _ => return None,
        }
        self.forget(block);
        Some(Cost::default())
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        self.forget(block);
        if self.defect == Defect::Leak {
            let (lost, mut cost) = (super::layout(LEAK, LEAK), Cost::default());
            let lost = self.engine.allocate(lost, &mut cost);
            self.state.lock().unwrap().leaks += u64::from(lost.is_ok());
        }
        // SAFETY: The contract of this function is the contract of the same method of the engine inside,
        // which allocated the block with the layout that `inner` returns.
        unsafe { self.engine.free(block, self.inner(layout), cost) }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.defect == Defect::WrongKeeps
            || self
                .engine
                .fits_in_place(self.inner(layout), self.inner(new))
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        self.forget(block);
        let (layout, new) = (self.inner(layout), self.inner(new));
        // SAFETY: The contract of this function is the contract of the same method of the engine inside,
        // which allocated the block with the layout that `inner` returns.
        unsafe { self.engine.resize(block, layout, new, cost) }
    }

    fn interfaces(&self) -> Interfaces<'_> {
        let mut interfaces = self.engine.interfaces();
        match self.defect {
            Defect::Leak | Defect::WrongStatistics => interfaces.statistics = self,
            Defect::Unsound => interfaces.check = Some(self),
            Defect::MapWithGap => interfaces.map = Some(self),
            Defect::WrongShrink => interfaces.shrink = Some(self),
            _ => {}
        }
        interfaces
    }
}

impl<E: Engine> Statistics for WrongEngine<E> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        let mut totals = ReportedStatistics::of(&self.engine).totals;
        if self.defect == Defect::WrongStatistics {
            totals.requested_bytes += totals.live_blocks;
        }
        let leaks = self.state.lock().unwrap().leaks;
        let bytes = leaks * LEAK as u64;
        totals.live_blocks -= leaks;
        totals.requested_bytes -= bytes;
        totals.live_bytes -= bytes;
        totals.cached_bytes += bytes;
        visitor.totals(&totals);
    }
}

impl<E: Engine> Check for WrongEngine<E> {
    fn check(&self, _walk: &mut Walk) -> Result<Progress, Broken> {
        Err(Broken {
            rule: Rule::PoolBytes,
            class: None,
            offset: None,
        })
    }
}

impl<E: Engine> Shrink for WrongEngine<E> {
    fn shrink(&self) -> usize {
        self.engine.interfaces().shrink.unwrap().shrink() / 2
    }
}

impl<E: Engine> Map for WrongEngine<E> {
    fn map(&self, region: usize, page: u32, out: &mut [Extent]) -> Result<Mapped, NoMap> {
        let mapped = self
            .engine
            .interfaces()
            .map
            .unwrap()
            .map(region, page, out)?;
        out[mapped.extents - 1].page += 1;
        Ok(mapped)
    }
}
