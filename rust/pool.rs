// SPDX-License-Identifier: GPL-2.0

//! Pools: an engine and its memory.

// Lock order: `Pool::backing` (a mutex), then the engine's lock: a spinlock, or a mutex for `seed`, whose
// frees search lists. No memory is allocated and no user memory is touched under either.

use core::{
    mem::MaybeUninit,
    ops::Deref, //
};

use kernel::{
    bindings,
    current,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SpinLock,
        atomic::{
            Atomic,
            Relaxed, //
        }, //
    }, //
};
use slab_heap::{
    Engine,
    debug::{
        self,
        Caller,
        DebugMode, //
    },
    engine_enum,
    hybrid::{
        self,
        CacheSize,
        Hybrid, //
    },
    region::{
        REGIONS_MAX,
        RegionError, //
    },
    seed::{
        self,
        MIN_HEAP_SIZE,
        Seed, //
    },
};

#[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
pub(crate) use crate::kasan::KasanEngine;
use crate::{
    budget::{
        Budget,
        Lease, //
    },
    cpu_caches::CpuCaches,
    lock::{
        BoxedMutex,
        BoxedSpinLock, //
    },
    signals,
    slub::Slub,
    vmalloc::{
        self,
        VmallocMemory, //
    }, //
};

/// The size of a region is a multiple of this.
pub(crate) const REGION_UNIT: usize = MIN_HEAP_SIZE;

/// The most bytes of a region.
pub(crate) const REGION_BYTES_MAX: usize = 4 << 30;

/// The kinds of engines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    /// The design of `docs/seed-design.md`: `Slab<N>`s over `buddy_system_allocator`.
    Seed,
    /// Size classes and per-CPU magazines over a buddy system; all metadata is outside the pool.
    Hybrid,
    /// Linux's kvmalloc.
    Slub,
}

impl EngineKind {
    /// All kinds of engines.
    pub(crate) const ALL: [Self; 3] = [Self::Seed, Self::Hybrid, Self::Slub];

    /// Returns the name of the engine in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Hybrid => "hybrid",
            Self::Slub => "slub",
        }
    }
}

/// Without KASAN for vmalloc memory an engine needs no adapter.
#[cfg(not(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC)))]
pub(crate) type KasanEngine<E> = E;

/// Wraps `engine`, which has no regions yet, so that KASAN knows which memory of the pool is free.
fn with_kasan<E: Engine>(engine: E) -> KasanEngine<E> {
    #[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
    return KasanEngine::new(engine);
    #[cfg(not(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC)))]
    engine
}

/// `seed` with a mutex: its frees search all free blocks of their size, and the scheduler must be able
/// to preempt them.
type SeedEngine = Seed<BoxedMutex<seed::State>>;
pub(crate) type HybridEngine = Hybrid<BoxedSpinLock<hybrid::State>, CpuCaches>;

/// An engine in debug mode. Debug mode detects stray writes itself; KASAN detects stray reads.
pub(crate) type DebugModeEngine =
    DebugMode<KasanEngine<PoolEngine>, BoxedSpinLock<debug::State>, CurrentProcess>;

engine_enum! {
    /// An engine that has a pool.
    pub(crate) enum PoolEngine {
        /// The engine `seed`.
        Seed(SeedEngine),
        /// The engine `hybrid`.
        Hybrid(HybridEngine),
    }
}

engine_enum! {
    /// An engine of any kind; no other type distinguishes the kinds.
    // Each call compares the tag. A niche in the fields of the engines would take more instructions.
    #[repr(u8)]
    pub(crate) enum AnyEngine {
        /// The engine `seed`.
        Seed(KasanEngine<SeedEngine>),
        /// The engine `hybrid`.
        Hybrid(KasanEngine<HybridEngine>),
        /// The engine `slub`.
        Slub(Slub),
        /// `seed` or `hybrid` in debug mode.
        Debug(DebugModeEngine),
    }
}

/// Identifies the current process to debug mode, by its number in the initial pid namespace.
pub(crate) struct CurrentProcess;

impl Caller for CurrentProcess {
    fn pid(&self) -> u32 {
        current!().tgid() as u32
    }

    fn interrupted(&self) -> bool {
        signals::is_fatal_pending()
    }

    #[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
    fn reading_free<R>(&self, work: impl FnOnce() -> R) -> R {
        crate::kasan::unchecked(work)
    }
}

