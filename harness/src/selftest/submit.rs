// SPDX-License-Identifier: GPL-2.0

//! SUBMIT: many operations in one call.

use std::{
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
    thread,
};

use crate::{
    device::{
        Device,
        Errno,
        Refused,
        request, //
    },
    rng::Rng,
    sim::Sim,
    target::Target,
    uapi::{
        self,
        Engine,
        slablab_cost,
        slablab_operation,
        slablab_submit, //
    },
};

use super::{
    fixture::{
        MIB,
        POOL_ENGINES,
        filled,
        intact,
        private,
        private_of,
        session,
        shared,
        sound,
        unchanged,
        zeros, //
    },
    memory::{
        Argument,
        Fence,
        poke, //
    },
    theme,
    verdict::{
        About,
        Outcome,
        Verdict,
        equal,
        holds,
        refused, //
    },
};

theme!("submit" {
    Each every_kind_of_operation_is_done_and_answered,
    Each as_many_operations_as_there_may_be_are_done,
    Each no_operations_and_too_many_are_einval,
    Each an_earlier_operation_names_its_block_however_far_back,
    Each what_is_no_earlier_allocation_is_einval,
    Each what_is_wrong_with_an_operation_ends_the_call,
    Each stale_handles_and_second_frees_are_enoent,
    Each new_blocks_are_zeros,
    Each an_array_that_cannot_be_read_or_written_is_efault,
    Each an_array_that_ends_early_is_done_as_far_as_whole_lots_go,
    Each an_array_may_lie_anywhere,
    Once a_full_pool_ends_the_call_with_the_cause,
    Once the_quota_ends_the_call_with_the_cause,
    Each the_first_operation_binds_if_it_asks_for_memory,
    Once a_submission_is_the_same_as_its_operations_one_by_one,
    Once a_submission_is_the_same_in_the_kernel_and_outside,
    Each a_signal_ends_a_call_between_operations,
    Each threads_submit_to_one_session,
});

/// Operations that are copied together.
const LOT: usize = 64;

/// The largest number of operations.
const MOST: usize = uapi::SLABLAB_OPERATIONS_MAX as usize;

fn alloc(bytes: u64) -> slablab_operation {
    slablab_operation {
        kind: uapi::SLABLAB_OP_ALLOC as u8,
        bytes,
        ..Default::default()
    }
}

fn free(handle: u32) -> slablab_operation {
    slablab_operation {
        kind: uapi::SLABLAB_OP_FREE as u8,
        handle,
        ..Default::default()
    }
}

fn realloc(handle: u32, bytes: u64) -> slablab_operation {
    slablab_operation {
        kind: uapi::SLABLAB_OP_REALLOC as u8,
        handle,
        bytes,
        ..Default::default()
    }
}

/// Makes the handle of an operation the number of an earlier one.
fn earlier(operation: slablab_operation) -> slablab_operation {
    slablab_operation {
        flags: uapi::SLABLAB_OP_EARLIER as u16,
        ..operation
    }
}

/// Checks that all operations were done.
#[track_caller]
fn all_done(answer: Result<slablab_submit, Errno>, count: usize) -> Outcome {
    let answer = answer?;
    equal(
        "done and error",
        (answer.done, answer.error),
        (count as u32, 0),
    )
}

/// Checks that so many operations were done, and why it is not all of them.
#[track_caller]
fn ended(answer: Result<slablab_submit, Errno>, done: usize, errno: Errno) -> Outcome {
    let answer = answer?;
    equal(
        "done and error",
        (answer.done, answer.error),
        (done as u32, errno.raw_os_error() as u32),
    )
}

fn parts(cost: &slablab_cost) -> Cost {
    (
        cost.path,
        cost.cause,
        cost.class_index,
        cost.order,
        cost.splits,
        cost.merges,
    )
}

