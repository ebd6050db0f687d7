// SPDX-License-Identifier: GPL-2.0

//! Examples of one component each.
//!
//! | component | modules |
//! |---|---|
//! | buddy system | `page`, `buddy`, `placement` |
//! | slabs and the heap | `slab`, `bitmaps`, `heap`, `fallback`, `refusal_causes`, `growth`, `largest_region` |
//! | magazines | `magazine` |
//! | the whole engine, in the experiments that show the weaknesses of `seed` | `weaknesses` |

mod bitmaps;
mod buddy;
mod depot;
mod fallback;
mod growth;
mod heap;
mod largest_region;
mod magazine;
mod page;
mod placement;
mod refusal_causes;
mod slab;
mod weaknesses;

use super::support::{
    BareHeap,
    Machine,
    add_piece,
    at,
    buddy,
    class,
    descs,
    is_whole,
    kind,
    page,
    table, //
};
