// SPDX-License-Identifier: GPL-2.0

//! Tests of memory that slabs and resized blocks return, from exercise 6 on.

use slablab_lab::oracle::{
    Client,
    ClientBlock,
    Violation, //
};

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
    Ok(())
}

/// Resizes a block, which must not move.
fn resize_in_place(
    client: &mut Client<'_>,
    block: &mut ClientBlock,
    size: u64,
) -> Result<(), Violation> {
    let (before, offset) = (block.size(), block.offset());
    must_resize(client, block, size)?;
    if block.offset() == offset {
        return Ok(());
    }
    Err(Violation::Unexpected(format!(
        "a resize from {before} to {size} bytes moved the block from {offset:#x} to {:#x}, but there was room at its \
         place",
        block.offset()
    )))
}

fn a_block_of_a_slab_stays(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut block = must(client, 100, 8)?;
    for size in [128, 72, 112] {
        resize_in_place(client, &mut block, size)?;
    }
    // The alignment keeps this block in its slab.
    let mut aligned = must(client, 8, 1024)?;
    for size in [1024, 16] {
        resize_in_place(client, &mut aligned, size)?;
    }
    free_all(client, [block, aligned])
}

fn a_block_that_shrinks_frees_its_tail(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut block = must(client, TIERS_POOL_BYTES, 8)?;
    resize_in_place(client, &mut block, TIERS_POOL_BYTES / 4)?;
    let half = must(client, TIERS_POOL_BYTES / 2, 8)?;
    let quarter = must(client, TIERS_POOL_BYTES / 4, 8)?;
    free_all(client, [half, quarter, block])?;
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}

fn a_block_grows_in_place(client: &mut Client<'_>) -> Result<(), Violation> {
    // The block and everything behind it were one block, so the memory behind it is free.
    let mut block = must(client, TIERS_POOL_BYTES, 8)?;
    resize_in_place(client, &mut block, 8192)?;
    for size in [10_000, 40_000, 300_000, TIERS_POOL_BYTES] {
        resize_in_place(client, &mut block, size)?;
    }
    client.free(block)
}

fn an_impossible_resize_changes_nothing(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 8192)?;
    blocks.sort_by_key(ClientBlock::offset);
    // The block at 0 has 8192 free bytes behind it, and a live block behind these.
    client.free(blocks.remove(1))?;
    let mut block = blocks.remove(0);
    if client.realloc(&mut block, 32 << 10)?.is_ok() {
        return Err(Violation::Unexpected(
            "a block grew to 32768 bytes, but only 8192 bytes were free".to_owned(),
        ));
    }
    // The free bytes are still there.
    blocks.push(must(client, 8192, 8)?);
    client.free(block)?;
    free_all(client, blocks)?;
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}

fn no_memory_is_lost(client: &mut Client<'_>) -> Result<(), Violation> {
    mix(client, 4000, 64 << 10, 8192)?;
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}
