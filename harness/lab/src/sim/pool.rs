// SPDX-License-Identifier: GPL-2.0

//! An engine with its memory, in this process.

use std::{
    ops::Deref,
    sync::{
        Arc,
        Mutex,
        PoisonError, //
    },
};

use slab_heap::{
    debug::{
        self,
        DebugMode, //
    },
    engine::Engine as _,
    engine_enum,
    extent::{
        self,
        ExtentEngine, //
    },
    hybrid::{
        self,
        Hybrid, //
    },
    magazines::CacheSize,
    region::RegionError,
    seed::{
        self,
        MIN_HEAP_SIZE,
        Seed, //
    },
};
use slab_host::{
    HostCpus,
    HostLock,
    Process, //
};
use slablab_peers::PeerKind;

#[cfg(feature = "test-support")]
use super::wrong;
use super::{
    PAGE_BYTES,
    filled::Filled,
    mapping::RegionMapping,
    peer::PeerEngine,
    student::{
        Constructor,
        RegisteredEngine, //
    }, //
};
use crate::{
    device::Errno,
    isolation::{
        TargetCall,
        underway, //
    },
    uapi::Engine, //
};

/// Returns the number of bytes of which the length of a region is a multiple. The pool of a learner's allocator has any
/// number of pages, so that a grade finds the smallest pool for it.
fn region_unit(kind: Engine) -> u64 {
    match kind {
        Engine::Student => PAGE_BYTES.into(),
        _ => MIN_HEAP_SIZE as u64,
    }
}

/// The largest region.
const REGION_BYTES_MAX: u64 = 4 << 30;

