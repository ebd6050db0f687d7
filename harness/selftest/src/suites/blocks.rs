// SPDX-License-Identifier: GPL-2.0

//! The bytes of blocks: `pread`, `pwrite`, REALLOC and pins.

use std::{
    io::{
        IoSlice,
        IoSliceMut, //
    },
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
    thread,
};

use rustix::io::{
    pread,
    preadv,
    pwrite,
    pwritev, //
};

use crate::{
    device::{
        Device,
        Errno,
        position, //
    },
    uapi::Engine,
};

use super::{
    fixture::{
        MIB,
        filled,
        intact,
        pattern,
        private,
        read_whole,
        same_bytes,
        session,
        shared,
        unchanged,
        undone,
        write_whole, //
    },
    memory::GuardedBuffer,
    prelude::*, //
};

suite!("blocks" {
    Each a_read_returns_the_written_bytes,
    Each a_transfer_over_the_end_of_a_block_is_short,
    Each a_transfer_outside_of_a_block_is_enxio,
    Each usable_bytes_beyond_the_requested_size_are_not_accessible,
    Each a_position_that_is_negative_or_past_the_last_is_einval,
    Each a_transfer_of_0_bytes_returns_0,
    Each many_buffers_are_one_transfer,
    Each a_buffer_that_ends_in_an_unmapped_page_is_short_or_efault,
    Each neighbours_keep_their_bytes,
    Each contents_survive_realloc,
    Each a_realloc_keeps_handle_and_alignment,
    Each a_block_is_pinned_during_a_read,
});

fn a_read_returns_the_written_bytes(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for size in [1, 7, 64, 100, 4096, 4097, 70_000] {
        let handle = filled(&device, size, size)?;
        intact(&device, handle, size, size)?;
        let expected = pattern(size, size as usize);
        for byte in [0, size / 3, size - 1] {
            let mut rest = vec![0; (size - byte) as usize];
            check_eq(
                "read",
                device.read(handle, byte as u32, &mut rest)?,
                rest.len(),
            )?;
            same_bytes(&rest, &expected[byte as usize..])?;
        }
        check_eq("written", device.write(handle, size as u32 - 1, b"!")?, 1)?;
        let mut last = [0];
        device.read(handle, size as u32 - 1, &mut last)?;
        check_eq("last byte", last, *b"!").about(size)?;
    }
    Ok(())
}

fn a_transfer_over_the_end_of_a_block_is_short(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for size in [1, 50, 64, 4095, 10_000_u64] {
        let handle = filled(&device, size, size)?;
        let expected = pattern(size, size as usize);
        for byte in [0, size / 2, size - 1] {
            let rest = (size - byte) as usize;
            let mut bytes = vec![0xee; rest + 5000];
            check_eq("read", device.read(handle, byte as u32, &mut bytes)?, rest).about(size)?;
            same_bytes(&bytes[..rest], &expected[byte as usize..])?;
            same_bytes(&bytes[rest..], &[0xee; 5000])?;
            let written = device.write(handle, byte as u32, &vec![0xdd; rest + 5000])?;
            check_eq("written", written, rest).about(size)?;
            check_eq(
                "written",
                device.write(handle, byte as u32, &expected[byte as usize..])?,
                rest,
            )?;
        }
        intact(&device, handle, size, size)?;
    }
    Ok(())
}

/// Checks that reads and writes at `byte`, which is outside of the block, are refused.
#[track_caller]
fn is_outside(device: &Device, handle: u32, byte: u32) -> TestResult {
    refused(device.read(handle, byte, &mut [0; 16]), Errno::NXIO).about("pread")?;
    refused(device.write(handle, byte, &[1; 16]), Errno::NXIO).about("pwrite")
}

fn a_transfer_outside_of_a_block_is_enxio(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 64, 1)?;
    let neighbour = filled(&device, 64, 2)?;
    unchanged(&device, || {
        for byte in [64, 65, 128, 4096, 1 << 31, u32::MAX] {
            is_outside(&device, handle, byte).about(byte)?;
        }
        Ok(())
    })?;
    intact(&device, handle, 64, 1)?;
    intact(&device, neighbour, 64, 2)
}

fn usable_bytes_beyond_the_requested_size_are_not_accessible(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for size in [1, 65, 3000] {
        let block = device.alloc(size, 1)?;
        check(
            block.usable > size,
            "the usable size is larger than the requested size",
        )
        .about(size)?;
        is_outside(&device, block.handle, size as u32).about(size)?;
        is_outside(&device, block.handle, block.usable as u32 - 1).about(size)?;
    }
    Ok(())
}

