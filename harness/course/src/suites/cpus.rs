// SPDX-License-Identifier: GPL-2.0

//! Tests with two CPUs, of exercise 8.
//!
//! One thread drives both CPUs, in an order that depends on a seed, so each run makes the same requests.

use std::collections::{
    HashMap,
    VecDeque, //
};

use slablab_lab::oracle::{
    Client,
    ClientBlock,
    Violation, //
};
use slablab_trace::rng::Rng;

use super::{
    CourseTest, POOL_BYTES,
    support::{
        fill,
        free_all,
        must,
        refusal, //
    },
};

/// Magazines cost few accesses, hide no memory, and are never stale.
pub(super) static TESTS: [CourseTest; 9] = [
    CourseTest {
        sentence: "an allocation and a free of a warm magazine cost at most 4 accesses",
        pool_bytes: POOL_BYTES,
        run: a_warm_pair_is_cheap,
    },
    CourseTest {
        sentence: "a burst at the edge of a magazine costs at most 4 accesses for each pair of calls",
        pool_bytes: POOL_BYTES,
        run: a_burst_is_cheap,
    },
    CourseTest {
        sentence: "new small blocks of two CPUs share no cache line",
        pool_bytes: POOL_BYTES,
        run: new_blocks_share_no_line,
    },
    CourseTest {
        sentence: "a block that left a magazine is not allocated from it again",
        pool_bytes: POOL_BYTES,
        run: no_magazine_is_stale,
    },
    CourseTest {
        sentence: "no request is refused while a magazine of the same CPU has the memory",
        pool_bytes: POOL_BYTES,
        run: the_own_magazine_hides_nothing,
    },
    CourseTest {
        sentence: "no request is refused while a magazine of another CPU has the memory",
        pool_bytes: POOL_BYTES,
        run: another_magazine_hides_nothing,
    },
    CourseTest {
        sentence: "a cache line that is partly free is used again",
        pool_bytes: POOL_BYTES,
        run: a_partly_free_line_is_used_again,
    },
    CourseTest {
        sentence: "a CPU that only allocates and a CPU that only frees lose no memory",
        pool_bytes: POOL_BYTES,
        run: producer_and_consumer_lose_nothing,
    },
    CourseTest {
        sentence: "the whole pool can be allocated after two CPUs freed everything",
        pool_bytes: POOL_BYTES,
        run: the_pool_is_whole_after_two_cpus,
    },
];

/// The largest number of accesses of an allocation and a free. Slabs with a bitmap take 8, a magazine takes none, and one
/// whose blocks are linked takes 2.
const PAIR_ACCESSES_MAX: u64 = 4;

/// The bytes of a cache line.
const LINE_BYTES: u64 = 64;

/// The number of CPUs that most tests use.
const CPUS: usize = 2;

/// The highest CPU of an allocator. The machine of `slablab course check --kernel` may not have so many.
const LAST_CPU: usize = 3;

/// Moves the client to a CPU.
fn on(client: &Client<'_>, cpu: usize) -> Result<(), Violation> {
    client
        .oracle()
        .target()
        .run_on(cpu)
        .map_err(|errno| Violation::Failed {
            call: "the move to a CPU",
            errno,
        })
}

/// Returns the CPUs 0 and 1, and the last one if there is one.
fn with_last_cpu(client: &Client<'_>) -> Vec<usize> {
    let has_last = client.oracle().target().run_on(LAST_CPU).is_ok();
    (0..CPUS).chain(has_last.then_some(LAST_CPU)).collect()
}

/// Allocates and frees `count` blocks, `rounds` times.
fn bursts(
    client: &mut Client<'_>,
    size: u64,
    count: usize,
    rounds: usize,
) -> Result<(), Violation> {
    for _ in 0..rounds {
        let blocks = (0..count)
            .map(|_| must(client, size, 8))
            .collect::<Result<Vec<_>, _>>()?;
        free_all(client, blocks)?;
    }
    Ok(())
}

