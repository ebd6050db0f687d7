// SPDX-License-Identifier: GPL-2.0

//! SUBMIT: many operations in one call.

pub(super) mod arrays;
pub(super) mod concurrency;
pub(super) mod equivalence;

use crate::{
    device::{
        Device,
        Errno, //
    },
    uapi::{
        self,
        Engine,
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
    memory::Argument,
    prelude::*, //
};

suite!("submit" {
    Each every_kind_of_operation_is_done_and_answered,
    Each a_no_op_operation_succeeds,
    Each the_maximum_number_of_operations_is_executed,
    Each no_operations_and_too_many_are_einval,
    Each an_operation_can_refer_to_any_earlier_allocation,
    Each an_invalid_reference_to_an_earlier_operation_is_einval,
    Each an_invalid_operation_ends_the_call,
    Each stale_handles_and_second_frees_are_enoent,
    Each new_blocks_are_zeros,
    Once a_full_pool_ends_the_call_with_the_cause,
    Once the_quota_ends_the_call_with_the_cause,
    Each the_first_operation_binds_unless_it_is_about_a_block,
});

/// The number of operations of a chunk, which the kernel copies at once.
const LOT: usize = 64;

/// The maximum number of operations in a call.
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

fn nop() -> slablab_operation {
    slablab_operation {
        kind: uapi::SLABLAB_OP_NOP as u8,
        ..Default::default()
    }
}

/// Marks the handle of an operation as the number of an earlier operation of the call.
fn earlier(operation: slablab_operation) -> slablab_operation {
    slablab_operation {
        flags: uapi::SLABLAB_OP_EARLIER as u16,
        ..operation
    }
}

/// Checks that all operations were done.
#[track_caller]
fn all_done(answer: Result<slablab_submit, Errno>, count: usize) -> TestResult {
    let answer = answer?;
    check_eq(
        "done and error",
        (answer.done, answer.error),
        (count as u32, 0),
    )
}

/// Checks that `done` operations were executed, and that the next one failed with `errno`.
#[track_caller]
fn ended(answer: Result<slablab_submit, Errno>, done: usize, errno: Errno) -> TestResult {
    let answer = answer?;
    check_eq(
        "done and error",
        (answer.done, answer.error),
        (done as u32, errno.raw_os_error() as u32),
    )
}

fn every_kind_of_operation_is_done_and_answered(engine: Engine) -> TestResult {
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
    check_eq(
        "handles",
        [grown.handle, freed.handle, moved.handle, undone.handle],
        [kept, gone, first.handle, aligned.handle],
    )?;
    check(
        operations.iter().all(|operation| operation.flags == 0),
        "SUBMIT clears all flags",
    )?;
    check(
        first.bytes >= 300 && grown.bytes >= 9000 && moved.bytes >= 5000 && last.bytes >= 20,
        "the usable size is at least the requested size",
    )?;
    if engine != Engine::Slub {
        check_eq("offset % align", aligned.offset % 64, 0)?;
    }
    intact(&device, kept, 100, 1)?;
    zeros(&device, kept, 100, 8900)?;
    zeros(&device, first.handle, 0, 5000)?;
    refused(device.read(first.handle, 5000, &mut [0; 1]), Errno::NXIO)?;
    for handle in [gone, aligned.handle] {
        refused(device.free(handle), Errno::NOENT)?;
    }
    let after = device.stats()?;
    check_eq(
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

fn a_no_op_operation_succeeds(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 100, 1)?;
    for (before, nothings) in [(0, 1), (0, LOT), (0, MOST), (1, 3), (LOT - 1, LOT + 5)] {
        let mut operations = vec![alloc(10); before];
        operations.extend(vec![nop(); nothings]);
        operations.push(realloc(handle, 200));
        operations.truncate(MOST);
        let sent = operations[before].bytes();
        unchanged(&device, || {
            all_done(device.submit(&mut vec![nop(); nothings]), nothings)
        })?;
        all_done(device.submit(&mut operations), operations.len())?;
        for operation in &operations[before..before + nothings] {
            check(
                operation.bytes() == sent,
                "SUBMIT does not change a no-op operation",
            )?;
        }
        // A no-op is no allocation, so no operation can refer to it.
        let mut named = [nop(), earlier(free(0))];
        ended(device.submit(&mut named), 1, Errno::INVAL)?;
        for operation in &operations[..before] {
            device.free(operation.handle)?;
        }
    }
    let bad = [
        slablab_operation { handle, ..nop() },
        slablab_operation { bytes: 1, ..nop() },
        slablab_operation {
            align_log2: 3,
            ..nop()
        },
        earlier(nop()),
    ];
    for (case, operation) in bad.into_iter().enumerate() {
        ended(device.submit(&mut [nop(), operation]), 1, Errno::INVAL).about(case)?;
    }
    intact(&device, handle, 100, 1)
}

fn the_maximum_number_of_operations_is_executed(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let mut operations = vec![alloc(16); MOST];
    all_done(device.submit(&mut operations), MOST)?;
    check_eq("blocks", device.stats()?.session_blocks, MOST as u64)?;
    let mut handles: Vec<_> = operations.iter().map(|done| done.handle).collect();
    handles.sort_unstable();
    handles.dedup();
    check_eq("different handles", handles.len(), MOST)?;
    let mut frees: Vec<_> = operations
        .iter()
        .rev()
        .map(|done| free(done.handle))
        .collect();
    all_done(device.submit(&mut frees), MOST)?;
    check_eq("blocks", device.stats()?.session_blocks, 0)
}

fn no_operations_and_too_many_are_einval(engine: Engine) -> TestResult {
    let device = session(engine)?;
    unchanged(&device, || {
        for count in [0, MOST + 1, 2 * MOST] {
            let mut operations = vec![alloc(16); count];
            refused(device.submit(&mut operations), Errno::INVAL).about(count)?;
        }
        Ok(())
    })
}

fn an_operation_can_refer_to_any_earlier_allocation(engine: Engine) -> TestResult {
    let device = session(engine)?;
    // The references are to the previous operation, to the same chunk, to the previous chunk, and to a chunk
    // before that.
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
    check_eq(
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
    check_eq(
        "blocks",
        device.stats()?.session_blocks,
        (count - 5 - 4) as u64,
    )
}

fn an_invalid_reference_to_an_earlier_operation_is_einval(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 100, 1)?;
    for number in [1, 2, 3, 1000, u32::MAX, 1 << 31, handle] {
        for operation in [free(number), realloc(number, 10)] {
            let mut operations = [alloc(10), realloc(handle, 100), earlier(operation)];
            ended(device.submit(&mut operations), 2, Errno::INVAL).about(number)?;
            check_eq("handle", operations[2].handle, number)?;
            device.free(operations[0].handle)?;
        }
    }
    // An operation of an earlier chunk that is no ALLOC cannot be referred to, either.
    let mut operations = vec![alloc(10); LOT];
    operations[1] = realloc(handle, 100);
    operations.push(earlier(free(1)));
    ended(device.submit(&mut operations), LOT, Errno::INVAL)?;
    intact(&device, handle, 100, 1)
}

fn an_invalid_operation_ends_the_call(engine: Engine) -> TestResult {
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
        (kind(5), Errno::INVAL),
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
        // As the first operation, an invalid operation ends the call before anything changes.
        unchanged(&device, || {
            let mut operations = [bad, alloc(10), free(handle)];
            let behind = operations[1].bytes();
            ended(device.submit(&mut operations), 0, errno)?;
            check_eq(
                "operation after the invalid operation",
                operations[1].bytes(),
                behind,
            )?;
            let cause = if errno == Errno::NOMEM {
                uapi::SLABLAB_CAUSE_TOO_BIG
            } else {
                uapi::SLABLAB_CAUSE_NONE
            };
            check_eq("cause", u32::from(operations[0].cost.cause), cause)
        })
        .about(format_args!("case {number}"))?;
        // An invalid operation does not undo the operations before it.
        for place in [1, 7, 8, 9, LOT - 1, LOT, LOT + 1] {
            let mut operations = vec![alloc(10); place];
            operations.push(bad);
            operations.push(free(handle));
            ended(device.submit(&mut operations), place, errno)
                .about(format_args!("case {number} after {place} operations"))?;
            for operation in &operations[..place] {
                device.free(operation.handle)?;
            }
        }
    }
    intact(&device, handle, 100, 1)?;
    check_eq("blocks", device.stats()?.session_blocks, 1)
}

fn stale_handles_and_second_frees_are_enoent(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 100, 1)?;
    let other = filled(&device, 100, 2)?;
    let mut operations = [free(handle), free(handle), free(other)];
    ended(device.submit(&mut operations), 1, Errno::NOENT)?;
    let mut operations = [alloc(10), earlier(free(0)), earlier(free(0)), free(other)];
    ended(device.submit(&mut operations), 2, Errno::NOENT)?;
    let mut operations = [alloc(10), earlier(free(0)), earlier(realloc(0, 5))];
    ended(device.submit(&mut operations), 2, Errno::NOENT)?;
    // `next` may become the handle of one of these blocks. The blocks are allocated whether or not its FREE
    // fails.
    let next = alloc_and_free(&device)? + (1 << 20);
    let mut operations = vec![alloc(10); 2048];
    operations.push(free(next));
    let answer = device.submit(&mut operations)?;
    check(
        answer.done >= 2048,
        "the operations before the FREE are executed",
    )?;
    let mut stale = [free(handle)];
    ended(device.submit(&mut stale), 0, Errno::NOENT)?;
    intact(&device, other, 100, 2)
}

