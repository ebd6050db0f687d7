// SPDX-License-Identifier: GPL-2.0

//! The array of SUBMIT: unreadable, read-only, unaligned, or ending in unmapped memory.

use crate::{
    device::{
        Device,
        Errno,
        request, //
    },
    uapi::{
        self,
        Engine,
        slablab_operation,
        slablab_submit, //
    },
};

use crate::suites::{
    fixture::{
        filled,
        intact,
        session,
        unchanged, //
    },
    memory::{
        Argument,
        GuardedBuffer,
        poke, //
    },
    prelude::*, //
};

use super::{
    LOT,
    MOST,
    all_done,
    alloc,
    ended,
    free, //
};

suite!("submit/arrays" {
    Each an_array_that_cannot_be_read_or_written_is_efault,
    Each an_array_that_ends_in_unmapped_memory_is_executed_in_whole_chunks,
    Each an_array_may_lie_anywhere,
});

/// Submits the operations at an address.
pub(super) fn submit_at(
    device: &Device,
    address: usize,
    count: usize,
) -> Result<slablab_submit, Errno> {
    let mut submit = slablab_submit {
        count: count as u32,
        operations: address as u64,
        ..Default::default()
    };
    crate::suites::memory::submit(device, uapi::SLABLAB_NR_SUBMIT, &mut submit)?;
    Ok(submit)
}

fn bytes_of(operations: &[slablab_operation]) -> Vec<u8> {
    operations.iter().flat_map(Argument::bytes).collect()
}

fn an_array_that_cannot_be_read_or_written_is_efault(engine: Engine) -> TestResult {
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
            .about(format_args!("{count} operations at {address:#x}"))?;
        }
    }
    for count in [1, 2, LOT, LOT + 1] {
        let fence = GuardedBuffer::new(1)?;
        let operations = vec![free(handle); count];
        let address = fence.place(&bytes_of(&operations), 0);
        fence.read_only()?;
        unchanged(&device, || {
            ended(submit_at(&device, address, count), 0, Errno::FAULT)
        })
        .about(format_args!("{count} operations in read-only memory"))?;
    }
    // If the reply cannot be written, the call fails before it executes an operation.
    let mut operations = [free(handle)];
    let argument = slablab_submit {
        count: 1,
        operations: operations.as_mut_ptr().expose_provenance() as u64,
        ..Default::default()
    };
    let fence = GuardedBuffer::new(1)?;
    let address = fence.place(&argument.bytes(), 0);
    fence.read_only()?;
    unchanged(&device, || {
        refused(poke(&device, request::SUBMIT, address), Errno::FAULT)
    })?;
    intact(&device, handle, 100, 1)
}

fn an_array_that_ends_in_unmapped_memory_is_executed_in_whole_chunks(engine: Engine) -> TestResult {
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
        let fence = GuardedBuffer::new(1)?;
        let operations = bytes_of(&vec![alloc(10); count]);
        let address = fence.place(&operations, outside);
        let before = device.stats()?.session_blocks;
        ended(submit_at(&device, address, count), done, Errno::FAULT).about(format_args!(
            "{count} operations, of which {outside} bytes are inaccessible"
        ))?;
        check_eq(
            "new blocks",
            device.stats()?.session_blocks - before,
            done as u64,
        )?;
    }
    // The first page of this array can be written, but the second page cannot.
    let mut handles = Vec::new();
    for _ in 0..2 * LOT {
        handles.push(device.alloc(10, 1)?.handle);
    }
    let frees: Vec<_> = handles.iter().map(|handle| free(*handle)).collect();
    let fence = GuardedBuffer::new(2)?;
    let address = fence.place(&bytes_of(&frees), 0);
    // The array is moved down, so that the first chunk ends in the first page and the second chunk crosses
    // into the second page.
    let address = fence.shift_down(address, frees.len() * 32, 4096 - LOT * 32 - 1000);
    fence.read_only_from(4096)?;
    ended(submit_at(&device, address, frees.len()), LOT, Errno::FAULT)?;
    for (number, handle) in handles.into_iter().enumerate() {
        let expected = if number < LOT {
            Err(Errno::NOENT)
        } else {
            Ok(())
        };
        check_eq("FREE", device.free(handle), expected).about(number)?;
    }
    Ok(())
}

fn an_array_may_lie_anywhere(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for count in [1, LOT, 100] {
        for odd in [1, 3, 4, 8, 31] {
            let fence = GuardedBuffer::new(2)?;
            let mut bytes = bytes_of(&vec![alloc(10); count]);
            bytes.resize(count * 32 + odd, 0x77);
            let address = fence.place(&bytes, 0);
            all_done(submit_at(&device, address, count), count)
                .about(format_args!("{count} operations, followed by {odd} bytes"))?;
            check_eq(
                "bytes after the operations",
                fence.last(odd),
                vec![0x77; odd],
            )?;
        }
    }
    Ok(())
}