/// Measures bursts of `count` blocks on both CPUs, with any number of live blocks up to 40.
fn warm_bursts_are_cheap(client: &mut Client<'_>, count: usize) -> Result<(), Violation> {
    const ROUNDS: usize = 8;
    for (size, cpu) in [(16, 0), (64, 1), (200, 0)] {
        on(client, cpu)?;
        let mut live = Vec::new();
        while live.len() < 40 {
            live.push(must(client, size, 8)?);
            // The first rounds may move blocks into the magazine or out of it.
            bursts(client, size, count, 2)?;
            let before = client.accesses()?;
            bursts(client, size, count, ROUNDS)?;
            let found = client.accesses()? - before;
            let pairs = (ROUNDS * count) as u64;
            if found > pairs * PAIR_ACCESSES_MAX {
                let live = match live.len() {
                    1 => "1 live block".to_owned(),
                    count => format!("{count} live blocks"),
                };
                return Err(Violation::Unexpected(format!(
                    "with {live} of {size} bytes, a program allocated {count} more and freed them, {ROUNDS} \
                     times: the allocator made {found} accesses, and {} are the limit",
                    pairs * PAIR_ACCESSES_MAX
                )));
            }
        }
        free_all(client, live)?;
    }
    Ok(())
}

fn a_warm_pair_is_cheap(client: &mut Client<'_>) -> Result<(), Violation> {
    warm_bursts_are_cheap(client, 1)
}

fn a_burst_is_cheap(client: &mut Client<'_>) -> Result<(), Violation> {
    warm_bursts_are_cheap(client, 2)?;
    warm_bursts_are_cheap(client, 3)
}

fn new_blocks_share_no_line(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut random = Rng::new(8);
    let mut owners: HashMap<u64, (usize, u64)> = HashMap::new();
    let mut live = Vec::new();
    let cpus = with_last_cpu(client);
    for _ in 0..500 {
        let cpu = cpus[random.index(cpus.len())];
        on(client, cpu)?;
        let block = must(client, [8, 16, 24, 32, 40][random.index(5)], 8)?;
        let offset = block.offset();
        for line in offset / LINE_BYTES..=(offset + block.size() - 1) / LINE_BYTES {
            let (other, first) = *owners.entry(line).or_insert((cpu, offset));
            if other != cpu {
                return Err(Violation::Unexpected(format!(
                    "CPU {other} got the block at offset {first:#x} and CPU {cpu} the one at offset {offset:#x}: both lie in \
                     the cache line at offset {:#x}",
                    line * LINE_BYTES
                )));
            }
        }
        live.push(block);
    }
    free_all(client, live)
}

fn a_partly_free_line_is_used_again(client: &mut Client<'_>) -> Result<(), Violation> {
    for (size, freeing) in [(16, 0), (32, 0), (16, 1), (32, 1)] {
        on(client, 0)?;
        let mut blocks = fill(client, size)?;
        blocks.sort_by_key(ClientBlock::offset);
        let (mut freed, mut live) = (Vec::new(), Vec::new());
        for (number, block) in blocks.into_iter().enumerate() {
            [&mut freed, &mut live][number % 2].push(block);
        }
        let count = freed.len();
        on(client, freeing)?;
        free_all(client, freed)?;
        on(client, 0)?;
        let found = fill(client, size)?;
        if found.len() < count {
            return Err(Violation::Unexpected(format!(
                "the pool was full of blocks of {size} bytes, and CPU {freeing} freed every second one, {count} in all; CPU 0 \
                 could allocate only {} of that size again",
                found.len()
            )));
        }
        live.extend(found);
        free_all(client, live)?;
    }
    Ok(())
}

fn no_magazine_is_stale(client: &mut Client<'_>) -> Result<(), Violation> {
    for round in 0..8 {
        for cpu in 0..CPUS {
            on(client, cpu)?;
            bursts(client, 64, 3 + round, 2)?;
        }
        on(client, round % CPUS)?;
        // The request takes all memory, also that of the magazines. Another test looks at its refusal.
        if let Ok(whole) = client.alloc(POOL_BYTES, 8)? {
            for cpu in 0..CPUS {
                on(client, cpu)?;
                if client.alloc(64, 8)?.is_ok() {
                    return Err(Violation::Unexpected(
                        "a block of 64 bytes was served while one block had the whole pool"
                            .to_owned(),
                    ));
                }
            }
            client.free(whole)?;
        }
        // The pages get another use.
        let large = must(client, 3000, 8)?;
        let mut live = Vec::new();
        for number in 0..40 {
            on(client, number % CPUS)?;
            live.push(must(client, [64, 16][number / 20], 8)?);
        }
        free_all(client, live)?;
        client.free(large)?;
    }
    Ok(())
}