fn every_kind_of_operation_is_done_and_answered(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let (kept, gone) = (filled(&device, 100, 1)?, filled(&device, 100, 2)?);
    let before = device.stats()?;
    let mut operations = [
        alloc(300),
        realloc(kept, 9000),
        free(gone),
        earlier(realloc(0, 5000)),
        slablab_operation {
            align_log2: 6,
            ..alloc(10)
        },
        earlier(free(4)),
        alloc(20),
    ];
    all_done(device.submit(&mut operations), 7)?;
    let [first, grown, freed, moved, aligned, undone, last] = &operations;
    equal(
        "handles",
        [grown.handle, freed.handle, moved.handle, undone.handle],
        [kept, gone, first.handle, aligned.handle],
    )?;
    holds(
        operations.iter().all(|operation| operation.flags == 0),
        "no flag is left",
    )?;
    holds(
        first.bytes >= 300 && grown.bytes >= 9000 && moved.bytes >= 5000 && last.bytes >= 20,
        "no less is set aside than was asked for",
    )?;
    if engine != Engine::Slub {
        equal("offset % align", aligned.offset % 64, 0)?;
    }
    intact(&device, kept, 100, 1)?;
    zeros(&device, kept, 100, 8900)?;
    zeros(&device, first.handle, 0, 5000)?;
    refused(device.read(first.handle, 5000, &mut [0; 1]), Errno::NXIO)?;
    for handle in [gone, aligned.handle] {
        refused(device.free(handle), Errno::NOENT)?;
    }
    let after = device.stats()?;
    equal(
        "allocations, frees, reallocations, blocks",
        [
            after.session_allocations - before.session_allocations,
            after.session_frees - before.session_frees,
            after.session_reallocations - before.session_reallocations,
            after.session_blocks,
        ],
        [3, 2, 2, 3],
    )
}

fn as_many_operations_as_there_may_be_are_done(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let mut operations = vec![alloc(16); MOST];
    all_done(device.submit(&mut operations), MOST)?;
    equal("blocks", device.stats()?.session_blocks, MOST as u64)?;
    let mut handles: Vec<_> = operations.iter().map(|done| done.handle).collect();
    handles.sort_unstable();
    handles.dedup();
    equal("different handles", handles.len(), MOST)?;
    let mut frees: Vec<_> = operations
        .iter()
        .rev()
        .map(|done| free(done.handle))
        .collect();
    all_done(device.submit(&mut frees), MOST)?;
    equal("blocks", device.stats()?.session_blocks, 0)
}

fn no_operations_and_too_many_are_einval(engine: Engine) -> Outcome {
    let device = session(engine)?;
    unchanged(&device, || {
        for count in [0, MOST + 1, 2 * MOST] {
            let mut operations = vec![alloc(16); count];
            refused(device.submit(&mut operations), Errno::INVAL).about(count)?;
        }
        Ok(())
    })
}

fn an_earlier_operation_names_its_block_however_far_back(engine: Engine) -> Outcome {
    let device = session(engine)?;
    // Right behind, in the same lot, in the next one, and from the last to the first.
    let mut operations = vec![alloc(64), earlier(free(0)), alloc(64), alloc(64)];
    operations.resize(LOT - 1, alloc(64));
    operations.push(earlier(free(3)));
    operations.push(earlier(free(2)));
    operations.resize(3 * LOT, alloc(64));
    operations.push(earlier(realloc(LOT as u32 + 1, 3000)));
    operations.push(earlier(free(LOT as u32 + 1)));
    let count = operations.len();
    all_done(device.submit(&mut operations), count)?;
    let handle = |number: usize| operations[number].handle;
    equal(
        "handles",
        [
            handle(1),
            handle(LOT - 1),
            handle(LOT),
            handle(count - 2),
            handle(count - 1),
        ],
        [
            handle(0),
            handle(3),
            handle(2),
            handle(LOT + 1),
            handle(LOT + 1),
        ],
    )?;
    equal(
        "blocks",
        device.stats()?.session_blocks,
        (count - 5 - 4) as u64,
    )
}

fn what_is_no_earlier_allocation_is_einval(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let handle = filled(&device, 100, 1)?;
    for number in [1, 2, 3, 1000, u32::MAX, 1 << 31, handle] {
        for operation in [free(number), realloc(number, 10)] {
            let mut operations = [alloc(10), realloc(handle, 100), earlier(operation)];
            ended(device.submit(&mut operations), 2, Errno::INVAL).about(number)?;
            equal("handle", operations[2].handle, number)?;
            device.free(operations[0].handle)?;
        }
    }
    // Neither in a lot of before.
    let mut operations = vec![alloc(10); LOT];
    operations[1] = realloc(handle, 100);
    operations.push(earlier(free(1)));
    ended(device.submit(&mut operations), LOT, Errno::INVAL)?;
    intact(&device, handle, 100, 1)
}

