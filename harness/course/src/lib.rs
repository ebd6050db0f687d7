// SPDX-License-Identifier: GPL-2.0

//! The course: exercises in which a learner writes an allocator.
//!
//! An exercise is a folder `NN-name` beside this crate's `src`, with these files:
//!
//! | file | contents |
//! |---|---|
//! | `page.md` | the page that a learner reads |
//! | `hints.md` | three hints, the vaguest first; or one hint for each topic |
//! | `answers.md` | the answers to the questions of the page |
//! | `rubric.toml` | the tests of the exercise, in their order, and their points |
//! | `start.rs`, `solution.rs` | the starting code and the model solution |
//! | `wrong/*.diff` | typical wrong solutions, as changes of `solution.rs` or `start.rs` |
//! | `wrong/*.rs` | typical wrong solutions that are different programs |
//!
//! A wrong solution begins with two lines that name the test at which it fails, and the hint that helps. In a file `.rs`
//! they are comments (`//! Fails: …`).
//!
//! ```text
//! Fails: after all blocks of 1024 bytes are freed, one block takes the whole pool
//! Hint: 3
//! ```
//!
//! The hint is `none` if the allocator panics, because the hints of an exercise do not explain panics.
//! `scripts/tests/course.sh` tests that `slablab course check` names the same test and the same hint.
//!
//! The tests are functions of this crate, in [`suites`]. A rubric names them by their sentences, so several exercises
//! share a test.

pub mod exercise;
pub mod failure;
pub mod grade;
pub mod kernel;
pub mod kit;
pub mod limited_command;
pub mod picture;
pub mod rubric;
pub mod source_rules;
pub mod submission;
pub mod suites;
pub mod verify;

pub use exercise::Exercise;