fn a_position_that_is_negative_or_past_the_last_is_einval(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 64, 1)?;
    for at in [
        u64::MAX,
        1 << 63,
        position(handle | 1 << 31, 0),
        i64::MAX as u64,
    ] {
        let about = format!("{at:#x}");
        refused(pread(&device, &mut [0; 8], at), Errno::INVAL).about(&about)?;
        refused(pwrite(&device, &[0; 8], at), Errno::INVAL).about(&about)?;
    }
    // No block has the last position at which a transfer of 8 bytes can begin.
    refused(
        pread(&device, &mut [0; 8], i64::MAX as u64 - 8),
        Errno::NOENT,
    )?;
    refused(pwrite(&device, &[0; 8], i64::MAX as u64 - 8), Errno::NOENT)?;
    intact(&device, handle, 64, 1)
}

fn a_transfer_of_0_bytes_returns_0(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 64, 1)?;
    check_eq("read", device.read(handle, 0, &mut [])?, 0)?;
    check_eq("written", device.write(handle, 63, &[])?, 0)?;
    intact(&device, handle, 64, 1)
}

fn many_buffers_are_one_transfer(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = device.alloc(9_000, 8)?.handle;
    let bytes = pattern(8, 9_000);
    let (first, rest) = bytes.split_at(1);
    let (second, third) = rest.split_at(4_999);
    let parts = [
        IoSlice::new(first),
        IoSlice::new(&[]),
        IoSlice::new(second),
        IoSlice::new(third),
    ];
    check_eq(
        "written",
        pwritev(&device, &parts, position(handle, 0))?,
        9_000,
    )?;
    intact(&device, handle, 9_000, 8)?;

    let (mut first, mut second, mut third) = (vec![0; 4_000], vec![0; 3], vec![0xee; 9_000]);
    let mut parts = [
        IoSliceMut::new(&mut first),
        IoSliceMut::new(&mut second),
        IoSliceMut::new(&mut third), //
    ];
    check_eq(
        "read",
        preadv(&device, &mut parts, position(handle, 100))?,
        8_900,
    )?;
    let mut got = [first, second, third].concat();
    same_bytes(&got.split_off(8_900), &[0xee; 4_103])?;
    same_bytes(&got, &bytes[100..])
}

fn a_buffer_that_ends_in_an_unmapped_page_is_short_or_efault(engine: Engine) -> TestResult {
    use super::memory::Transfer;

    let device = session(engine)?;
    let handle = filled(&device, 8_000, 9)?;
    let fence = GuardedBuffer::new(2)?;
    unchanged(&device, || {
        // 100 bytes of the buffer are mapped, 400 are not.
        for transfer in [Transfer::Read, Transfer::Write] {
            let address = fence.place(&pattern(9, 8_000)[..500], 400);
            match fence.transfer(&device, transfer, position(handle, 0), address, 500) {
                Ok(moved) => check(
                    moved <= 100,
                    format_args!("at most 100 bytes are transferred, not {moved}"),
                )?,
                error => refused(error, Errno::FAULT)?,
            }
            let outside = fence.place(&[0], 1);
            let nothing = fence.transfer(&device, transfer, position(handle, 0), outside, 500);
            refused(nothing, Errno::FAULT)?;
        }
        Ok(())
    })?;
    intact(&device, handle, 8_000, 9)?;
    // A block that is still pinned could not be freed.
    Ok(device.free(handle)?)
}

fn neighbours_keep_their_bytes(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let mut blocks = Vec::new();
    for n in 0..300 {
        let size = [64, 128, 200, 1024, 4096, 8192][n as usize % 6];
        blocks.push((filled(&device, size, n)?, size, n));
    }
    for (handle, size, _) in blocks.iter().step_by(2) {
        write_whole(&device, *handle, &vec![0xff; *size as usize])?;
    }
    for (handle, size, n) in blocks.iter().skip(1).step_by(2) {
        intact(&device, *handle, *size, *n)?;
    }
    for (handle, ..) in blocks.iter().step_by(2) {
        device.free(*handle)?;
    }
    for (handle, size, n) in blocks.iter().skip(1).step_by(2) {
        intact(&device, *handle, *size, *n)?;
    }
    Ok(())
}