/// Allocates and frees a block, and returns its handle.
fn alloc_and_free(device: &Device) -> TestResult<u32> {
    let handle = device.alloc(10, 1)?.handle;
    device.free(handle)?;
    Ok(handle)
}

fn new_blocks_are_zeros(engine: Engine) -> TestResult {
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

fn a_full_pool_ends_the_call_with_the_cause() -> TestResult {
    for engine in POOL_ENGINES {
        let (device, single) = (private_of(engine, MIB)?, private_of(engine, MIB)?);
        let mut blocks = 0;
        while single.alloc(8192, 1).is_ok() {
            blocks += 1;
        }
        let mut operations = vec![alloc(8192); 1000];
        ended(device.submit(&mut operations), blocks, Errno::NOMEM).about(engine)?;
        check_eq(
            "cause",
            u32::from(operations[blocks].cost.cause),
            uapi::SLABLAB_CAUSE_EXHAUSTED,
        )?;
        // Memory that the call frees is available to later operations of the call.
        let mut operations = [free(operations[0].handle), alloc(8192), alloc(8192)];
        ended(device.submit(&mut operations), 2, Errno::NOMEM).about(engine)?;
        same_figures(&device, &single, 1, 1).about(engine)?;
        sound(&device)?;
    }
    Ok(())
}

/// Compares the blocks, bytes and operations of two sessions, of which `one` executed `allocations` more
/// allocations and `frees` more frees.
fn same_figures(one: &Device, other: &Device, allocations: u64, frees: u64) -> TestResult {
    let (one, other) = (one.stats()?, other.stats()?);
    check_eq(
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

fn the_quota_ends_the_call_with_the_cause() -> TestResult {
    let info = shared(Engine::Seed)?.info()?;
    let most = info.session_bytes_max;
    let pool = most + 32 * MIB;
    if pool > info.private_bytes_max {
        return Err(TestError::skipped(
            "no private pool can be larger than the quota of a session",
        ));
    }
    let device = private(pool)?;
    let fit = (most / MIB) as usize;
    let mut operations = vec![alloc(MIB); fit + 2];
    ended(device.submit(&mut operations), fit, Errno::DQUOT)?;
    check_eq(
        "cause",
        u32::from(operations[fit].cost.cause),
        uapi::SLABLAB_CAUSE_QUOTA,
    )?;
    check_eq("bytes", device.stats()?.session_bytes, most)?;
    // Blocks that the call frees no longer count towards the quota.
    let mut operations = [free(operations[0].handle), alloc(MIB), alloc(1)];
    ended(device.submit(&mut operations), 2, Errno::DQUOT)
}

fn the_first_operation_binds_unless_it_is_about_a_block(engine: Engine) -> TestResult {
    let device = Device::open()?;
    for bad in [free(1), realloc(1, 10)] {
        ended(device.submit(&mut [bad, alloc(10)]), 0, Errno::NOENT)?;
    }
    ended(device.submit(&mut [alloc(0), alloc(10)]), 0, Errno::INVAL)?;
    let mut operations = [alloc(u64::MAX), alloc(10)];
    ended(device.submit(&mut operations), 0, Errno::NOMEM)?;
    check_eq(
        "cause",
        u32::from(operations[0].cost.cause),
        uapi::SLABLAB_CAUSE_TOO_BIG,
    )?;
    device.bind(engine.raw(), 0, 0)?;
    let device = Device::open()?;
    let mut operations = [alloc(10), earlier(free(0))];
    all_done(device.submit(&mut operations), 2)?;
    refused(device.bind(engine.raw(), 0, 0), Errno::BUSY)?;
    let device = Device::open()?;
    all_done(device.submit(&mut [nop()]), 1)?;
    refused(device.bind(engine.raw(), 0, 0), Errno::BUSY)
}
