// SPDX-License-Identifier: GPL-2.0

//! Pools: an engine and its memory.

// Lock order: `Pool::backing` (a mutex), then the engine's lock: a spinlock, or a mutex for `seed`, whose
// frees search lists. No memory is allocated and no user memory is touched under either lock.

use core::ops::Deref;

use kernel::{
    new_mutex,
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
    Engine,
    region::{
        REGIONS_MAX,
        RegionError, //
    },
    seed::MIN_HEAP_SIZE, //
};

use crate::{
    budget::{
        Budget,
        Lease, //
    },
    engines::{
        AnyEngine,
        EngineKind,
        engine_bytes, //
    },
    pieces::Pieces,
    vmalloc::{
        self,
        VmallocMemory, //
    }, //
};

/// The unit of the size of a region, in bytes.
pub(crate) const REGION_UNIT: usize = MIN_HEAP_SIZE;

/// The maximum size of a region, in bytes.
pub(crate) const REGION_BYTES_MAX: usize = 4 << 30;

/// Returns the bytes of a pool without its regions: the structures of the pool and of the engine.
fn fixed_bytes(kind: EngineKind, pool_bytes: usize, debug: bool) -> usize {
    let regions = vmalloc::kmalloc_bytes(REGIONS_MAX * size_of::<Region>());
    let structures = vmalloc::kmalloc_bytes(size_of::<Pool>()) + Pieces::fixed_bytes();
    structures + regions + engine_bytes(kind, pool_bytes, debug)
}

/// Reserves `bytes` bytes of a budget, if there is one.
///
/// # Errors
///
/// [`EDQUOT`] when less than `bytes` is left in the budget.
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
    // The lease is dropped after the memory, so the budget never counts less memory than is allocated.
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
    /// The metadata that the engine requests later.
    pieces: Arc<Pieces>,
    /// The sum of the bytes of the leases of the structures and regions.
    charge: Atomic<usize>,
    /// The regions; the vector has capacity for [`REGIONS_MAX`].
    #[pin]
    backing: Mutex<KVec<Region>>,
    /// The lease is the last field, so that it is dropped after the memory: the budget never counts less memory
    /// than is allocated.
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
    /// Creates a pool of `bytes` bytes. If there is a `budget`, the memory of the pool is charged to it before the
    /// memory is allocated. `debug` selects debug mode.
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
        let pieces = Pieces::new(budget)?;
        let backing = KVec::with_capacity(REGIONS_MAX, GFP_KERNEL_ACCOUNT)?;
        // INVARIANT: The engine has no regions, and `backing` is empty.
        let pool = Arc::pin_init(
            try_pin_init!(Pool {
                engine <- AnyEngine::init(kind, bytes, pieces.clone(), debug),
                kind,
                regions: Atomic::new(0),
                pieces,
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
        self.charge.load(Relaxed) + self.pieces.charge()
    }

    /// Adds a region of `bytes` bytes. The region and its metadata are charged to `budget`, if there is
    /// one.
    ///
    /// `write_early` is called with the region's number and the new size of the pool before the region is
    /// added; if `write_early` fails, the region is not added. If another caller adds a region at the same time,
    /// `write_early` is called again. The call takes O(metadata bytes), because the metadata is zeroed.
    ///
    /// # Errors
    ///
    /// [`EOPNOTSUPP`] for an engine without a pool, [`EINVAL`] for a size that is not a multiple of
    /// [`REGION_UNIT`] up to [`REGION_BYTES_MAX`], [`ENOSPC`] when there are [`REGIONS_MAX`] regions,
    /// [`EDQUOT`], [`ENOMEM`], and the errors of `write_early`. An error leaves the pool unchanged.
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
            // The region is stored before the engine gets it, because no step may fail afterwards. The push does
            // not fail, because the vector has capacity.
            if let Some(region) = region.take() {
                regions.push(region, GFP_KERNEL_ACCOUNT)?;
            }
            // SAFETY: `add_region` requires exclusive memory and zeroed, aligned metadata, both valid until
            // the engine is dropped. Memory and metadata were just allocated, with provenance for their whole
            // length. By the type invariant `backing` keeps both until `engine`, an earlier field, was dropped.
            // The metadata is zeroed and page-aligned.
            let added = unsafe { engine.add_region(start, bytes, table_start) };
            if let Err(error) = added {
                // INVARIANT: The engine refused this region, so the region is removed from `backing`.
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
    /// [`ENOSPC`] when there are [`REGIONS_MAX`] regions.
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
