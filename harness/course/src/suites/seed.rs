// SPDX-License-Identifier: GPL-2.0

//! Tests of seven slabs over a buddy system, from exercise 5 on.

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
        mix,
        must,
        must_resize,
        within, //
    },
};

/// The block sizes of the slabs.
const BLOCK_BYTES: [u64; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

/// The blocks by which a slab grows.
const SET_SIZE: u64 = 64;

/// The number of gaps between 64 blocks of one slab that a test of block sizes accepts.
const GAPS_MAX: usize = 4;

/// The accesses that are enough for a slab to free a block and to allocate one.
const PAIR_ACCESSES_MAX: u64 = 30;

/// Requests go to the right tier and the right slab, and slabs grow by sets of 64 blocks.
pub(super) static TESTS: [CourseTest; 11] = [
    CourseTest {
        sentence: "requests above 4096 bytes come from the buddy system",
        pool_bytes: TIERS_POOL_BYTES,
        run: large_requests_come_from_the_buddy_system,
    },
    CourseTest {
        sentence: "a slab without free blocks takes memory from the buddy system",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_slab_takes_memory,
    },
    CourseTest {
        sentence: "sizes are rounded up to the seven block sizes",
        pool_bytes: TIERS_POOL_BYTES,
        run: sizes_are_rounded_up,
    },
    CourseTest {
        sentence: "a slab grows by 64 blocks",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_slab_grows_by_64_blocks,
    },
    CourseTest {
        sentence: "a request is refused if its slab cannot grow by 64 blocks",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_slab_that_cannot_grow_refuses,
    },
    CourseTest {
        sentence: "a refused request changes nothing",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_refused_request_changes_nothing,
    },
    CourseTest {
        sentence: "a slab allocates the block that was freed last",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_slab_allocates_the_block_that_was_freed_last,
    },
    CourseTest {
        sentence: "a large alignment leads to a slab with larger blocks",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_large_alignment_leads_to_larger_blocks,
    },
    CourseTest {
        sentence: "a slab allocates and frees with few accesses",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_slab_makes_few_accesses,
    },
    CourseTest {
        sentence: "a block keeps its contents when it moves between the tiers",
        pool_bytes: TIERS_POOL_BYTES,
        run: a_block_moves_between_the_tiers,
    },
    CourseTest {
        sentence: "no live block is touched by thousands of requests of all sizes",
        pool_bytes: TIERS_POOL_BYTES,
        run: no_live_block_is_touched,
    },
];

fn large_requests_come_from_the_buddy_system(client: &mut Client<'_>) -> Result<(), Violation> {
    let blocks = fill(client, 4104)?;
    let wanted = TIERS_POOL_BYTES / 8192;
    exactly(
        blocks.len(),
        wanted as usize,
        "blocks for 4104 bytes, each of which takes 8192 bytes of the empty pool",
    )?;
    free_all(client, blocks)?;
    let aligned = (0..8).map(|_| must(client, 64, 8192));
    let aligned = aligned.collect::<Result<Vec<_>, _>>()?;
    free_all(client, aligned)?;
    // A slab would keep the memory of the aligned blocks.
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}

/// Makes no free, so that an allocator without `free` passes.
fn a_slab_takes_memory(client: &mut Client<'_>) -> Result<(), Violation> {
    for _ in 0..3 * SET_SIZE {
        let _block = must(client, 40, 8)?;
    }
    Ok(())
}

/// Checks that blocks lie side by side, each `block_bytes` behind the one before.
fn side_by_side(blocks: &[ClientBlock], block_bytes: u64) -> Result<(), Violation> {
    let mut offsets: Vec<u64> = blocks.iter().map(ClientBlock::offset).collect();
    offsets.sort_unstable();
    for pair in offsets.windows(2) {
        if pair[1] - pair[0] != block_bytes {
            return Err(Violation::Unexpected(format!(
                "the first 64 requests of a slab with blocks of {block_bytes} bytes should get 64 blocks side by \
                 side, but {:#x} follows {:#x}",
                pair[1], pair[0]
            )));
        }
    }
    Ok(())
}

/// Checks that sizes have a common block size: blocks for them lie `block_bytes` apart. A slab may grow by fewer than
/// 64 blocks here, so a few of them may lie elsewhere. Another test counts the blocks of a set.
fn same_block_size(blocks: &[ClientBlock], block_bytes: u64) -> Result<(), Violation> {
    let mut blocks: Vec<(u64, u64)> = blocks
        .iter()
        .map(|block| (block.offset(), block.size()))
        .collect();
    blocks.sort_unstable();
    let wrong = (blocks.windows(2)).filter(|pair| pair[1].0 - pair[0].0 != block_bytes);
    let wrong: Vec<_> = wrong.collect();
    let Some(first) = wrong.first().filter(|_| wrong.len() > GAPS_MAX) else {
        return Ok(());
    };
    Err(Violation::Unexpected(format!(
        "sizes that are rounded up to {block_bytes} bytes should get blocks {block_bytes} bytes apart, but the one \
         of {} bytes at {:#x} is followed by one of {} bytes at {:#x}",
        first[0].1, first[0].0, first[1].1, first[1].0
    )))
}

fn sizes_are_rounded_up(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut live = Vec::new();
    let mut smaller = 0;
    for block_bytes in BLOCK_BYTES {
        // The smallest and the largest size of this block size, and those between.
        let steps = (block_bytes - smaller) / 8;
        let sizes = (0..SET_SIZE).map(|number| match number % 3 {
            0 => smaller + 8,
            1 => block_bytes,
            _ => smaller + 8 * (1 + number * 5 % steps),
        });
        let blocks = sizes.map(|size| must(client, size, 8));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        same_block_size(&blocks, block_bytes)?;
        live.extend(blocks);
        smaller = block_bytes;
    }
    free_all(client, live)
}

fn a_slab_grows_by_64_blocks(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut live = vec![must(client, 1000, 8)?, must(client, 4096, 8)?];
    // A whole set is allocated. The slab grows at the next request, not now.
    for _ in 0..SET_SIZE {
        live.push(must(client, 2000, 8)?);
    }
    // The rest of the pool goes to the buddy system's own blocks, so that no slab can grow again.
    let rest = fill(client, 8192)?;
    let wanted = (TIERS_POOL_BYTES - SET_SIZE * (1024 + 2048 + 4096)) / 8192;
    exactly(
        rest.len(),
        wanted as usize,
        "blocks of 8192 bytes after requests for one block of 1024 bytes, 64 of 2048 bytes and one of 4096 bytes, which \
         take one set of 64 blocks each",
    )?;
    live.extend(rest);
    for size in [1000, 4096] {
        let others = fill(client, size)?;
        exactly(
            others.len(),
            SET_SIZE as usize - 1,
            &format!(
                "further blocks for {size} bytes after a slab grew by 64 blocks for the first"
            ),
        )?;
        live.extend(others);
    }
    free_all(client, live)
}

fn a_slab_that_cannot_grow_refuses(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut live = fill(client, 8192)?;
    if let Some(block) = live.pop() {
        client.free(block)?;
    }
    for block_bytes in &BLOCK_BYTES[2..] {
        if client.alloc(block_bytes - 8, 8)?.is_ok() {
            return Err(Violation::Unexpected(format!(
                "a request of {} bytes was served from 8192 free bytes, but a slab grows by 64 blocks or not at all, \
                 here by {} bytes",
                block_bytes - 8,
                SET_SIZE * block_bytes
            )));
        }
    }
    free_all(client, live)
}

fn a_refused_request_changes_nothing(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut live = fill(client, 8192)?;
    if let Some(block) = live.pop() {
        client.free(block)?;
    }
    // The free 8192 bytes are not enough for these requests.
    for (size, align) in [
        (200, 8),
        (1000, 8),
        (4096, 8),
        (8200, 8),
        (100_000, 8),
        (64, 16_384),
    ] {
        live.extend(client.alloc(size, align)?.ok());
    }
    live.push(must(client, 8192, 8)?);
    free_all(client, live)?;
    let whole = must(client, TIERS_POOL_BYTES, 8)?;
    client.free(whole)
}

fn a_slab_allocates_the_block_that_was_freed_last(
    client: &mut Client<'_>,
) -> Result<(), Violation> {
    for size in BLOCK_BYTES {
        let blocks = (0..10).map(|_| must(client, size, 8));
        let mut blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        let (last, first) = (blocks.swap_remove(7), blocks.swap_remove(3));
        let wanted = [last.offset(), first.offset()];
        free_all(client, [first, last])?;
        for offset in wanted {
            let block = must(client, size, 8)?;
            if block.offset() != offset {
                return Err(Violation::Unexpected(format!(
                    "of the free blocks of {size} bytes the one at {offset:#x} was freed last, but the one at {:#x} \
                     was allocated",
                    block.offset()
                )));
            }
            blocks.push(block);
        }
        free_all(client, blocks)?;
    }
    Ok(())
}

fn a_large_alignment_leads_to_larger_blocks(client: &mut Client<'_>) -> Result<(), Violation> {
    for block_bytes in BLOCK_BYTES {
        // Every second block is large because of its alignment.
        let layouts = [(block_bytes, 8), (16, block_bytes)];
        let requests = (0..SET_SIZE as usize).map(|number| layouts[number % 2]);
        let blocks = requests.map(|(size, align)| must(client, size, align));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        side_by_side(&blocks, block_bytes)?;
        free_all(client, blocks)?;
        // All of them went to the slab from which they came.
        let blocks = (0..SET_SIZE).map(|_| must(client, block_bytes, 8));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        side_by_side(&blocks, block_bytes)?;
        free_all(client, blocks)?;
    }
    Ok(())
}

fn a_slab_makes_few_accesses(client: &mut Client<'_>) -> Result<(), Violation> {
    for size in [64, 200, 1024] {
        let blocks = (0..200).map(|_| must(client, size, 8));
        let mut blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        // A long list of free blocks in no order.
        for number in 0..100 {
            let place = number * 37 % blocks.len();
            client.free(blocks.swap_remove(place))?;
        }
        for number in 0..100 {
            let place = number * 29 % blocks.len();
            let what = format!("a free and an allocation of {size} bytes");
            let block = blocks.swap_remove(place);
            let block = within(client, PAIR_ACCESSES_MAX, &what, |client| {
                client.free(block)?;
                must(client, size, 8)
            })?;
            blocks.push(block);
        }
        free_all(client, blocks)?;
    }
    Ok(())
}

fn a_block_moves_between_the_tiers(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut block = must(client, 100, 64)?;
    let neighbour = must(client, 100, 64)?;
    for size in [40, 5000, 300, 4096, 4097, 8, 60_000, 128] {
        must_resize(client, &mut block, size)?;
    }
    free_all(client, [block, neighbour])
}

fn no_live_block_is_touched(client: &mut Client<'_>) -> Result<(), Violation> {
    mix(client, 4000, 32 << 10, 8192)
}
