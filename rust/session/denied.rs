// SPDX-License-Identifier: GPL-2.0

//! What a session can say no to, the error number for it, and the cause.

use slab_heap::{
    Cost,
    Refusal, //
};

/// Why a request for memory was refused, with the numbers of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// More than the pool could hold if it were empty.
    TooBig = 1,
    /// Less is free than was asked for.
    Exhausted = 2,
    /// Enough is free, but not in one piece.
    Fragmented = 3,
    /// The session's quota.
    Quota = 4,
    /// The engine cannot serve such a size and alignment.
    Unsupported = 5,
    /// No memory for the session's own tables.
    Tables = 6,
    /// It was to be refused.
    Injected = 7,
    /// A CPU that may hold free memory could not be reached in time.
    Busy = 8,
}

impl Cause {
    /// One more than the largest number, so that an array can have one element for each.
    pub const END: usize = 9;
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooBig => Self::TooBig,
            Refusal::Exhausted => Self::Exhausted,
            Refusal::Fragmented => Self::Fragmented,
            Refusal::Unsupported => Self::Unsupported,
            Refusal::Injected => Self::Injected,
            Refusal::Busy => Self::Busy,
        }
    }
}

/// Linux's error numbers, as the generic architectures have them.
///
/// The module compares them with the kernel's own at compile time.
pub mod errno {
    /// No such file or directory: no such block.
    pub const ENOENT: i32 = 2;
    /// Interrupted: the program is about to end.
    pub const EINTR: i32 = 4;
    /// No such device or address: not a byte of the block.
    pub const ENXIO: i32 = 6;
    /// Out of memory.
    pub const ENOMEM: i32 = 12;
    /// Bad address: what was done cannot be told.
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

/// Why a session does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// A block has at least one byte.
    SizeZero,
    /// The alignment is not a power of two, or is larger than the pool.
    BadAlign,
    /// The engine refuses.
    Refused(Refusal),
    /// The engine refuses, as what is free is in pieces: Linux's fragmentation index.
    Fragmented(u16),
    /// The session would hold more bytes than its quota.
    QuotaBytes,
    /// The session would hold more blocks than its quota.
    QuotaHandles,
    /// There is no memory for a larger table of handles.
    NoTable,
    /// No block of this session has that handle.
    NoSuchBlock,
    /// The block is being copied, mapped or moved.
    Pinned,
    /// The position is not in the block.
    OutOfBlock,
    /// The block has no pages to itself.
    NotPages,
    /// An operation of a submission is none.
    BadOperation,
    /// A fatal signal is pending: the program ends as soon as the call does.
    Interrupted,
}

impl Denied {
    /// Makes a denial of an engine's refusal, of which `cost` tells more.
    pub(crate) fn by_engine(refusal: Refusal, cost: &Cost) -> Self {
        match refusal {
            Refusal::Fragmented => Self::Fragmented(cost.fragmentation()),
            _ => Self::Refused(refusal),
        }
    }

    /// Returns the fragmentation index, if that is why.
    #[must_use]
    pub fn fragmentation(self) -> Option<u16> {
        match self {
            Self::Fragmented(index) => Some(index),
            _ => None,
        }
    }

    /// Returns the cause, if it was memory that was refused.
    #[must_use]
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Refused(refusal) => Some(refusal.into()),
            Self::Fragmented(_) => Some(Cause::Fragmented),
            Self::QuotaBytes | Self::QuotaHandles => Some(Cause::Quota),
            Self::NoTable => Some(Cause::Tables),
            _ => None,
        }
    }

    /// Returns the error number that a program is told.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::SizeZero | Self::BadAlign | Self::BadOperation | Self::NotPages => errno::EINVAL,
            Self::Refused(Refusal::Unsupported) => errno::EOPNOTSUPP,
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
