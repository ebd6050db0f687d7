// SPDX-License-Identifier: GPL-2.0

//! Pools: an engine, and the memory that it manages.

// Lock order: `Pool::backing` (a mutex), then the engine's own lock (a spinlock). Under the mutex
// memory is allocated, and user memory touched (SLABLAB_EXTEND's reply), so nothing but extending a
// pool takes it, and never the mmap hook. Under the engine's lock neither happens.

use core::ops::Deref;

use kernel::{
    current,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        Mutex,
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
        Cache,
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
use crate::shadowed::Shadowed;
use crate::{
    budget::{
        Budget,
        Lease, //
    },
    cpus::Cpus,
    lock::BoxedSpinLock,
    memory::Memory,
    slub::Slub, //
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
type Shadowed<E> = E;

/// Has KASAN told what is free in the pool of `engine`, which has no memory yet.
fn shadowed<E: Engine>(engine: E) -> Shadowed<E> {
    #[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
    return Shadowed::new(engine);
    #[cfg(not(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC)))]
    engine
}

type SeedEngine = Seed<BoxedSpinLock<seed::State>>;
type HybridEngine = Hybrid<BoxedSpinLock<hybrid::State>, Cpus<Cache>>;

/// An engine in debug mode. It finds stray writes itself; KASAN is told what is free in the pool, so
/// that it reports reads.
pub(crate) type Guarded = Guard<Shadowed<PoolEngine>, BoxedSpinLock<guard::State>, Current>;

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
        Seed(Shadowed<SeedEngine>),
        /// The seed's two tiers without its weaknesses.
        Hybrid(Shadowed<HybridEngine>),
        /// Linux's own.
        Slub(Slub),
        /// One of the first two, in debug mode.
        Guarded(Guarded),
    }
}

/// The process that runs, by its number in its own namespace.
pub(crate) struct Current;

impl Caller for Current {
    fn pid(&self) -> u32 {
        current!().tgid_nr_ns(None) as u32
    }

    #[cfg(all(CONFIG_KASAN_GENERIC, CONFIG_KASAN_VMALLOC))]
    fn reading_free<R>(&self, work: impl FnOnce() -> R) -> R {
        crate::shadowed::unchecked(work)
    }
}

impl AnyEngine {
    /// Makes an engine without memory, or one of `bytes` bytes if it has no pool.
    fn new(kind: EngineKind, bytes: usize) -> Result<Self> {
        Ok(match kind {
            EngineKind::Seed => Self::Seed(shadowed(seed()?)),
            EngineKind::Hybrid => Self::Hybrid(shadowed(hybrid()?)),
            EngineKind::Slub => Self::Slub(Slub::new(bytes)?),
        })
    }

    /// Makes an engine in debug mode, without memory.
    fn guarded(kind: EngineKind) -> Result<Self> {
        let engine = match kind {
            EngineKind::Seed => PoolEngine::Seed(seed()?),
            EngineKind::Hybrid => PoolEngine::Hybrid(hybrid()?),
            EngineKind::Slub => return Err(EOPNOTSUPP),
        };
        let engine = shadowed(engine);
        if !guard::supports(&engine) {
            return Err(EOPNOTSUPP);
        }
        let state = BoxedSpinLock::new(new_spinlock!(guard::State::new(), "slablab_guard"))?;
        Ok(Self::Guarded(Guard::new(engine, state, Current)))
    }

    /// Returns the engine's debug mode, if it is in that.
    pub(crate) fn debug(&self) -> Option<&Guarded> {
        match self {
            Self::Guarded(guarded) => Some(guarded),
            _ => None,
        }
    }
}

fn seed() -> Result<SeedEngine> {
    let state = BoxedSpinLock::new(new_spinlock!(seed::State::new(), "slablab_seed"))?;
    Ok(Seed::new(state))
}

fn hybrid() -> Result<HybridEngine> {
    let state = BoxedSpinLock::new(new_spinlock!(hybrid::State::new(), "slablab_hybrid"))?;
    Ok(Hybrid::new(state, Cpus::new()?))
}

/// A region's memory, and what it takes of the budget that the pool is charged to.
struct Region {
    _memory: Memory,
    _table: Memory,
    _lease: Option<Lease>,
}