fn what_is_wrong_with_an_operation_ends_the_call(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let handle = filled(&device, 100, 1)?;
    let bits = |operation: slablab_operation, flags| slablab_operation { flags, ..operation };
    let kind = |kind| slablab_operation { kind, ..alloc(10) };
    let align = |operation, align_log2| slablab_operation {
        align_log2,
        ..operation
    };
    let cases = [
        (kind(0), Errno::INVAL),
        (kind(4), Errno::INVAL),
        (kind(255), Errno::INVAL),
        (alloc(0), Errno::INVAL),
        (align(alloc(8), 63), Errno::INVAL),
        (align(alloc(8), 64), Errno::INVAL),
        (align(alloc(8), 255), Errno::INVAL),
        (earlier(alloc(8)), Errno::INVAL),
        (bits(alloc(8), 2), Errno::INVAL),
        (bits(free(handle), 2), Errno::INVAL),
        (bits(realloc(handle, 9), 0x8000), Errno::INVAL),
        (align(free(handle), 1), Errno::INVAL),
        (align(realloc(handle, 9), 1), Errno::INVAL),
        (
            slablab_operation {
                bytes: 1,
                ..free(handle)
            },
            Errno::INVAL,
        ),
        (realloc(handle, 0), Errno::INVAL),
        (realloc(0, 9), Errno::NOENT),
        (realloc(u32::MAX, 9), Errno::NOENT),
        (free(0), Errno::NOENT),
        (free(1), Errno::NOENT),
        (free(u32::MAX), Errno::NOENT),
        (alloc(u64::MAX), Errno::NOMEM),
        (alloc(1 << 47), Errno::NOMEM),
        (realloc(handle, u64::MAX), Errno::NOMEM),
    ];
    for (number, (bad, errno)) in cases.into_iter().enumerate() {
        // As the first one it changes nothing.
        unchanged(&device, || {
            let mut operations = [bad, alloc(10), free(handle)];
            let behind = operations[1].bytes();
            ended(device.submit(&mut operations), 0, errno)?;
            equal("operation behind it", operations[1].bytes(), behind)?;
            let cause = if errno == Errno::NOMEM {
                uapi::SLABLAB_CAUSE_TOO_BIG
            } else {
                uapi::SLABLAB_CAUSE_NONE
            };
            equal("cause", u32::from(operations[0].cost.cause), cause)
        })
        .about(format_args!("case {number}"))?;
        // Behind others, it leaves these done.
        for place in [1, 7, 8, 9, LOT - 1, LOT, LOT + 1] {
            let mut operations = vec![alloc(10); place];
            operations.push(bad);
            operations.push(free(handle));
            ended(device.submit(&mut operations), place, errno)
                .about(format_args!("case {number} at {place}"))?;
            for operation in &operations[..place] {
                device.free(operation.handle)?;
            }
        }
    }
    intact(&device, handle, 100, 1)?;
    equal("blocks", device.stats()?.session_blocks, 1)
}

fn stale_handles_and_second_frees_are_enoent(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let handle = filled(&device, 100, 1)?;
    let other = filled(&device, 100, 2)?;
    let mut operations = [free(handle), free(handle), free(other)];
    ended(device.submit(&mut operations), 1, Errno::NOENT)?;
    let mut operations = [alloc(10), earlier(free(0)), earlier(free(0)), free(other)];
    ended(device.submit(&mut operations), 2, Errno::NOENT)?;
    let mut operations = [alloc(10), earlier(free(0)), earlier(realloc(0, 5))];
    ended(device.submit(&mut operations), 2, Errno::NOENT)?;
    // A number that will be a handle in a moment is none yet.
    let next = alloc_and_free(&device)? + (1 << 20);
    let mut operations = vec![alloc(10); 2048];
    operations.push(free(next));
    let answer = device.submit(&mut operations)?;
    holds(answer.done >= 2048, "the blocks before it are allocated")?;
    let mut stale = [free(handle)];
    ended(device.submit(&mut stale), 0, Errno::NOENT)?;
    intact(&device, other, 100, 2)
}

/// Returns a handle that was just given back.
fn alloc_and_free(device: &Device) -> Outcome<u32> {
    let handle = device.alloc(10, 1)?.handle;
    device.free(handle)?;
    Ok(handle)
}

