// SPDX-License-Identifier: GPL-2.0

//! Random operations, compared with a model or an oracle: `buddy` tests the buddy system, `engine` the whole
//! engine, and `map` the map of a pool. `conformance` runs the conformance test of all engines.

mod buddy;
mod conformance;
mod engine;
mod map;

use super::support::{
    class,
    descs,
    is_whole,
    page,
    prepared, //
};
