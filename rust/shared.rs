// SPDX-License-Identifier: GPL-2.0

//! What all open files share.
//!
//! A `MiscDeviceRegistration` carries no data, so the lab hangs on a global lock: it is put there
//! before the device is registered and taken away after it is gone. Every open file has a
//! reference of its own.

// Lock order: `SHARED` is a mutex, taken when a file is opened (under the kernel's `misc_mtx`) and when
// the module comes and goes. Nothing is taken, allocated or dropped under it.

use kernel::{
    prelude::*,
    sync::{
        Arc,
        global_lock, //
    }, //
};
use slab_session::Limits;

use crate::{
    budget::{
        Budget,
        Lease, //
    },
    parameters::Parameters,
    pool::{
        EngineKind,
        PoolRef, //
    },
    session_memory::{
        Ring,
        SessionMemory, //
    },
    uapi::SLABLAB_EVENTS_MAX,
};

global_lock! {
    // SAFETY: Initialised by `init`, which the module calls before anything else.
    unsafe(uninit) static SHARED: Mutex<Option<Arc<Shared>>> = None;
}

/// Makes the global lock ready.
///
/// # Safety
///
/// Called once, before anything else in this file.
pub(crate) unsafe fn init() {
    // SAFETY: By this function's contract.
    unsafe { SHARED.init() };
}

/// The engine of a session that does not say.
pub(crate) const DEFAULT_ENGINE: EngineKind = EngineKind::Hybrid;

/// The shared pools, and the limits.
pub(crate) struct Shared {
    pools: [PoolRef; EngineKind::ALL.len()],
    limits: Limits,
    private_bytes: Arc<Budget>,
    /// Bytes of all sessions' tables.
    tables: Arc<Budget>,
    /// Bytes of rings of events: of each, up to those of the smallest.
    small_rings: Arc<Budget>,
    /// Bytes of rings of events: of each, those beyond.
    large_rings: Arc<Budget>,
    sessions: Arc<Budget>,
}

/// Sessions that can have as many blocks as they may, at once, whatever the others do.
const LARGEST_TABLES: usize = 4;

/// Entries of the smallest table: the budget has one more of these for every session.
const SMALLEST_TABLE: usize = 1024;

/// Rings of events that can be as large as they may, at once.
const LARGEST_RINGS: usize = 16;

/// Events that every session has room for, whatever the others do.
const SMALLEST_RING: usize = 1024;

/// The lab is open while this lives.
pub(crate) struct SharedGuard(());

impl Shared {
    /// Builds the shared pools and opens the lab.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] when there is no memory for a pool, and one line in the log that says so.
    pub(crate) fn install(parameters: &Parameters) -> Result<SharedGuard> {
        let pool = |kind: EngineKind| {
            // Root has asked for these, when it loaded the module.
            PoolRef::new(kind, parameters.pool_bytes, None, false).inspect_err(|error| {
                pr_err!(
                    "no pool of {} MiB: {error:?}\n",
                    parameters.pool_bytes >> 20
                );
            })
        };
        let shared = Arc::new(
            Self {
                pools: [
                    pool(EngineKind::Seed)?,
                    pool(EngineKind::Hybrid)?,
                    pool(EngineKind::Slub)?,
                ],
                limits: Limits {
                    bytes: parameters.session_bytes,
                    handles: parameters.session_handles,
                },
                private_bytes: Budget::new(parameters.private_bytes)?,
                tables: Budget::new(
                    LARGEST_TABLES * SessionMemory::charge(parameters.session_handles as usize)
                        + SessionMemory::charge(SMALLEST_TABLE) * parameters.sessions,
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

    /// Returns the lab that is open.
    pub(crate) fn current() -> Result<Arc<Self>> {
        SHARED.lock().clone().ok_or(ENODEV)
    }

    /// Returns an engine's shared pool.
    pub(crate) fn pool(&self, kind: EngineKind) -> &PoolRef {
        match kind {
            EngineKind::Seed => &self.pools[0],
            EngineKind::Hybrid => &self.pools[1],
            EngineKind::Slub => &self.pools[2],
        }
    }

    /// Returns what one session may hold.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the budget of all private pools, of what is added to shared ones, and of benches.
    pub(crate) fn private_bytes(&self) -> &Arc<Budget> {
        &self.private_bytes
    }

    /// Returns the budget of all sessions' tables.
    pub(crate) fn tables(&self) -> &Arc<Budget> {
        &self.tables
    }

    /// Returns the sessions that there may be, and the bytes that their tables and rings may take.
    pub(crate) fn session_memory_max(&self) -> (usize, usize) {
        self.session_memory(Budget::max)
    }

    /// Returns the sessions that there are, and the bytes that their tables and rings take.
    pub(crate) fn session_memory_used(&self) -> (usize, usize) {
        self.session_memory(Budget::used)
    }

    /// Sums up a figure of the budgets of sessions.
    fn session_memory(&self, figure: fn(&Budget) -> usize) -> (usize, usize) {
        let bytes = [&self.tables, &self.small_rings, &self.large_rings];
        let bytes = bytes.into_iter().map(|budget| figure(budget)).sum();
        (figure(&self.sessions), bytes)
    }

    /// Makes room for `events` events of one session.
    ///
    /// # Errors
    ///
    /// [`EDQUOT`] when all sessions together would have too many, [`ENOMEM`].
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
            // Threads that begin the events of one session at once have a ring each, until all but
            // one are told EBUSY.
            None => Ring::new(events, lease(&self.large_rings, bytes)?, None),
        }
    }

    /// Returns the budget of sessions.
    pub(crate) fn sessions(&self) -> &Budget {
        &self.sessions
    }

    /// Counts one session more.
    ///
    /// # Errors
    ///
    /// [`ENFILE`] when there are as many as there may be.
    pub(crate) fn register_session(&self) -> Result<Lease> {
        Lease::new(&self.sessions, 1).ok_or(ENFILE)
    }
}

impl Drop for SharedGuard {
    fn drop(&mut self) {
        // What is dropped here may sleep, so it leaves the lock first.
        let shared = SHARED.lock().take();
        drop(shared);
    }
}
