// SPDX-License-Identifier: GPL-2.0

//! The engine `student`: everything around a learner's allocator.
//!
//! A learner writes one file, `rust/student/lib.rs`, in safe Rust: a type that implements [`Allocator`]. Its methods
//! access the pool through a [`Memory`], which checks each access. [`StudentEngine`] makes an engine of the allocator.
//! The engine runs in a process and in the kernel.
//!
//! ```text
//!  session ─▶ StudentEngine ─▶ Allocator (the learner's file)
//!                  │               │ read, write
//!                  │ live blocks   ▼
//!                  └──────────▶ Memory ─▶ pool, page notes        every access is checked and counted
//! ```
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | pool | the memory that the allocator manages: one range of bytes, which the [`Memory`] reads and writes |
//! | offset | the distance of a byte from the start of the pool; it names this byte, or a block that begins there |
//! | word | 8 bytes at a multiple of 8: the unit of every access |
//! | page | 4096 bytes at a multiple of 4096; the pool has a whole number of pages, numbered from 0 |
//! | block | the bytes that a call of `allocate` returned |
//! | live | allocated and not yet freed; a live block belongs to the program, and the allocator must not access it |
//! | free | not live; the allocator may keep its own data in free memory |
//! | access | a read or a write of one word of the pool or of one note |
//! | note | one of 8 words for each page, which lie outside of the pool, where no program can reach them |
//!
//! # Broken rules
//!
//! The engine records the first access or answer that breaks a rule as a [`Violation`]: the rule, the offset, the
//! operation, and the line of the learner's file. It then refuses all further requests.

#![cfg_attr(not(MODULE), no_std)]

#[cfg(test)]
extern crate std;

#[forbid(unsafe_code)]
mod allocator;
mod engine;
#[forbid(unsafe_code)]
mod live_map;
#[forbid(unsafe_code)]
mod map;
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
    StudentEngine,
    table_bytes, //
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