/// Declares the engines of `sim`: the enum `PoolEngine`, the array of its variants and its constructor.
///
/// An entry is a variant of `uapi::Engine`, the engine's type, and a function from the bytes of the
/// pool to an engine without regions.
macro_rules! sim_engines {
    ($($(#[doc = $doc:literal])* $kind:ident($engine:ty) = $new:expr;)+) => {
        engine_enum! {
            /// The engines that also run outside of the kernel.
            pub(super) enum PoolEngine {
                $($(#[doc = $doc])* $kind($engine),)+
                /// The engine that the program registered, if any.
                Student(RegisteredEngine),
                /// An allocator of another project.
                Peer(PeerEngine),
            }
        }

        impl PoolEngine {
            /// The engines that run in every process: all but `student`.
            const ALL: [Engine; [$(Engine::$kind),+].len()] = [$(Engine::$kind),+];

            /// Returns an engine without regions, or `None` for an engine that runs in the kernel only.
            fn new(kind: Engine, pool_bytes: usize) -> Option<Self> {
                match kind {
                    $(Engine::$kind => {
                        let new: fn(usize) -> $engine = $new;
                        Some(Self::$kind(new(pool_bytes)))
                    })+
                    Engine::Student => RegisteredEngine::new().map(Self::Student),
                    _ => None,
                }
            }
        }
    };
}

sim_engines! {
    /// The design of `docs/seed-design.md`.
    Seed(Seed<HostLock<seed::State>>) = |_| Seed::new(HostLock::new(seed::State::new()));
    /// Slabs over a buddy system, behind per-CPU magazines.
    Hybrid(Hybrid<HostLock<hybrid::State>, HostCpus>) = |pool_bytes| {
        let cpus = HostCpus::new(1, CacheSize::for_pool(pool_bytes));
        Hybrid::new(HostLock::new(hybrid::State::new()), cpus)
    };
    /// Runs of 16-byte granules, behind per-CPU magazines.
    Extent(ExtentEngine<HostLock<extent::State>, HostCpus>) = |pool_bytes| {
        let cpus = HostCpus::new(1, CacheSize::for_pool(pool_bytes));
        ExtentEngine::new(HostLock::new(extent::State::new()), cpus)
    };
}

engine_enum! {
    /// An engine, in debug mode or not.
    pub(super) enum AnyEngine {
        /// Not in debug mode.
        Plain(Filled<Tested>),
        /// In debug mode.
        Guarded(Guarded),
    }
}

/// The engine of a pool. In test builds an environment variable can make it faulty.
#[cfg(not(feature = "test-support"))]
type Tested = PoolEngine;
#[cfg(feature = "test-support")]
type Tested = wrong::Wrong<PoolEngine>;

#[cfg(not(feature = "test-support"))]
fn tested(engine: PoolEngine) -> Tested {
    engine
}
#[cfg(feature = "test-support")]
fn tested(engine: PoolEngine) -> Tested {
    wrong::Wrong::new(engine)
}

/// An engine in debug mode.
pub(super) type Guarded = DebugMode<Filled<Tested>, HostLock<debug::State>, Process>;

/// An engine and its memory.
pub struct Pool {
    pub(super) kind: Engine,
    pub(super) engine: AnyEngine,
    /// The memory of the engine. It must be dropped after the engine, so this field is declared below
    /// `engine`.
    regions: Mutex<Vec<Region>>,
}

/// A region's memory, and the engine's table for it.
struct Region {
    _memory: RegionMapping,
    _table: RegionMapping,
}

impl Pool {
    /// The size of the shared pool in bytes: the module's default.
    pub const DEFAULT_BYTES: u64 = 64 << 20;

    /// The engine of [`Engine::Default`]: the module's default.
    pub const DEFAULT_ENGINE: Engine = Engine::Hybrid;

    /// The engines that run in a process.
    pub const ENGINES: [Engine; PoolEngine::ALL.len()] = PoolEngine::ALL;

    /// Creates a pool with a region of `bytes` bytes. `debug` selects debug mode.
    ///
    /// # Errors
    ///
    /// - `EOPNOTSUPP` for an engine that runs in the kernel only, or that does not support debug mode.
    /// - `EINVAL` if `bytes` is 0, too large, or not a multiple of the unit of regions.
    /// - `ENOMEM` if there is no memory for the region.
    pub fn new(kind: Engine, bytes: u64, debug: bool) -> Result<Self, Errno> {
        let kind = match kind {
            Engine::Default => Self::DEFAULT_ENGINE,
            kind => kind,
        };
        let engine = PoolEngine::new(kind, bytes as usize).ok_or(Errno::OPNOTSUPP)?;
        Self::of(kind, engine, bytes, debug)
    }

    /// Creates a pool whose engine `student` is the one that `constructor` constructs, not the registered one.
    ///
    /// # Errors
    ///
    /// The same as for [`Pool::new`].
    pub fn with_student(constructor: Constructor, bytes: u64, debug: bool) -> Result<Self, Errno> {
        let engine = PoolEngine::Student(RegisteredEngine::of(constructor));
        Self::of(Engine::Student, engine, bytes, debug)
    }

    /// Creates a pool that a peer manages. A peer has no number in the ABI: INFO and STATS report the number of
    /// [`Engine::Default`].
    ///
    /// # Errors
    ///
    /// - `EINVAL` as for [`Pool::new`], or if the peer refuses the pool.
    /// - `ENOMEM` if there is no memory for the region.
    pub fn with_peer(kind: &PeerKind, bytes: u64) -> Result<Self, Errno> {
        let engine = PoolEngine::Peer(PeerEngine::new(*kind));
        Self::of(Engine::Default, engine, bytes, false)
    }

    /// Creates a pool of an engine without regions.
    fn of(kind: Engine, engine: PoolEngine, bytes: u64, debug: bool) -> Result<Self, Errno> {
        let engine = Filled::new(tested(engine));
        let engine = if debug {
            if !debug::supports(&engine) {
                return Err(Errno::OPNOTSUPP);
            }
            let state = HostLock::new(debug::State::new());
            AnyEngine::Guarded(DebugMode::new(engine, state, Process))
        } else {
            AnyEngine::Plain(engine)
        };
        let pool = Self {
            kind,
            engine,
            regions: Mutex::default(),
        };
        // The engine `student` calls the learner's code here.
        underway::request(TargetCall::Create, [bytes, 0, 0], || pool.extend(bytes))?;
        Ok(pool)
    }

    /// Returns whether `engine` is the engine of the pool.
    pub fn serves(&self, engine: Engine) -> bool {
        self.kind == engine || (engine == Engine::Default && self.kind == Self::DEFAULT_ENGINE)
    }

    /// Adds a region and returns its number.
    pub(super) fn extend(&self, bytes: u64) -> Result<u16, Errno> {
        if bytes == 0 || bytes % region_unit(self.kind) != 0 || bytes > REGION_BYTES_MAX {
            return Err(Errno::INVAL);
        }
        let memory = RegionMapping::new(usize::try_from(bytes).map_err(|_| Errno::NOMEM)?)?;
        let engine = self.engine.interfaces().add_region;
        let engine = engine.ok_or(Errno::OPNOTSUPP)?;
        let table_bytes = engine.table_bytes(memory.bytes());
        let table = RegionMapping::new(table_bytes.max(PAGE_BYTES as usize))?;
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, table_start) = (memory.start(), table.start());
        // SAFETY:
        // - Both mappings are new, so they are readable, writable and used by nobody else. `self.regions`
        //   keeps them until the engine has been dropped.
        // - The table is zeroed, page-aligned, and has at least `table_bytes` bytes in a mapping of its own.
        // - The provenance of each pointer covers its whole mapping.
        let region = unsafe { engine.add_region(start, memory.bytes(), table_start) };
        let region = region.map_err(|error| match error {
            RegionError::NoPool => Errno::OPNOTSUPP,
            RegionError::TooMany => Errno::NOSPC,
            RegionError::Interrupted => Errno::INTR,
            RegionError::Misaligned
            | RegionError::BadLength
            | RegionError::Overflow
            | RegionError::Overlap => Errno::INVAL,
        })?;
        regions.push(Region {
            _memory: memory,
            _table: table,
        });
        Ok(region)
    }

    /// Returns the bytes of all regions.
    pub(super) fn bytes(&self) -> u64 {
        self.engine.capacity() as u64
    }

    /// Returns the number of regions.
    pub(super) fn regions(&self) -> u32 {
        self.regions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len() as u32
    }
}

/// A session's reference to its engine.
pub(super) struct PoolRef(pub(super) Arc<Pool>);

impl Deref for PoolRef {
    type Target = AnyEngine;

    fn deref(&self) -> &Self::Target {
        &self.0.engine
    }
}
