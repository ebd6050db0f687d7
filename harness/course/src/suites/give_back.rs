// SPDX-License-Identifier: GPL-2.0

//! Tests of the memory that slabs return and that resized blocks free, from exercise 6 on.

use slablab_lab::oracle::{
    Client,
    ClientBlock,
    Violation, //
};
use slablab_trace::rng::Rng;

use super::{
    CourseTest, TIERS_POOL_BYTES,
    support::{
        exactly,
        fill,
        free_all,
        free_between,
        mix,
        must,
        must_resize,
        within_each, //
    },
};

/// The accesses that are enough for a pair of requests at the boundary of a slab, on average.
const BOUNDARY_ACCESSES_MAX: u64 = 30;

/// The pairs of requests at the boundary of a slab.
const BOUNDARY_PAIRS: u64 = 96;

/// The sets with a free block that a slab has while its accesses are counted.
const SETS: u64 = 100;

/// Slabs and resized blocks return memory.
pub(super) static TESTS: [CourseTest; 8] = [
    CourseTest {
        sentence: "an empty slab returns its memory while other slabs are live",
        pool_bytes: TIERS_POOL_BYTES,
        run: an_empty_slab_returns_its_memory,
    },
    CourseTest {
        sentence: "after all small blocks are freed, one block takes the whole pool",
        pool_bytes: TIERS_POOL_BYTES,
        run: one_block_takes_the_whole_pool,
    },
    CourseTest {
        sentence: "requests at the boundary of a slab make few accesses",
        pool_bytes: TIERS_POOL_BYTES,
        run: requests_at_the_boundary_make_few_accesses,
    },
    CourseTest {
        sentence: "a block of a slab stays where it is if its new size has the same slab",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_block_of_a_slab_stays,
    },
    CourseTest {
        sentence: "a large block that shrinks frees its tail",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_block_that_shrinks_frees_its_tail,
    },
    CourseTest {
        sentence: "a large block grows into the free memory behind it",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_block_grows_in_place,
    },
    CourseTest {
        sentence: "a resize that is not possible changes nothing",
        pool_bytes: TIERS_POOL_BYTES,
        run: an_impossible_resize_changes_nothing,
    },
    CourseTest {
        sentence: "no memory is lost by thousands of requests of all sizes",
        pool_bytes: TIERS_POOL_BYTES,
        run: no_memory_is_lost,
    },
];

fn an_empty_slab_returns_its_memory(client: &mut Client<'_>) -> Result<(), Violation> {
    let half = TIERS_POOL_BYTES / 2;
    for size in [64, 1000] {
        let blocks = fill(client, size)?;
        let blocks = free_between(client, blocks, 0, half)?;
        // A slab may keep some memory for its next requests, but not an eighth of the pool.
        let large = must(client, half / 2, 8)?;
        free_all(client, blocks)?;
        client.free(large)?;
    }
    Ok(())
}

fn one_block_takes_the_whole_pool(client: &mut Client<'_>) -> Result<(), Violation> {
    for size in [8, 100, 200, 500, 1000, 2000, 4000] {
        let blocks = fill(client, size)?;
        free_all(client, blocks)?;
    }
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)?;
    // Memory that the slabs keep also serves slabs of other sizes.
    let blocks = [64, 128, 256, 512, 1024, 2048].map(|size| must(client, size, 8));
    free_all(client, blocks.into_iter().collect::<Result<Vec<_>, _>>()?)?;
    let blocks = fill(client, 4096)?;
    let wanted = TIERS_POOL_BYTES / 4096;
    exactly(
        blocks.len(),
        wanted as usize,
        "blocks of 4096 bytes in the pool",
    )?;
    free_all(client, blocks)
}

