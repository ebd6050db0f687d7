// SPDX-License-Identifier: GPL-2.0

//! Support that the tests of `extent` share. This module contains no tests.
//!
//! | module | content |
//! |---|---|
//! | `bare_heap` | a heap without memory, with a shadow of its blocks |
//! | `test_heap` | the heap in the tests that run on each heap |

mod bare_heap;
mod test_heap;

pub(crate) use bare_heap::{
    BareHeap,
    GRANULE,
    at,
    free_run_count,
    metadata,
    runs,
    usable, //
};
