// SPDX-License-Identifier: GPL-2.0

//! Engines that write more than one word into free blocks.

use super::{
    altered_seed::{
        AlteredSeed,
        guarded, //
    },
    *, //
};
use crate::{
    Refusal,
    check::{
        self,
        Rule,
        Walk, //
    },
    debug::{
        FREE_BLOCK_BYTES_MAX,
        QUARANTINE_MAX,
        supports, //
    },
    testing::{
        HostHybrid,
        HostSeed,
        blocks::ShadowMap,
        prelude::*, //
    },
};

#[test]
fn bytes_that_the_engine_declares_are_not_damage() {
    let memory = HostMemory::new(POOL_BYTES);
    let engine = AlteredSeed::new(FREE_BLOCK_BYTES_MAX, FREE_BLOCK_BYTES_MAX);
    assert!(supports(&engine));
    let guard = guarded(engine, &memory);
    let mut blocks = ShadowMap::default();
    for round in 0..2000_usize {
        let size = 1 + round * 97 % 9000;
        if round % 3 < 2 {
            let _ = blocks.allocate(&guard, layout(size, 8), round as u8);
        } else if let Some(offset) = blocks.pick(round) {
            blocks.free(&guard, offset);
        }
    }
    while let Some(offset) = blocks.pick(0) {
        blocks.free(&guard, offset);
    }
    assert_eq!(reports(&guard), []);
    goes_on(&guard);
}

#[test]
fn a_write_behind_the_engines_bytes_is_reported() {
    let memory = HostMemory::new(POOL_BYTES);
    let guard = guarded(AlteredSeed::new(32, 32), &memory);
    let layout = layout(1000, 8);
    let block = allocate(&guard, 7, layout);
    free(&guard, 8, block.start, layout).unwrap();
    // The front red zone has 64 bytes.
    scribble(block.start, 32 - 64, 1);
    allocate(&guard, 9, layout);
    let report = only(&guard, Fault::WriteAfterFree, 1);
    assert_eq!((report.byte, report.damaged), (32 - 64, 1));
}

#[test]
fn a_request_ends_if_all_free_memory_is_damaged() {
    let memory = HostMemory::new(POOL_BYTES);
    let guard = guarded(AlteredSeed::new(32, 8), &memory);
    let layout = layout(1000, 8);
    let mut live = Vec::new();
    while let Ok(block) = guard.allocate(layout, &mut Cost::default()) {
        live.push(block);
    }
    assert!(live.len() > 2 * QUARANTINE_MAX);
    for block in &live {
        free(&guard, 7, block.start, layout).unwrap();
    }
    for request in 1..=2 {
        let refused = guard.allocate(layout, &mut Cost::default());
        assert_eq!(refused, Err(Refusal::Exhausted));
        let quarantined = stats(&guard).quarantined_blocks;
        assert_eq!(quarantined, request * QUARANTINE_MAX as u64);
    }
    sound(guard.engine());
    // A check finds the damage of the free memory that is not in quarantine.
    let broken = check::run(&mut Walk::new(), |walk| guard.check(walk)).unwrap_err();
    assert_eq!(broken.rule, Rule::Poison);
}

#[test]
fn an_engine_that_writes_too_much_has_no_debug_mode() {
    for (declared, is_supported) in [
        (0, true),
        (8, true),
        (FREE_BLOCK_BYTES_MAX, true),
        (FREE_BLOCK_BYTES_MAX + 1, false),
        (usize::MAX, false),
    ] {
        assert_eq!(
            supports(&AlteredSeed::new(8, declared)),
            is_supported,
            "{declared}"
        );
    }
    assert!(supports(&HostSeed::empty()) && supports(&HostHybrid::empty()));
}
