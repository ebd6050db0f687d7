// SPDX-License-Identifier: GPL-2.0

//! The tests of the exercises.
//!
//! Each test runs in a process of its own on a new pool, so an allocator that panics or never returns fails one test.

use std::{
    process::ExitCode,
    time::Duration, //
};

use crate::{
    isolation::{
        self,
        Patience,
        Watched, //
    },
    oracle::{
        Client,
        ClientBlock,
        Oracle,
        Violation, //
    },
    sim::Sim,
    uapi::{
        Cause,
        Engine, //
    },
};

/// The time after which a request counts as endless.
const PATIENCE: Duration = Duration::from_secs(5);

/// The bytes of the pool of most tests.
const POOL_BYTES: u64 = 64 << 10;

/// The bytes of a pool whose length is not a power of two.
const ODD_POOL_BYTES: u64 = 96 << 10;

/// A test of one or several exercises.
struct CourseTest {
    /// What the allocator does, as a sentence.
    sentence: &'static str,
    /// The exercises from `first` to `last` have this test.
    first: usize,
    last: usize,
    /// The bytes of the pool.
    pool_bytes: u64,
    run: fn(&mut Client<'_>) -> Result<(), Violation>,
}

/// The tests. The inner ones come first, because a failure there explains later ones.
static TESTS: [CourseTest; 11] = [
    CourseTest {
        sentence: "a block lies in the pool and is aligned",
        first: 1,
        last: 8,
        pool_bytes: POOL_BYTES,
        run: blocks_are_aligned,
    },
    CourseTest {
        sentence: "the whole pool can be allocated",
        first: 1,
        last: 3,
        pool_bytes: POOL_BYTES,
        run: the_whole_pool_can_be_allocated,
    },
    CourseTest {
        sentence: "a request that does not fit is refused, and a smaller one is served",
        first: 1,
        last: 3,
        pool_bytes: POOL_BYTES,
        run: a_request_that_does_not_fit_is_refused,
    },
    CourseTest {
        sentence: "freed memory is used again",
        first: 2,
        last: 8,
        pool_bytes: POOL_BYTES,
        run: freed_memory_is_used_again,
    },
    CourseTest {
        sentence: "free neighbours become one block",
        first: 2,
        last: 8,
        pool_bytes: POOL_BYTES,
        run: free_neighbours_become_one_block,
    },
    CourseTest {
        sentence: "a block that is split serves several requests",
        first: 2,
        last: 8,
        pool_bytes: POOL_BYTES,
        run: a_split_block_serves_several_requests,
    },
    CourseTest {
        sentence: "no byte is lost, whatever the sizes and alignments of the freed blocks",
        first: 2,
        last: 8,
        pool_bytes: POOL_BYTES,
        run: no_byte_is_lost,
    },
    CourseTest {
        sentence: "blocks are freed in any order",
        first: 2,
        last: 8,
        pool_bytes: POOL_BYTES,
        run: blocks_are_freed_in_any_order,
    },
    CourseTest {
        sentence: "all freed memory is found again while other blocks are live",
        first: 2,
        last: 8,
        pool_bytes: POOL_BYTES,
        run: all_freed_memory_is_found_again,
    },
    CourseTest {
        sentence: "a pool whose length is not a power of two is used to its end",
        first: 1,
        last: 8,
        pool_bytes: ODD_POOL_BYTES,
        run: an_odd_pool_is_used_to_its_end,
    },
    CourseTest {
        sentence: "a block keeps its contents when it is resized",
        first: 1,
        last: 8,
        pool_bytes: POOL_BYTES,
        run: a_resized_block_keeps_its_contents,
    },
];

/// Runs the tests of an exercise on the engine `student` of this process, up to the first failure.
pub(super) fn verify(exercise: usize) -> anyhow::Result<ExitCode> {
    let tests = TESTS.iter();
    let tests = tests.filter(|test| (test.first..=test.last).contains(&exercise));
    for test in tests {
        let ended = isolation::run(Patience::Limited(PATIENCE), || run(test))?;
        let failure = match ended {
            Ok(None) => {
                println!("ok      {}", test.sentence);
                continue;
            }
            Ok(Some(failure)) => failure,
            Err(death) => death.to_string(),
        };
        println!("FAILED  {}\n\n{failure}", test.sentence);
        return Ok(ExitCode::FAILURE);
    }
    println!("\nexercise {exercise} is done");
    Ok(ExitCode::SUCCESS)
}

/// Runs a test on a new pool, and returns the failure in words.
fn run(test: &CourseTest) -> Option<String> {
    let sim = match Sim::private(Engine::Student, test.pool_bytes) {
        Ok(sim) => Watched(Box::new(sim)),
        Err(errno) => return Some(format!("the pool cannot be created: {errno}")),
    };
    let result = Oracle::new(&sim, 1).and_then(|oracle| {
        (test.run)(&mut oracle.client())?;
        oracle.check()
    });
    result.err().map(|violation| violation.to_string())
}

/// Allocates a block that must be served.
fn must(client: &mut Client<'_>, size: u64, align: u64) -> Result<ClientBlock, Violation> {
    client.alloc(size, align)?.map_err(|cause| {
        Violation::Unexpected(format!(
            "a request of {size} bytes aligned to {align} was refused as {cause}, but the pool has room"
        ))
    })
}

/// Allocates blocks of a size until a request is refused.
fn fill(client: &mut Client<'_>, size: u64) -> Result<Vec<ClientBlock>, Violation> {
    let mut blocks = Vec::new();
    while let Ok(block) = client.alloc(size, 8)? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// Frees blocks.
fn free_all(
    client: &mut Client<'_>,
    blocks: impl IntoIterator<Item = ClientBlock>,
) -> Result<(), Violation> {
    blocks.into_iter().try_for_each(|block| client.free(block))
}

fn blocks_are_aligned(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut blocks = Vec::new();
    for (number, align) in [8, 64, 8, 4096, 16, 512, 8, 2048].into_iter().enumerate() {
        blocks.push(must(client, 24 + 40 * number as u64, align)?);
    }
    free_all(client, blocks)
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
    free_all(client, blocks)
}

fn a_request_that_does_not_fit_is_refused(client: &mut Client<'_>) -> Result<(), Violation> {
    let large = must(client, POOL_BYTES - 4096, 8)?;
    if client.alloc(8192, 8)?.is_ok() {
        return Err(Violation::Unexpected(
            "8192 bytes were served, but only 4096 bytes were free".to_owned(),
        ));
    }
    let small = must(client, 4096, 8)?;
    free_all(client, [large, small])
}

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

fn a_resized_block_keeps_its_contents(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut block = must(client, 100, 8)?;
    let neighbour = must(client, 100, 8)?;
    for size in [40, 300, 8, 2000] {
        client.realloc(&mut block, size)?.map_err(|cause| {
            Violation::Unexpected(format!("a resize to {size} bytes was refused as {cause}"))
        })?;
    }
    free_all(client, [block, neighbour])
}

fn all_freed_memory_is_found_again(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut live = fill(client, 64)?;
    for step in [389, 7, 211] {
        let (mut place, mut freed) = (0, 0);
        while freed < 600 {
            place = (place + step) % live.len();
            client.free(live.swap_remove(place))?;
            freed += 1;
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

fn an_odd_pool_is_used_to_its_end(client: &mut Client<'_>) -> Result<(), Violation> {
    let blocks = fill(client, 64)?;
    let wanted = ODD_POOL_BYTES as usize / 64;
    if blocks.len() != wanted {
        return Err(Violation::Unexpected(format!(
            "the pool of {ODD_POOL_BYTES} bytes has room for {wanted} blocks of 64 bytes, but only {} were served",
            blocks.len()
        )));
    }
    free_all(client, blocks)
}
