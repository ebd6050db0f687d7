// SPDX-License-Identifier: GPL-2.0

//! The hunt: small allocators, each with one defect that allocators really had, and the judge of traces.
//!
//! A learner gets a seed, which chooses a [`Defect`]. The allocator with this defect runs as the engine `student`. The
//! learner submits a trace that exposes the defect, and the name of the [`Rule`] that breaks. [`judge`] replays the
//! trace on the allocator with the defect and on the sound one, and compares.
//!
//! The same defects test the detectors of slablab: `tests/hunt/detectors.rs`.

#![forbid(unsafe_code)]

mod allocators;
mod catalog;
mod defect;
pub mod judge;
mod kind;
mod rule;
mod seed;

pub use allocators::{
    Hunted,
    Version, //
};
pub use defect::{
    Defect,
    SourceLine, //
};
pub use kind::Kind;
pub use rule::Rule;
pub use seed::{
    SEED_MAX,
    defect_of, //
};
