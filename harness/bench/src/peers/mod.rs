// SPDX-License-Identifier: GPL-2.0

//! The allocators: one file each.

mod buddy;
mod empty;
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
    heap::Heap,
    lock::{
        Alone,
        Spin, //
    },
    pool::{
        Memory,
        PAGE_BYTES,
        Pool, //
    },
};

/// How an allocator is made.
#[derive(Clone, Copy)]
pub(crate) enum Make {
    /// In a pool. It must be dropped before the memory goes.
    Pooled(unsafe fn(Memory) -> Box<dyn Heap>),
    /// With memory of its own.
    Global(fn() -> Box<dyn Heap>),
}

/// What an allocator is to the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Does nothing: what the loop costs.
    Baseline,
    /// One of slablab's.
    Ours,
    /// Somebody else's.
    Peer,
}

/// An allocator that can be measured.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    /// Whether it is safe to use from several threads, as measured.
    pub(crate) threads: bool,
    /// What it is to the comparison.
    pub(crate) role: Role,
    /// What the length of its pool is a multiple of.
    pub(crate) grain: usize,
    make: Make,
}

impl Peer {
    /// Says whether it has a pool.
    pub(crate) fn has_pool(&self) -> bool {
        matches!(self.make, Make::Pooled(_))
    }

    /// Makes one with a pool of `bytes` bytes, if it has one.
    ///
    /// # Errors
    ///
    /// What the system says when there is no memory.
    pub(crate) fn make(&self, bytes: usize) -> io::Result<Instance> {
        match self.make {
            Make::Global(make) => Ok(Instance {
                heap: make(),
                _pool: None,
            }),
            Make::Pooled(make) => {
                let pool = Pool::new(bytes.next_multiple_of(self.grain))?;
                Ok(Instance {
                    // SAFETY: An instance's heap goes before its pool.
                    heap: unsafe { make(pool.memory()) },
                    _pool: Some(pool),
                })
            }
        }
    }

    /// Makes one in a part of a pool, if it has one.
    pub(crate) fn within<'pool>(&self, pool: &'pool Pool, bytes: usize) -> Option<Within<'pool>> {
        match self.make {
            Make::Global(_) => None,
            Make::Pooled(make) => Some(Within {
                // SAFETY: The pool is borrowed for as long as the heap is there.
                heap: unsafe { make(pool.part(bytes)) },
                _pool: pool,
            }),
        }
    }
}

/// An allocator and its memory. The order of the fields is the order in which they go.
pub(crate) struct Instance {
    /// The allocator.
    pub(crate) heap: Box<dyn Heap>,
    _pool: Option<Pool>,
}

/// An allocator in memory that somebody lent.
pub(crate) struct Within<'pool> {
    /// The allocator.
    pub(crate) heap: Box<dyn Heap>,
    _pool: &'pool Pool,
}

/// Returns one that has a pool, behind the lock and without.
macro_rules! pooled {
    ($role:ident, $grain:expr, $name:literal, $alone:literal, $module:ident) => {
        [
            Peer {
                name: $name,
                threads: true,
                role: Role::$role,
                grain: $grain,
                make: Make::Pooled($module::make::<Spin<_>>),
            },
            Peer {
                name: $alone,
                threads: false,
                role: Role::$role,
                grain: $grain,
                make: Make::Pooled($module::make::<Alone<_>>),
            },
        ]
    };
}

/// Returns one that has memory of its own.
const fn global(role: Role, name: &'static str, make: fn() -> Box<dyn Heap>) -> Peer {
    Peer {
        name,
        threads: true,
        role,
        grain: PAGE_BYTES,
        make: Make::Global(make),
    }
}

/// Returns all allocators: those that are safe with threads, then the others.
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
    let mut all = vec![global(Role::Baseline, empty::NAME, empty::make)];
    all.extend(pooled.map(|[locked, _]| locked));
    all.push(global(Role::Peer, "glibc", glibc::make));
    all.push(global(Role::Peer, "mimalloc", mimalloc::make));
    all.extend(pooled.map(|[_, alone]| alone));
    all
}

/// Returns names and versions of the allocators that are not ours.
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

/// Returns the version of a package in Cargo.lock, as it was when this was built.
fn locked(package: &str) -> &'static str {
    const LOCK: &str = include_str!("../../../../Cargo.lock");
    let name = format!("name = \"{package}\"");
    LOCK.lines()
        .skip_while(|line| *line != name)
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .unwrap_or("?")
}