impl AnyEngine {
    /// Initialises an engine without regions, or with a limit of `bytes` bytes if it has no pool;
    /// `debug` selects debug mode.
    ///
    /// The engine is initialised in place, because it is too large for the stack.
    fn init(kind: EngineKind, bytes: usize, debug: bool) -> impl Init<Self, Error> {
        let init = move |slot: *mut Self| {
            // SAFETY: By the contract of `init_from_closure` the slot is valid for writes and not aliased.
            let slot = unsafe { &mut *slot.cast::<MaybeUninit<Self>>() };
            match (kind, debug) {
                (EngineKind::Seed, false) => write_seed(slot),
                (EngineKind::Hybrid, false) => write_hybrid(slot, bytes),
                (EngineKind::Slub, false) => {
                    slot.write(Self::Slub(Slub::new(bytes)?));
                    Ok(())
                }
                (EngineKind::Seed, true) => write_debug(slot, PoolEngine::Seed(seed()?)),
                (EngineKind::Hybrid, true) => write_debug(slot, PoolEngine::Hybrid(hybrid(bytes)?)),
                (EngineKind::Slub, true) => Err(EOPNOTSUPP),
            }
        };
        // SAFETY: The closure has initialised the slot when it returns `Ok`. The functions that write an
        // engine fail before they write, so the slot is uninitialised when it returns an error.
        unsafe { pin_init::init_from_closure(init) }
    }

    /// Returns the engine `hybrid`, unless the engine is another one or in debug mode.
    #[inline(always)]
    pub(crate) fn hybrid(&self) -> Option<&KasanEngine<HybridEngine>> {
        match self {
            Self::Hybrid(engine) => Some(engine),
            _ => None,
        }
    }

    /// Returns the debug mode, if the engine is in debug mode.
    pub(crate) fn debug(&self) -> Option<&DebugModeEngine> {
        match self {
            Self::Debug(engine) => Some(engine),
            _ => None,
        }
    }
}

/// Creates a `seed` without regions.
fn seed() -> Result<SeedEngine> {
    let state = init_from_constant(|| const { seed::State::new() });
    let state = BoxedMutex::new(new_mutex!(state, "slablab_seed"))?;
    Ok(Seed::new(state))
}

/// Creates a `hybrid` without regions, whose CPU caches suit a pool of `pool_bytes` bytes.
fn hybrid(pool_bytes: usize) -> Result<HybridEngine> {
    let state = init_from_constant(|| const { hybrid::State::new() });
    let state = BoxedSpinLock::new(new_spinlock!(state, "slablab_hybrid"))?;
    Ok(Hybrid::new(
        state,
        CpuCaches::new(CacheSize::for_pool(pool_bytes))?,
    ))
}

// Each function writes an engine into its slot. An engine passes over the stack (about 700 bytes), and one
// function for all engines would have stack space for each.

/// Writes a `seed` into its slot.
#[inline(never)]
fn write_seed(slot: &mut MaybeUninit<AnyEngine>) -> Result {
    slot.write(AnyEngine::Seed(with_kasan(seed()?)));
    Ok(())
}

/// Writes a `hybrid` into its slot.
#[inline(never)]
fn write_hybrid(slot: &mut MaybeUninit<AnyEngine>, pool_bytes: usize) -> Result {
    slot.write(AnyEngine::Hybrid(with_kasan(hybrid(pool_bytes)?)));
    Ok(())
}

/// Writes an engine in debug mode into its slot.
#[inline(never)]
fn write_debug(slot: &mut MaybeUninit<AnyEngine>, engine: PoolEngine) -> Result {
    let engine = with_kasan(engine);
    if !debug::supports(&engine) {
        return Err(EOPNOTSUPP);
    }
    let state = init_from_constant(|| const { debug::State::new() });
    let state = BoxedSpinLock::new(new_spinlock!(state, "slablab_debug"))?;
    slot.write(AnyEngine::Debug(DebugMode::new(
        engine,
        state,
        CurrentProcess,
    )));
    Ok(())
}

/// Returns an initialiser that writes the constant returned by `value`.
///
/// The compiler copies the constant from read-only data into the slot, without a copy on the stack,
/// for which such a value is too large. `scripts/stack-frames.py` checks that.
pub(crate) fn init_from_constant<T>(value: impl FnOnce() -> T) -> impl Init<T> {
    let init = |slot: *mut T| {
        // SAFETY: By the contract of `init_from_closure` the slot is valid for writes.
        unsafe { slot.write(value()) };
        Ok(())
    };
    // SAFETY: The closure always initialises the slot and returns `Ok`.
    unsafe { pin_init::init_from_closure(init) }
}

