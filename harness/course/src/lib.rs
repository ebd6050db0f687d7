// SPDX-License-Identifier: GPL-2.0

//! The course: exercises in which a learner writes an allocator.
//!
//! An exercise is a folder `NN-name` beside this crate's `src`, with these files:
//!
//! | file | contents |
//! |---|---|
//! | `page.md` | the page that a learner reads |
//! | `hints.md` | the hints, the vaguest first |
//! | `rubric.toml` | the tests of the exercise, in their order, and their points |
//! | `start.rs`, `solution.rs` | the starting code and the model solution |
//!
//! The tests are functions of this crate, in [`suites`]. A rubric names them by their sentences, so several exercises
//! share a test.

pub mod exercise;
pub mod kernel;
pub mod rubric;
pub mod suites;
pub mod verify;

pub use exercise::Exercise;