/// Fills the pool on one CPU. Then a CPU frees a few blocks, and another one allocates as many, for each number up to 20.
fn freed_blocks_are_found(
    client: &mut Client<'_>,
    freeing: usize,
    allocating: usize,
) -> Result<(), Violation> {
    on(client, allocating)?;
    let mut live = fill(client, 64)?;
    for count in 1..=20 {
        on(client, freeing)?;
        let freed = live.drain(..count).collect::<Vec<_>>();
        free_all(client, freed)?;
        on(client, allocating)?;
        let found = fill(client, 64)?;
        if found.len() != count {
            return Err(Violation::Unexpected(format!(
                "the pool was full of blocks of 64 bytes; CPU {freeing} freed {count} of them, but CPU {allocating} could \
                 allocate only {}",
                found.len()
            )));
        }
        live.extend(found);
    }
    on(client, freeing)?;
    free_all(client, live)?;
    on(client, allocating)?;
    let whole = must(client, POOL_BYTES, 8)?;
    client.free(whole)
}

/// Leaves one page free, which a CPU uses for a small block that it frees again. Then another CPU needs the page for a block of
/// another size.
fn the_last_page_is_found(
    client: &mut Client<'_>,
    freeing: usize,
    allocating: usize,
) -> Result<(), Violation> {
    on(client, allocating)?;
    let mut page = must(client, 4096, 8)?;
    let live = fill(client, 4096)?;
    for (small, other) in [(16, 64), (64, 16), (32, 200), (200, 1000), (16, 4096)] {
        on(client, freeing)?;
        client.free(page)?;
        let block = must(client, small, 8)?;
        client.free(block)?;
        on(client, allocating)?;
        let block = client.alloc(other, 8)?.map_err(|cause| {
            Violation::Unexpected(format!(
                "the pool was full but for a page; CPU {freeing} allocated {small} bytes there and freed them again; then {} \
                 for {other} bytes on CPU {allocating}, although the page is free",
                refusal(cause)
            ))
        })?;
        client.free(block)?;
        page = must(client, 4096, 8)?;
    }
    client.free(page)?;
    free_all(client, live)
}

fn the_own_magazine_hides_nothing(client: &mut Client<'_>) -> Result<(), Violation> {
    for cpu in 0..CPUS {
        freed_blocks_are_found(client, cpu, cpu)?;
        the_last_page_is_found(client, cpu, cpu)?;
    }
    Ok(())
}

fn another_magazine_hides_nothing(client: &mut Client<'_>) -> Result<(), Violation> {
    for cpu in with_last_cpu(client).into_iter().skip(1) {
        for (freeing, allocating) in [(cpu, 0), (0, cpu)] {
            freed_blocks_are_found(client, freeing, allocating)?;
            the_last_page_is_found(client, freeing, allocating)?;
        }
    }
    Ok(())
}

fn producer_and_consumer_lose_nothing(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut random = Rng::new(888);
    on(client, 0)?;
    // All of the memory is in the queue.
    let mut queue = VecDeque::from(fill(client, 128)?);
    for _ in 0..1000 {
        let count = (1 + random.index(12)).min(queue.len());
        on(client, 1)?;
        let oldest = queue.drain(..count).collect::<Vec<_>>();
        free_all(client, oldest)?;
        on(client, 0)?;
        for _ in 0..count {
            queue.push_back(must(client, 128, 8)?);
        }
    }
    free_all(client, queue)
}

fn the_pool_is_whole_after_two_cpus(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut random = Rng::new(88);
    for cpu in [0, 1, 0, 1] {
        let mut live = Vec::new();
        for _ in 0..1000 {
            on(client, random.index(CPUS))?;
            if random.chance(3, 5) || live.is_empty() {
                let (size, align) = (random.doubling(1, 5000), 8 << random.below(5));
                live.extend(client.alloc(size, align)?.ok());
            } else {
                let place = random.index(live.len());
                client.free(live.swap_remove(place))?;
            }
        }
        client.oracle().check()?;
        while !live.is_empty() {
            on(client, random.index(CPUS))?;
            let place = random.index(live.len());
            client.free(live.swap_remove(place))?;
        }
        on(client, cpu)?;
        let whole = must(client, POOL_BYTES, 8)?;
        client.free(whole)?;
    }
    Ok(())
}
