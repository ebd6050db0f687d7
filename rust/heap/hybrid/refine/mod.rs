// SPDX-License-Identifier: GPL-2.0

//! Refinements: policies and rare paths that the textbook algorithm does not have.
//!
//! The documentation of each file names the advantage of the refinement.
//!
//! Figures are utilisations, the means of the eleven classic and the sixteen newer traces of
//! `make bench-host BENCH='--heap hybrid --pattern space'`, at alignment 8. They were measured on commit b286119, with
//! the refinement (89.5 % and 86.2 %) and without it. `docs/benchmarks.md` has the figures of the current version.

#[forbid(unsafe_code)]
mod fallback;
#[forbid(unsafe_code)]
mod join;
#[forbid(unsafe_code)]
mod refusal;
#[forbid(unsafe_code)]
mod resize;
