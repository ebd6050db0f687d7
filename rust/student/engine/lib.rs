// SPDX-License-Identifier: GPL-2.0

//! The frame of the engine `student`.
//!
//! A learner writes one file, `rust/student/lib.rs`, in safe Rust: a type that implements [`Allocator`]. The methods
//! get a [`Memory`], which reads and writes the pool and checks each access. [`StudentEngine`] makes an engine of
//! the allocator, which runs in a process and in the kernel.
//!
//! ```text
//!  session ─▶ StudentEngine ─▶ Allocator (the learner's file)
//!                  │               │ read, write
//!                  │ live blocks   ▼
//!                  └──────────▶ Memory ─▶ pool, page notes        every access is checked and counted
//! ```
//!
//! The first access or answer that breaks a rule is a [`Violation`]. It has the rule, the offset, the operation, and
//! the line of the learner's file. The engine then refuses all further requests.

#![cfg_attr(not(MODULE), no_std)]

#[cfg(test)]
extern crate std;

#[forbid(unsafe_code)]
mod allocator;
mod engine;
#[forbid(unsafe_code)]
mod live_map;
#[forbid(unsafe_code)]
mod memory;
#[cfg(test)]
mod tests;
#[forbid(unsafe_code)]
mod violation;
mod words;

pub use allocator::Allocator;
pub use core::alloc::Layout;
pub use engine::{
    State,
    StudentEngine, //
};
pub use memory::{
    ACCESSES_MAX,
    CPUS,
    GRANULE,
    Memory,
    PAGE_NOTES, //
};
pub use slab_heap::violation::{
    Operation,
    Rule,
    Violation, //
};
pub use violation::Error;
