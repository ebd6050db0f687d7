// SPDX-License-Identifier: GPL-2.0

//! The engines of slablab.
//!
//! An [`Engine`] allocates and frees blocks of memory. Handles, quotas and zeroing belong to the layer above.
//! The memory of a pool belongs to the layer that calls [`add_region`](engine::AddRegion::add_region). This
//! crate uses neither `std` nor `alloc` nor the kernel's crate, so that Kbuild can compile the same files
//! into the module, and cargo into the tests.
//!
//! - [`seed`]: slabs over a buddy system, the design of `docs/seed-design.md`;
//! - [`hybrid`]: slabs over a buddy system behind per-CPU magazines, without most weaknesses of `seed`;
//! - [`extent`]: runs of granules behind the same magazines, which waste the least memory;
//! - [`magazines`]: the per-CPU magazines and the lock of `hybrid` and `extent`;
//! - [`debug`]: debug mode, which detects misuse of the blocks of any engine and reports it.

#![cfg_attr(not(MODULE), no_std)]

#[cfg(any(test, feature = "conformance"))]
extern crate std;

pub mod backing_heap;
mod block;
#[forbid(unsafe_code)]
pub mod check;
#[forbid(unsafe_code)]
pub mod cost;
pub mod debug;
pub mod engine;
mod engine_enum;
pub mod extent;
#[forbid(unsafe_code)]
pub mod fail;
#[forbid(unsafe_code)]
mod fault;
pub mod hybrid;
pub mod lock;
pub mod magazines;
#[forbid(unsafe_code)]
pub mod map;
pub mod nospec;
pub mod per_cpu;
#[forbid(unsafe_code)]
pub mod region;
mod region_index;
pub mod seed;
pub mod size_class;
#[forbid(unsafe_code)]
pub mod stats;
#[forbid(unsafe_code)]
pub mod violation;

#[cfg(any(test, feature = "conformance"))]
pub mod testing;

pub use cost::{
    Cost,
    Path, //
};
pub use engine::{
    Block,
    Engine,
    Refusal, //
};
pub use region::Offset;

/// log2 of the bytes of a page.
pub const PAGE_SHIFT: u32 = 12;

/// The bytes of a page.
pub const PAGE_BYTES: usize = 1 << PAGE_SHIFT;
