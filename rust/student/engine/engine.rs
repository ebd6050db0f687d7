// SPDX-License-Identifier: GPL-2.0

//! The engine around a learner's allocator.

use core::{
    alloc::Layout,
    marker::PhantomData,
    ptr::NonNull, //
};

use slab_heap::{
    Block, Cost, Engine, Offset, PAGE_BYTES, Path, Refusal,
    check::{
        Broken,
        Check,
        Progress,
        Rule as CheckRule,
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
        RegionError,
        Regions, //
    },
    stats::{
        Statistics,
        Totals,
        Visitor, //
    },
    violation::{
        Operation,
        Rule,
        Supervise,
        Violation, //
    },
};

use crate::{
    allocator::Allocator,
    memory::{
        GRANULE,
        Memory, //
    },
    violation::Error,
    words::{
        WORD,
        Words, //
    },
};

/// The largest number of bytes of a learner's type: it is moved over the kernel's small stack.
const ALLOCATOR_BYTES_MAX: usize = 1024;

/// The largest alignment of a learner's type: a cache line. The state has the same alignment, so a type without bytes
/// that is aligned to a page would make it a page long.
const ALLOCATOR_ALIGN_MAX: usize = 64;

/// The state behind the lock: the allocator, its memory, and counters.
pub struct State<A> {
    /// `None` without a region, and after `Allocator::new` broke a rule.
    allocator: Option<A>,
    memory: Memory,
    regions: Regions,
    /// The address of the pool.
    start: Option<NonNull<u8>>,
    live_blocks: u64,
    live_bytes: u64,
    requested_bytes: u64,
    allocations: u64,
    frees: u64,
    refusals: [u64; Refusal::COUNT],
    /// Returns the number of the CPU that makes a call.
    current_cpu: fn() -> usize,
}

// SAFETY: The state uses `start` as an address only, and does not access the memory there.
unsafe impl<A: Send> Send for State<A> {}

/// Returns the layout that the allocator has to serve for a request.
const fn rounded(layout: Layout) -> Option<Layout> {
    let bytes = if layout.size() == 0 { 1 } else { layout.size() };
    let align = if layout.align() < GRANULE {
        GRANULE
    } else {
        layout.align()
    };
    let Some(bytes) = bytes.checked_next_multiple_of(GRANULE) else {
        return None;
    };
    match Layout::from_size_align(bytes, align) {
        Ok(layout) => Some(layout),
        Err(_) => None,
    }
}

