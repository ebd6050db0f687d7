// SPDX-License-Identifier: GPL-2.0

//! What lies between a program and an engine.
//!
//! A [`Session`] owns the blocks that one open file allocated. It names them by [`Handle`], holds
//! the program to its quota, zeroes what it hands out, and pins what is being copied. It knows
//! nothing of system calls: the module drives it from ioctls and the command drives it in-process,
//! so that what is tested on the host is what runs in the kernel.
//!
//! ```text
//! program ─▶ Session ─▶ Engine
//!              └─ Ledger: handles, pins, quota, events (under the session's lock)
//! ```

#![cfg_attr(not(MODULE), no_std)]

#[cfg(test)]
extern crate std;

#[forbid(unsafe_code)]
mod denied;
#[forbid(unsafe_code)]
mod entry;
#[forbid(unsafe_code)]
mod events;
mod group;
mod guard;
#[forbid(unsafe_code)]
mod handle;
#[forbid(unsafe_code)]
mod ledger;
#[forbid(unsafe_code)]
mod pins;
#[forbid(unsafe_code)]
mod request;
#[forbid(unsafe_code)]
mod room;
mod session;
mod storage;
#[forbid(unsafe_code)]
mod submit;
mod table;
#[cfg(test)]
mod tests;

pub use denied::{
    Cause,
    Denied,
    errno, //
};
pub use events::{
    Event,
    Kind,
    Moment,
    NO_ALIGN,
    NotRead,
    Outcome,
    Read, //
};
pub use guard::{
    Pending,
    Pinned, //
};
pub use handle::{
    HANDLE_BITS,
    Handle,
    INDEX_MAX, //
};
pub use ledger::{
    Ledger,
    Tally, //
};
pub use request::{
    Name,
    Operation,
    Request, //
};
pub use room::Limits;
pub use session::{
    PIECE,
    Reply,
    Session,
    validate, //
};
pub use storage::Storage;
pub use submit::{
    Done,
    Part, //
};
pub use table::Slot;
