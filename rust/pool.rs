// SPDX-License-Identifier: GPL-2.0

//! Pools: an engine, and the memory that it manages.

// Lock order: `Pool::backing` (a mutex), then the engine's own lock: a spinlock, and a mutex for `seed`,
// whose frees search lists. VmallocMemory is allocated and user memory touched (SLABLAB_EXTEND's reply) under
// neither.

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
    Engine, engine_enum,
    guard::{
        self,
        Caller,
        Guard, //
    },
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
use crate::kasan::KasanEngine;
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
    slub::Slub, //
    vmalloc::{
        self,
        VmallocMemory, //
    },
};

/// What the bytes of a region are a multiple of.
pub(crate) const REGION_UNIT: usize = MIN_HEAP_SIZE;

/// The largest region.
pub(crate) const REGION_BYTES_MAX: usize = 4 << 30;

/// The engines that there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    /// The architecture document's.
    Seed,
    /// The seed's two tiers without its weaknesses.
    Hybrid,
    /// Linux's own.
    Slub,
}

impl EngineKind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Seed, Self::Hybrid, Self::Slub];

    /// Returns the name that people use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Hybrid => "hybrid",
            Self::Slub => "slub",
        }
    }
}

/// Without KASAN's shadow of vmalloc memory there is nobody to be told.
#[cfg(not(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC)))]
type KasanEngine<E> = E;

/// Has KASAN told what is free in the pool of `engine`, which has no memory yet.
fn with_kasan<E: Engine>(engine: E) -> KasanEngine<E> {
    #[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
    return KasanEngine::new(engine);
    #[cfg(not(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC)))]
    engine
}

/// The lock is one that sleeps: a free may search all free blocks of its size, during which others are
/// to run.
type SeedEngine = Seed<BoxedMutex<seed::State>>;
type HybridEngine = Hybrid<BoxedSpinLock<hybrid::State>, CpuCaches>;

/// An engine in debug mode. It finds stray writes itself; KASAN is told what is free in the pool, so
/// that it reports reads.
pub(crate) type DebugModeEngine =
    Guard<KasanEngine<PoolEngine>, BoxedSpinLock<guard::State>, CurrentProcess>;

engine_enum! {
    /// An engine that has a pool.
    pub(crate) enum PoolEngine {
        /// The architecture document's.
        Seed(SeedEngine),
        /// The seed's two tiers without its weaknesses.
        Hybrid(HybridEngine),
    }
}

engine_enum! {
    /// One engine of any kind there is: the only place that tells them apart.
    pub(crate) enum AnyEngine {
        /// The architecture document's.
        Seed(KasanEngine<SeedEngine>),
        /// The seed's two tiers without its weaknesses.
        Hybrid(KasanEngine<HybridEngine>),
        /// Linux's own.
        Slub(Slub),
        /// One of the first two, in debug mode.
        Debug(DebugModeEngine),
    }
}

/// The process that runs, by its number in the initial pid namespace.
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
    /// Makes an engine without memory, or one of `bytes` bytes if it has no pool; `debug` says whether
    /// it is in debug mode.
    ///
    /// It is made where it is to stay: an engine is too large for the stack.
    fn init(kind: EngineKind, bytes: usize, debug: bool) -> impl Init<Self, Error> {
        let init = move |slot: *mut Self| {
            // SAFETY: The slot is valid for writes, by the contract of `init_from_closure`.
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
        // SAFETY: The closure initialises the slot when it returns `Ok`, and leaves it alone when it
        // returns an error.
        unsafe { pin_init::init_from_closure(init) }
    }

    /// Returns the engine's debug mode, if it is in that.
    pub(crate) fn debug(&self) -> Option<&DebugModeEngine> {
        match self {
            Self::Debug(engine) => Some(engine),
            _ => None,
        }
    }
}