impl<A: Allocator> State<A> {
    /// Returns a state without memory. CPU 0 makes all calls.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_cpus(|| 0)
    }

    /// Returns a state without memory. `current_cpu` returns the number of the CPU on which it is called.
    #[must_use]
    pub const fn with_cpus(current_cpu: fn() -> usize) -> Self {
        const {
            assert!(
                size_of::<A>() <= ALLOCATOR_BYTES_MAX,
                "the allocator's type has more than 1024 bytes"
            );
            assert!(
                align_of::<A>() <= ALLOCATOR_ALIGN_MAX,
                "the allocator's type has an alignment of more than 64 bytes"
            );
        };
        Self {
            allocator: None,
            memory: Memory::empty(),
            regions: Regions::new(),
            start: None,
            live_blocks: 0,
            live_bytes: 0,
            requested_bytes: 0,
            allocations: 0,
            frees: 0,
            refusals: [0; Refusal::COUNT],
            current_cpu,
        }
    }

    /// Returns a state without memory that does not report accesses to live blocks, nor blocks that are misaligned or
    /// overlap. Only blocks and accesses outside of the pool are reported. Tests use the state to learn which layers
    /// above the engine notice a wrong allocator.
    #[cfg(feature = "test-support")]
    #[must_use]
    pub const fn unsupervised() -> Self {
        let mut state = Self::new();
        state.memory.is_unsupervised = true;
        state
    }

    /// Calls a function of the allocator, unless a rule is broken already. Returns `None` if a rule is broken.
    fn call<T>(
        &mut self,
        operation: Operation,
        function: impl FnOnce(&mut A, &mut Memory) -> Result<T, Error>,
    ) -> Option<T> {
        if self.memory.violation().is_some() {
            return None;
        }
        let allocator = self.allocator.as_mut()?;
        self.memory.begin(operation, (self.current_cpu)());
        let result = function(allocator, &mut self.memory);
        // A function may ignore the error of an access. The violation is recorded nevertheless.
        result.ok().filter(|_| self.memory.violation().is_none())
    }

    fn allocate(&mut self, layout: Layout) -> Result<usize, Refusal> {
        let layout = rounded(layout).ok_or(Refusal::TooBig)?;
        if layout.size() > self.memory.len() {
            return Err(Refusal::TooBig);
        }
        // The allocator aligns the offset of a block. The address is then aligned only if that of the pool is.
        if self
            .start
            .is_some_and(|start| start.addr().get() % layout.align() != 0)
        {
            return Err(Refusal::Unsupported);
        }
        let answer = self.call(Operation::Allocate, |allocator, memory| {
            allocator.allocate(memory, layout)
        });
        let block = answer.ok_or(Refusal::Faulty)?;
        let block = block.ok_or_else(|| self.no_room(layout.size()))?;
        self.verify(block, layout)?;
        let end = block + layout.size();
        self.memory.live.mark(block, end, true);
        self.live_blocks += 1;
        self.live_bytes += layout.size() as u64;
        self.allocations += 1;
        Ok(block)
    }

    /// Returns the cause for which the allocator has no room for `bytes` bytes.
    fn no_room(&self, bytes: usize) -> Refusal {
        if self.memory.len() as u64 - self.live_bytes < bytes as u64 {
            Refusal::Exhausted
        } else {
            Refusal::Fragmented
        }
    }

    /// Checks the answer of [`Allocator::allocate`].
    fn verify(&self, block: usize, layout: Layout) -> Result<(), Refusal> {
        let end = block.checked_add(layout.size());
        let (broken, offset) = match end.filter(|end| *end <= self.memory.len()) {
            None => (Rule::BlockInPool, block),
            Some(_) if !self.memory.is_supervised() => return Ok(()),
            Some(_) if block % layout.align() != 0 => (Rule::BlockAligned, block),
            Some(end) => match self.memory.live.first_live(block, end) {
                None => return Ok(()),
                Some(offset) => (Rule::BlockDisjoint, offset),
            },
        };
        self.memory.violate(broken, offset, None);
        Err(Refusal::Faulty)
    }

    fn free(&mut self, block: usize, layout: Layout) {
        let Some(layout) = rounded(layout) else {
            return;
        };
        // Nobody uses the block any more, even if the allocator breaks a rule in this call.
        self.memory.live.mark(block, block + layout.size(), false);
        self.live_blocks -= 1;
        self.live_bytes -= layout.size() as u64;
        self.frees += 1;
        self.call(Operation::Free, |allocator, memory| {
            allocator.free(memory, block, layout)
        });
    }

    fn resize(&mut self, block: usize, layout: Layout, new: Layout) -> bool {
        let (Some(layout), Some(new)) = (rounded(layout), rounded(new)) else {
            return false;
        };
        let (size, new_size) = (layout.size(), new.size());
        let end = block + size;
        if size != new_size {
            // The program no longer uses the tail of a block that shrinks, so the allocator may write links there.
            self.memory.begin_shrink(block + size.min(new_size)..end);
            let resized = self.call(Operation::Resize, |allocator, memory| {
                allocator.resize(memory, block, layout, new_size)
            });
            self.memory.end_shrink(resized == Some(true));
            if resized != Some(true) {
                return false;
            }
        }
        let new_end = block.saturating_add(new_size);
        if new_end > self.memory.len() {
            self.memory.violate(Rule::BlockInPool, block, None);
            return false;
        }
        if self.memory.is_supervised() {
            if let Some(offset) = self.memory.live.first_live(end, new_end) {
                self.memory.violate(Rule::BlockDisjoint, offset, None);
                return false;
            }
        }
        self.memory.live.mark(end.min(new_end), new_end, true);
        self.live_bytes = self.live_bytes - size as u64 + new_size as u64;
        true
    }

    /// Returns the memory of the pool.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns the offset of a block in the pool.
    fn byte(&self, block: Block) -> Option<usize> {
        let offset = self.regions.offset(block.start.addr().get(), 1)?;
        usize::try_from(offset.byte()).ok()
    }
}

