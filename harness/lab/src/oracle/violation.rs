// SPDX-License-Identifier: GPL-2.0

//! The rules for answers, one variant per rule.

use crate::{
    device::Errno,
    errno::Name,
    uapi::Cause, //
};

/// A rule that an answer broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A call failed that had to succeed.
    #[error("{call} must succeed, but failed with {}", Name(*errno))]
    Failed {
        /// The call.
        call: &'static str,
        /// The error.
        errno: Errno,
    },
    /// A call was refused with an error that does not go with the cause.
    #[error(
        "{call} was refused with {} and the cause '{}', which contradict each other",
        Name(*errno),
        cause.map_or("unknown", Cause::name)
    )]
    WrongRefusal {
        /// The call.
        call: &'static str,
        /// The error.
        errno: Errno,
        /// The cause in the reply; `None` if the number in the reply is not a cause.
        cause: Option<Cause>,
    },
    /// Every request is refused although no other session uses the pool.
    #[error(
        "all {requests} requests were refused in a private pool, the last one with the cause '{}'",
        cause.name()
    )]
    NeverServed {
        /// The requests.
        requests: u64,
        /// The cause of the last refusal.
        cause: Cause,
    },
    /// A handle is outside the range of handles.
    #[error("{handle:#x} is an invalid handle: handles are positive and below 2^31")]
    BadHandle {
        /// The handle.
        handle: u32,
    },
    /// A handle names two blocks.
    #[error("handle {handle} already names a live block")]
    HandleInUse {
        /// The handle.
        handle: u32,
    },
    /// A block is smaller than requested.
    #[error("{size} bytes were requested, but the block has {usable}")]
    TooSmall {
        /// The requested value.
        size: u64,
        /// The block's usable bytes.
        usable: u64,
    },
    /// A block of an engine with a pool has no offset, or a block of an engine without a pool has one.
    #[error("handle {handle}: an engine {} a pool replied with the offset {offset:#x}",
        if *pool { "with" } else { "without" })]
    WrongKindOfOffset {
        /// The block.
        handle: u32,
        /// Whether the engine has a pool.
        pool: bool,
        /// The offset in the reply.
        offset: u64,
    },
    /// A block is not in the pool.
    #[error("a block of {usable} bytes at offset {offset:#x} does not lie in the pool completely")]
    OutsidePool {
        /// The offset of the block.
        offset: u64,
        /// The usable bytes of the block.
        usable: u64,
    },
    /// A block does not have the requested alignment.
    #[error("offset {offset:#x} is not a multiple of {align}")]
    Misaligned {
        /// The offset of the block.
        offset: u64,
        /// The requested value.
        align: u64,
    },
    /// Two blocks share bytes.
    #[error(
        "blocks at offsets {first:#x} ({first_usable} bytes) and {second:#x} ({second_usable} bytes) \
         share bytes"
    )]
    Overlap {
        /// The offset of the older block.
        first: u64,
        /// The usable bytes of the block.
        first_usable: u64,
        /// The offset of the newer block.
        second: u64,
        /// The usable bytes of the block.
        second_usable: u64,
    },
    /// A new byte of a block is not zero.
    #[error("handle {handle}: byte {byte} is new and must be 0, found {found:#04x}")]
    NotZero {
        /// The block.
        handle: u32,
        /// The byte.
        byte: u64,
        /// The value that was found.
        found: u8,
    },
    /// A byte of a block has changed since it was written.
    #[error("handle {handle}: byte {byte} must still be {expected:#04x}, found {found:#04x}")]
    Corrupt {
        /// The block.
        handle: u32,
        /// The byte.
        byte: u64,
        /// The value that was written.
        expected: u8,
        /// The value that was found.
        found: u8,
    },
    /// A transfer inside a block moved fewer bytes than requested.
    #[error("handle {handle}: {call} of {expected} bytes from byte {byte} on transferred {moved}")]
    Short {
        /// The call.
        call: &'static str,
        /// The block.
        handle: u32,
        /// The first byte of the transfer.
        byte: u64,
        /// The requested value.
        expected: usize,
        /// The bytes that were transferred.
        moved: usize,
    },
    /// A figure does not have the required value.
    #[error("{what} must be {expected}, but is {found}")]
    Figure {
        /// The figure.
        what: &'static str,
        /// The required value.
        expected: u64,
        /// The value that was found.
        found: u64,
    },
    /// CHECK found a violation.
    #[error("CHECK found a violation of the rule '{rule}' (class {class}, offset {offset:#x})")]
    Unsound {
        /// The rule, or its number.
        rule: String,
        /// The class, or 255.
        class: u32,
        /// The offset, or 2⁶⁴ − 1.
        offset: u64,
    },
    /// The allocator of the engine `student` broke a rule.
    #[error("{0}")]
    Allocator(String),
    /// An expectation of one workload is not met.
    #[error("{0}")]
    Unexpected(String),
    /// A violation in one of several threads.
    #[error("thread {thread}, operation {operation} of that thread: {violation}")]
    InThread {
        /// The thread.
        thread: usize,
        /// The operation, counted by that thread.
        operation: u64,
        /// The violation in that thread.
        violation: Box<Violation>,
    },
}
