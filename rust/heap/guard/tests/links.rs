// SPDX-License-Identifier: GPL-2.0

//! Engines that write more than a word into free blocks.

use super::*;
use crate::{
    Refusal,
    check::{
        self,
        Broken,
        Progress,
        Rule,
        Walk, //
    },
    engine::Capabilities,
    guard::{
        FREE_BLOCK_BYTES_MAX,
        SET_ASIDE_MAX,
        supports, //
    },
    region::RegionError,
    testing::{
        HostHybrid,
        HostSeed,
        blocks::Blocks, //
    },
};

/// The seed, writing more into free blocks than its links: `written` bytes from the second word on.
struct Longer {
    engine: HostSeed,
    written: usize,
    said: usize,
}

impl Longer {
    fn new(written: usize, said: usize) -> Self {
        let engine = HostSeed::empty();
        Self {
            engine,
            written,
            said,
        }
    }
}

// SAFETY: The seed is one; its blocks are written when they are free.
unsafe impl Engine for Longer {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn usable(&self, layout: Layout) -> usize {
        self.engine.usable(layout)
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    fn allocate(&self, layout: Layout, cost: &mut Cost) -> Result<Block, Refusal> {
        self.engine.allocate(layout, cost)
    }

    unsafe fn release(&self, block: Block, layout: Layout, cost: &mut Cost) -> Result<(), BadFree> {
        scribble(block.start, 8, self.written - 8);
        // SAFETY: By this function's contract.
        unsafe { self.engine.release(block, layout, cost) }
    }

    fn keeps(&self, layout: Layout, new: Layout) -> bool {
        self.engine.keeps(layout, new)
    }

    unsafe fn resize(&self, block: Block, layout: Layout, new: Layout, cost: &mut Cost) -> bool {
        // SAFETY: By this function's contract.
        unsafe { self.engine.resize(block, layout, new, cost) }
    }

    unsafe fn add_region(
        &self,
        start: NonNull<u8>,
        bytes: usize,
        table: NonNull<u8>,
    ) -> Result<u16, RegionError> {
        // SAFETY: By this function's contract.
        unsafe { self.engine.add_region(start, bytes, table) }
    }

    fn free_block_bytes(&self) -> usize {
        self.said
    }

    fn free_block_align(&self) -> usize {
        self.engine.free_block_align()
    }

    fn visit(&self, visitor: &mut dyn Visitor) {
        self.engine.visit(visitor);
    }

    fn check(&self, walk: &mut Walk) -> Result<Progress, Broken> {
        self.engine.check(walk)
    }
}

fn guarded(engine: Longer, memory: &Memory) -> Guarded<Longer> {
    let guard = Guard::new(engine, Mutex::default(), Played);
    memory.lend(&guard).unwrap();
    guard
}

#[test]
fn bytes_that_the_engine_says_it_writes_are_no_damage() {
    let memory = Memory::new(POOL_BYTES);
    let engine = Longer::new(FREE_BLOCK_BYTES_MAX, FREE_BLOCK_BYTES_MAX);
    assert!(supports(&engine));
    let guard = guarded(engine, &memory);
    let mut blocks = Blocks::default();
    for round in 0..2000_usize {
        let size = 1 + round * 97 % 9000;
        if round % 3 < 2 {
            let _ = blocks.allocate(&guard, layout(size, 8), round as u8);
        } else if let Some(offset) = blocks.pick(round) {
            blocks.release(&guard, offset);
        }
    }
    while let Some(offset) = blocks.pick(0) {
        blocks.release(&guard, offset);
    }
    assert_eq!(reports(&guard), []);
    goes_on(&guard);
}

#[test]
fn a_write_behind_the_engine_s_bytes_is_told() {
    let memory = Memory::new(POOL_BYTES);
    let guard = guarded(Longer::new(32, 32), &memory);
    let layout = layout(1000, 8);
    let block = allocate(&guard, 7, layout);
    free(&guard, 8, block.start, layout).unwrap();
    // The zone in front has 64 bytes.
    scribble(block.start, 32 - 64, 1);
    allocate(&guard, 9, layout);
    let report = only(&guard, Fault::WriteAfterFree, 1);
    assert_eq!((report.byte, report.damaged), (32 - 64, 1));
}

#[test]
fn a_request_ends_although_all_that_is_free_is_damaged() {
    let memory = Memory::new(POOL_BYTES);
    let guard = guarded(Longer::new(32, 8), &memory);
    let layout = layout(1000, 8);
    let mut out = Vec::new();
    while let Ok(block) = guard.allocate(layout, &mut Cost::default()) {
        out.push(block);
    }
    assert!(out.len() > 2 * SET_ASIDE_MAX);
    for block in &out {
        free(&guard, 7, block.start, layout).unwrap();
    }
    for request in 1..=2 {
        let refused = guard.allocate(layout, &mut Cost::default());
        assert_eq!(refused, Err(Refusal::Exhausted));
        let set_aside = stats(&guard).set_aside_blocks;
        assert_eq!(set_aside, request * SET_ASIDE_MAX as u64);
    }
    sound(guard.engine());
    // A check says so before anything is set aside.
    let broken = check::run(&mut Walk::new(), |walk| guard.check(walk)).unwrap_err();
    assert_eq!(broken.rule, Rule::Poison);
}

#[test]
fn engines_that_write_too_much_or_anywhere_have_no_debug_mode() {
    for (said, is_supported) in [
        (0, true),
        (8, true),
        (FREE_BLOCK_BYTES_MAX, true),
        (FREE_BLOCK_BYTES_MAX + 1, false),
        (usize::MAX, false),
    ] {
        assert_eq!(supports(&Longer::new(8, said)), is_supported, "{said}");
    }
    assert!(supports(&HostSeed::empty()) && supports(&HostHybrid::empty()));
}
