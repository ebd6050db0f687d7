// SPDX-License-Identifier: GPL-2.0

//! A test of [`kasan`](crate::kasan) that makes stray accesses on purpose, in a special build (`make STRAY=1`).
//!
//! When this module is loaded, it makes each stray access once, in a new pool, and logs a line before the
//! access. `scripts/test-debug.sh` compares the reports of KASAN with these lines.

use core::alloc::Layout;

use kernel::prelude::*;
use slab_heap::{
    Block,
    Cost,
    Engine, //
};

use crate::{
    engines::{
        AnyEngine,
        EngineKind, //
    },
    pool::PoolRef, //
};

/// Bytes of the pool.
const POOL_BYTES: usize = 1 << 20;

/// Number of blocks. Some of them are adjacent, and some refill of a magazine is not used up.
const BLOCKS: usize = 13;

/// Makes every stray access on every engine that has a pool.
pub(crate) fn run() -> Result {
    for kind in EngineKind::ALL {
        if *kind == EngineKind::Slub {
            continue;
        }
        for bytes in [64, 8192] {
            AccessTest::new(*kind, bytes)?.run();
        }
    }
    Ok(())
}

/// Blocks in a new pool, in the order of their addresses.
struct AccessTest {
    pool: PoolRef,
    name: &'static str,
    layout: Layout,
    blocks: [Block; BLOCKS],
}

impl AccessTest {
    /// Allocates blocks of `bytes` bytes in a new pool.
    fn new(kind: EngineKind, bytes: usize) -> Result<Self> {
        let pool = PoolRef::new(kind, POOL_BYTES, None, false)?;
        let layout = Layout::from_size_align(bytes, 8).map_err(|_| EINVAL)?;
        let block = || {
            pool.allocate(layout, &mut Cost::default())
                .map_err(|_| ENOMEM)
        };
        let mut blocks = [block()?; BLOCKS];
        for rest in &mut blocks[1..] {
            *rest = block()?;
        }
        blocks.sort_unstable_by_key(|block| block.start);
        Ok(Self {
            name: kind.name(),
            pool,
            layout,
            blocks,
        })
    }

    /// Makes valid accesses, which KASAN must not report, and stray accesses, which KASAN must report once each.
    fn run(&self) {
        let bytes = self.layout.size();
        // The stray accesses are not next to the first block of the pool: KASAN prints the shadow around an
        // address, and the shadow before the pool is not mapped. Memory of the pool that is free follows `last`.
        let is_next = |block: Block, other: Block| {
            block.start.addr().get() + bytes == other.start.addr().get()
        };
        let four = self.blocks.windows(4).enumerate().find_map(|(n, four)| {
            let &[middle, next, _, last] = four else {
                return None;
            };
            let follower = self.blocks.get(n + 4);
            let is_free_behind = !follower.is_some_and(|block| is_next(last, *block));
            (is_next(middle, next) && is_free_behind).then_some((middle, next, last))
        });
        let Some((middle, next, last)) = four else {
            pr_warn!("stray: {}: no blocks for {bytes}\n", self.name);
            return;
        };
        for block in self.blocks {
            touch(block, 0);
            touch(block, bytes as isize - 1);
        }
        pr_warn!("stray: {} {bytes}: behind a block\n", self.name);
        touch(last, bytes as isize);
        self.free(middle);
        pr_warn!("stray: {} {bytes}: a freed block\n", self.name);
        touch(middle, 0);
        pr_warn!("stray: {} {bytes}: before a block\n", self.name);
        touch(next, -1);
        pr_warn!("stray: {} {bytes}: no more\n", self.name);
        for block in self.blocks.into_iter().filter(|block| *block != middle) {
            self.free(block);
        }
    }

    /// Frees a block.
    fn free(&self, block: Block) {
        let engine: &AnyEngine = &self.pool;
        // SAFETY: `Engine::free` requires a live block, its layout, and that nobody uses the block any more.
        // `new` allocated the block for this layout, and `run` frees each block once. The last requirement is
        // broken on purpose, as the fault that this build tests: `touch` reads a freed block. The read changes
        // nothing, and the memory of the pool stays mapped.
        let freed = unsafe { engine.free(block, self.layout, &mut Cost::default()) };
        if freed.is_err() {
            pr_warn!("stray: a free was refused\n");
        }
    }
}

/// Reads a byte of a block, or next to a block.
fn touch(block: Block, byte: isize) {
    // SAFETY: `read_volatile` requires an address that is valid for reads. The address is in the pool, all of
    // which is mapped: `run` passes a byte outside of a block only for blocks that are not at the edges of the
    // pool. An access to another block or to a free block is the fault that this build tests.
    unsafe { block.start.as_ptr().wrapping_offset(byte).read_volatile() };
}
