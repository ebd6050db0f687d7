// SPDX-License-Identifier: GPL-2.0

//! Engines that are faulty on purpose, to test the checkers.
//!
//! The environment variable [`VARIABLE`], which only test builds read, selects a fault for all engines of the
//! process. Without the variable the engines are unchanged.

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

/// The index, counted from 0, of the first faulty allocation or free. Some faults affect earlier ones, too.
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
    /// Panics because an addition overflows.
    Overflow,
    /// Reads address 0.
    Segfault,
    /// Raises SIGBUS.
    Bus,
    /// Raises SIGILL.
    Illegal,
    /// Aborts.
    Abort,
    /// Recurses until the stack overflows.
    Recursion,
    /// Ends the process with status 0.
    Exit,
    /// Refuses every request.
    NeverServes,
    /// Refuses every request, as if by fault injection.
    InjectsEveryRefusal,
    /// Ignores all frees.
    Leak,
    /// Writes four words into each free block, more than its capabilities declare.
    LongLinks,
    /// Writes 128 bytes into each free block, more than debug mode supports, and declares this in its
    /// capabilities.
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
        Some(found.expect("SLABLAB_TEST_FAULT must name an engine fault"))
    }

    fn is_of_frees(self) -> bool {
        matches!(
            self,
            Self::WildWriteInFree | Self::EndlessInFree | Self::PanicInFree
        )
    }
}

/// An engine with or without a fault.
pub(super) struct Wrong<E> {
    engine: E,
    fault: Option<EngineFault>,
    allocations: AtomicU64,
    frees: AtomicU64,
    /// The live blocks, in the order of their allocation.
    live: Mutex<Vec<(Block, Layout)>>,
    /// The end of the last region.
    end: Mutex<Option<NonNull<u8>>>,
}

// SAFETY: `E` is `Sync`, and the other fields are atomics, mutexes and constants. The pointer in `end` is the
// only field that is not `Send` by itself. It is used as an address and never dereferenced here.
unsafe impl<E: Sync> Sync for Wrong<E> {}

// SAFETY: `E` is `Send`. The pointer in `end` is the only other field that is not `Send` by itself. It is
// used as an address and never dereferenced here, so any thread may own it.
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

    /// Writes into the newest live block, and returns whether there is one.
    fn write_wildly(&self) -> bool {
        let last = lock(&self.live).last().copied();
        if let Some((block, layout)) = last {
            // SAFETY: The block is live and has at least `layout.size()` bytes, so the write stays in the
            // block. It races with the owner of the block on purpose: the checkers must find the overwritten
            // bytes, and only a test sets this fault.
            unsafe { block.start.write_bytes(0x42, layout.size().min(64)) };
        }
        last.is_some()
    }

    /// Executes the fault of an allocation. Returns the answer to the request, or `None` if the engine itself
    /// must answer.
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
                // SAFETY: `read_volatile` requires a valid pointer, and the null pointer breaks this
                // requirement on purpose. Nothing is mapped at address 0, so the read raises SIGSEGV, which
                // ends this test process.
                black_box(unsafe { black_box(ptr::null::<u8>()).read_volatile() });
            }
            // SAFETY: `raise` has no requirement for memory safety. The signal ends this test process on
            // purpose.
            EngineFault::Bus => drop(unsafe { libc::raise(libc::SIGBUS) }),
            // SAFETY: `raise` has no requirement for memory safety. The signal ends this test process on
            // purpose.
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

    /// Executes the fault of a free.
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

// SAFETY: Without a fault every method forwards to the inner engine, which is never replaced, so the blocks
// have the guarantees of `Engine`. A fault breaks these guarantees on purpose: blocks overlap, lie outside
// the pool, or are written by the engine. This is acceptable because only tests set a fault, in a process of
// its own, to see that the checkers report it.
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
        if is_wrong {
            if let Some(answer) = self.allocate_wrongly(fault, layout) {
                return answer;
            }
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
        // SAFETY: By this function's contract the block is a live block of the inner engine with this layout,
        // and nobody uses it any more.
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
                    // SAFETY: By this function's contract the block is live, has at least `layout.size()`
                    // bytes, and is used by nobody any more. `bytes` is at most `layout.size()`.
                    unsafe { block.start.write_bytes(0x42, bytes) };
                }
                _ => {}
            }
        }
        // SAFETY: By this function's contract the block is a live block of the inner engine with this layout,
        // and nobody uses it any more.
        unsafe { self.engine.free(block, layout, cost) }
    }

    fn fits_in_place(&self, layout: Layout, new: Layout) -> bool {
        self.engine.fits_in_place(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        // SAFETY: By this function's contract the block is a live block of the inner engine with this layout,
        // nobody uses it meanwhile, and `new` has the same alignment.
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
        // SAFETY: By this function's contract the region has `bytes` bytes, and the provenance of `start`
        // covers them, so the result is the end of the region.
        *lock(&self.end) = Some(unsafe { start.add(bytes) });
        // SAFETY: The caller promises about both ranges what the inner engine requires: they are valid, used
        // by nobody else until the engine is dropped, and covered by the provenance of the pointers, and the
        // table is zeroed, aligned to 8, and as long as the inner engine's `table_bytes` says.
        unsafe { engine.add_region(start, bytes, table) }
    }
}
