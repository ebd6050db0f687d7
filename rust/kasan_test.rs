// SPDX-License-Identifier: GPL-2.0

//! Stray accesses on purpose, in a build of the module that is made for them (`make STRAY=1`).
//!
//! Loading that module makes each of them once, in a pool of its own, and names it in the log before.
//! What KASAN then reports is compared by `scripts/test-debug.sh`.

use core::alloc::Layout;

use kernel::prelude::*;
use slab_heap::{
    Block,
    Cost,
    Engine, //
};

use crate::pool::{
    AnyEngine,
    EngineKind,
    PoolRef, //
};

/// Bytes of the pool.
const POOL_BYTES: usize = 1 << 20;

/// Blocks, of which some lie side by side.
const BLOCKS: usize = 16;

/// Makes every stray access on every engine that has a pool.
pub(crate) fn run() -> Result {
    for kind in [EngineKind::Seed, EngineKind::Hybrid] {
        for bytes in [64, 8192] {
            AccessTest::new(kind, bytes)?.visit();
        }
    }
    Ok(())
}

/// Some blocks in a new pool, in the order of their addresses.
struct AccessTest {
    pool: PoolRef,
    name: &'static str,
    layout: Layout,
    blocks: [Block; BLOCKS],
}

impl AccessTest {
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

    /// Does what is right, which nothing reports, and what is wrong, each of which is reported once.
    fn visit(&self) {
        let bytes = self.layout.size();
        // Not at the pool's beginning: to show the shadow around it KASAN would leave what is mapped.
        let [.., middle, next, _, last] = self.blocks;
        for block in self.blocks {
            touch(block, 0);
            touch(block, bytes as isize - 1);
        }
        pr_warn!("stray: {} {bytes}: behind a block\n", self.name);
        touch(last, bytes as isize);
        self.release(middle);
        pr_warn!("stray: {} {bytes}: a freed block\n", self.name);
        touch(middle, 0);
        pr_warn!("stray: {} {bytes}: before a block\n", self.name);
        touch(next, -1);
        pr_warn!("stray: {} {bytes}: no more\n", self.name);
        for block in self.blocks.into_iter().filter(|block| *block != middle) {
            self.release(block);
        }
    }

    fn release(&self, block: Block) {
        let engine: &AnyEngine = &self.pool;
        // SAFETY: Allocated with this layout in `new`, and released once. What is read of it
        // afterwards is what the module was built for.
        let released = unsafe { engine.release(block, self.layout, &mut Cost::default()) };
        if released.is_err() {
            pr_warn!("stray: a block was not taken back\n");
        }
    }
}

/// Reads a byte of a block, or of what lies around it.
fn touch(block: Block, byte: isize) {
    // SAFETY: The memory is the pool's, all of which is mapped: a neighbour of the block lies there.
    unsafe { block.start.as_ptr().wrapping_offset(byte).read_volatile() };
}
