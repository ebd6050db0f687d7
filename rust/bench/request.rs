// SPDX-License-Identifier: GPL-2.0

//! The validated parameters of a bench.

use core::alloc::Layout;

use kernel::prelude::*;

use crate::{
    pool::{
        REGION_BYTES_MAX,
        REGION_UNIT, //
    },
    uapi::*,
};

/// The alignment of all blocks: the least alignment that every allocator guarantees.
const ALIGN: usize = 8;

/// The number of operations between two checks for signals.
pub(super) const ROUND: usize = SLABLAB_BENCH_ROUND as usize;

/// Declares the enum of the kinds of allocators.
macro_rules! kinds {
    ($(
        $(#[doc = $doc:literal])*
        $(#[cfg($cfg:meta)])?
        $variant:ident($allocator:ty) = $number:path;
    )+) => {
        /// The measured allocator.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(super) enum AllocatorKind {
            $(
                $(#[doc = $doc])*
                $(#[cfg($cfg)])?
                $variant,
            )+
        }

        impl AllocatorKind {
            /// Returns the allocator with a number of the ABI.
            ///
            /// # Errors
            ///
            /// [`EOPNOTSUPP`] for an allocator that the module does not have, [`EINVAL`] for other numbers.
            fn of(subject: u32) -> Result<Self> {
                match subject {
                    $($(#[cfg($cfg)])? $number => Ok(Self::$variant),)+
                    #[cfg(not(SLABLAB_STUDENT))]
                    SLABLAB_BENCH_STUDENT => Err(EOPNOTSUPP),
                    _ => Err(EINVAL),
                }
            }
        }
    };
}

for_all_allocators!(kinds);

/// The measured loop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopPattern {
    Pair,
    Lifo,
    Fifo,
    Replace,
    Churn,
    Fragments,
    Handover,
}

/// The parameters of a bench.
///
/// # Invariants
///
/// The fields satisfy what `slablab.h` requires of `struct slablab_bench`, each and in combination.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct BenchRequest {
    pub(super) kind: AllocatorKind,
    pub(super) pattern: LoopPattern,
    pub(super) per_op: bool,
    pub(super) threads: u32,
    pub(super) pool_bytes: usize,
    pub(super) layout: Layout,
    pub(super) size_min: u64,
    pub(super) count: usize,
    pub(super) seed: u64,
    pub(super) slots: usize,
}

impl LoopPattern {
    /// Returns whether a round is a batch of all slots.
    pub(super) fn is_batch(self) -> bool {
        matches!(self, Self::Lifo | Self::Fifo | Self::Handover)
    }
}

impl BenchRequest {
    /// Validates a request.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for a value out of range or an impossible combination, [`ENOSPC`] when the blocks may
    /// not fit into the pool, [`EOPNOTSUPP`] for a pattern that the allocator does not support, or for an allocator that
    /// the module does not have.
    pub(super) fn new(bench: &slablab_bench) -> Result<Self> {
        let kind = AllocatorKind::of(bench.subject)?;
        let pattern = match bench.pattern {
            SLABLAB_BENCH_PAIR => LoopPattern::Pair,
            SLABLAB_BENCH_LIFO => LoopPattern::Lifo,
            SLABLAB_BENCH_FIFO => LoopPattern::Fifo,
            SLABLAB_BENCH_REPLACE => LoopPattern::Replace,
            SLABLAB_BENCH_CHURN => LoopPattern::Churn,
            SLABLAB_BENCH_FRAGMENTS => LoopPattern::Fragments,
            SLABLAB_BENCH_HANDOVER => LoopPattern::Handover,
            _ => return Err(EINVAL),
        };
        let per_op = bench.flags & SLABLAB_BENCH_SINGLY != 0;
        let threads = match pattern {
            LoopPattern::Handover => 2..=2,
            _ => 1..=SLABLAB_BENCH_THREADS_MAX,
        };
        let slots = match pattern {
            LoopPattern::Pair => 0..=SLABLAB_BENCH_SLOTS_MAX,
            _ if pattern.is_batch() => 1..=SLABLAB_BENCH_ROUND,
            _ => 1..=SLABLAB_BENCH_SLOTS_MAX,
        };
        let size_min = match pattern {
            LoopPattern::Replace => 1..=bench.size,
            _ => 0..=0,
        };
        let count = match pattern {
            LoopPattern::Fragments => 1..=u64::from(bench.slots / 2),
            _ => 1..=SLABLAB_BENCH_COUNT_MAX.into(),
        };
        let pool_bytes = usize::try_from(bench.pool_bytes).map_err(|_| EINVAL)?;
        let sound = bench.flags & !SLABLAB_BENCH_SINGLY == 0
            && bench.reserved == 0
            && threads.contains(&bench.threads)
            && (1..=SLABLAB_BENCH_SIZE_MAX.into()).contains(&bench.size)
            && size_min.contains(&bench.size_min)
            && slots.contains(&bench.slots)
            && count.contains(&bench.count)
            && (per_op || pattern != LoopPattern::Fragments)
            && (1..=REGION_BYTES_MAX).contains(&pool_bytes)
            && pool_bytes % REGION_UNIT == 0;
        if !sound {
            return Err(EINVAL);
        }
        // INVARIANT: The conditions of `sound` are those of `slablab.h`.
        let request = Self {
            kind,
            pattern,
            per_op,
            threads: bench.threads,
            pool_bytes,
            layout: layout(bench.size)?,
            size_min: bench.size_min,
            count: bench.count as usize,
            seed: bench.seed,
            slots: bench.slots as usize,
        };
        if request.samples() > SLABLAB_BENCH_SAMPLES_MAX as usize {
            return Err(EINVAL);
        }
        let block_bytes = request.layout.size().next_power_of_two();
        // The pattern `pair` has one live block in addition to the slots. The two threads of `handover` together
        // have two batches.
        if (request.slots + 1) * block_bytes * request.threads as usize > pool_bytes {
            return Err(ENOSPC);
        }
        if kind == AllocatorKind::KmemCache && pattern == LoopPattern::Replace {
            return Err(EOPNOTSUPP);
        }
        Ok(request)
    }

    /// Returns the number of operations of a round.
    pub(super) fn round(&self) -> usize {
        if self.pattern.is_batch() {
            self.slots
        } else {
            ROUND
        }
    }

    /// Returns the number of measured operations.
    pub(super) fn operations(&self) -> usize {
        if self.per_op && !self.pattern.is_batch() {
            self.count
        } else {
            self.count.next_multiple_of(self.round())
        }
    }

    /// Returns the number of steps of a thread's loop. A step is one call of the allocator in `lifo` and `fifo`,
    /// and an operation in the other patterns.
    pub(super) fn steps(&self) -> usize {
        match self.pattern {
            LoopPattern::Lifo | LoopPattern::Fifo => 2 * self.operations(),
            _ => self.operations(),
        }
    }

    /// Returns the number of operations of a sample.
    pub(super) fn sample_operations(&self) -> usize {
        if self.per_op { 1 } else { self.round() }
    }

    /// Returns the number of samples.
    pub(super) fn samples(&self) -> usize {
        if self.per_op {
            self.steps()
        } else {
            self.operations() / self.round()
        }
    }
}

/// Returns the layout of a block of `size` bytes.
///
/// # Errors
///
/// [`EINVAL`] when the size exceeds the address space.
pub(super) fn layout(size: u64) -> Result<Layout> {
    let size = usize::try_from(size).map_err(|_| EINVAL)?;
    Layout::from_size_align(size, ALIGN).map_err(|_| EINVAL)
}
