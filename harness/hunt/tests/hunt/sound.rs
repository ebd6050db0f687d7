// SPDX-License-Identifier: GPL-2.0

//! The sound versions keep all rules under random operations, and serve the whole pool at the end.

use crate::support::session;
use slablab_hunt::{
    Kind,
    Version, //
};
use slablab_lab::oracle::{
    ClientBlock,
    Oracle, //
};
use slablab_trace::rng::Rng;

/// The number of random operations for each seed.
const OPERATIONS: usize = 400;

/// The largest size of most blocks, so that the bytes of blocks are compared quickly.
const SIZE_MAX: u64 = 16 << 10;

/// A model test: the oracle has a map of the live blocks, and compares every answer and every byte with it. The
/// allocator's check is called after each operation.
fn keeps_all_rules(kind: Kind, seed: u64) {
    let sim = session(Version::Sound(kind));
    let oracle = Oracle::new(&sim, seed).unwrap();
    let mut client = oracle.client();
    let mut rng = Rng::new(seed);
    let mut live: Vec<ClientBlock> = Vec::new();
    for _ in 0..OPERATIONS {
        let size = rng.doubling(1, SIZE_MAX);
        match rng.below(5) {
            0..=1 => {
                let align = 1 << rng.below(14);
                live.extend(client.alloc(size, align).unwrap().ok());
            }
            2 if !live.is_empty() => {
                let index = rng.index(live.len());
                let _ = client.realloc(&mut live[index], size).unwrap();
            }
            _ if !live.is_empty() => {
                let index = rng.index(live.len());
                client.free(live.swap_remove(index)).unwrap();
            }
            _ => {}
        }
        oracle.check().unwrap();
    }
    for block in live {
        client.free(block).unwrap();
    }
    // The largest blocks together are the whole pool.
    let sizes = match kind {
        Kind::Buddy => vec![2 << 20, 1 << 20],
        _ => vec![kind.pool_bytes()],
    };
    let whole: Vec<_> = sizes.iter().map(|size| client.alloc(*size, 8)).collect();
    for block in whole {
        client.free(block.unwrap().unwrap()).unwrap();
    }
    oracle.finish().unwrap();
}

#[test]
fn the_sound_versions_keep_all_rules_and_lose_no_memory() {
    for kind in Kind::ALL {
        for seed in 0..3 {
            keeps_all_rules(kind, seed);
        }
    }
}