fn new_blocks_are_zeros(engine: Engine) -> Outcome {
    let device = session(engine)?;
    for round in 0..3 {
        let sizes = [1, 8, 60, 64, 65, 100, 1000, 4096, 5000, 20_000];
        let mut operations: Vec<_> = (0..4).flat_map(|_| sizes.map(alloc)).collect();
        let count = operations.len();
        all_done(device.submit(&mut operations), count)?;
        for (done, size) in operations.iter().zip(sizes.into_iter().cycle()) {
            zeros(&device, done.handle, 0, size as usize).about(round)?;
            device.write(done.handle, 0, &vec![0xa5; size as usize])?;
        }
        let mut frees: Vec<_> = operations.iter().map(|done| free(done.handle)).collect();
        all_done(device.submit(&mut frees), count)?;
    }
    Ok(())
}

/// Submits the operations at an address.
fn submit_at(device: &Device, address: usize, count: usize) -> Result<slablab_submit, Errno> {
    let mut submit = slablab_submit {
        count: count as u32,
        operations: address as u64,
        ..Default::default()
    };
    super::memory::submit(device, uapi::SLABLAB_NR_SUBMIT, &mut submit)?;
    Ok(submit)
}

fn bytes_of(operations: &[slablab_operation]) -> Vec<u8> {
    operations.iter().flat_map(Argument::bytes).collect()
}

fn an_array_that_cannot_be_read_or_written_is_efault(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let handle = filled(&device, 100, 1)?;
    for address in [
        0,
        usize::MAX,
        usize::MAX - 31,
        1 << 63,
        0xffff_8880_0000_0000,
    ] {
        for count in [1, MOST] {
            unchanged(&device, || {
                ended(submit_at(&device, address, count), 0, Errno::FAULT)
            })
            .about(format_args!("{count} at {address:#x}"))?;
        }
    }
    for count in [1, 2, LOT, LOT + 1] {
        let fence = Fence::new(1)?;
        let operations = vec![free(handle); count];
        let address = fence.place(&bytes_of(&operations), 0);
        fence.read_only()?;
        unchanged(&device, || {
            ended(submit_at(&device, address, count), 0, Errno::FAULT)
        })
        .about(format_args!("{count} that cannot be written"))?;
    }
    // The reply that cannot be written is found out before anything is done.
    let mut operations = [free(handle)];
    let argument = slablab_submit {
        count: 1,
        operations: operations.as_mut_ptr().expose_provenance() as u64,
        ..Default::default()
    };
    let fence = Fence::new(1)?;
    let address = fence.place(&argument.bytes(), 0);
    fence.read_only()?;
    unchanged(&device, || {
        refused(poke(&device, request::SUBMIT, address), Errno::FAULT)
    })?;
    intact(&device, handle, 100, 1)
}

fn an_array_that_ends_early_is_done_as_far_as_whole_lots_go(engine: Engine) -> Outcome {
    let device = session(engine)?;
    for (count, outside, done) in [
        (1, 1, 0),
        (2, 32, 0),
        (LOT, 1, 0),
        (LOT + 1, 1, LOT),
        (LOT + 1, 32, LOT),
        (2 * LOT - 1, 33, LOT),
        (2 * LOT, 64 * 32, LOT),
        (2 * LOT, 64 * 32 + 1, 0),
    ] {
        let fence = Fence::new(1)?;
        let operations = bytes_of(&vec![alloc(10); count]);
        let address = fence.place(&operations, outside);
        let before = device.stats()?.session_blocks;
        ended(submit_at(&device, address, count), done, Errno::FAULT)
            .about(format_args!("{count}, {outside} bytes outside"))?;
        equal(
            "new blocks",
            device.stats()?.session_blocks - before,
            done as u64,
        )?;
    }
    // One whose first page can be written and whose second cannot.
    let mut handles = Vec::new();
    for _ in 0..2 * LOT {
        handles.push(device.alloc(10, 1)?.handle);
    }
    let frees: Vec<_> = handles.iter().map(|handle| free(*handle)).collect();
    let fence = Fence::new(2)?;
    let address = fence.place(&bytes_of(&frees), 0);
    // Moved down so that the first lot ends in the first page, and the second one reaches beyond.
    let address = fence.shift_down(address, frees.len() * 32, 4096 - LOT * 32 - 1000);
    fence.read_only_from(4096)?;
    ended(submit_at(&device, address, frees.len()), LOT, Errno::FAULT)?;
    for (number, handle) in handles.into_iter().enumerate() {
        let expected = if number < LOT {
            Err(Errno::NOENT)
        } else {
            Ok(())
        };
        equal("FREE", device.free(handle), expected).about(number)?;
    }
    Ok(())
}

