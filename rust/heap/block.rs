// SPDX-License-Identifier: GPL-2.0

//! Blocks, and the causes for which a request or a free is refused.

use core::ptr::NonNull;

/// A block of memory that an engine allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Block {
    /// The first byte.
    pub start: NonNull<u8>,
}

// SAFETY: A `Block` is only an address, so moving it to another thread accesses no memory. Each access to the
// memory of a block is `unsafe`, and its caller ensures that no other thread uses the block.
unsafe impl Send for Block {}

/// The cause for which an engine refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// An empty pool could not serve the request. An engine may round the size up to a power of two first.
    TooBig,
    /// Fewer bytes are free than the request needs.
    Exhausted,
    /// Enough bytes are free, but not in one piece.
    Fragmented,
    /// The engine cannot serve this combination of size and alignment at all.
    Unsupported,
    /// The fault injection of [`crate::fail`] chose the request.
    Injected,
    /// A CPU that may hold free memory could not be reached in time.
    Busy,
    /// The engine broke a rule and serves no more requests: see [`crate::violation`].
    Faulty,
}

impl Refusal {
    /// All causes, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::TooBig,
        Self::Exhausted,
        Self::Fragmented,
        Self::Unsupported,
        Self::Injected,
        Self::Busy,
        Self::Faulty,
    ];

    /// The number of causes.
    pub const COUNT: usize = Self::ALL.len();
}

/// The rule that a refused free breaks. A refused free changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadFree {
    /// The address is not in the pool.
    Foreign,
    /// The address is inside a block.
    Interior,
    /// The block has another size.
    WrongSize,
    /// There is no live block at the address.
    NotLive,
}
