// SPDX-License-Identifier: GPL-2.0

//! Random operations, compared with a model or an oracle: `runs` tests the runs, and `engine` the whole engine.
//! `conformance` runs the conformance test of all engines.

mod conformance;
mod engine;
mod runs;
