// SPDX-License-Identifier: GPL-2.0

//! The pieces of metadata that an engine requests while it runs: see [`PerCpu::metadata`].
//!
//! The tables of a region are allocated with the region. `hybrid` needs more metadata for slabs of small objects, and
//! requests it in pieces, from 64 bytes up.

// Lock order: `Pieces::memory` is a mutex. The caller holds no spinlock, and memory is allocated under the mutex.

use core::ptr::{
    self,
    NonNull, //
};

use kernel::{
    bindings,
    new_mutex,
    page::PAGE_SIZE,
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
use slab_heap::backing_heap::Piece;
#[cfg(doc)]
use slab_heap::per_cpu::PerCpu;

use crate::{
    budget::{
        Budget,
        Lease, //
    },
    vmalloc::{
        self,
        GFP_QUIET,
        VmallocMemory, //
    }, //
};

/// Zeroed memory from kvmalloc.
///
/// # Invariants
///
/// `start` is an allocation of kvmalloc that this value owns.
struct PieceMemory {
    start: NonNull<u8>,
    // The lease is dropped after the memory, so the budget never counts less memory than is allocated.
    _lease: Option<Lease>,
}

// SAFETY: The value owns the allocation, which may be used and freed on any thread.
unsafe impl Send for PieceMemory {}

impl PieceMemory {
    /// Returns the bytes that the kernel allocates for `bytes` bytes.
    fn charge(bytes: usize) -> usize {
        if bytes < PAGE_SIZE {
            vmalloc::kmalloc_bytes(bytes)
        } else {
            VmallocMemory::charge(bytes)
        }
    }

    /// Allocates `bytes` zeroed bytes, aligned to 8, or returns `None` if there is no memory.
    fn new(bytes: usize, lease: Option<Lease>) -> Option<Self> {
        vmalloc::ensure_available(bytes).ok()?;
        // SAFETY: The old pointer is null, so the function allocates. The function accepts any size and any power of two
        // as alignment. The flags allow sleeping, and all callers may sleep.
        let start = unsafe {
            bindings::kvrealloc_node_align(
                ptr::null(),
                bytes,
                align_of::<u64>(),
                GFP_QUIET | bindings::__GFP_ZERO,
                bindings::NUMA_NO_NODE,
            )
        };
        // INVARIANT: kvmalloc returned the memory, and nobody else has its address.
        Some(Self {
            start: NonNull::new(start.cast())?,
            _lease: lease,
        })
    }
}

impl Drop for PieceMemory {
    fn drop(&mut self) {
        // SAFETY: `kvfree` requires an allocation of kvmalloc that nobody uses: by the type invariant the value owns it.
        // The engine that used the memory was dropped before.
        unsafe { bindings::kvfree(self.start.as_ptr().cast()) };
    }
}

/// The pieces of an engine, by number.
#[pin_data]
pub(crate) struct Pieces {
    budget: Option<Arc<Budget>>,
    /// The sum of the bytes of all leases.
    charge: Atomic<usize>,
    #[pin]
    memory: Mutex<KVec<PieceMemory>>,
}

impl Pieces {
    /// Creates an empty list. If there is a `budget`, each piece is charged to it.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(budget: Option<&Arc<Budget>>) -> Result<Arc<Self>> {
        let pieces = pin_init!(Self {
            budget: budget.cloned(),
            charge: Atomic::new(0),
            memory <- new_mutex!(KVec::new(), "slablab_pieces"),
        });
        Arc::pin_init(pieces, GFP_KERNEL_ACCOUNT)
    }

    /// Returns the bytes of a list without pieces.
    pub(crate) fn fixed_bytes() -> usize {
        vmalloc::kmalloc_bytes(size_of::<Self>() + size_of::<usize>())
    }

    /// Returns the bytes that are charged for the pieces.
    pub(crate) fn charge(&self) -> usize {
        self.charge.load(Relaxed)
    }

    /// Returns the memory of a piece, which is allocated at the first call. Returns `None` if there is no memory, if the
    /// budget has too little left, or if an earlier piece is missing. May sleep.
    pub(crate) fn get(&self, piece: Piece) -> Option<NonNull<u8>> {
        let mut memory = self.memory.lock();
        if piece.number == memory.len() {
            let charge = PieceMemory::charge(piece.bytes);
            let lease = match &self.budget {
                Some(budget) => Some(Lease::new(budget, charge)?),
                None => None,
            };
            let is_charged = lease.is_some();
            let new = PieceMemory::new(piece.bytes, lease)?;
            memory.push(new, GFP_KERNEL_ACCOUNT | __GFP_NOWARN).ok()?;
            if is_charged {
                self.charge.fetch_add(charge, Relaxed);
            }
        }
        memory.get(piece.number).map(|memory| memory.start)
    }
}
