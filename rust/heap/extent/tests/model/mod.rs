// SPDX-License-Identifier: GPL-2.0

//! Operations that are compared with a model or an oracle.
//!
//! `heap` runs random operations on the heap, `placement` all sequences of few operations in a tiny pool, and `engine`
//! random operations on the whole engine. `causes` compares the causes of refused requests and frees with rules that
//! are computed from the blocks. `conformance` runs the conformance test of all engines.

mod causes;
mod conformance;
mod engine;
mod heap;
mod placement;

use super::support::{
    BareHeap,
    GRANULE,
    free_run_count,
    metadata,
    runs,
    usable, //
};