impl<A: Allocator> Default for State<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// The engine `student`: a learner's allocator behind a lock.
///
/// The pool has one region. After the allocator broke a rule, each request is refused as [`Refusal::Faulty`].
pub struct StudentEngine<A, L> {
    state: L,
    /// See [`Capabilities::free_block_bytes`].
    free_block_bytes: usize,
    allocator: PhantomData<fn() -> A>,
}

impl<A: Allocator, L: Lock<State<A>> + Sync> StudentEngine<A, L> {
    /// Returns an engine without memory. `state` protects a new [`State`].
    pub const fn new(state: L) -> Self {
        Self {
            state,
            // The allocator may write any free byte.
            free_block_bytes: usize::MAX,
            allocator: PhantomData,
        }
    }

    /// Returns an engine whose allocator writes at most the first `bytes` bytes of a free block, so that debug mode
    /// is possible.
    #[cfg(feature = "test-support")]
    #[must_use]
    pub const fn with_free_block_bytes(self, bytes: usize) -> Self {
        let mut engine = self;
        engine.free_block_bytes = bytes;
        engine
    }

    /// Returns the state, behind its lock.
    pub(crate) fn state(&self) -> &L {
        &self.state
    }
}

impl<A: Allocator, L: Lock<State<A>> + Sync> Supervise for StudentEngine<A, L> {
    fn violation(&self) -> Option<Violation> {
        self.state.with(|state| state.memory.violation())
    }

    fn accesses(&self) -> u64 {
        self.state.with(|state| state.memory.accesses())
    }

    fn free_byte(&self, offset: u64) -> Option<u8> {
        let offset = usize::try_from(offset).ok()?;
        self.state.with(|state| state.memory.free_byte(offset))
    }

    fn stray_write(&self, offset: u64, byte: u8) -> bool {
        usize::try_from(offset).is_ok_and(|offset| {
            self.state
                .with(|state| state.memory.stray_write(offset, byte))
        })
    }
}

// SAFETY: `Engine` requires that a live block is aligned, is the caller's alone, and is not touched. `State::verify`
// checks alignment and place of each block, and that no granule of it is live; `State::resize` checks the granules that
// a block gains. `Memory` refuses accesses to live granules, and the allocator has no other access to the pool.
// `State::unsupervised`, which exists in builds for tests only, breaks the contract on purpose: its blocks lie in the
// pool, and everything else is for the layers above to notice.
unsafe impl<A: Allocator, L: Lock<State<A>> + Sync> Engine for StudentEngine<A, L> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            mmap: false,
            quick: false,
            free_block_bytes: self.free_block_bytes,
            free_block_align: GRANULE,
        }
    }

    fn usable_size(&self, layout: Layout) -> usize {
        rounded(layout).map_or(layout.size(), |layout| layout.size())
    }

    fn capacity(&self) -> usize {
        self.state.with(|state| state.regions.bytes())
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        self.state
            .with(|state| state.regions.offset(byte.addr().get(), 1))
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        *cost = Cost::new(Path::Other);
        self.state.with(|state| {
            let allocated = state.allocate(layout).and_then(|block| {
                let start = state.start.ok_or(Refusal::Exhausted)?;
                // SAFETY: `verify` found that the block lies in the pool, whose memory begins at `start`.
                let start = unsafe { start.add(block) };
                Ok(Block { start })
            });
            match allocated {
                Ok(_) => state.requested_bytes += layout.size() as u64,
                Err(refusal) => state.refusals[refusal as usize] += 1,
            }
            allocated
        })
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        *cost = Cost::new(Path::Other);
        self.state.with(|state| {
            let byte = state.byte(block).ok_or(BadFree::Foreign)?;
            state.requested_bytes -= layout.size() as u64;
            state.free(byte, layout);
            Ok(())
        })
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        rounded(layout) == rounded(new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        let resized = self.state.with(|state| {
            let Some(byte) = state.byte(block) else {
                return false;
            };
            let resized = state.resize(byte, layout, new);
            if resized {
                let before = layout.size() as u64;
                state.requested_bytes = state.requested_bytes - before + new.size() as u64;
            }
            resized
        });
        if resized {
            *cost = Cost::new(Path::InPlace);
        }
        resized
    }

    fn interfaces(&self) -> Interfaces<'_> {
        Interfaces {
            statistics: self,
            add_region: Some(self),
            check: Some(self),
            map: Some(self),
            shrink: None,
            fail_growth: None,
            supervise: Some(self),
        }
    }
}

