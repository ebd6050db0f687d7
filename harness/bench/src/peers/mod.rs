// SPDX-License-Identifier: GPL-2.0

//! The list of the allocators under test, with one file for each.

mod baseline;
mod buddy;
mod engine;
mod glibc;
mod hybrid;
mod linked_list;
mod mimalloc;
mod rlsf;
mod seed;
mod talc;

use std::io;

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

/// Returns the two variants of an allocator that runs in a pool: one with a spinlock, one without a lock.
macro_rules! pooled {
    ($role:ident, $grain:expr, $name:literal, $alone:literal, $module:ident) => {
        [
            Peer {
                name: $name,
                threads: true,
                role: AllocatorRole::$role,
                grain: $grain,
                make: Constructor::Pooled($module::new::<Spin<_>>),
            },
            Peer {
                name: $alone,
                threads: false,
                role: AllocatorRole::$role,
                grain: $grain,
                make: Constructor::Pooled($module::new::<NoLock<_>>),
            },
        ]
    };
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
    let pooled = [
        pooled!(Ours, PAGE_BYTES, "hybrid", "hybrid (no lock)", hybrid),
        pooled!(
            Ours,
            slab_heap::seed::MIN_HEAP_SIZE,
            "seed",
            "seed (no lock)",
            seed
        ),
        pooled!(Peer, PAGE_BYTES, "buddy", "buddy (no lock)", buddy),
        pooled!(Peer, PAGE_BYTES, "talc", "talc (no lock)", talc),
        pooled!(Peer, PAGE_BYTES, "rlsf", "rlsf (no lock)", rlsf),
        pooled!(Peer, PAGE_BYTES, "llist", "llist (no lock)", linked_list),
    ];
    let mut all = vec![global(
        AllocatorRole::Baseline,
        baseline::NAME,
        baseline::new,
    )];
    all.extend(pooled.map(|[locked, _]| locked));
    all.push(global(AllocatorRole::Peer, "glibc", glibc::new));
    all.push(global(AllocatorRole::Peer, "mimalloc", mimalloc::new));
    all.extend(pooled.map(|[_, alone]| alone));
    all
}

/// Returns the names and versions of the allocators of other projects.
pub(crate) fn versions() -> Vec<(String, String)> {
    let mut versions: Vec<_> = [
        ("buddy", "buddy_system_allocator"),
        ("talc", "talc"),
        ("rlsf", "rlsf"),
        ("llist", "linked_list_allocator"),
    ]
    .map(|(name, package)| (name.into(), format!("{package} {}", locked(package))))
    .into();
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