/// The regions of a pool, and the budget that they are charged to if there is one.
struct Backing {
    regions: [Option<Region>; REGIONS_MAX],
    budget: Option<Arc<Budget>>,
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
    #[pin]
    backing: Mutex<Backing>,
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
    /// Makes a pool of `bytes` bytes, charged to `budget` if there is one; `debug` says whether it is
    /// in debug mode.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] when the budget has not as much left, [`ENOMEM`], [`EINVAL`] for a size that the
    /// engine cannot manage.
    pub(crate) fn new(
        kind: EngineKind,
        bytes: usize,
        budget: Option<Arc<Budget>>,
        debug: bool,
    ) -> Result<Self> {
        let engine = if debug {
            AnyEngine::guarded(kind)?
        } else {
            AnyEngine::new(kind, bytes)?
        };
        // INVARIANT: The engine has no memory, and there is none.
        let backing = Backing {
            regions: [const { None }; REGIONS_MAX],
            budget,
        };
        let pool = Arc::pin_init(
            pin_init!(Pool {
                kind,
                engine,
                regions: Atomic::new(0),
                backing <- new_mutex!(backing, "slablab_backing"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        if pool.engine.capabilities().pool {
            pool.extend(bytes, |_, _| Ok(()))?;
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

    /// Returns what a region of `bytes` bytes counts for: in debug mode, also for its records.
    fn charge(&self, bytes: usize) -> usize {
        let records = self
            .engine
            .debug()
            .map_or(0, |_| self.engine.table_bytes(bytes));
        bytes.saturating_add(records)
    }

    /// Adds a region of `bytes` bytes.
    ///
    /// `announce` is told the region's number and the pool's bytes before either counts, and if it
    /// fails they never do.
    ///
    /// # Errors
    ///
    /// [`EOPNOTSUPP`] without a pool, [`EINVAL`] for a size that is not a multiple of
    /// [`REGION_UNIT`] up to [`REGION_BYTES_MAX`], [`ENOSPC`] when there are [`REGIONS_MAX`],
    /// [`EDQUOT`], [`ENOMEM`], and what `announce` says. The pool is then as before.
    pub(crate) fn extend(
        &self,
        bytes: usize,
        announce: impl FnOnce(u32, usize) -> Result,
    ) -> Result {
        if !self.engine.capabilities().pool {
            return Err(EOPNOTSUPP);
        }
        if bytes == 0 || bytes % REGION_UNIT != 0 {
            return Err(EINVAL);
        }
        let mut backing = self.backing.lock();
        let Backing { regions, budget } = &mut *backing;
        let number = regions.iter().flatten().count();
        let slot = regions.get_mut(number).ok_or(ENOSPC)?;
        let lease = match budget {
            Some(budget) => Some(Lease::new(budget, self.charge(bytes)).ok_or(EDQUOT)?),
            None => None,
        };
        if bytes > REGION_BYTES_MAX {
            return Err(EINVAL);
        }
        let memory = Memory::new(bytes)?;
        let table = Memory::zeroed(self.engine.table_bytes(bytes))?;
        announce(number as u32, self.engine.capacity() + bytes)?;
        let (start, table_start) = (memory.start(), table.start());
        // SAFETY: Memory and table are new, nobody else's, and stay as long as the engine (the type
        // invariant), whose field is dropped first; the table is zeros, and page-aligned.
        let added = unsafe { self.engine.add_region(start, memory.bytes(), table_start) };
        added.map_err(region_error)?;
        // INVARIANT: The engine has just got this memory.
        *slot = Some(Region {
            _memory: memory,
            _table: table,
            _lease: lease,
        });
        self.regions.store(number as u32 + 1, Relaxed);
        Ok(())
    }
}

/// Returns the error number for a region that an engine does not take.
fn region_error(error: RegionError) -> Error {
    match error {
        RegionError::NoPool => EOPNOTSUPP,
        RegionError::TooMany => ENOSPC,
        RegionError::Misaligned
        | RegionError::BadLength
        | RegionError::Overflow
        | RegionError::Overlap => EINVAL,
    }
}