fn seed() -> Result<SeedEngine> {
    let state = init_from_constant(|| const { seed::State::new() });
    let state = BoxedMutex::new(new_mutex!(state, "slablab_seed"))?;
    Ok(Seed::new(state))
}

fn hybrid(pool_bytes: usize) -> Result<HybridEngine> {
    let state = init_from_constant(|| const { hybrid::State::new() });
    let state = BoxedSpinLock::new(new_spinlock!(state, "slablab_hybrid"))?;
    Ok(Hybrid::new(
        state,
        CpuCaches::new(CacheSize::for_pool(pool_bytes))?,
    ))
}

// Each of these puts an engine where it is to stay. They are functions of their own because an engine is
// on its way through the stack, some 700 bytes of it, which the frame of one function would have for each.

#[inline(never)]
fn write_seed(slot: &mut MaybeUninit<AnyEngine>) -> Result {
    slot.write(AnyEngine::Seed(with_kasan(seed()?)));
    Ok(())
}

#[inline(never)]
fn write_hybrid(slot: &mut MaybeUninit<AnyEngine>, pool_bytes: usize) -> Result {
    slot.write(AnyEngine::Hybrid(with_kasan(hybrid(pool_bytes)?)));
    Ok(())
}

/// Puts an engine in debug mode there.
#[inline(never)]
fn write_debug(slot: &mut MaybeUninit<AnyEngine>, engine: PoolEngine) -> Result {
    let engine = with_kasan(engine);
    if !guard::supports(&engine) {
        return Err(EOPNOTSUPP);
    }
    let state = init_from_constant(|| const { guard::State::new() });
    let state = BoxedSpinLock::new(new_spinlock!(state, "slablab_guard"))?;
    slot.write(AnyEngine::Debug(Guard::new(engine, state, CurrentProcess)));
    Ok(())
}

/// Writes what `value` returns, a constant, to where it is to stay.
///
/// The compiler copies it there from the module's constants: there is no copy on the stack, for which
/// such a value is too large. `scripts/stack-frames.py` checks that.
pub(crate) fn init_from_constant<T>(value: impl FnOnce() -> T) -> impl Init<T> {
    let init = |slot: *mut T| {
        // SAFETY: The slot is valid for writes, by the contract of `init_from_closure`.
        unsafe { slot.write(value()) };
        Ok(())
    };
    // SAFETY: The closure initialises the slot.
    unsafe { pin_init::init_from_closure(init) }
}

/// Returns how many CPUs there may be.
pub(crate) fn possible_cpus() -> usize {
    // SAFETY: The number is there as long as the kernel, and does not change once it has booted.
    unsafe { (&raw const bindings::__num_possible_cpus).read() as usize }
}

/// Returns the bytes that a pool takes beside its regions: for its structures, and for what CPUs keep.
fn fixed_bytes(kind: EngineKind, pool_bytes: usize, debug: bool) -> usize {
    let engine = match kind {
        EngineKind::Seed => vmalloc::kmalloc_bytes(size_of::<Mutex<seed::State>>()),
        EngineKind::Hybrid => {
            vmalloc::kmalloc_bytes(size_of::<SpinLock<hybrid::State>>())
                + CpuCaches::charge(CacheSize::for_pool(pool_bytes))
        }
        EngineKind::Slub => 0,
    };
    let guard = if debug {
        vmalloc::kmalloc_bytes(size_of::<SpinLock<guard::State>>())
    } else {
        0
    };
    let regions = vmalloc::kmalloc_bytes(REGIONS_MAX * size_of::<Region>());
    vmalloc::kmalloc_bytes(size_of::<Pool>()) + regions + engine + guard
}

/// Takes `bytes` bytes of a budget, if there is one.
///
/// # Errors
///
/// [`EDQUOT`].
fn lease(budget: Option<&Arc<Budget>>, bytes: usize) -> Result<Option<Lease>> {
    match budget {
        Some(budget) => Ok(Some(Lease::new(budget, bytes).ok_or(EDQUOT)?)),
        None => Ok(None),
    }
}