/// Returns the number of possible CPUs.
pub(crate) fn possible_cpus() -> usize {
    // SAFETY: The variable is static and does not change after boot.
    unsafe { (&raw const bindings::__num_possible_cpus).read() as usize }
}

/// Returns the bytes of a pool without its regions: its structures, and the per-CPU caches.
fn fixed_bytes(kind: EngineKind, pool_bytes: usize, debug: bool) -> usize {
    let engine = match kind {
        EngineKind::Seed => vmalloc::kmalloc_bytes(size_of::<Mutex<seed::State>>()),
        EngineKind::Hybrid => {
            vmalloc::kmalloc_bytes(size_of::<SpinLock<hybrid::State>>())
                + CpuCaches::charge(CacheSize::for_pool(pool_bytes))
        }
        EngineKind::Slub => 0,
    };
    let debug_mode = if debug {
        vmalloc::kmalloc_bytes(size_of::<SpinLock<debug::State>>())
    } else {
        0
    };
    let regions = vmalloc::kmalloc_bytes(REGIONS_MAX * size_of::<Region>());
    vmalloc::kmalloc_bytes(size_of::<Pool>()) + regions + engine + debug_mode
}

/// Reserves `bytes` bytes of a budget, if there is one.
///
/// # Errors
///
/// [`EDQUOT`] when the budget has less left.
fn lease(budget: Option<&Arc<Budget>>, bytes: usize) -> Result<Option<Lease>> {
    match budget {
        Some(budget) => Ok(Some(Lease::new(budget, bytes).ok_or(EDQUOT)?)),
        None => Ok(None),
    }
}

/// The memory of a region and of its metadata, and their lease.
struct Region {
    _memory: VmallocMemory,
    _table: VmallocMemory,
    // Dropped last: the budget never counts less memory than there is.
    _lease: Option<Lease>,
}

/// An engine and its memory.
///
/// # Invariants
///
/// The engine's regions are the memory in `backing`, which nobody else uses. When the pool is dropped,
/// no block is live: every owner of a block has a reference to the pool.
#[pin_data]
pub(crate) struct Pool {
    kind: EngineKind,
    engine: AnyEngine,
    regions: Atomic<u32>,
    /// The bytes of all leases together.
    charge: Atomic<usize>,
    /// The regions; the vector has capacity for [`REGIONS_MAX`].
    #[pin]
    backing: Mutex<KVec<Region>>,
    /// Dropped last: the budget never counts less memory than there is.
    _lease: Option<Lease>,
}

/// A reference to a pool, which derefs to the pool's engine.
#[derive(Clone)]
pub(crate) struct PoolRef(Arc<Pool>);

impl Deref for PoolRef {
    type Target = AnyEngine;

    #[inline]
    fn deref(&self) -> &AnyEngine {
        &self.0.engine
    }
}

