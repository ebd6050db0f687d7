// SPDX-License-Identifier: GPL-2.0

//! Examples of one behaviour each.
//!
//! | behaviour | modules |
//! |---|---|
//! | a bad free is refused with its cause | `bad_frees` |
//! | blocks of whole pages lie on pages | `whole_pages` |
//! | a resize in place takes memory from behind the block and returns it there | `resize` |
//! | the number of steps of an operation does not grow with the pool | `steps` |
//! | before a request is refused, more runs are examined | `fallback` |
//! | a region of 4 GiB | `largest_region` |

mod bad_frees;
mod fallback;
mod largest_region;
mod resize;
mod steps;
mod whole_pages;

use super::support::{
    BareHeap,
    GRANULE,
    at, //
};
