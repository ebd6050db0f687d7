// SPDX-License-Identifier: GPL-2.0

//! The errors of a session, their causes and their error numbers.

use slab_heap::{
    Cost,
    Refusal, //
};

/// The cause of a refused request for memory. The numbers are those of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCause {
    /// The request exceeds the capacity of the empty pool.
    TooBig = 1,
    /// The pool has less free memory than requested.
    Exhausted = 2,
    /// The pool has enough free memory, but no contiguous run is large enough.
    Fragmented = 3,
    /// The session's quota is exhausted.
    Quota = 4,
    /// The engine does not support this combination of size and alignment.
    Unsupported = 5,
    /// The kernel has no memory for the session's handle table.
    Tables = 6,
    /// Fault injection refused the request.
    Injected = 7,
    /// A CPU whose cache may hold free memory did not respond in time.
    Busy = 8,
    /// The engine's allocator broke a rule.
    Faulty = 9,
}

impl RefusalCause {
    /// The length of an array that is indexed by the cause: one more than the largest number.
    pub const END: usize = 10;
}

impl From<Refusal> for RefusalCause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooBig => Self::TooBig,
            Refusal::Exhausted => Self::Exhausted,
            Refusal::Fragmented => Self::Fragmented,
            Refusal::Unsupported => Self::Unsupported,
            Refusal::Injected => Self::Injected,
            Refusal::Busy => Self::Busy,
            Refusal::Faulty => Self::Faulty,
        }
    }
}

/// Linux's error numbers, from `include/uapi/asm-generic/errno-base.h` and `errno.h`.
///
/// The module compares them with the kernel's own numbers at compile time.
pub mod errno {
    /// No such file or directory: the handle names no block.
    pub const ENOENT: i32 = 2;
    /// Interrupted: a fatal signal is pending.
    pub const EINTR: i32 = 4;
    /// Input/output error: the engine's allocator broke a rule.
    pub const EIO: i32 = 5;
    /// No such device or address: the position is outside the block.
    pub const ENXIO: i32 = 6;
    /// Out of memory.
    pub const ENOMEM: i32 = 12;
    /// Bad address: the reply could not be copied to the program.
    pub const EFAULT: i32 = 14;
    /// Device or resource busy.
    pub const EBUSY: i32 = 16;
    /// Invalid argument.
    pub const EINVAL: i32 = 22;
    /// Operation not supported.
    pub const EOPNOTSUPP: i32 = 95;
    /// Quota exceeded.
    pub const EDQUOT: i32 = 122;
}

/// The reason why a session did not perform an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionError {
    /// The size is 0.
    SizeZero,
    /// The alignment is not a power of two, or exceeds the size of the pool.
    BadAlign,
    /// The engine refused the request.
    Refused(Refusal),
    /// The engine refused the request because of fragmentation. The value is Linux's fragmentation
    /// index (`__fragmentation_index` in `mm/vmstat.c`).
    Fragmented(u16),
    /// The request would exceed the session's quota of bytes.
    QuotaBytes,
    /// The request would exceed the session's quota of blocks.
    QuotaHandles,
    /// The handle table is full and there is no memory to grow it.
    NoTable,
    /// The handle names no live block of this session.
    NoSuchBlock,
    /// The block is pinned: it is being copied, mapped or reallocated.
    Pinned,
    /// The position is outside the block.
    OutOfBlock,
    /// The block does not consist of whole pages, so it cannot be mapped.
    NotPages,
    /// The operation of the submission is malformed.
    BadOperation,
    /// A fatal signal is pending: the program terminates when the call returns.
    Interrupted,
}

impl SessionError {
    /// Converts an engine's refusal. `cost` contains the fragmentation index.
    pub(crate) fn from_engine(refusal: Refusal, cost: &Cost) -> Self {
        match refusal {
            Refusal::Fragmented => Self::Fragmented(cost.fragmentation()),
            _ => Self::Refused(refusal),
        }
    }

    /// Returns the fragmentation index of a request that was refused because of fragmentation.
    #[must_use]
    pub fn fragmentation(self) -> Option<u16> {
        match self {
            Self::Fragmented(index) => Some(index),
            _ => None,
        }
    }

    /// Returns the cause, if the operation was a request for memory that was refused.
    #[must_use]
    pub fn cause(self) -> Option<RefusalCause> {
        match self {
            Self::Refused(refusal) => Some(refusal.into()),
            Self::Fragmented(_) => Some(RefusalCause::Fragmented),
            Self::QuotaBytes | Self::QuotaHandles => Some(RefusalCause::Quota),
            Self::NoTable => Some(RefusalCause::Tables),
            _ => None,
        }
    }

    /// Returns the error number that the program receives.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::SizeZero | Self::BadAlign | Self::BadOperation | Self::NotPages => errno::EINVAL,
            Self::Refused(Refusal::Unsupported) => errno::EOPNOTSUPP,
            Self::Refused(Refusal::Faulty) => errno::EIO,
            Self::Refused(
                Refusal::TooBig
                | Refusal::Exhausted
                | Refusal::Fragmented
                | Refusal::Injected
                | Refusal::Busy,
            )
            | Self::Fragmented(_)
            | Self::NoTable => errno::ENOMEM,
            Self::QuotaBytes | Self::QuotaHandles => errno::EDQUOT,
            Self::NoSuchBlock => errno::ENOENT,
            Self::Pinned => errno::EBUSY,
            Self::OutOfBlock => errno::ENXIO,
            Self::Interrupted => errno::EINTR,
        }
    }
}