fn an_array_may_lie_anywhere(engine: Engine) -> Outcome {
    let device = session(engine)?;
    for count in [1, LOT, 100] {
        for odd in [1, 3, 4, 8, 31] {
            let fence = Fence::new(2)?;
            let mut bytes = bytes_of(&vec![alloc(10); count]);
            bytes.resize(count * 32 + odd, 0x77);
            let address = fence.place(&bytes, 0);
            all_done(submit_at(&device, address, count), count)
                .about(format_args!("{count} at {odd}"))?;
            equal("what is behind", fence.last(odd), vec![0x77; odd])?;
        }
    }
    Ok(())
}

fn a_full_pool_ends_the_call_with_the_cause() -> Outcome {
    for engine in POOL_ENGINES {
        let (device, single) = (private_of(engine, MIB)?, private_of(engine, MIB)?);
        let mut blocks = 0;
        while single.alloc(8192, 1).is_ok() {
            blocks += 1;
        }
        let mut operations = vec![alloc(8192); 1000];
        ended(device.submit(&mut operations), blocks, Errno::NOMEM).about(engine)?;
        equal(
            "cause",
            u32::from(operations[blocks].cost.cause),
            uapi::SLABLAB_CAUSE_EXHAUSTED,
        )?;
        // What the call frees it can have again.
        let mut operations = [free(operations[0].handle), alloc(8192), alloc(8192)];
        ended(device.submit(&mut operations), 2, Errno::NOMEM).about(engine)?;
        same_figures(&device, &single, 1, 1).about(engine)?;
        sound(&device)?;
    }
    Ok(())
}

/// Compares what belongs to programs, where one had so many allocations and frees more.
fn same_figures(one: &Device, other: &Device, allocations: u64, frees: u64) -> Outcome {
    let (one, other) = (one.stats()?, other.stats()?);
    equal(
        "figures",
        [
            one.session_blocks,
            one.session_bytes,
            one.live_bytes,
            one.session_allocations - allocations,
            one.session_frees - frees,
        ],
        [
            other.session_blocks,
            other.session_bytes,
            other.live_bytes,
            other.session_allocations,
            other.session_frees,
        ],
    )
}

fn the_quota_ends_the_call_with_the_cause() -> Outcome {
    let info = shared(Engine::Seed)?.info()?;
    let most = info.session_bytes_max;
    let pool = most + 32 * MIB;
    if pool > info.private_bytes_max {
        return Err(Verdict::skipped("no private pool is larger than the quota"));
    }
    let device = private(pool)?;
    let fit = (most / MIB) as usize;
    let mut operations = vec![alloc(MIB); fit + 2];
    ended(device.submit(&mut operations), fit, Errno::DQUOT)?;
    equal(
        "cause",
        u32::from(operations[fit].cost.cause),
        uapi::SLABLAB_CAUSE_QUOTA,
    )?;
    equal("bytes", device.stats()?.session_bytes, most)?;
    // What the call frees counts no more.
    let mut operations = [free(operations[0].handle), alloc(MIB), alloc(1)];
    ended(device.submit(&mut operations), 2, Errno::DQUOT)
}

fn the_first_operation_binds_if_it_asks_for_memory(engine: Engine) -> Outcome {
    let device = Device::open()?;
    for bad in [free(1), realloc(1, 10)] {
        ended(device.submit(&mut [bad, alloc(10)]), 0, Errno::NOENT)?;
    }
    ended(device.submit(&mut [alloc(0), alloc(10)]), 0, Errno::INVAL)?;
    let mut operations = [alloc(u64::MAX), alloc(10)];
    ended(device.submit(&mut operations), 0, Errno::NOMEM)?;
    equal(
        "cause",
        u32::from(operations[0].cost.cause),
        uapi::SLABLAB_CAUSE_TOO_BIG,
    )?;
    device.bind(engine.raw(), 0, 0)?;
    let device = Device::open()?;
    let mut operations = [alloc(10), earlier(free(0))];
    all_done(device.submit(&mut operations), 2)?;
    refused(device.bind(engine.raw(), 0, 0), Errno::BUSY)
}

/// What there is to say of an operation: the error, the handle, bytes and offset, and the cost.
type Answer = (Option<Errno>, u32, u64, u64, Cost);

/// A cost, field by field.
type Cost = (u8, u8, u8, u8, u8, u8);

