// SPDX-License-Identifier: GPL-2.0

//! Engines that are wrong on purpose, for tests of what has to notice.
//!
//! An environment variable, which only test builds read, chooses what the engines of this process do
//! wrong. Without it they are what they are.

use std::{
    alloc::Layout,
    env,
    hint::black_box,
    ptr::{
        self,
        NonNull, //
    },
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::Relaxed, //
        },
    },
    thread,
    time::Duration, //
};

use slab_heap::{
    Block, Cost, Engine, Refusal,
    engine::{
        AddRegion,
        Allocated,
        BadFree,
        Capabilities,
        Interfaces, //
    },
    region::{
        Offset,
        RegionError, //
    },
};

/// The environment variable that names a fault.
pub const VARIABLE: &str = "SLABLAB_TEST_FAULT";

/// The allocation, or the free, from which on an engine is wrong.
const FIRST: u64 = 3;

/// The defect of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineFault {
    /// Allocates a live block again.
    Overlap,
    /// Allocates memory behind the pool.
    OutOfPool,
    /// Returns a wrong offset of a block.
    WrongOffset,
    /// Writes into a live block.
    WildWrite,
    /// Writes into a live block when another one is freed.
    WildWriteInFree,
    /// Does not return from an allocation.
    Endless,
    /// Does not return from a free.
    EndlessInFree,
    /// Panics.
    Panic,
    /// Panics in a free.
    PanicInFree,
    /// Adds beyond the largest number.
    Overflow,
    /// Reads address 0.
    Segfault,
    /// Is killed by SIGBUS.
    Bus,
    /// Is killed by SIGILL.
    Illegal,
    /// Aborts.
    Abort,
    /// Calls itself without end.
    Recursion,
    /// Ends the process as if all were well.
    Exit,
    /// Refuses every request.
    NeverServes,
    /// Refuses every request, as if by fault injection.
    InjectsEveryRefusal,
    /// Forgets what is freed.
    Leak,
    /// Writes four words into each free block, and says it writes none.
    LongLinks,
    /// Writes more into free blocks than debug mode can support, and says so.
    LongerLinks,
}

impl EngineFault {
    /// All faults that every workload must detect.
    pub const ALL: [Self; 20] = [
        Self::Overlap,
        Self::OutOfPool,
        Self::WrongOffset,
        Self::WildWrite,
        Self::WildWriteInFree,
        Self::Endless,
        Self::EndlessInFree,
        Self::Panic,
        Self::PanicInFree,
        Self::Overflow,
        Self::Segfault,
        Self::Bus,
        Self::Illegal,
        Self::Abort,
        Self::Recursion,
        Self::Exit,
        Self::NeverServes,
        Self::InjectsEveryRefusal,
        Self::Leak,
        Self::LongLinks,
    ];

    fn chosen() -> Option<Self> {
        let name = env::var(VARIABLE).ok()?;
        let mut all = Self::ALL.into_iter().chain([Self::LongerLinks]);
        let found = all.find(|fault| format!("{fault:?}") == name);
        Some(found.expect("a fault that there is"))
    }

    fn is_of_frees(self) -> bool {
        matches!(
            self,
            Self::WildWriteInFree | Self::EndlessInFree | Self::PanicInFree
        )
    }
}

/// An engine with a fault, or none.
pub(super) struct Wrong<E> {
    engine: E,
    fault: Option<EngineFault>,
    allocations: AtomicU64,
    frees: AtomicU64,
    /// The live blocks, the last one that was allocated at the end.
    live: Mutex<Vec<(Block, Layout)>>,
    /// The end of the last region.
    end: Mutex<Option<NonNull<u8>>>,
}

// SAFETY: The end of a region is a number here, and nobody reads what is there.
unsafe impl<E: Sync> Sync for Wrong<E> {}

