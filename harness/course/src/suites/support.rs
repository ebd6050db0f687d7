// SPDX-License-Identifier: GPL-2.0

//! Functions that several tests use.

use slablab_lab::{
    oracle::{
        Client,
        ClientBlock,
        Violation, //
    },
    uapi::Cause,
};
use slablab_trace::rng::Rng;

/// Says what the allocator did when a request was refused: a full pool and a fragmented one are the same answer.
pub(super) fn refusal(cause: Cause) -> String {
    match cause {
        Cause::Exhausted | Cause::Fragmented => "your `allocate` returned `Ok(None)`".to_owned(),
        other => format!("the request was refused as {other}"),
    }
}

/// Allocates a block that must be served.
pub(super) fn must(
    client: &mut Client<'_>,
    size: u64,
    align: u64,
) -> Result<ClientBlock, Violation> {
    client.alloc(size, align)?.map_err(|cause| {
        Violation::Unexpected(format!(
            "{}, but the pool has room for {size} bytes aligned to {align}",
            refusal(cause)
        ))
    })
}

/// Allocates blocks that must be served, up to the first one that is not.
pub(super) fn must_all(
    client: &mut Client<'_>,
    layouts: &[(u64, u64)],
) -> Result<Vec<ClientBlock>, Violation> {
    let blocks = layouts
        .iter()
        .map(|(size, align)| must(client, *size, *align));
    blocks.collect()
}

/// Allocates the whole pool, of which every block is free, and frees it. `before` says what happened before.
pub(super) fn must_whole(
    client: &mut Client<'_>,
    pool_bytes: u64,
    before: &str,
) -> Result<(), Violation> {
    let whole = client.alloc(pool_bytes, 8)?.map_err(|cause| {
        Violation::Unexpected(format!(
            "{before}, and no block is live now; then {} for the whole pool: some free memory is lost or not merged",
            refusal(cause)
        ))
    })?;
    client.free(whole)
}

/// Resizes a block, which must be served.
pub(super) fn must_resize(
    client: &mut Client<'_>,
    block: &mut ClientBlock,
    size: u64,
) -> Result<(), Violation> {
    let before = block.size();
    client.realloc(block, size)?.map_err(|cause| {
        Violation::Unexpected(format!(
            "{} for the new place of a block that is resized from {before} to {size} bytes, but the pool has room",
            refusal(cause)
        ))
    })
}

/// Allocates blocks of a size until a request is refused.
pub(super) fn fill(client: &mut Client<'_>, size: u64) -> Result<Vec<ClientBlock>, Violation> {
    let mut blocks = Vec::new();
    while let Ok(block) = client.alloc(size, 8)? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// Frees blocks.
pub(super) fn free_all(
    client: &mut Client<'_>,
    blocks: impl IntoIterator<Item = ClientBlock>,
) -> Result<(), Violation> {
    blocks.into_iter().try_for_each(|block| client.free(block))
}

/// Frees the blocks that begin from `begin` up to `end` in the pool, and returns the others.
pub(super) fn free_between(
    client: &mut Client<'_>,
    blocks: Vec<ClientBlock>,
    begin: u64,
    end: u64,
) -> Result<Vec<ClientBlock>, Violation> {
    let is_inside = |block: &ClientBlock| (begin..end).contains(&block.offset());
    let (inside, others) = blocks.into_iter().partition(is_inside);
    free_all(client, inside)?;
    Ok(others)
}

/// Allocates, resizes and frees blocks in a random order, with all sizes and alignments up to the given ones, and frees
/// all at the end. Requests may be refused. The client checks that no block is touched.
pub(super) fn mix(
    client: &mut Client<'_>,
    steps: u32,
    size_max: u64,
    align_max: u64,
) -> Result<(), Violation> {
    let mut rng = Rng::new(1);
    let mut blocks: Vec<ClientBlock> = Vec::new();
    for _ in 0..steps {
        let size = rng.doubling(1, size_max);
        if blocks.is_empty() || rng.chance(1, 2) {
            let align = if rng.chance(1, 4) {
                rng.doubling(8, align_max)
            } else {
                8
            };
            blocks.extend(client.alloc(size, 1 << align.ilog2())?.ok());
            continue;
        }
        let place = rng.index(blocks.len());
        if rng.chance(1, 2) {
            client.free(blocks.swap_remove(place))?;
        } else {
            // A refusal leaves the block as it was. The client checks that, too.
            let _refusal = client.realloc(&mut blocks[place], size)?.err();
        }
    }
    free_all(client, blocks)
}

/// The failure of a figure that must be exact.
pub(super) fn exactly(found: usize, wanted: usize, what: &str) -> Result<(), Violation> {
    if found == wanted {
        return Ok(());
    }
    Err(Violation::Unexpected(format!(
        "{what}: {wanted} expected, {found} found"
    )))
}

/// Runs `work`, which does `count` things that `what` names, and fails if the allocator makes more than `limit`
/// accesses for each of them on average.
pub(super) fn within_each<'o, T>(
    client: &mut Client<'o>,
    (count, limit): (u64, u64),
    what: &str,
    work: impl FnOnce(&mut Client<'o>) -> Result<T, Violation>,
) -> Result<T, Violation> {
    let before = client.accesses()?;
    let value = work(client)?;
    let accesses = client.accesses()? - before;
    if accesses <= count * limit {
        return Ok(value);
    }
    Err(Violation::Unexpected(format!(
        "{count} {what} made {} accesses each to pool and notes; {limit} are enough",
        accesses.div_ceil(count)
    )))
}

/// Runs `work`, and fails if the allocator makes more than `limit` accesses meanwhile.
pub(super) fn within<'o, T>(
    client: &mut Client<'o>,
    limit: u64,
    what: &str,
    work: impl FnOnce(&mut Client<'o>) -> Result<T, Violation>,
) -> Result<T, Violation> {
    let before = client.accesses()?;
    let value = work(client)?;
    let accesses = client.accesses()? - before;
    if accesses <= limit {
        return Ok(value);
    }
    Err(Violation::Unexpected(format!(
        "{what} made {accesses} accesses to pool and notes; {limit} are enough"
    )))
}