/// A region's memory, and what it takes of a budget.
struct Region {
    _memory: VmallocMemory,
    _table: VmallocMemory,
    // Dropped last: what is counted is never less than what is there.
    _lease: Option<Lease>,
}

/// An engine and its memory.
///
/// # Invariants
///
/// `engine` has the memory in `backing`, which nobody else uses. No block is out when the pool is
/// dropped: whoever has blocks has a reference to the pool.
#[pin_data]
pub(crate) struct Pool {
    kind: EngineKind,
    engine: AnyEngine,
    regions: Atomic<u32>,
    /// The bytes of all leases.
    charge: Atomic<usize>,
    /// The regions, of which there is room for [`REGIONS_MAX`].
    #[pin]
    backing: Mutex<KVec<Region>>,
    /// Dropped last, as that of a region.
    _lease: Option<Lease>,
}

/// A reference to a pool that leads to its engine.
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
    /// Makes a pool of `bytes` bytes. All that it takes is charged to `budget`, if there is one, before
    /// it is taken; `debug` says whether the pool is in debug mode.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] when the budget has not as much left, [`ENOMEM`], [`EINVAL`] for a size that the
    /// engine cannot manage.
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
        // INVARIANT: The engine has no memory, and there is none.
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
        if pool.engine.capabilities().pool {
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

    /// Returns which engine this is.
    pub(crate) fn kind(&self) -> EngineKind {
        self.kind
    }

    /// Returns the number of regions.
    pub(crate) fn regions(&self) -> u32 {
        self.regions.load(Relaxed)
    }

    /// Returns the bytes that the pool takes of budgets.
    pub(crate) fn charge(&self) -> usize {
        self.charge.load(Relaxed)
    }

    /// Adds a region of `bytes` bytes. It and its table are charged to `budget`, if there is one.
    ///
    /// `write_early` is told the region's number and the pool's bytes before either counts, and if it
    /// fails they never do. Where another caller adds a region meanwhile, `write_early` is called again.
    ///
    /// # Errors
    ///
    /// [`EOPNOTSUPP`] without a pool, [`EINVAL`] for a size that is not a multiple of
    /// [`REGION_UNIT`] up to [`REGION_BYTES_MAX`], [`ENOSPC`] when there are [`REGIONS_MAX`],
    /// [`EDQUOT`], [`ENOMEM`], and what `write_early` says. The pool is then as before.
    pub(crate) fn extend(
        &self,
        bytes: usize,
        budget: Option<&Arc<Budget>>,
        mut write_early: impl FnMut(u32, usize) -> Result,
    ) -> Result {
        if !self.engine.capabilities().pool {
            return Err(EOPNOTSUPP);
        }
        if bytes == 0 || bytes % REGION_UNIT != 0 {
            return Err(EINVAL);
        }
        self.next_region()?;
        let table_bytes = self.engine.table_bytes(bytes);
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
        // Each turn but the last another region was added, so there are at most `REGIONS_MAX`.
        loop {
            let (number, capacity) = self.next_region()?;
            write_early(number as u32, capacity + bytes)?;
            let mut regions = self.backing.lock();
            if regions.len() != number {
                continue;
            }
            // Before the engine has the memory, which must not fail afterwards. There is room.
            if let Some(region) = region.take() {
                regions.push(region, GFP_KERNEL_ACCOUNT)?;
            }
            // SAFETY: Memory and table are new, nobody else's, and stay as long as the engine (the
            // type invariant), whose field is dropped first; the table is zeros, and page-aligned.
            let added = unsafe { self.engine.add_region(start, bytes, table_start) };
            if let Err(error) = added {
                // INVARIANT: The engine does not have this memory.
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

    /// Returns the number of the next region, and the pool's bytes without it.
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

/// Returns the error number for a region that an engine does not take.
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