// SAFETY: As for `Sync`.
unsafe impl<E: Send> Send for Wrong<E> {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn for_ever() -> ! {
    loop {
        thread::sleep(Duration::from_millis(10));
    }
}

fn call_itself(depth: u64) -> u64 {
    let here = black_box([depth; 512]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    call_itself(depth + 1) + black_box(here)[7]
}

impl<E: Engine> Wrong<E> {
    pub(super) fn new(engine: E) -> Self {
        Self {
            engine,
            fault: EngineFault::chosen(),
            allocations: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            live: Mutex::default(),
            end: Mutex::default(),
        }
    }

    /// Writes into a live block, and says whether there is one.
    fn write_wildly(&self) -> bool {
        let last = lock(&self.live).last().copied();
        if let Some((block, layout)) = last {
            // SAFETY: The block is live and has so many bytes; that it is not ours is the fault.
            unsafe { block.start.write_bytes(0x42, layout.size().min(64)) };
        }
        last.is_some()
    }

    /// Does what is wrong in an allocation.
    fn allocate_wrongly(
        &self,
        fault: EngineFault,
        layout: Layout,
    ) -> Option<Result<Block, Refusal>> {
        match fault {
            EngineFault::Overlap => {
                let (block, live) = lock(&self.live).last().copied()?;
                return (live.size() >= layout.size()).then_some(Ok(block));
            }
            EngineFault::OutOfPool => {
                let start = (*lock(&self.end))?;
                return Some(Ok(Block { start }));
            }
            EngineFault::WildWrite => {
                self.write_wildly();
            }
            EngineFault::Endless => for_ever(),
            EngineFault::Panic => panic!("this engine is not finished"),
            EngineFault::Overflow => {
                black_box(black_box(usize::MAX) + layout.size());
            }
            EngineFault::Segfault => {
                // SAFETY: There is nothing at address 0, which is the fault.
                black_box(unsafe { black_box(ptr::null::<u8>()).read_volatile() });
            }
            // SAFETY: It kills the process, which is the fault.
            EngineFault::Bus => drop(unsafe { libc::raise(libc::SIGBUS) }),
            // SAFETY: As above.
            EngineFault::Illegal => drop(unsafe { libc::raise(libc::SIGILL) }),
            EngineFault::Abort => std::process::abort(),
            EngineFault::Recursion => {
                black_box(call_itself(0));
            }
            EngineFault::Exit => std::process::exit(0),
            EngineFault::NeverServes => return Some(Err(Refusal::Exhausted)),
            EngineFault::InjectsEveryRefusal => return Some(Err(Refusal::Injected)),
            _ => {}
        }
        None
    }

    /// Does what is wrong in a free.
    fn free_wrongly(&self, fault: EngineFault) {
        match fault {
            EngineFault::WildWriteInFree => {
                self.write_wildly();
            }
            EngineFault::EndlessInFree => for_ever(),
            EngineFault::PanicInFree => panic!("this engine cannot free"),
            _ => {}
        }
    }
}

// SAFETY: It is not, with a fault: that is what tests are about, in processes of their own.
unsafe impl<E: Engine> Engine for Wrong<E> {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.engine.capabilities();
        if self.fault == Some(EngineFault::LongerLinks) {
            capabilities.free_block_bytes = 128;
        }
        capabilities
    }

    fn usable_size(&self, layout: Layout) -> usize {
        self.engine.usable_size(layout)
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn offset(&self, byte: NonNull<u8>) -> Option<Offset> {
        let offset = self.engine.offset(byte);
        match self.fault {
            Some(EngineFault::OutOfPool) if *lock(&self.end) == Some(byte) => {
                Some(Offset::new(0, 1 << 40))
            }
            Some(EngineFault::WrongOffset) if self.allocations.load(Relaxed) > FIRST => {
                offset.map(|offset| Offset::new(offset.region(), offset.byte() ^ 0x1_0000))
            }
            _ => offset,
        }
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        let Some(fault) = self.fault else {
            return self.engine.allocate(layout, cost);
        };
        let number = self.allocations.fetch_add(1, Relaxed);
        let is_wrong = match fault {
            EngineFault::NeverServes | EngineFault::InjectsEveryRefusal => true,
            _ => number >= FIRST && !fault.is_of_frees(),
        };
        if is_wrong && let Some(answer) = self.allocate_wrongly(fault, layout) {
            return answer;
        }
        let block = self.engine.allocate(layout, cost)?;
        lock(&self.live).push((block, layout));
        Ok(block)
    }

    fn try_allocate_fast(&self, layout: Layout) -> Option<Allocated> {
        if self.fault.is_some() {
            return None;
        }
        self.engine.try_allocate_fast(layout)
    }

    unsafe fn try_free_fast(&self, block: Block, layout: Layout) -> Option<Cost> {
        if self.fault.is_some() {
            return None;
        }
        // SAFETY: By this function's contract.
        unsafe { self.engine.try_free_fast(block, layout) }
    }

    unsafe fn free(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        if let Some(fault) = self.fault {
            let number = self.frees.fetch_add(1, Relaxed);
            lock(&self.live).retain(|(live, _)| live.start != block.start);
            if number >= FIRST {
                self.free_wrongly(fault);
            }
            match fault {
                EngineFault::Leak => return Ok(()),
                EngineFault::LongLinks | EngineFault::LongerLinks => {
                    let bytes = layout.size().min(if fault == EngineFault::LongLinks {
                        32
                    } else {
                        128
                    });
                    // SAFETY: By this function's contract the block is ours to write.
                    unsafe { block.start.write_bytes(0x42, bytes) };
                }
                _ => {}
            }
        }
        // SAFETY: By this function's contract.
        unsafe { self.engine.free(block, layout, cost) }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.engine.fits_in_place(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        // SAFETY: By this function's contract.
        unsafe { self.engine.resize(block, layout, new, cost) }
    }

    fn interfaces(&self) -> Interfaces<'_> {
        Interfaces {
            add_region: Some(self),
            ..self.engine.interfaces()
        }
    }
}

impl<E: Engine> AddRegion for Wrong<E> {
    fn table_bytes(&self, bytes: usize) -> usize {
        let engine = self.engine.interfaces().add_region;
        engine.map_or(0, |engine| engine.table_bytes(bytes))
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        let engine = self.engine.interfaces().add_region;
        let engine = engine.ok_or(RegionError::NoPool)?;
        // SAFETY: The region has so many bytes, by this function's contract.
        *lock(&self.end) = Some(unsafe { start.add(bytes) });
        // SAFETY: By this function's contract.
        unsafe { engine.add_region(start, bytes, table) }
    }
}
