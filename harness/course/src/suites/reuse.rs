// SPDX-License-Identifier: GPL-2.0

//! Tests of freed memory, from exercise 2 on.

use slablab_lab::{
    oracle::{
        Client,
        ClientBlock,
        Violation, //
    },
    uapi::Cause,
};

use super::{
    CourseTest, POOL_BYTES,
    support::{
        fill,
        free_all,
        must,
        must_all,
        must_whole,
        refusal, //
    },
};

/// Freed memory is used again.
pub(super) static TESTS: [CourseTest; 12] = [
    CourseTest {
        sentence: "freed memory is used again",
        pool_bytes: POOL_BYTES,
        run: freed_memory_is_used_again,
    },
    CourseTest {
        sentence: "a freed block merges with the free block behind it",
        pool_bytes: POOL_BYTES,
        run: |client| merges(client, 2, &[1, 0]),
    },
    CourseTest {
        sentence: "a freed block merges with the free block in front of it",
        pool_bytes: POOL_BYTES,
        run: |client| merges(client, 2, &[0, 1]),
    },
    CourseTest {
        sentence: "a freed block merges with the free blocks on both of its sides",
        pool_bytes: POOL_BYTES,
        run: |client| merges(client, 4, &[0, 2, 3, 1]),
    },
    CourseTest {
        sentence: "after all blocks of 1024 bytes are freed, one block takes the whole pool",
        pool_bytes: POOL_BYTES,
        run: one_block_takes_the_whole_pool,
    },
    CourseTest {
        sentence: "a freed block serves several smaller requests",
        pool_bytes: POOL_BYTES,
        run: a_freed_block_serves_several_requests,
    },
    CourseTest {
        sentence: "no byte is lost, whatever the sizes and alignments of the freed blocks",
        pool_bytes: POOL_BYTES,
        run: no_byte_is_lost,
    },
    CourseTest {
        sentence: "a free part of 16, 32 or 48 bytes is not lost",
        pool_bytes: POOL_BYTES,
        run: small_parts_are_not_lost,
    },
    CourseTest {
        sentence: "blocks of 16 bytes fill the pool",
        pool_bytes: POOL_BYTES,
        run: blocks_of_16_bytes_fill_the_pool,
    },
    CourseTest {
        sentence: "blocks of 16 and of 32 bytes fill their pages and are freed in mixed order",
        pool_bytes: POOL_BYTES,
        run: many_small_blocks_are_freed_in_mixed_order,
    },
    CourseTest {
        sentence: "blocks are freed in any order",
        pool_bytes: POOL_BYTES,
        run: blocks_are_freed_in_any_order,
    },
    CourseTest {
        sentence: "all freed memory is found again while other blocks are live",
        pool_bytes: POOL_BYTES,
        run: all_freed_memory_is_found_again,
    },
];

/// Sizes and alignments that need every kind of rounding.
const LAYOUTS: [(u64, u64); 8] = [
    (8, 8),
    (24, 8),
    (40, 1024),
    (16, 8),
    (200, 64),
    (1000, 8),
    (8, 4096),
    (3000, 512),
];

fn freed_memory_is_used_again(client: &mut Client<'_>) -> Result<(), Violation> {
    let first = fill(client, 96)?;
    let count = first.len();
    free_all(client, first)?;
    let second = fill(client, 96)?;
    if second.len() != count {
        return Err(Violation::Unexpected(format!(
            "{count} blocks of 96 bytes fit into the empty pool, but only {} after all were freed",
            second.len()
        )));
    }
    free_all(client, second)
}

/// Fills the pool with pages, and frees `order.len()` neighbours of which the first lies at a multiple of their common
/// length, so that they are buddies, too. `order` says in which order. Then a block of their common length must fit.
fn merges(client: &mut Client<'_>, count: u64, order: &[usize]) -> Result<(), Violation> {
    const PAGE: u64 = 4096;
    let mut blocks = fill(client, PAGE)?;
    blocks.sort_by_key(ClientBlock::offset);
    let offsets: Vec<u64> = blocks.iter().map(ClientBlock::offset).collect();
    let together = offsets.windows(order.len()).position(|offsets| {
        let is_next = |pair: &[u64]| pair[0] + PAGE == pair[1];
        offsets[0] % (count * PAGE) == 0 && offsets[0] > 0 && offsets.windows(2).all(is_next)
    });
    let Some(first) = together else {
        return Err(Violation::Unexpected(format!(
            "the pool was filled with blocks of {PAGE} bytes, but no {count} of them lie side by side"
        )));
    };
    let mut neighbours: Vec<_> = blocks.drain(first..first + order.len()).map(Some).collect();
    for index in order {
        if let Some(block) = neighbours[*index].take() {
            client.free(block)?;
        }
    }
    let merged = client.alloc(count * PAGE, 8)?.map_err(|cause| {
        Violation::Unexpected(format!(
            "{} for {} bytes, although {count} neighbours of {PAGE} bytes each were freed",
            refusal(cause),
            count * PAGE
        ))
    })?;
    blocks.push(merged);
    free_all(client, blocks)
}

