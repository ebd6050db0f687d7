// SPDX-License-Identifier: GPL-2.0

//! Sessions: handles, quotas, pins and zeroing between a program and an engine.
//!
//! A [`Session`] owns the blocks that one open file allocated. It names each block by a [`Handle`],
//! enforces the quota, zeroes new memory, and pins a block while its bytes are copied or mapped. The
//! crate contains no system calls: the module drives a session from ioctls and the command drives it
//! in-process, so the host tests run the code that the kernel runs.
//!
//! ```text
//! program ─▶ Session ─▶ Engine
//!              └─ SessionState: handle table, quota, event log (under the session's lock)
//! ```
//!
//! Each file imports only files before it in this list:
//!
//! ```text
//! error, handle, pins          causes and errno; names; pin counts
//! entry, request               one allocation; the operations of a submission
//! events                       the event log
//! slot, storage                one table entry; what the platform provides
//! table, reservation           the handle table; the quota
//! state                        table, quota and log together
//! memory, session              zeroing; allocate and free
//! pin, realloc, batch, submit  what builds on allocate and free
//! ```

#![cfg_attr(not(MODULE), no_std)]

#[cfg(test)]
extern crate std;

mod batch;
#[forbid(unsafe_code)]
mod entry;
#[forbid(unsafe_code)]
mod error;
#[forbid(unsafe_code)]
mod events;
#[forbid(unsafe_code)]
mod handle;
mod memory;
mod pin;
#[forbid(unsafe_code)]
mod pins;
mod realloc;
#[forbid(unsafe_code)]
mod request;
#[forbid(unsafe_code)]
mod reservation;
mod session;
mod slot;
#[forbid(unsafe_code)]
mod state;
mod storage;
#[forbid(unsafe_code)]
mod submit;
mod table;
#[cfg(test)]
mod tests;

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
pub use pin::Pinned;
pub use realloc::PendingRealloc;
pub use request::{
    BlockRef,
    Operation,
    Reply,
    Request, //
};
pub use reservation::Limits;
pub use session::{
    Session,
    validate, //
};
pub use slot::Slot;
pub use state::{
    SessionState,
    SessionStats, //
};
pub use storage::Storage;
pub use submit::{
    Completed,
    Segment, //
};
