// SPDX-License-Identifier: GPL-2.0

//! Random operations, compared with a model or an oracle: `buddy` for the buddy system, `engine` for the
//! whole engine, `map` for the map of a pool.

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