fn one_block_takes_the_whole_pool(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 1024)?;
    // First every other block is freed, then the rest, so that blocks merge on both sides.
    let rest = blocks.split_off(blocks.len() / 2);
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for (number, block) in blocks.into_iter().chain(rest).enumerate() {
        if number % 2 == 0 { &mut even } else { &mut odd }.push(block);
    }
    free_all(client, even)?;
    free_all(client, odd)?;
    must_whole(
        client,
        POOL_BYTES,
        "the pool was filled with blocks of 1024 bytes",
    )
}

fn a_freed_block_serves_several_requests(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 8192)?;
    let Some(block) = blocks.pop() else {
        return Err(Violation::Unexpected(
            "no block of 8192 bytes was served".to_owned(),
        ));
    };
    client.free(block)?;
    let parts = must_all(client, &[(1024, 8); 8])?;
    if !matches!(
        client.alloc(1024, 8)?,
        Err(Cause::Exhausted | Cause::Fragmented)
    ) {
        return Err(Violation::Unexpected(
            "a ninth block of 1024 bytes was served from 8192 free bytes".to_owned(),
        ));
    }
    free_all(client, parts)?;
    free_all(client, blocks)
}

fn no_byte_is_lost(client: &mut Client<'_>) -> Result<(), Violation> {
    // One block at a time first: the message names the layout whose bytes are lost.
    for (size, align) in LAYOUTS {
        let block = must(client, size, align)?;
        client.free(block)?;
        let before =
            format!("one block of {size} bytes aligned to {align} was allocated and freed");
        must_whole(client, POOL_BYTES, &before)?;
    }
    for _ in 0..3 {
        let blocks = must_all(client, &LAYOUTS)?;
        free_all(client, blocks)?;
    }
    must_whole(
        client,
        POOL_BYTES,
        "blocks of 8 sizes and alignments were freed",
    )
}

fn small_parts_are_not_lost(client: &mut Client<'_>) -> Result<(), Violation> {
    for part in [16, 32, 48] {
        let block = must(client, POOL_BYTES - part, 8)?;
        client.free(block)?;
        let before = format!("a block of all but {part} bytes of the pool was allocated and freed");
        must_whole(client, POOL_BYTES, &before)?;
        // The alignment of the second block leaves a part free in front of it.
        let blocks = must_all(client, &[(64 - part, 8), (64, 64)])?;
        free_all(client, blocks)?;
        let before = format!(
            "a block of {} bytes, and one of 64 bytes aligned to 64, were allocated and freed",
            64 - part
        );
        must_whole(client, POOL_BYTES, &before)?;
    }
    Ok(())
}

fn blocks_of_16_bytes_fill_the_pool(client: &mut Client<'_>) -> Result<(), Violation> {
    let (blocks, wanted) = (fill(client, 16)?, POOL_BYTES as usize / 16);
    if blocks.len() != wanted {
        return Err(Violation::Unexpected(format!(
            "the pool has room for {wanted} blocks of 16 bytes, but only {} were served",
            blocks.len()
        )));
    }
    free_all(client, blocks)
}

fn many_small_blocks_are_freed_in_mixed_order(client: &mut Client<'_>) -> Result<(), Violation> {
    const PAGES: u64 = 2;
    for size in [16, 32] {
        let count = (PAGES * 4096 / size) as usize;
        let mut live = must_all(client, &vec![(size, 8); count])?;
        // Every number is used once, because 101 has no factor in common with the number of blocks.
        live.sort_by_key(ClientBlock::offset);
        let mut mixed: Vec<_> = live.into_iter().map(Some).collect();
        let mut place = 0;
        let mut next = |mixed: &mut Vec<Option<ClientBlock>>| {
            place = (place + 101) % count;
            (place, mixed[place].take())
        };
        // Two thirds are freed, and their places are allocated again.
        for _ in 0..2 {
            let mut places = Vec::new();
            for _ in 0..count * 2 / 3 {
                let (place, block) = next(&mut mixed);
                if let Some(block) = block {
                    client.free(block)?;
                    places.push(place);
                }
            }
            for place in places {
                mixed[place] = Some(must(client, size, 8)?);
            }
        }
        for _ in 0..count {
            let (_, block) = next(&mut mixed);
            block.map_or(Ok(()), |block| client.free(block))?;
        }
    }
    must_whole(
        client,
        POOL_BYTES,
        "hundreds of blocks of 16 and of 32 bytes were freed",
    )
}

fn blocks_are_freed_in_any_order(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 64)?;
    let mut place = 0;
    while !blocks.is_empty() {
        place = (place + 389) % blocks.len();
        client.free(blocks.swap_remove(place))?;
    }
    let blocks = must_all(client, &LAYOUTS)?;
    free_all(client, blocks)?;
    must_whole(
        client,
        POOL_BYTES,
        "the pool was filled with blocks of 64 bytes, and they were freed in mixed order",
    )
}

fn all_freed_memory_is_found_again(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut live = fill(client, 64)?;
    for step in [389, 7, 211] {
        let freed = live.len() * 3 / 5;
        let mut place = 0;
        for _ in 0..freed {
            place = (place + step) % live.len();
            client.free(live.swap_remove(place))?;
        }
        let again = fill(client, 64)?;
        if again.len() != freed {
            return Err(Violation::Unexpected(format!(
                "{freed} blocks of 64 bytes were freed, but only {} could be allocated again",
                again.len()
            )));
        }
        live.extend(again);
    }
    free_all(client, live)
}
