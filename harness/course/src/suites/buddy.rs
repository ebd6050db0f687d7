// SPDX-License-Identifier: GPL-2.0

//! Tests of what a buddy system promises, from exercise 4 on.

use slablab_lab::oracle::{
    Client,
    ClientBlock,
    Violation, //
};

use super::{
    CourseTest, ODD_POOL_BYTES, POOL_BYTES,
    support::{
        fill,
        free_all,
        must, //
    },
};

/// The largest number of accesses of an operation. A pool of 64 KiB has 11 orders, and an operation makes a few accesses
/// for each.
const ACCESSES_MAX: u64 = 256;

/// Blocks lie at multiples of their length, and operations search no list.
pub(super) static TESTS: [CourseTest; 3] = [
    CourseTest {
        sentence: "a block begins at a multiple of its size, rounded up to a power of two",
        pool_bytes: POOL_BYTES,
        run: blocks_are_aligned_to_their_length,
    },
    CourseTest {
        sentence: "in a pool of 96 KiB, blocks of 64 KiB and of 32 KiB begin at multiples of their lengths",
        pool_bytes: ODD_POOL_BYTES,
        run: large_blocks_of_an_odd_pool_are_aligned,
    },
    CourseTest {
        sentence: "an operation makes at most 256 accesses, however many blocks are free",
        pool_bytes: POOL_BYTES,
        run: accesses_are_bounded,
    },
];

fn blocks_are_aligned_to_their_length(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = Vec::new();
    for size in [64, 100, 128, 200, 1000, 64, 3000, 520, 5000, 96] {
        let block = must(client, size, 8)?;
        is_at_its_place(&block, size)?;
        blocks.push(block);
    }
    Ok(())
}

/// Checks that a block of `size` bytes begins at a multiple of its length.
fn is_at_its_place(block: &ClientBlock, size: u64) -> Result<(), Violation> {
    let (offset, length) = (block.offset(), size.next_power_of_two());
    if offset % length == 0 {
        return Ok(());
    }
    Err(Violation::Unexpected(format!(
        "the block of {size} bytes lies at {offset:#x}, which is not a multiple of {length}"
    )))
}

fn large_blocks_of_an_odd_pool_are_aligned(client: &mut Client<'_>) -> Result<(), Violation> {
    const LARGE: u64 = 64 << 10;
    const SMALL: u64 = 32 << 10;
    // Twice, because the blocks merge only up to these lengths.
    for _ in 0..2 {
        let large = must(client, LARGE, 8)?;
        is_at_its_place(&large, LARGE)?;
        let small = must(client, SMALL, 8)?;
        is_at_its_place(&small, SMALL)?;
        free_all(client, [large, small])?;
        let aligned = must(client, 64, LARGE)?;
        client.free(aligned)?;
    }
    Ok(())
}

fn accesses_are_bounded(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = fill(client, 64)?;
    blocks.sort_by_key(ClientBlock::offset);
    let (mut live, mut number) = (Vec::new(), 0);
    for block in blocks {
        number += 1;
        if number % 2 == 0 {
            bounded(client, "a free", |client| client.free(block))?;
        } else {
            live.push(block);
        }
    }
    // Every other unit is free now. The first request fits, the second does not.
    let block = bounded(client, "an allocation", |client| must(client, 64, 8))?;
    live.push(block);
    let refused = bounded(client, "a refused allocation", |client| {
        client.alloc(4096, 8)
    })?;
    live.extend(refused.ok());
    // Each free merges now.
    for block in live {
        bounded(client, "a free", |client| client.free(block))?;
    }
    Ok(())
}

/// Runs an operation, which may make [`ACCESSES_MAX`] accesses.
fn bounded<'o, T>(
    client: &mut Client<'o>,
    name: &str,
    operation: impl FnOnce(&mut Client<'o>) -> Result<T, Violation>,
) -> Result<T, Violation> {
    let before = client.accesses()?;
    let result = operation(client)?;
    let accesses = client.accesses()? - before;
    if accesses > ACCESSES_MAX {
        return Err(Violation::Unexpected(format!(
            "{name} made {accesses} accesses to the pool and to notes: a buddy system searches no list"
        )));
    }
    Ok(result)
}
