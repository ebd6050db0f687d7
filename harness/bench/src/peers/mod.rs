// SPDX-License-Identifier: GPL-2.0

//! The list of the allocators under test.
//!
//! The peers that run in a pool are those of the crate `slablab_peers`. The others have a file here, because they obtain
//! their own memory.

mod baseline;
mod engine;
mod extent;
mod glibc;
mod hybrid;
mod mimalloc;
mod pooled;
mod seed;

use std::io;

use slablab_peers::{
    Facts,
    Peer as _, //
};

use crate::{
    heap::BenchHeap,
    lock::{
        NoLock,
        Spin, //
    },
    pool::{
        MappedPool,
        MemoryRange,
        PAGE_BYTES, //
    },
};

/// The constructor of an allocator.
#[derive(Clone, Copy)]
pub(crate) enum Constructor {
    /// The allocator runs in a pool, and must be dropped before the pool.
    Pooled(unsafe fn(MemoryRange) -> Box<dyn BenchHeap>),
    /// The allocator obtains its own memory.
    Global(fn() -> Box<dyn BenchHeap>),
}

/// The role of an allocator in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AllocatorRole {
    /// No allocator: the cost of the loop.
    Baseline,
    /// An engine of slablab.
    Ours,
    /// An allocator of another project.
    Peer,
}

/// An allocator that can be measured.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// The name in tables.
    pub(crate) name: &'static str,
    /// Whether the allocator, as measured, may be used by several threads.
    pub(crate) threads: bool,
    /// The role in the comparison.
    pub(crate) role: AllocatorRole,
    /// The granularity of the pool's size, in bytes.
    pub(crate) grain: usize,
    make: Constructor,
}

impl Peer {
    /// Returns whether the allocator runs in a pool.
    pub(crate) fn has_pool(&self) -> bool {
        matches!(self.make, Constructor::Pooled(_))
    }

    /// Constructs the allocator, with a pool of at least `bytes` bytes if it runs in one.
    ///
    /// # Errors
    ///
    /// Fails when the pool cannot be mapped.
    pub(crate) fn make(&self, bytes: usize) -> io::Result<Instance> {
        match self.make {
            Constructor::Global(make) => Ok(Instance {
                heap: make(),
                _pool: None,
            }),
            Constructor::Pooled(make) => {
                let pool = MappedPool::new(bytes.next_multiple_of(self.grain))?;
                Ok(Instance {
                    // SAFETY: The pool is mapped and new, so nobody else uses it, and `Instance` drops the
                    // heap before the pool.
                    heap: unsafe { make(pool.memory()) },
                    _pool: Some(pool),
                })
            }
        }
    }

    /// Constructs the allocator in the first `bytes` bytes of `pool`, or returns `None` when it obtains
    /// its own memory.
    pub(crate) fn within<'pool>(
        &self,
        pool: &'pool MappedPool,
        bytes: usize,
    ) -> Option<PooledInstance<'pool>> {
        match self.make {
            Constructor::Global(_) => None,
            Constructor::Pooled(make) => Some(PooledInstance {
                // SAFETY: The pool is mapped until the borrow ends, and the heap is dropped before. Callers
                // use a pool for one heap at a time.
                heap: unsafe { make(pool.part(bytes)) },
                _pool: pool,
            }),
        }
    }
}

/// An allocator with its own pool. Fields are dropped in order: first the heap, then the pool.
pub(crate) struct Instance {
    /// The allocator.
    pub(crate) heap: Box<dyn BenchHeap>,
    _pool: Option<MappedPool>,
}

/// An allocator in a borrowed pool.
pub(crate) struct PooledInstance<'pool> {
    /// The allocator.
    pub(crate) heap: Box<dyn BenchHeap>,
    _pool: &'pool MappedPool,
}

/// Returns the two variants of an engine: one with a spinlock, one without a lock.
macro_rules! engine {
    ($grain:expr, $name:literal, $alone:literal, $module:ident) => {
        [
            Peer {
                name: $name,
                threads: true,
                role: AllocatorRole::Ours,
                grain: $grain,
                make: Constructor::Pooled($module::new::<Spin<_>>),
            },
            Peer {
                name: $alone,
                threads: false,
                role: AllocatorRole::Ours,
                grain: $grain,
                make: Constructor::Pooled($module::new::<NoLock<_>>),
            },
        ]
    };
}

/// Returns the two variants of each peer that runs in a pool.
macro_rules! peers {
    ($($peer:ty,)+) => {
        [$(pooled_peer(
            &<$peer>::facts(),
            pooled::new::<$peer, Spin<_>>,
            pooled::new::<$peer, NoLock<_>>,
        )),+]
    };
}

/// The constructor of an allocator that runs in a pool.
type PooledConstructor = unsafe fn(MemoryRange) -> Box<dyn BenchHeap>;

/// Returns the two variants of a peer: one with a spinlock, one without a lock.
fn pooled_peer(facts: &Facts, locked: PooledConstructor, alone: PooledConstructor) -> [Peer; 2] {
    let peer = |name, threads, make| Peer {
        name,
        threads,
        role: AllocatorRole::Peer,
        grain: PAGE_BYTES,
        make: Constructor::Pooled(make),
    };
    let name_alone = format!("{} (no lock)", facts.name).leak();
    [
        peer(facts.name, true, locked),
        peer(name_alone, false, alone),
    ]
}

/// Returns an allocator that obtains its own memory.
const fn global(role: AllocatorRole, name: &'static str, make: fn() -> Box<dyn BenchHeap>) -> Peer {
    Peer {
        name,
        threads: true,
        role,
        grain: PAGE_BYTES,
        make: Constructor::Global(make),
    }
}

/// Returns all allocators: first the thread-safe ones, then those without a lock.
pub(crate) fn all() -> Vec<Peer> {
    let engines = [
        engine!(PAGE_BYTES, "hybrid", "hybrid (no lock)", hybrid),
        engine!(PAGE_BYTES, "extent", "extent (no lock)", extent),
        engine!(
            slab_heap::seed::MIN_HEAP_SIZE,
            "seed",
            "seed (no lock)",
            seed
        ),
    ];
    let pooled = engines.into_iter().chain(slablab_peers::with_peers!(peers));
    let (locked, alone): (Vec<_>, Vec<_>) = pooled.map(<(Peer, Peer)>::from).unzip();
    let mut all = vec![global(
        AllocatorRole::Baseline,
        baseline::NAME,
        baseline::new,
    )];
    all.extend(locked);
    all.push(global(AllocatorRole::Peer, "glibc", glibc::new));
    all.push(global(AllocatorRole::Peer, "mimalloc", mimalloc::new));
    all.extend(alone);
    all
}

/// Returns the names and versions of the allocators of other projects.
pub(crate) fn versions() -> Vec<(String, String)> {
    let mut versions: Vec<_> = slablab_peers::PEERS
        .iter()
        .map(|kind| {
            let Facts {
                name,
                package,
                version,
                ..
            } = kind.facts();
            (name.into(), format!("{package} {version}"))
        })
        .collect();
    versions.push(("glibc".into(), format!("glibc {}", glibc::version())));
    versions.push((
        "mimalloc".into(),
        format!(
            "mimalloc {} (libmimalloc-sys {})",
            mimalloc::version(),
            locked("libmimalloc-sys")
        ),
    ));
    versions
}

/// Returns the version of a package in Cargo.lock at build time.
fn locked(package: &str) -> &'static str {
    const LOCK: &str = include_str!("../../../../Cargo.lock");
    let name = format!("name = \"{package}\"");
    LOCK.lines()
        .skip_while(|line| *line != name)
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .unwrap_or("?")
}