/// Returns the bytes of the table of a pool of so many bytes.
#[must_use]
pub const fn table_bytes(pool_bytes: usize) -> usize {
    pool_bytes / PAGE_BYTES * Memory::TABLE_BYTES_PER_PAGE
}

impl<A: Allocator, L: Lock<State<A>> + Sync> AddRegion for StudentEngine<A, L> {
    fn table_bytes(&self, bytes: usize) -> usize {
        table_bytes(bytes)
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        if start.addr().get() % PAGE_BYTES != 0 {
            return Err(RegionError::Misaligned);
        }
        if bytes == 0 || bytes % PAGE_BYTES != 0 {
            return Err(RegionError::BadLength);
        }
        self.state.with(|state| {
            if state.regions.count() > 0 {
                return Err(RegionError::TooMany);
            }
            let region = state.regions.add(start.addr().get(), bytes)?;
            let live_words = bytes / GRANULE / u64::BITS as usize;
            // SAFETY: `Words::new` requires aligned memory for so many words, and that nobody accesses a word while a
            // method does: the region is page-aligned, has `bytes` bytes, and stays as long as the engine, by this
            // function's contract. Other users access live blocks only, and `Memory` accesses none of these.
            let pool = unsafe { Words::new(start, bytes / WORD) };
            // SAFETY: As above: the table has `table_bytes(bytes)` bytes, of which these are the first, is aligned and
            // is used by nobody else, by this function's contract.
            let live = unsafe { Words::new(table, live_words) };
            // SAFETY: `add` requires that the result is in the table, which has the live map and the notes.
            let notes = unsafe { table.add(live_words * WORD) };
            // SAFETY: As for `live`: the notes are the rest of the table.
            let notes = unsafe { Words::new(notes, bytes / PAGE_BYTES * crate::PAGE_NOTES) };
            state.memory.set_pool(pool, notes, live);
            state.start = Some(start);
            state.memory.begin(Operation::New, (state.current_cpu)());
            state.allocator = A::new(&mut state.memory).ok();
            Ok(region)
        })
    }
}

impl<A: Allocator, L: Lock<State<A>> + Sync> Statistics for StudentEngine<A, L> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.state.with(|state| {
            let pool_bytes = state.regions.bytes() as u64;
            visitor.totals(&Totals {
                total_bytes: pool_bytes,
                used_bytes: state.live_bytes,
                available_bytes: pool_bytes - state.live_bytes,
                pool_bytes,
                live_bytes: state.live_bytes,
                free_bytes: pool_bytes - state.live_bytes,
                requested_bytes: state.requested_bytes,
                live_blocks: state.live_blocks,
                regions: state.regions.count() as u32,
                allocations: state.allocations,
                frees: state.frees,
                refusals: state.refusals,
                ..Totals::default()
            });
        });
    }
}

impl<A: Allocator, L: Lock<State<A>> + Sync> Check for StudentEngine<A, L> {
    /// Calls the allocator's own check. A violation, also an earlier one, is a broken rule.
    fn check(&self, _walk: &mut Walk) -> Result<Progress, Broken> {
        let violation = self.state.with(|state| {
            state.call(Operation::Check, A::check);
            state.memory.violation()
        });
        match violation {
            None => Ok(Progress::Sound),
            Some(violation) => Err(Broken {
                rule: CheckRule::Allocator,
                class: None,
                offset: Some(Offset::new(0, violation.offset)),
            }),
        }
    }
}
