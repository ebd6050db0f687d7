// SPDX-License-Identifier: GPL-2.0

//! A picture of the pool of an allocator that has no MAP, from the live blocks alone.
//!
//! The allocator's own metadata and its free blocks are unknown, so all memory outside of the live blocks counts as
//! free:
//!
//! ```text
//!  blocks   │ a │ b │ │             c             │  │        │
//!  pages    │  mixed    │ large │ large │  mixed   │   free   │
//! ```

use super::{
    map_deltas::PageBlockState,
    trace_blocks::{
        PAGE_BYTES,
        TraceBlock, //
    },
};

/// The live memory of a page.
#[derive(Clone, Copy, Default)]
struct PageUse {
    /// The number of blocks that begin in the page.
    blocks: u16,
    live_bytes: u64,
    /// The end of the last live byte so far, and the longest free run in front of it, in bytes of the page.
    end: u64,
    longest_free: u64,
    /// The number of pages from this one on that one block covers, if the block covers no page before.
    covered: u32,
}

impl PageUse {
    /// Adds the live bytes from `from` to `to`, which follow all others.
    fn add(&mut self, from: u64, to: u64) {
        self.longest_free = self.longest_free.max(from.saturating_sub(self.end));
        self.live_bytes += to - from;
        self.end = to;
    }

    /// Returns the longest free run of the page.
    fn longest_free(&self) -> u64 {
        self.longest_free.max(PAGE_BYTES - self.end)
    }
}

/// Returns the extents of a pool of one region, in order. The cost is O(pages + blocks × log(blocks)).
pub(super) fn pictured<'blocks>(
    pool_bytes: u64,
    blocks: impl Iterator<Item = &'blocks TraceBlock>,
) -> Vec<(u32, PageBlockState)> {
    let mut pages = vec![PageUse::default(); (pool_bytes / PAGE_BYTES) as usize];
    let live = blocks.filter_map(|block| {
        let start = block.byte()?;
        Some((start, (start + block.requested).min(pool_bytes)))
    });
    let mut live: Vec<(u64, u64)> = live.filter(|(start, end)| start < end).collect();
    live.sort_unstable();
    for (start, end) in live {
        let (first, last) = (start.div_ceil(PAGE_BYTES), end / PAGE_BYTES);
        if first < last {
            pages[first as usize].covered = (last - first) as u32;
        }
        pages[(start / PAGE_BYTES) as usize].blocks += 1;
        for page in start / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let begin = page * PAGE_BYTES;
            let to = (end - begin).min(PAGE_BYTES);
            pages[page as usize].add(start.saturating_sub(begin), to);
        }
    }
    extents(&pages)
}

/// Returns the extents of these pages.
fn extents(pages: &[PageUse]) -> Vec<(u32, PageBlockState)> {
    let mut extents = Vec::new();
    let mut page = 0;
    while let Some(of) = pages.get(page) {
        let free = pages[page..].iter().take_while(|of| of.live_bytes == 0);
        let state = match (free.count(), of.covered) {
            (0, 0) => PageBlockState::Mixed {
                pages: 1,
                blocks: of.blocks,
                used_bytes: of.live_bytes as u16,
                largest_free_bytes: of.longest_free() as u16,
            },
            (0, covered) => PageBlockState::Large { pages: covered },
            (free, _) => PageBlockState::Free { pages: free as u32 },
        };
        extents.push((page as u32, state));
        page += state.pages() as usize;
    }
    extents
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
        let mixed = |blocks, used_bytes, largest_free_bytes| PageBlockState::Mixed {
            pages: 1,
            blocks,
            used_bytes,
            largest_free_bytes,
        };
        let blocks = [
            block(2 * PAGE_BYTES, 3 * PAGE_BYTES + 1),
            block(4000, 100),
            block(8, 16),
        ];
        let picture = pictured(8 * PAGE_BYTES, blocks.iter());
        let expected = [
            (0, mixed(2, 16 + 96, 4000 - 24)),
            (1, mixed(0, 4, 4092)),
            (2, PageBlockState::Large { pages: 3 }),
            (5, mixed(0, 1, 4095)),
            (6, PageBlockState::Free { pages: 2 }),
        ];
        assert_eq!(picture, expected);
        let empty = pictured(8 * PAGE_BYTES, [].iter());
        assert_eq!(empty, [(0, PageBlockState::Free { pages: 8 })]);
    }
}
