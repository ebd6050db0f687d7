// SPDX-License-Identifier: GPL-2.0

//! Tests of where blocks lie, from exercise 1 on.

use slablab_lab::oracle::{
    Client,
    Violation, //
};

use super::{
    CourseTest, ODD_POOL_BYTES, POOL_BYTES,
    support::{
        fill,
        free_all,
        must,
        must_resize,
        refusal, //
    },
};

/// Blocks lie in the pool, are aligned, and share no byte. Tests that need no free make none, so that an allocator whose
/// `free` is wrong passes them.
pub(super) static TESTS: [CourseTest; 6] = [
    CourseTest {
        sentence: "a request that fits gets a block in the pool, aligned as requested",
        pool_bytes: POOL_BYTES,
        run: blocks_are_aligned,
    },
    CourseTest {
        sentence: "the whole pool can be allocated",
        pool_bytes: POOL_BYTES,
        run: the_whole_pool_can_be_allocated,
    },
    CourseTest {
        sentence: "a request that does not fit is refused, and a smaller one is served",
        pool_bytes: POOL_BYTES,
        run: a_request_that_does_not_fit_is_refused,
    },
    CourseTest {
        sentence: "a request with an alignment that does not fit is refused and changes nothing",
        pool_bytes: POOL_BYTES,
        run: a_refused_alignment_changes_nothing,
    },
    CourseTest {
        sentence: "a pool whose length is not a power of two is used to its end",
        pool_bytes: ODD_POOL_BYTES,
        run: an_odd_pool_is_used_to_its_end,
    },
    CourseTest {
        sentence: "a block keeps its contents when it is resized",
        pool_bytes: POOL_BYTES,
        run: a_resized_block_keeps_its_contents,
    },
];

fn blocks_are_aligned(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = Vec::new();
    for (number, align) in [8, 64, 8, 4096, 16, 512, 8, 2048].into_iter().enumerate() {
        blocks.push(must(client, 24 + 40 * number as u64, align)?);
    }
    Ok(())
}

fn the_whole_pool_can_be_allocated(client: &mut Client<'_>) -> Result<(), Violation> {
    let blocks = fill(client, 64)?;
    let wanted = POOL_BYTES as usize / 64;
    if blocks.len() != wanted {
        return Err(Violation::Unexpected(format!(
            "the pool has room for {wanted} blocks of 64 bytes, but only {} were served",
            blocks.len()
        )));
    }
    Ok(())
}

fn a_request_that_does_not_fit_is_refused(client: &mut Client<'_>) -> Result<(), Violation> {
    let _large = must(client, POOL_BYTES - 4096, 8)?;
    if client.alloc(8192, 8)?.is_ok() {
        return Err(Violation::Unexpected(
            "8192 bytes were served, but only 4096 bytes were free".to_owned(),
        ));
    }
    served_after_refusal(client, 4096, "8192 bytes")?;
    Ok(())
}

/// An allocator that computes the place of a block before it refuses the request must not keep the place.
fn a_refused_alignment_changes_nothing(client: &mut Client<'_>) -> Result<(), Violation> {
    let _first = must(client, 8, 8)?;
    if client.alloc(POOL_BYTES / 2 + 8, POOL_BYTES / 2)?.is_ok() {
        return Err(Violation::Unexpected(
            "a block of more than half of the pool, which begins in the middle, was served"
                .to_owned(),
        ));
    }
    let refused = format!("{} bytes aligned to {}", POOL_BYTES / 2 + 8, POOL_BYTES / 2);
    served_after_refusal(client, POOL_BYTES - 4096, &refused)
}

/// Allocates a block that must be served although the request before it, for `refused`, was refused.
fn served_after_refusal(
    client: &mut Client<'_>,
    bytes: u64,
    refused: &str,
) -> Result<(), Violation> {
    let served = client.alloc(bytes, 8)?;
    served.map(drop).map_err(|cause| {
        Violation::Unexpected(format!(
            "{}, but the pool has room for {bytes} bytes. Request 2 ({refused}) was refused just before, and a refusal \
             changes nothing",
            refusal(cause)
        ))
    })
}

fn an_odd_pool_is_used_to_its_end(client: &mut Client<'_>) -> Result<(), Violation> {
    let blocks = fill(client, 64)?;
    let wanted = ODD_POOL_BYTES as usize / 64;
    if blocks.len() != wanted {
        return Err(Violation::Unexpected(format!(
            "the pool of {ODD_POOL_BYTES} bytes has room for {wanted} blocks of 64 bytes, but only {} were served",
            blocks.len()
        )));
    }
    Ok(())
}

fn a_resized_block_keeps_its_contents(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut block = must(client, 100, 8)?;
    let neighbour = must(client, 100, 8)?;
    for size in [40, 300, 8, 2000] {
        must_resize(client, &mut block, size)?;
    }
    free_all(client, [block, neighbour])
}