/// Does operations one by one, each with a command of its own, until one fails.
fn one_by_one(target: &dyn Target, operations: &[slablab_operation]) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    let refusal = |refused: Refused| (Some(refused.errno), 0, 0, 0, parts(&refused.cost));
    for operation in operations {
        let handle = if operation.flags == 0 {
            operation.handle
        } else {
            answers[operation.handle as usize].1
        };
        let align = 1 << operation.align_log2;
        let answer = match u32::from(operation.kind) {
            uapi::SLABLAB_OP_ALLOC => match target.alloc(operation.bytes, align) {
                Ok(done) => (
                    None,
                    done.handle,
                    done.usable,
                    done.offset,
                    parts(&done.cost),
                ),
                Err(refused) => refusal(refused),
            },
            uapi::SLABLAB_OP_REALLOC => match target.realloc(handle, operation.bytes) {
                Ok(done) => (None, handle, done.usable, done.offset, parts(&done.cost)),
                Err(refused) => refusal(refused),
            },
            _ => match target.free(handle) {
                Ok(()) => (None, handle, 0, 0, Cost::default()),
                Err(errno) => (Some(errno), 0, 0, 0, Cost::default()),
            },
        };
        answers.push(answer);
        if answer.0.is_some() {
            break;
        }
    }
    answers
}

/// Does them in one call, and answers like [`one_by_one`].
fn at_once(target: &dyn Target, operations: &[slablab_operation]) -> Outcome<Vec<Answer>> {
    let mut sent = operations.to_vec();
    let answer = target.submit(&mut sent)?;
    let done = answer.done as usize;
    // FREE alone does not tell what it cost.
    let cost = |operation: &slablab_operation| match u32::from(operation.kind) {
        uapi::SLABLAB_OP_FREE => Cost::default(),
        _ => parts(&operation.cost),
    };
    let mut answers: Vec<Answer> = sent[..done]
        .iter()
        .map(|done| (None, done.handle, done.bytes, done.offset, cost(done)))
        .collect();
    if answer.error != 0 {
        let errno = Errno::from_raw_os_error(answer.error as i32);
        answers.push((Some(errno), 0, 0, 0, cost(&sent[done])));
    }
    Ok(answers)
}

/// Runs random submissions on both, in one call on the first and as `other` does on the second.
fn alike(one: &dyn Target, other: &dyn Target, seed: u64, singly: bool) -> Outcome {
    let mut random = Rng::new(seed);
    let mut live: Vec<u32> = Vec::new();
    for round in 0..150 {
        let most = if random.chance(1, 8) { 300 } else { 40 };
        let count = 1 + random.index(most);
        let mut operations: Vec<slablab_operation> = Vec::new();
        let mut own: Vec<usize> = Vec::new();
        for number in 0..count {
            let most = if random.chance(1, 8) { 200_000 } else { 2000 };
            let size = random.doubling(1, most);
            operations.push(match random.below(8) {
                3 if !own.is_empty() => {
                    let at = random.index(own.len());
                    earlier(free(own.swap_remove(at) as u32))
                }
                4 if !own.is_empty() => earlier(realloc(own[random.index(own.len())] as u32, size)),
                5 if !live.is_empty() => realloc(live[random.index(live.len())], size),
                6..8 if !live.is_empty() => {
                    let at = random.index(live.len());
                    free(live.swap_remove(at))
                }
                _ => {
                    own.push(number);
                    slablab_operation {
                        align_log2: random.below(8) as u8,
                        ..alloc(size)
                    }
                }
            });
        }
        let answers = at_once(one, &operations)?;
        let expected = if singly {
            one_by_one(other, &operations)
        } else {
            at_once(other, &operations)?
        };
        equal("answers", &answers, &expected).about(format_args!("seed {seed}, round {round}"))?;
        let done = answers.iter().filter(|answer| answer.1 != 0).count();
        live.extend(own.iter().filter(|at| **at < done).map(|at| answers[*at].1));
        // What was to be freed behind a failure is still there.
        for operation in &operations[done..] {
            if u32::from(operation.kind) == uapi::SLABLAB_OP_FREE && operation.flags == 0 {
                live.push(operation.handle);
            }
        }
        // What was freed by its number was taken out of `own`, also behind a failure.
        for operation in &operations[done..] {
            let number = operation.handle as usize;
            if u32::from(operation.kind) == uapi::SLABLAB_OP_FREE
                && operation.flags != 0
                && number < done
            {
                live.push(answers[number].1);
            }
        }
    }
    let figures = |target: &dyn Target| target.stats().map(|stats| format!("{stats:?}"));
    equal("figures", figures(one)?, figures(other)?).about(format_args!("seed {seed}"))
}