fn requests_at_the_boundary_make_few_accesses(client: &mut Client<'_>) -> Result<(), Violation> {
    for (size, live) in [(64, 128), (1024, 128), (200, 127)] {
        // All blocks of two sets are live, or all but one.
        let blocks = (0..live).map(|_| must(client, size, 8));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        for depth in [1, 2, 8] {
            let what = format!(
                "pairs of an allocation and a free of {size} bytes, {depth} of each in turn,"
            );
            within_each(
                client,
                (BOUNDARY_PAIRS, BOUNDARY_ACCESSES_MAX),
                &what,
                |client| {
                    for _ in 0..BOUNDARY_PAIRS / depth {
                        let blocks = (0..depth).map(|_| must(client, size, 8));
                        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
                        free_all(client, blocks)?;
                    }
                    Ok(())
                },
            )?;
        }
        free_all(client, blocks)?;
    }
    many_sets_cost_nothing(client)
}

/// Frees and allocates in a slab with many sets.
fn many_sets_cost_nothing(client: &mut Client<'_>) -> Result<(), Violation> {
    let blocks = (0..SETS * 64).map(|_| must(client, 64, 8));
    let mut blocks = blocks.collect::<Result<Vec<_>, _>>()?;
    blocks.sort_by_key(ClientBlock::offset);
    // One free block in each set.
    for set in (0..SETS as usize).rev() {
        client.free(blocks.swap_remove(set * 64 + 7))?;
    }
    let what = format!(
        "pairs of a free and an allocation of 64 bytes, in a slab with {SETS} sets that have free blocks,"
    );
    within_each(
        client,
        (BOUNDARY_PAIRS, BOUNDARY_ACCESSES_MAX),
        &what,
        |client| {
            for number in 0..BOUNDARY_PAIRS as usize {
                let place = number * 61 % blocks.len();
                client.free(blocks.swap_remove(place))?;
                blocks.push(must(client, 64, 8)?);
            }
            Ok(())
        },
    )?;
    free_all(client, blocks)
}

/// Resizes a block, which must not move.
fn resize_in_place(
    client: &mut Client<'_>,
    block: &mut ClientBlock,
    size: u64,
) -> Result<(), Violation> {
    resize_aligned_in_place(client, block, 8, size)
}

/// Resizes a block with an alignment, which must not move.
fn resize_aligned_in_place(
    client: &mut Client<'_>,
    block: &mut ClientBlock,
    align: u64,
    size: u64,
) -> Result<(), Violation> {
    let (before, offset) = (block.size(), block.offset());
    must_resize(client, block, size)?;
    if block.offset() == offset {
        return Ok(());
    }
    Err(Violation::Unexpected(format!(
        "a resize of the block of {before} bytes aligned to {align} to {size} bytes moved it from {offset:#x} to {:#x}, \
         but there was room at its place",
        block.offset()
    )))
}

fn a_block_of_a_slab_stays(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut block = must(client, 104, 8)?;
    for size in [128, 72, 112] {
        resize_in_place(client, &mut block, size)?;
    }
    // The alignment keeps this block in its slab.
    let mut aligned = must(client, 8, 1024)?;
    for size in [1024, 16] {
        resize_aligned_in_place(client, &mut aligned, 1024, size)?;
    }
    free_all(client, [block, aligned])
}

fn a_block_that_shrinks_frees_its_tail(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut block = must(client, TIERS_POOL_BYTES, 8)?;
    resize_in_place(client, &mut block, TIERS_POOL_BYTES / 4)?;
    let half = must(client, TIERS_POOL_BYTES / 2, 8)?;
    let quarter = must(client, TIERS_POOL_BYTES / 4, 8)?;
    // Page by page: each tail coalesces with the free memory behind it.
    for pages in (2..64).rev() {
        resize_in_place(client, &mut block, pages * 4096)?;
    }
    let tails = (13..18).rev().map(|order| must(client, 1 << order, 8));
    let tails = tails.collect::<Result<Vec<_>, _>>()?;
    free_all(client, tails)?;
    free_all(client, [half, quarter, block])?;
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}