fn contents_survive_realloc(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let sizes = [1, 64, 65, 4096, 100, 4097, 300_000, 8192, 8193, 20, 5000];
    let mut size = 10;
    let handle = filled(&device, size, 11)?;
    let mut kept = pattern(11, 10);
    for (seed, next) in sizes.into_iter().enumerate() {
        let reply = device.realloc(handle, next)?;
        check_eq("handle", reply.handle, handle)?;
        check(
            reply.usable >= next,
            "the usable size is at least the requested size",
        )
        .about(next)?;
        kept.truncate(next as usize);
        kept.resize(next as usize, 0);
        let got = read_whole(&device, handle, next as usize)?;
        same_bytes(&got, &kept).about(format_args!("REALLOC from {size} to {next} bytes"))?;
        is_outside(&device, handle, next as u32)?;
        size = next;
        kept = pattern(seed as u64, size as usize);
        write_whole(&device, handle, &kept)?;
    }
    check_eq("session's blocks", device.stats()?.session_blocks, 1)
}

fn a_realloc_keeps_handle_and_alignment(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let others: Vec<_> = (0..5)
        .map(|_| device.alloc(300, 1))
        .collect::<Result<_, _>>()?;
    let block = device.alloc(10, 1024)?;
    for size in [2000, 100, 6000, 1, 50_000] {
        let reply = device.realloc(block.handle, size)?;
        check_eq("handle", reply.handle, block.handle)?;
        if super::fixture::has_pool(engine) {
            check_eq("offset % align", reply.offset % 1024, 0).about(size)?;
        }
    }
    for other in others {
        device.free(other.handle)?;
    }
    Ok(device.free(block.handle)?)
}

/// The size in bytes of a block that takes the kernel long to copy.
const LARGE: u64 = 4 * MIB;

fn a_block_is_pinned_during_a_read(engine: Engine) -> TestResult {
    if thread::available_parallelism()?.get() < 2 {
        return Err(TestError::skipped("the machine has one CPU"));
    }
    let device = if engine == Engine::Slub {
        shared(engine)?
    } else {
        private(4 * LARGE)?
    };
    let (mut busy_frees, mut busy_reallocs) = (0, 0);
    // On a busy host the reader may be interrupted between two reads at each attempt of ten rounds, so the rounds go on
    // until both calls were refused.
    for round in 0..500 {
        if round >= 10 && busy_frees > 0 && busy_reallocs > 0 {
            break;
        }
        let handle = device.alloc(LARGE, 1)?.handle;
        write_whole(&device, handle, &vec![0xa5; LARGE as usize])?;
        let reading = AtomicBool::new(false);
        let outcome = thread::scope(|scope| {
            let reader = scope.spawn(|| read_until_freed(&device, handle, &reading));
            while !reading.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            thread::sleep(std::time::Duration::from_micros(300));
            if round % 2 == 0 {
                match device.realloc(handle, LARGE / 2) {
                    Ok(_) => {}
                    error => {
                        refused(error, Errno::BUSY)?;
                        busy_reallocs += 1;
                    }
                }
            }
            while let Err(errno) = device.free(handle) {
                refused(Err::<(), _>(errno), Errno::BUSY)?;
                busy_frees += 1;
            }
            // The memory of the freed block belongs to another block now.
            let next = device.alloc(LARGE, 1)?.handle;
            write_whole(&device, next, &vec![0x5a; LARGE as usize])?;
            device.free(next)?;
            reader
                .join()
                .unwrap_or_else(|_| Err(TestError::failed("the reader panicked")))
        });
        outcome.about(format_args!("round {round}"))?;
    }
    check(
        busy_frees > 0,
        "FREE fails at least once with EBUSY during a read",
    )?;
    check(
        busy_reallocs > 0,
        "REALLOC fails at least once with EBUSY during a read",
    )?;
    undone(&device, || Ok(()))
}

/// Reads a block that is filled with 0xa5 repeatedly, until the block is freed. Sets `reading` before the
/// first read.
fn read_until_freed(device: &Device, handle: u32, reading: &AtomicBool) -> TestResult {
    let mut bytes = vec![0; LARGE as usize];
    loop {
        reading.store(true, Ordering::Release);
        match device.read(handle, 0, &mut bytes) {
            Ok(len) => {
                let strange = bytes[..len].iter().filter(|byte| **byte != 0xa5).count();
                check_eq("bytes of another block", strange, 0)?;
            }
            Err(Errno::BUSY) => {}
            error => return refused(error, Errno::NOENT),
        }
    }
}