fn a_submission_is_the_same_as_its_operations_one_by_one() -> Outcome {
    for engine in POOL_ENGINES {
        for seed in 1..4 {
            let (one, other) = (private_of(engine, MIB)?, private_of(engine, MIB)?);
            alike(&one, &other, seed, true).about(engine)?;
            sound(&one)?;
        }
    }
    Ok(())
}

fn a_submission_is_the_same_in_the_kernel_and_outside() -> Outcome {
    for engine in POOL_ENGINES {
        for seed in 1..4 {
            let (one, other) = (private_of(engine, MIB)?, Sim::private(engine, MIB)?);
            alike(&one, &other, seed, false).about(engine)?;
        }
    }
    Ok(())
}

/// What the standard library is linked with.
mod c {
    use std::ffi::c_int;

    unsafe extern "C" {
        pub(super) fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
    }

    pub(super) extern "C" fn nothing(_number: c_int) {}
}

fn a_signal_ends_a_call_between_operations(engine: Engine) -> Outcome {
    use rustix::process::{
        Signal,
        getpid,
        kill_process, //
    };

    // SAFETY: The handler does nothing, so it may run at any time.
    unsafe { c::signal(Signal::USR1.as_raw(), c::nothing) };
    let device = session(engine)?;
    let stop = AtomicBool::new(false);
    let begun = std::time::Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = kill_process(getpid(), Signal::USR1);
                thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        let submit = || -> Outcome {
            let mut interrupted = 0;
            while interrupted < 3 {
                holds(
                    begun.elapsed().as_secs() < 60,
                    "a signal meets a call within a minute",
                )?;
                let mut operations: Vec<_> = vec![alloc(16); MOST];
                interrupted += to_the_end(&device, &mut operations)?;
                let mut frees: Vec<_> = operations.iter().map(|done| free(done.handle)).collect();
                interrupted += to_the_end(&device, &mut frees)?;
                equal("blocks", device.stats()?.session_blocks, 0)?;
            }
            Ok(())
        };
        let outcome = submit();
        stop.store(true, Ordering::Relaxed);
        outcome
    })
}

/// Submits again what is left, until all is done; returns how often a signal ended a call.
fn to_the_end(device: &Device, operations: &mut [slablab_operation]) -> Outcome<u32> {
    let (mut done, mut interrupted) = (0, 0);
    while done < operations.len() {
        let answer = device.submit(&mut operations[done..])?;
        done += answer.done as usize;
        if answer.error != 0 {
            equal("error", answer.error, Errno::INTR.raw_os_error() as u32)?;
            holds(answer.done > 0, "a call that did nothing is made again")?;
            interrupted += 1;
        }
    }
    Ok(interrupted)
}

fn threads_submit_to_one_session(engine: Engine) -> Outcome {
    let device = session(engine)?;
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let device = &device;
                scope.spawn(move || -> Outcome {
                    for round in 0..20 {
                        let sizes = [24, 100, 700, 3000];
                        let mut operations: Vec<_> =
                            (0..10).flat_map(|_| sizes.map(alloc)).collect();
                        all_done(device.submit(&mut operations), 40).about(round)?;
                        let own = [thread as u8 + 1; 24];
                        for done in &operations {
                            zeros(device, done.handle, 0, 24)?;
                            device.write(done.handle, 0, &own)?;
                        }
                        let mut next: Vec<_> = operations
                            .iter()
                            .map(|done| realloc(done.handle, 900))
                            .collect();
                        all_done(device.submit(&mut next), 40).about(round)?;
                        let mut bytes = [0; 24];
                        for done in &operations {
                            device.read(done.handle, 0, &mut bytes)?;
                            equal("bytes", bytes, own)?;
                        }
                        next = operations.iter().map(|done| free(done.handle)).collect();
                        all_done(device.submit(&mut next), 40).about(round)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Verdict::failed("a thread panicked")))
            })
            .collect()
    });
    outcomes.into_iter().collect::<Outcome>()?;
    equal("blocks", device.stats()?.session_blocks, 0)?;
    if engine != Engine::Slub {
        sound(&device)?;
    }
    Ok(())
}