fn a_block_grows_in_place(client: &mut Client<'_>) -> Result<(), Violation> {
    // The block and everything behind it were one block, so the memory behind it is free.
    let mut block = must(client, TIERS_POOL_BYTES, 8)?;
    resize_in_place(client, &mut block, 8192)?;
    // These sizes need the same memory.
    for size in [5000, 8000] {
        resize_in_place(client, &mut block, size)?;
    }
    for size in [10_000, 40_000, 300_000] {
        resize_in_place(client, &mut block, size)?;
        // Memory that the block has taken serves no other request, and all other memory does.
        let rest = fill(client, 8192)?;
        let wanted = (TIERS_POOL_BYTES - size.next_power_of_two()) / 8192;
        if (rest.len() as u64) < wanted {
            return Err(Violation::Unexpected(format!(
                "only {} blocks of 8192 bytes were served beside a block that grew to {size} bytes, but there is room \
                 for {wanted}",
                rest.len()
            )));
        }
        free_all(client, rest)?;
    }
    resize_in_place(client, &mut block, TIERS_POOL_BYTES)?;
    client.free(block)?;
    a_block_grows_only_behind_itself(client)
}

/// Grows a block that has free memory in front of it. It may stay, if the memory behind it is used, or move.
fn a_block_grows_only_behind_itself(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = [must(client, 8192, 8)?, must(client, 8192, 8)?];
    blocks.sort_by_key(ClientBlock::offset);
    let [front, mut block] = blocks;
    client.free(front)?;
    must_resize(client, &mut block, 16 << 10)?;
    let rest = fill(client, 8192)?;
    free_all(client, rest)?;
    client.free(block)?;
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}

/// Resizes a block, which must be refused.
fn must_not_grow(
    client: &mut Client<'_>,
    block: &mut ClientBlock,
    size: u64,
    free_bytes: u64,
) -> Result<(), Violation> {
    if client.realloc(block, size)?.is_err() {
        return Ok(());
    }
    Err(Violation::Unexpected(format!(
        "a block grew to {size} bytes, but only {free_bytes} bytes were free"
    )))
}

fn an_impossible_resize_changes_nothing(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 8192)?;
    blocks.sort_by_key(ClientBlock::offset);
    // Behind the last block is the end of the pool.
    if let Some(last) = blocks.last_mut() {
        must_not_grow(client, last, 16 << 10, 0)?;
    }
    // The block at 0 has 8192 free bytes behind it, and a live block behind these.
    client.free(blocks.remove(1))?;
    let mut block = blocks.remove(0);
    must_not_grow(client, &mut block, 32 << 10, 8192)?;
    // The free bytes are still there.
    let again = must(client, 8192, 8)?;
    client.free(again)?;
    client.free(block)?;
    // The block at 0 has 16384 bytes now, and as many would be needed behind it, but only 8192 are free.
    let mut block = must(client, 16 << 10, 8)?;
    client.free(blocks.remove(0))?;
    must_not_grow(client, &mut block, 32 << 10, 8192)?;
    blocks.push(must(client, 8192, 8)?);
    client.free(block)?;
    free_all(client, blocks)?;
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}

fn no_memory_is_lost(client: &mut Client<'_>) -> Result<(), Violation> {
    mix(client, 4000, 64 << 10, 8192)?;
    resize_large_blocks(client)?;
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}

/// Allocates, resizes and frees blocks of the buddy system in a random order. Requests may be refused.
fn resize_large_blocks(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut rng = Rng::new(2);
    let mut blocks: Vec<ClientBlock> = Vec::new();
    for _ in 0..3000 {
        let size = rng.doubling(4097, 256 << 10);
        if blocks.len() < 4 || rng.chance(1, 3) {
            blocks.extend(client.alloc(size, 8)?.ok());
            continue;
        }
        let place = rng.index(blocks.len());
        if rng.chance(1, 3) {
            client.free(blocks.swap_remove(place))?;
        } else {
            let _refusal = client.realloc(&mut blocks[place], size)?.err();
        }
    }
    free_all(client, blocks)
}
