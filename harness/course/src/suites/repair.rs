// SPDX-License-Identifier: GPL-2.0

//! Tests of the repairs of the seed's weaknesses.
//!
//! Each test needs the repair of one weakness only, so a learner can repair the weaknesses in any order. Random
//! requests are a test of their own, so that a failure of another test names the weakness that is not repaired.

use slablab_lab::oracle::{
    Client,
    Violation, //
};

use super::{
    CourseTest, POOL_BYTES, TIERS_POOL_BYTES,
    support::{
        fill,
        free_all,
        must,
        within, //
    },
};

/// The bytes of the pool with many free blocks of one size.
const LARGE_POOL_BYTES: u64 = 8 << 20;

/// The accesses that are enough to free a block of the buddy system.
const FREE_ACCESSES_MAX: u64 = 200;

/// One test for each weakness.
pub(super) static TESTS: [CourseTest; 7] = [
    CourseTest {
        sentence: "a small block with an alignment above 4096 is aligned",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_small_block_is_aligned,
    },
    CourseTest {
        sentence: "a slab grows although no 64 blocks lie side by side",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_slab_grows_in_a_fragmented_pool,
    },
    CourseTest {
        sentence: "the memory of freed small blocks serves large requests",
        pool_bytes: TIERS_POOL_BYTES,
        run: freed_small_blocks_serve_large_requests,
    },
    CourseTest {
        sentence: "a free to the buddy system searches no list",
        pool_bytes: LARGE_POOL_BYTES,
        run: a_free_searches_no_list,
    },
    CourseTest {
        sentence: "small requests take less than 64 bytes",
        pool_bytes: POOL_BYTES,
        run: small_requests_take_less_than_64_bytes,
    },
    CourseTest {
        sentence: "sizes between the powers of two waste at most a quarter",
        pool_bytes: TIERS_POOL_BYTES,
        run: sizes_between_the_powers_of_two_waste_little,
    },
    CourseTest {
        sentence: "a large block takes whole pages, not a power of two",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_large_block_takes_whole_pages,
    },
];

/// The failure of a figure that must be reached.
fn at_least(found: u64, wanted: u64, what: &str) -> Result<(), Violation> {
    if found >= wanted {
        return Ok(());
    }
    Err(Violation::Unexpected(format!(
        "{what}: at least {wanted} expected, {found} found"
    )))
}

fn a_small_block_is_aligned(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = Vec::new();
    for align in [8192, 8192, 16_384, 65_536, 8192] {
        blocks.push(must(client, 64, align)?);
        blocks.push(must(client, 4096, align)?);
    }
    free_all(client, blocks)?;
    // The blocks went to where they came from.
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}

fn a_slab_grows_in_a_fragmented_pool(client: &mut Client<'_>) -> Result<(), Violation> {
    let blocks = fill(client, 8192)?;
    let (mut live, mut freed) = (Vec::new(), Vec::new());
    for block in blocks {
        let is_even = block.offset() / 8192 % 2 == 0;
        if is_even { &mut freed } else { &mut live }.push(block);
    }
    // Half of the pool is free, in pieces of 8192 bytes.
    free_all(client, freed)?;
    for size in [64, 128, 256, 512, 1024, 2048, 4096] {
        for _ in 0..4 {
            live.push(must(client, size, 8)?);
        }
    }
    free_all(client, live)
}

fn freed_small_blocks_serve_large_requests(client: &mut Client<'_>) -> Result<(), Violation> {
    for size in [64, 500, 4096] {
        let blocks = fill(client, size)?;
        free_all(client, blocks)?;
        let whole = must(client, TIERS_POOL_BYTES, 8)?;
        client.free(whole)?;
    }
    Ok(())
}

fn a_free_searches_no_list(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 8192)?;
    // The buddies of the first half of the frees are live, so many free blocks of one size gather.
    blocks.sort_by_key(|block| (block.offset() / 8192 % 2, block.offset()));
    for block in blocks {
        within(
            client,
            FREE_ACCESSES_MAX,
            "a free of 8192 bytes",
            |client| client.free(block),
        )?;
    }
    Ok(())
}

fn small_requests_take_less_than_64_bytes(client: &mut Client<'_>) -> Result<(), Violation> {
    let blocks = fill(client, 16)?;
    at_least(
        blocks.len() as u64,
        3 * POOL_BYTES / 64,
        "blocks of 16 bytes in a pool of 64 KiB",
    )?;
    free_all(client, blocks)
}

fn sizes_between_the_powers_of_two_waste_little(client: &mut Client<'_>) -> Result<(), Violation> {
    let (mut blocks, mut requested) = (Vec::new(), 0);
    // One block of each size in turn, until all sizes are refused.
    let mut sizes = vec![80, 160, 320, 640, 1280];
    while !sizes.is_empty() {
        let mut served = Vec::new();
        for size in sizes {
            if let Ok(block) = client.alloc(size, 8)? {
                requested += size;
                blocks.push(block);
                served.push(size);
            }
        }
        sizes = served;
    }
    at_least(
        requested * 100 / TIERS_POOL_BYTES,
        75,
        "per cent of the pool in blocks of 80, 160, 320, 640 and 1280 bytes",
    )?;
    free_all(client, blocks)
}

fn a_large_block_takes_whole_pages(client: &mut Client<'_>) -> Result<(), Violation> {
    let (mut blocks, mut requested) = (Vec::new(), 0);
    for size in [36 << 10, 12 << 10, 8 << 10] {
        let filled = fill(client, size)?;
        requested += size * filled.len() as u64;
        blocks.extend(filled);
    }
    at_least(
        requested * 100 / TIERS_POOL_BYTES,
        80,
        "per cent of the pool in blocks of 36, 12 and 8 KiB",
    )?;
    free_all(client, blocks)?;
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}
