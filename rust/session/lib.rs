// SPDX-License-Identifier: GPL-2.0

//! Sessions: handles, quotas, pins and zeroing between a program and an engine.
//!
//! A [`Session`] owns the blocks that one open file allocated. The session names each block by a [`Handle`],
//! enforces the quota, zeroes new memory, and pins a block while its bytes are copied or mapped. The
//! crate contains no system calls: the module drives a session from ioctls and the command drives it
//! in-process, so the host tests run the code that the kernel runs.
//!
//! ```text
//! program ─▶ Session ─▶ Engine
//!              └─ SessionState: handle table, quota, event log (under the session's lock)
//! ```
//!
//! Each file imports only files that precede it in this list:
//!
//! ```text
//! error, handle, entry    causes and errno; names; one allocation and its state
//! operation               the operations of a submission and their replies
//! events                  the event log
//! table, reservation      the handle table; the quota: reserve, commit, abort
//! state                   table, quota and log together; the types and functions of a platform
//! memory                  zeroing and copying
//! session                 allocate, free and revoke
//! pin, realloc, submit    operations that use allocate and free
//! ```

#![cfg_attr(not(MODULE), no_std)]

#[cfg(test)]
extern crate std;

#[forbid(unsafe_code)]
mod entry;
#[forbid(unsafe_code)]
mod error;
#[forbid(unsafe_code)]
mod events;
#[forbid(unsafe_code)]
mod handle;
mod memory;
#[forbid(unsafe_code)]
mod operation;
mod pin;
mod realloc;
#[forbid(unsafe_code)]
mod reservation;
mod session;
mod state;
#[forbid(unsafe_code)]
mod submit;
#[forbid(unsafe_code)]
mod table;
#[cfg(test)]
mod tests;

pub use entry::HandleEntry;
pub use error::{
    RefusalCause,
    SessionError,
    errno, //
};
pub use events::{
    Event,
    EventBatch,
    EventContext,
    EventKind,
    EventOutcome,
    EventReadError,
    NO_ALIGN, //
};
pub use handle::{
    HANDLE_BITS,
    Handle,
    INDEX_MAX, //
};
pub use memory::PIECE;
pub use operation::{
    BlockRef,
    EncodedOperation,
    Operation,
    Reply, //
};
pub use pin::Pinned;
pub use realloc::PendingRealloc;
pub use reservation::Quota;
pub use session::{
    Session,
    validate, //
};
pub use state::{
    Platform,
    QuickWork,
    SessionState,
    SessionStats, //
};
pub use submit::Segment;
