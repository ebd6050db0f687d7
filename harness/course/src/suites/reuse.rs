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
        must, //
    },
};

/// Freed memory is used again.
pub(super) static TESTS: [CourseTest; 9] = [
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
        sentence: "free neighbours become one block",
        pool_bytes: POOL_BYTES,
        run: free_neighbours_become_one_block,
    },
    CourseTest {
        sentence: "a block that is split serves several requests",
        pool_bytes: POOL_BYTES,
        run: a_split_block_serves_several_requests,
    },
    CourseTest {
        sentence: "no byte is lost, whatever the sizes and alignments of the freed blocks",
        pool_bytes: POOL_BYTES,
        run: no_byte_is_lost,
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
            "a request of {} bytes was refused as {cause}, although {count} neighbours of {PAGE} bytes each were freed",
            count * PAGE
        ))
    })?;
    blocks.push(merged);
    free_all(client, blocks)
}

fn free_neighbours_become_one_block(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 1024)?;
    // First every other block is freed, then the rest, so that blocks merge on both sides.
    let rest = blocks.split_off(blocks.len() / 2);
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for (number, block) in blocks.into_iter().chain(rest).enumerate() {
        if number % 2 == 0 { &mut even } else { &mut odd }.push(block);
    }
    free_all(client, even)?;
    free_all(client, odd)?;
    let whole = must(client, POOL_BYTES, 8)?;
    client.free(whole)
}

fn a_split_block_serves_several_requests(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 8192)?;
    let Some(block) = blocks.pop() else {
        return Err(Violation::Unexpected(
            "no block of 8192 bytes was served".to_owned(),
        ));
    };
    client.free(block)?;
    let parts = (0..8)
        .map(|_| must(client, 1024, 8))
        .collect::<Result<Vec<_>, _>>()?;
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
    for _ in 0..3 {
        let blocks = LAYOUTS.map(|(size, align)| must(client, size, align));
        let blocks = blocks.into_iter().collect::<Result<Vec<_>, _>>()?;
        free_all(client, blocks)?;
    }
    let whole = must(client, POOL_BYTES, 8)?;
    client.free(whole)
}

fn blocks_are_freed_in_any_order(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 64)?;
    let mut place = 0;
    while !blocks.is_empty() {
        place = (place + 389) % blocks.len();
        client.free(blocks.swap_remove(place))?;
    }
    let blocks = LAYOUTS.map(|(size, align)| must(client, size, align));
    free_all(client, blocks.into_iter().collect::<Result<Vec<_>, _>>()?)?;
    let whole = must(client, POOL_BYTES, 8)?;
    client.free(whole)
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
