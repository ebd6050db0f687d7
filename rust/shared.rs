// SPDX-License-Identifier: GPL-2.0

//! The state that all open files share: pools, quota and budgets.
//!
//! A `MiscDeviceRegistration` carries no data, so the state is in a global variable. The variable is set before
//! the device is registered and cleared after the device is deregistered. Every open file has its own reference
//! to the state.

// Lock order: the mutex `SHARED` is taken when a file is opened (under the kernel's `misc_mtx`), and when the
// module is loaded and unloaded. Nothing is locked, allocated or dropped under `SHARED`.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        global_lock, //
    }, //
};
use slab_session::Quota;

use crate::{
    budget::{
        Budget,
        Lease, //
    },
    engines::EngineKind,
    parameters::Parameters,
    pool::PoolRef,
    session_platform::{
        KernelPlatform,
        Ring, //
    },
    uapi::SLABLAB_EVENTS_MAX,
};

global_lock! {
    // SAFETY: The module calls `init` before anything else in this file.
    unsafe(uninit) static SHARED: Mutex<Option<Arc<Shared>>> = None;
}

/// Initialises the global lock.
///
/// # Safety
///
/// The function must be called once, before anything else in this file.
pub(crate) unsafe fn init() {
    // SAFETY: By this function's contract this is the only call, and nobody has used the lock yet.
    unsafe { SHARED.init() };
}

/// The engine of a session whose program did not choose one.
pub(crate) const DEFAULT_ENGINE: EngineKind = EngineKind::Hybrid;

/// The shared pools, the quota of each session, and the budgets of all open files.
pub(crate) struct Shared {
    /// The shared pools, in the order of [`EngineKind::ALL`].
    pools: KVec<PoolRef>,
    quota: Quota,
    private_bytes: Arc<Budget>,
    /// Bytes of all sessions' handle tables.
    tables: Arc<Budget>,
    /// Bytes of event rings: the part of each ring up to the size of the smallest ring.
    small_rings: Arc<Budget>,
    /// Bytes of event rings: the part of each ring beyond the size of the smallest ring.
    large_rings: Arc<Budget>,
    sessions: Arc<Budget>,
}

/// The number of tables of the largest size in the budget of tables.
const LARGEST_TABLES: usize = 4;

/// Entries of the smallest table. The budget of tables also contains one smallest table per session.
const SMALLEST_TABLE: usize = 1024;

/// The number of rings of the largest size in the budget of large rings.
const LARGEST_RINGS: usize = 16;

/// Events of the smallest ring. The budget of small rings contains one smallest ring per session.
const SMALLEST_RING: usize = 1024;

/// Keeps the shared state reachable for new files; dropping the guard clears the global variable.
pub(crate) struct SharedGuard(());

impl Shared {
    /// Creates the shared pools and makes the state reachable.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] when there is no memory for a pool; a line in the kernel log names the size.
    pub(crate) fn install(parameters: &Parameters) -> Result<SharedGuard> {
        let pool = |kind: EngineKind| {
            // The shared pools are charged to no budget, because root chooses their size when it loads the module.
            PoolRef::new(kind, parameters.pool_bytes, None, false).inspect_err(|error| {
                pr_err!(
                    "cannot allocate a pool of {} MiB: {error:?}\n",
                    parameters.pool_bytes >> 20
                );
            })
        };
        let mut pools = KVec::with_capacity(EngineKind::ALL.len(), GFP_KERNEL)?;
        for kind in EngineKind::ALL {
            pools.push(pool(*kind)?, GFP_KERNEL)?;
        }
        let shared = Arc::new(
            Self {
                pools,
                quota: Quota {
                    bytes: parameters.session_bytes,
                    handles: parameters.session_handles,
                },
                private_bytes: Budget::new(parameters.private_bytes)?,
                tables: Budget::new(
                    LARGEST_TABLES * KernelPlatform::charge(parameters.session_handles as usize)
                        + KernelPlatform::charge(SMALLEST_TABLE) * parameters.sessions,
                )?,
                small_rings: Budget::new(Ring::charge(SMALLEST_RING) * parameters.sessions)?,
                large_rings: Budget::new(
                    LARGEST_RINGS
                        * (Ring::charge(SLABLAB_EVENTS_MAX as usize) - Ring::charge(SMALLEST_RING)),
                )?,
                sessions: Budget::new(parameters.sessions)?,
            },
            GFP_KERNEL,
        )?;
        *SHARED.lock() = Some(shared);
        Ok(SharedGuard(()))
    }

    /// Returns the state.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] while the module is being loaded or unloaded.
    pub(crate) fn current() -> Result<Arc<Self>> {
        SHARED.lock().clone().ok_or(ENODEV)
    }

    /// Returns the shared pool of an engine.
    pub(crate) fn pool(&self, kind: EngineKind) -> &PoolRef {
        &self.pools[kind as usize]
    }

    /// Returns the quota of one session.
    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }

    /// Returns the budget of private pools, regions added to shared pools, and benches.
    pub(crate) fn private_bytes(&self) -> &Arc<Budget> {
        &self.private_bytes
    }

    /// Returns the budget of all sessions' handle tables.
    pub(crate) fn tables(&self) -> &Arc<Budget> {
        &self.tables
    }

    /// Returns the limit on the number of sessions, and the limit on the bytes of their tables and rings.
    pub(crate) fn session_memory_max(&self) -> (usize, usize) {
        self.session_memory(Budget::max)
    }

    /// Returns the number of sessions, and the bytes of their tables and rings.
    pub(crate) fn session_memory_used(&self) -> (usize, usize) {
        self.session_memory(Budget::used)
    }

    /// Returns a figure of the budget of sessions, and the sum of this figure over the budgets of tables and
    /// rings.
    fn session_memory(&self, figure: fn(&Budget) -> usize) -> (usize, usize) {
        let bytes = [&self.tables, &self.small_rings, &self.large_rings];
        let bytes = bytes.into_iter().map(|budget| figure(budget)).sum();
        (figure(&self.sessions), bytes)
    }

    /// Allocates a ring of `events` events for a session.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] when the rings of all sessions would exceed their budgets, [`ENOMEM`].
    pub(crate) fn ring(&self, events: usize) -> Result<Ring> {
        let bytes = Ring::charge(events);
        let small = bytes.min(Ring::charge(SMALLEST_RING));
        let lease = |budget, bytes| Lease::new(budget, bytes).ok_or(EDQUOT);
        match Lease::new(&self.small_rings, small) {
            Some(first) => Ring::new(
                events,
                first,
                Some(lease(&self.large_rings, bytes - small)?),
            ),
            // The budget of small rings suffices for one ring per session. The budget can be exhausted if several
            // threads begin the events of one session at the same time: each thread allocates a ring, and all
            // but one of the threads get EBUSY later.
            None => Ring::new(events, lease(&self.large_rings, bytes)?, None),
        }
    }

    /// Returns the budget of sessions.
    pub(crate) fn sessions(&self) -> &Budget {
        &self.sessions
    }

    /// Counts one more session.
    ///
    /// # Errors
    ///
    /// [`ENFILE`] when the limit on sessions is reached.
    pub(crate) fn register_session(&self) -> Result<Lease> {
        Lease::new(&self.sessions, 1).ok_or(ENFILE)
    }
}

impl Drop for SharedGuard {
    fn drop(&mut self) {
        // The state is dropped after the lock was released, because dropping it may sleep.
        let shared = SHARED.lock().take();
        drop(shared);
    }
}
