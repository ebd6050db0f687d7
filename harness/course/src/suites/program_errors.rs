// SPDX-License-Identifier: GPL-2.0

//! Tests with programs that use memory that is not theirs, of exercise 7.
//!
//! An allocator with red zones and poison has to report such a program, and must not report a correct one. The engine
//! stops at the first report, so each faulty program gets a pool of its own.

use std::ops::Range;

use slablab_lab::{
    isolation::Watched,
    oracle::{
        Client,
        ClientBlock,
        Oracle,
        Violation, //
    },
    sim::Sim,
    target::Target,
    uapi::{
        AllocatorRule,
        Engine, //
    },
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

/// Tests that write or read memory that belongs to no live block. No call of the device does that.
pub(super) static STRAY: [CourseTest; 5] = [
    CourseTest {
        sentence: "a write behind the end of a block is reported",
        pool_bytes: POOL_BYTES,
        run: a_write_behind_a_block_is_reported,
    },
    CourseTest {
        sentence: "a write before the beginning of a block is reported",
        pool_bytes: POOL_BYTES,
        run: a_write_before_a_block_is_reported,
    },
    CourseTest {
        sentence: "freed memory does not keep its old contents",
        pool_bytes: POOL_BYTES,
        run: freed_memory_does_not_keep_its_contents,
    },
    CourseTest {
        sentence: "a check finds a write into freed memory",
        pool_bytes: POOL_BYTES,
        run: a_check_finds_a_write_into_freed_memory,
    },
    CourseTest {
        sentence: "an allocation of freed memory finds a write into it",
        pool_bytes: POOL_BYTES,
        run: an_allocation_finds_a_write_into_freed_memory,
    },
];

/// Tests with correct programs.
pub(super) static CORRECT: [CourseTest; 3] = [
    CourseTest {
        sentence: "a correct program is never accused",
        pool_bytes: POOL_BYTES,
        run: a_correct_program_is_never_accused,
    },
    CourseTest {
        sentence: "red zones leave four fifths of the pool to blocks of 240 bytes",
        pool_bytes: POOL_BYTES,
        run: red_zones_leave_four_fifths,
    },
    CourseTest {
        sentence: "a block of all but a page fits again after everything was freed",
        pool_bytes: POOL_BYTES,
        run: a_large_block_fits_again,
    },
];

/// The sizes of blocks of the faulty programs. Sizes that are no multiples of 8 bytes are left out: the bytes up to the
/// next multiple belong to the block, and an allocator cannot see a write there. The last one is larger than a page.
const SIZES: [u64; 6] = [8, 24, 64, 200, 2048, 6000];

/// A stray write of a program.
struct StrayWrite {
    /// The stray write in words, as the subject of a sentence.
    bug: String,
    /// The offset in the pool.
    offset: u64,
    bytes: &'static [u8],
}

impl StrayWrite {
    /// Executes the write.
    fn execute(&self, target: &dyn Target) -> Result<(), Violation> {
        let Self { bug, offset, bytes } = self;
        target.stray_write(*offset, bytes).map_err(|_| {
            Violation::Unexpected(format!(
                "{bug}, at offset {offset:#x}. This memory lies outside of the pool or belongs to another block, so there \
                 is no red zone"
            ))
        })
    }

    /// Returns whether the allocator reported an error of the program. The report must name an offset of this write.
    fn is_reported(&self, target: &dyn Target) -> Result<bool, Violation> {
        let Self { bug, offset, bytes } = self;
        let report = target.violation().map_err(|errno| Violation::Failed {
            call: "VIOLATION",
            errno,
        })?;
        match AllocatorRule::from_raw(report.rule) {
            Some(AllocatorRule::None) => return Ok(false),
            Some(AllocatorRule::ProgramError) => {}
            _ => {
                return Err(Violation::Unexpected(format!(
                    "{bug}, at offset {offset:#x}. The allocator has to report an error of the program, but {report}"
                )));
            }
        }
        // The allocator reads whole words.
        let words = (offset & !7)..(offset + bytes.len() as u64).next_multiple_of(8);
        if words.contains(&report.offset) {
            return Ok(true);
        }
        Err(Violation::Unexpected(format!(
            "{bug}, at offset {offset:#x}, but the report names another offset: {report}"
        )))
    }

    /// Returns the violation for a write that was not reported.
    fn missed(&self, calls: &str) -> Violation {
        let Self { bug, offset, .. } = self;
        Violation::Unexpected(format!("{bug}, at offset {offset:#x}, but {calls}"))
    }
}

/// Runs a program on a new pool. `client` is the client of the test's own pool, which the program does not use.
fn on_new_pool(
    client: &Client<'_>,
    program: impl FnOnce(&mut Client<'_>) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let sim = Sim::private(Engine::Student, POOL_BYTES);
    let sim = sim.map_err(|errno| Violation::Failed {
        call: "the creation of a pool",
        errno,
    })?;
    let target = Watched(Box::new(sim));
    let mut oracle = Oracle::new(&target, 1)?;
    if let Some(journal) = client.oracle().journal_of_new_pool() {
        oracle = oracle.with_journal(journal);
    }
    match program(&mut oracle.client()) {
        // The test's own pool has no violation, so the sentence says all.
        Err(Violation::Allocator(sentence)) => Err(Violation::Unexpected(sentence)),
        result => result,
    }
}

/// Allocates a block on a new pool, between two others, and runs a program with the block.
fn with_size(
    client: &Client<'_>,
    size: u64,
    program: impl FnOnce(&mut Client<'_>, ClientBlock) -> Result<(), Violation>,
) -> Result<(), Violation> {
    on_new_pool(client, |client| {
        // The neighbours are never freed: the pool is dropped after the program.
        let _before = must(client, 40, 8)?;
        let block = must(client, size, 8)?;
        let _behind = must(client, 40, 8)?;
        program(client, block)
    })
}

/// Runs a program with a block of each size in turn.
fn with_each_size(
    client: &Client<'_>,
    program: impl Fn(&mut Client<'_>, ClientBlock) -> Result<(), Violation>,
) -> Result<(), Violation> {
    SIZES
        .into_iter()
        .try_for_each(|size| with_size(client, size, &program))
}

/// Executes a write beside a block, and then frees the block. One of the calls must report the write.
fn write_beside(
    client: &mut Client<'_>,
    block: ClientBlock,
    write: &StrayWrite,
) -> Result<(), Violation> {
    let target = client.oracle().target();
    write.execute(target)?;
    // The result is in the report.
    let _ = client.oracle().check();
    if write.is_reported(target)? {
        return Ok(());
    }
    match client.free(block) {
        Ok(()) | Err(Violation::Allocator(_)) => {}
        Err(violation) => return Err(violation),
    }
    if write.is_reported(target)? {
        return Ok(());
    }
    Err(write.missed("neither check nor the free of the block reported it"))
}

fn a_write_behind_a_block_is_reported(client: &mut Client<'_>) -> Result<(), Violation> {
    // The zero at the end of a string, a letter, and a word.
    for bytes in [&b"\0"[..], b"x", b"overflow"] {
        with_each_size(client, |client, block| {
            let write = StrayWrite {
                bug: format!(
                    "the program wrote {} behind its block of {} bytes",
                    in_words(bytes),
                    block.size()
                ),
                offset: block.offset() + block.size(),
                bytes,
            };
            write_beside(client, block, &write)
        })?;
    }
    // A block that was resized ends elsewhere.
    for (before, after) in [(200, 104), (104, 200)] {
        on_new_pool(client, |client| {
            let mut block = must(client, before, 8)?;
            client.realloc(&mut block, after)?.map_err(|cause| {
                Violation::Unexpected(format!(
                    "{} for the new place of a block that is resized to {after} bytes",
                    refusal(cause)
                ))
            })?;
            let write = StrayWrite {
                bug: format!(
                    "the program resized its block from {before} to {after} bytes, and wrote the zero byte behind it"
                ),
                offset: block.offset() + after,
                bytes: b"\0",
            };
            write_beside(client, block, &write)
        })?;
    }
    Ok(())
}

fn a_write_before_a_block_is_reported(client: &mut Client<'_>) -> Result<(), Violation> {
    for bytes in [&b"\0"[..], b"x", b"underrun"] {
        with_each_size(client, |client, block| {
            let write = StrayWrite {
                bug: format!(
                    "the program wrote {} before its block of {} bytes",
                    in_words(bytes),
                    block.size()
                ),
                offset: block.offset().wrapping_sub(bytes.len() as u64),
                bytes,
            };
            write_beside(client, block, &write)
        })?;
    }
    Ok(())
}

/// Returns the bytes of a stray write in words.
fn in_words(bytes: &[u8]) -> String {
    match bytes {
        [0] => "a zero byte".to_owned(),
        [byte] => format!("the byte {byte:#04x}"),
        _ => format!("{} bytes", bytes.len()),
    }
}

/// Frees the block, and returns the offsets that it had.
fn freed(client: &mut Client<'_>, block: ClientBlock) -> Result<Range<u64>, Violation> {
    let offsets = block.offset()..block.offset() + block.size();
    client.free(block)?;
    Ok(offsets)
}

fn freed_memory_does_not_keep_its_contents(client: &mut Client<'_>) -> Result<(), Violation> {
    with_each_size(client, |client, block| {
        let target = client.oracle().target();
        let failed = |call| move |errno| Violation::Failed { call, errno };
        let mut contents = vec![0; block.size() as usize];
        target
            .read(block.handle(), 0, &mut contents)
            .map_err(failed("pread"))?;
        let offsets = freed(client, block)?;
        let mut now = vec![0; contents.len()];
        target
            .read_free(offsets.start, &mut now)
            .map_err(failed("a read of free memory"))?;
        let kept = contents.chunks(8).zip(now.chunks(8));
        for (word, offset) in kept.zip(offsets.step_by(8)) {
            if word.0 == word.1 {
                return Err(Violation::Unexpected(format!(
                    "a block of {} bytes was freed, but the word at offset {offset:#x} still has the program's data",
                    contents.len()
                )));
            }
        }
        Ok(())
    })
}

/// The memory near the block that is freed and written to. The damage is not always in the first free chunk.
#[derive(Clone, Copy)]
enum Around {
    /// The block is the free memory with the lowest offset.
    Live,
    /// Free memory without damage lies at a lower offset.
    FreeBelow,
    /// A block at a higher offset is freed after the write.
    FreedLater,
}

/// Allocates a block of `size` bytes on a new pool, frees it, and writes to the byte that `place` names, if it names one. Then
/// `find` must make the allocator report the write.
fn write_after_free(
    client: &Client<'_>,
    around: Around,
    size: u64,
    place: impl FnOnce(&Range<u64>) -> Option<(u64, &'static [u8])>,
    find: impl FnOnce(&mut Client<'_>, &StrayWrite) -> Result<(), Violation>,
) -> Result<(), Violation> {
    on_new_pool(client, |client| {
        // Between the blocks lie others that stay live, so that no freed blocks merge.
        let below = must(client, 40, 8)?;
        let _live = must(client, 40, 8)?;
        let block = must(client, size, 8)?;
        let _live = must(client, 40, 8)?;
        let above = must(client, 40, 8)?;
        let _live = must(client, 40, 8)?;
        if let Around::FreeBelow = around {
            client.free(below)?;
        }
        let block = freed(client, block)?;
        let Some((offset, bytes)) = place(&block) else {
            return Ok(());
        };
        let write = StrayWrite {
            bug: format!(
                "the program freed a block of {size} bytes and then wrote {} to byte {} of the block",
                in_words(bytes),
                offset - block.start
            ),
            offset,
            bytes,
        };
        let target = client.oracle().target();
        write.execute(target)?;
        if let Around::FreedLater = around {
            match client.free(above) {
                Ok(()) | Err(Violation::Allocator(_)) => {}
                Err(violation) => return Err(violation),
            }
            if write.is_reported(target)? {
                return Ok(());
            }
        }
        find(client, &write)
    })
}

/// Calls [`write_after_free`] for blocks of each size, with free memory around them or without. All words of a block have
/// their turn, but of a large block only some.
fn write_after_each_free(
    client: &Client<'_>,
    find: impl Fn(&mut Client<'_>, &StrayWrite) -> Result<(), Violation>,
) -> Result<(), Violation> {
    for around in [Around::Live, Around::FreeBelow, Around::FreedLater] {
        for size in SIZES {
            let step = if size > 512 { 37 } else { 1 };
            for word in (0..size / 8).step_by(step) {
                let place = |block: &Range<u64>| {
                    let (byte, bytes) = STRAY_BYTES[word as usize % STRAY_BYTES.len()];
                    Some((block.start + word * 8 + byte, bytes))
                };
                write_after_free(client, around, size, place, &find)?;
            }
        }
    }
    Ok(())
}

/// The bytes that a program writes into freed memory, and their place in a word. An allocator whose poison has a zero byte
/// misses a zero there.
const STRAY_BYTES: [(u64, &[u8]); 5] = [
    (0, b"dangling"),
    (0, b"\0"),
    (0, b"x"),
    (3, b"\0"),
    (7, b"\0"),
];

fn a_check_finds_a_write_into_freed_memory(client: &mut Client<'_>) -> Result<(), Violation> {
    write_after_each_free(client, |client, write| {
        // The result is in the report.
        let _ = client.oracle().check();
        if write.is_reported(client.oracle().target())? {
            return Ok(());
        }
        Err(write.missed("check did not report it"))
    })
}

/// Allocates the whole pool, with as many blocks of each size and alignment as there are. The allocation that gets the memory
/// of the write, or an earlier one, must report it.
fn allocate_all(
    client: &mut Client<'_>,
    layouts: &[(u64, u64)],
    write: &StrayWrite,
) -> Result<(), Violation> {
    let target = client.oracle().target();
    for (size, align) in layouts {
        loop {
            match client.alloc(*size, *align) {
                Ok(Ok(block)) => {
                    let block = block.offset()..block.offset() + block.size();
                    if block.contains(&write.offset) {
                        return Err(write.missed(&format!(
                            "this allocation, which got the memory at offsets {:#x} to {:#x}, did not report it",
                            block.start, block.end
                        )));
                    }
                }
                Ok(Err(_)) => break,
                Err(Violation::Allocator(_)) if write.is_reported(target)? => return Ok(()),
                Err(violation) => return Err(violation),
            }
        }
    }
    Err(write.missed("the whole pool was allocated again and no allocation reported it"))
}

fn an_allocation_finds_a_write_into_freed_memory(client: &mut Client<'_>) -> Result<(), Violation> {
    // A large block gets all of the freed memory at once. Small blocks split it again and again.
    for layouts in [&[(2048, 8), (64, 8), (8, 8)][..], &[(8, 8)]] {
        write_after_each_free(client, |client, write| allocate_all(client, layouts, write))?;
    }
    // An aligned block lies in the middle of the freed memory. The program wrote before it, where its red zone will be, or
    // into it.
    const ALIGN: u64 = 1024;
    for around in [Around::Live, Around::FreeBelow] {
        for (word, bytes) in [(0, b"x"), (8, b"\0"), (512, b"x"), (ALIGN, b"x")] {
            let place = |block: &Range<u64>| {
                let offset = block.start.next_multiple_of(ALIGN) + word - 8;
                (offset >= block.start).then_some((offset, &bytes[..]))
            };
            write_after_free(client, around, 2 * ALIGN, place, |client, write| {
                let layouts = [(ALIGN, ALIGN), (2048, 8), (64, 8), (8, 8)];
                allocate_all(client, &layouts, write)
            })?;
        }
    }
    Ok(())
}

/// Allocates, resizes and frees blocks at random. The client uses all of their bytes.
fn a_correct_program_is_never_accused(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut random = Rng::new(7);
    let mut live = Vec::new();
    for step in 0..3000 {
        match random.below(5) {
            0 | 1 if live.len() < 60 => {
                let (size, align) = (1 + random.below(700), 8 << random.below(5));
                if let Ok(block) = client.alloc(size, align)? {
                    live.push(block);
                }
            }
            2 if !live.is_empty() => {
                let place = random.below(live.len() as u64) as usize;
                // A refused resize changes nothing.
                let _ = client.realloc(&mut live[place], 1 + random.below(700))?;
            }
            _ if !live.is_empty() => {
                let place = random.below(live.len() as u64) as usize;
                client.free(live.swap_remove(place))?;
            }
            _ => {}
        }
        if step % 50 == 0 {
            client.oracle().check()?;
        }
    }
    free_all(client, live)?;
    client.oracle().check()
}

fn red_zones_leave_four_fifths(client: &mut Client<'_>) -> Result<(), Violation> {
    let blocks = fill(client, 240)?;
    let (used, wanted) = (blocks.len() as u64 * 240, POOL_BYTES / 5 * 4);
    if used < wanted {
        return Err(Violation::Unexpected(format!(
            "{} blocks of 240 bytes fit, which are {used} bytes; of the pool's {POOL_BYTES} bytes at least {wanted} must be \
             usable",
            blocks.len()
        )));
    }
    free_all(client, blocks)
}

fn a_large_block_fits_again(client: &mut Client<'_>) -> Result<(), Violation> {
    let large = must(client, POOL_BYTES - 4096, 8)?;
    client.free(large)?;
    for size in [24, 240, 1000] {
        let mut blocks = fill(client, size)?;
        let mut place = 0;
        while !blocks.is_empty() {
            place = (place + 389) % blocks.len();
            client.free(blocks.swap_remove(place))?;
        }
    }
    let large = must(client, POOL_BYTES - 4096, 8)?;
    client.free(large)
}