impl PoolRef {
    /// Creates a pool of `bytes` bytes. Its memory is charged to `budget`, if there is one, before it is
    /// allocated. `debug` selects debug mode.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] when the budget has too little left, [`ENOMEM`], [`EINVAL`] for a size that the
    /// engine does not support, [`EOPNOTSUPP`] for an engine without debug mode.
    pub(crate) fn new(
        kind: EngineKind,
        bytes: usize,
        budget: Option<&Arc<Budget>>,
        debug: bool,
    ) -> Result<Self> {
        let fixed_bytes = fixed_bytes(kind, bytes, debug);
        let lease = lease(budget, fixed_bytes)?;
        let charge = lease.as_ref().map_or(0, |_| fixed_bytes);
        vmalloc::ensure_available(fixed_bytes)?;
        let backing = KVec::with_capacity(REGIONS_MAX, GFP_KERNEL_ACCOUNT)?;
        // INVARIANT: The engine has no regions, and `backing` is empty.
        let pool = Arc::pin_init(
            try_pin_init!(Pool {
                engine <- AnyEngine::init(kind, bytes, debug),
                kind,
                regions: Atomic::new(0),
                charge: Atomic::new(charge),
                backing <- new_mutex!(backing, "slablab_backing"),
                _lease: lease,
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        if pool.engine.interfaces().add_region.is_some() {
            pool.extend(bytes, budget, |_, _| Ok(()))?;
        }
        Ok(Self(pool))
    }

    /// Returns the pool.
    pub(crate) fn pool(&self) -> &Pool {
        &self.0
    }
}

impl Pool {
    /// Returns the engine.
    pub(crate) fn engine(&self) -> &AnyEngine {
        &self.engine
    }

    /// Returns the kind of the engine.
    pub(crate) fn kind(&self) -> EngineKind {
        self.kind
    }

    /// Returns the number of regions.
    pub(crate) fn regions(&self) -> u32 {
        self.regions.load(Relaxed)
    }

    /// Returns the bytes that the pool's leases reserve.
    pub(crate) fn charge(&self) -> usize {
        self.charge.load(Relaxed)
    }

    /// Adds a region of `bytes` bytes. The region and its metadata are charged to `budget`, if there is
    /// one.
    ///
    /// `write_early` is called with the region's number and the new size of the pool before the region is
    /// added; if it fails, the region is not added. If another caller adds a region at the same time,
    /// `write_early` is called again. Takes O(metadata bytes), which are zeroed.
    ///
    /// # Errors
    ///
    /// [`EOPNOTSUPP`] without a pool, [`EINVAL`] for a size that is not a multiple of
    /// [`REGION_UNIT`] up to [`REGION_BYTES_MAX`], [`ENOSPC`] when there are [`REGIONS_MAX`],
    /// [`EDQUOT`], [`ENOMEM`], and the errors of `write_early`. The pool is unchanged then.
    pub(crate) fn extend(
        &self,
        bytes: usize,
        budget: Option<&Arc<Budget>>,
        mut write_early: impl FnMut(u32, usize) -> Result,
    ) -> Result {
        let engine = self.engine.interfaces().add_region.ok_or(EOPNOTSUPP)?;
        if bytes == 0 || bytes % REGION_UNIT != 0 {
            return Err(EINVAL);
        }
        self.next_region()?;
        let table_bytes = engine.table_bytes(bytes);
        let charge =
            VmallocMemory::charge(bytes).saturating_add(VmallocMemory::charge(table_bytes));
        let lease = lease(budget, charge)?;
        if bytes > REGION_BYTES_MAX {
            return Err(EINVAL);
        }
        let charge = lease.as_ref().map_or(0, |_| charge);
        let memory = VmallocMemory::new(bytes)?;
        let table = VmallocMemory::zeroed(table_bytes)?;
        let (start, table_start) = (memory.start(), table.start());
        let mut region = Some(Region {
            _memory: memory,
            _table: table,
            _lease: lease,
        });
        // The loop repeats only if another region was added, so it ends after at most `REGIONS_MAX` turns.
        loop {
            let (number, capacity) = self.next_region()?;
            write_early(number as u32, capacity + bytes)?;
            let mut regions = self.backing.lock();
            if regions.len() != number {
                continue;
            }
            // First, because nothing may fail once the engine has the memory. The vector has capacity.
            if let Some(region) = region.take() {
                regions.push(region, GFP_KERNEL_ACCOUNT)?;
            }
            // SAFETY: `add_region` requires exclusive memory and zeroed, aligned metadata, both valid until
            // the engine is dropped. Both were just allocated, with provenance for their whole length. By
            // the type invariant `backing` keeps them until `engine`, an earlier field, was dropped. The
            // metadata is zeroed and page-aligned.
            let added = unsafe { engine.add_region(start, bytes, table_start) };
            if let Err(error) = added {
                // INVARIANT: The engine refused this memory, so it leaves `backing`.
                let region = regions.pop();
                drop(regions);
                drop(region);
                return Err(region_error(error));
            }
            self.regions.store(number as u32 + 1, Relaxed);
            self.charge.fetch_add(charge, Relaxed);
            return Ok(());
        }
    }

    /// Returns the number of the next region, and the current size of the pool.
    ///
    /// # Errors
    ///
    /// [`ENOSPC`] when there are [`REGIONS_MAX`].
    fn next_region(&self) -> Result<(usize, usize)> {
        let regions = self.backing.lock();
        if regions.len() >= REGIONS_MAX {
            return Err(ENOSPC);
        }
        Ok((regions.len(), self.engine.capacity()))
    }
}

/// Returns the error number for a region that the engine refused.
fn region_error(error: RegionError) -> Error {
    match error {
        RegionError::NoPool => EOPNOTSUPP,
        RegionError::TooMany => ENOSPC,
        RegionError::Interrupted => EINTR,
        RegionError::Misaligned
        | RegionError::BadLength
        | RegionError::Overflow
        | RegionError::Overlap => EINVAL,
    }
}
