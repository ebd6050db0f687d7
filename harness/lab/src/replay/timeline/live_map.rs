// SPDX-License-Identifier: GPL-2.0

//! A picture of the pool of an allocator that has no MAP, from the live blocks alone.
//!
//! The allocator's own metadata and its free blocks are unknown, so that every byte outside of the live blocks counts
//! as free. A block covers whole pages, and parts of the pages at its ends:
//!
//! ```text
//!  blocks   │ a │b│   │      c               │    │
//!  pages    │  slab   │ large │ large │ slab │free│      a slab of granules is a page with live and free bytes
//! ```

use super::{
    map_deltas::PageBlockState,
    trace_blocks::{
        PAGE_BYTES,
        TraceBlock, //
    },
};
use crate::map::{
    GRANULE_BYTES,
    GRANULES, //
};

/// The granules of a page.
const PAGE_GRANULES: u64 = PAGE_BYTES / GRANULE_BYTES;

/// Returns the blocks of pages of a pool of one region, in order. The cost is O(pages + blocks).
pub(super) fn pictured<'blocks>(
    pool_bytes: u64,
    live: impl Iterator<Item = &'blocks TraceBlock>,
) -> Vec<(u32, PageBlockState)> {
    let pages = (pool_bytes / PAGE_BYTES) as usize;
    // The live bytes of each page, and the number of pages from here on that one block covers.
    let mut live_bytes = vec![0_u64; pages];
    let mut covered = vec![0_u32; pages];
    for block in live {
        let Some(start) = block.byte() else {
            continue;
        };
        let end = (start + block.requested).min(pool_bytes);
        let (first, last) = (start.div_ceil(PAGE_BYTES), end / PAGE_BYTES);
        if first < last {
            covered[first as usize] = (last - first) as u32;
        }
        let mut byte = start;
        while byte < end {
            let next = ((byte / PAGE_BYTES + 1) * PAGE_BYTES).min(end);
            live_bytes[(byte / PAGE_BYTES) as usize] += next - byte;
            byte = next;
        }
    }
    let mut blocks = Vec::new();
    let mut page = 0;
    while page < pages {
        let state = match (covered[page], live_bytes[page]) {
            (0, 0) => PageBlockState::Free {
                pages: live_bytes[page..]
                    .iter()
                    .take_while(|bytes| **bytes == 0)
                    .count() as u32,
            },
            (0, bytes) => PageBlockState::Slab {
                pages: 1,
                class: GRANULES,
                objects: PAGE_GRANULES as u16,
                used: bytes.div_ceil(GRANULE_BYTES).min(PAGE_GRANULES) as u16,
            },
            (pages, _) => PageBlockState::Large { pages },
        };
        blocks.push((page as u32, state));
        page += state.pages() as usize;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(offset: u64, requested: u64) -> TraceBlock {
        TraceBlock {
            requested,
            usable: requested,
            offset,
        }
    }

    #[test]
    fn each_page_has_the_use_of_its_live_bytes() {
        let slab = |used| PageBlockState::Slab {
            pages: 1,
            class: GRANULES,
            objects: 512,
            used,
        };
        let blocks = [
            block(8, 16),
            block(4000, 100),
            block(2 * PAGE_BYTES, 3 * PAGE_BYTES + 1),
        ];
        let picture = pictured(8 * PAGE_BYTES, blocks.iter());
        let expected = [
            // 16 + 96 bytes.
            (0, slab(14)),
            // 4 bytes.
            (1, slab(1)),
            (2, PageBlockState::Large { pages: 3 }),
            (5, slab(1)),
            (6, PageBlockState::Free { pages: 2 }),
        ];
        assert_eq!(picture, expected);
        let empty = pictured(8 * PAGE_BYTES, [].iter());
        assert_eq!(empty, [(0, PageBlockState::Free { pages: 8 })]);
    }
}
