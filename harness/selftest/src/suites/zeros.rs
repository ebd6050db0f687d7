// SPDX-License-Identifier: GPL-2.0

//! New bytes of a block are zero, also if the memory was used before.

use crate::{
    device::Device,
    uapi::{
        self,
        Engine, //
    },
};

use super::{
    fixture::{
        KIB,
        MIB,
        exhaust,
        has_pool,
        private,
        session,
        shared,
        write_whole,
        zeros, //
    },
    prelude::*, //
};

suite!("zeros" {
    Each a_new_block_has_no_data_of_another_program,
    Each a_new_block_has_no_data_of_a_freed_block,
    Each bytes_that_realloc_adds_are_zero,
    Each bytes_cut_off_by_realloc_are_zero_after_growing,
    Each a_new_block_has_no_data_of_a_moved_block,
    Once slabs_in_dirty_memory_give_zeroed_blocks,
});

/// Sizes around the size classes and around multiples of a page.
const SIZES: [u64; 18] = [
    1, 8, 63, 64, 65, 128, 200, 256, 500, 512, 1000, 1024, 2048, 3000, 4096, 4097, 16_384, 100_000,
];

/// Allocates blocks of all sizes, `rounds` of each, and checks that every byte is zero.
#[track_caller]
fn all_sizes_are_zero(device: &Device, rounds: u32) -> TestResult<Vec<u32>> {
    let mut handles = Vec::new();
    for size in SIZES {
        for _ in 0..rounds {
            let handle = device.alloc(size, 1)?.handle;
            zeros(device, handle, 0, size as usize).about(format_args!("block of {size} bytes"))?;
            handles.push(handle);
        }
    }
    Ok(handles)
}

/// Allocates blocks of all sizes, `rounds` of each, and fills them with ones.
#[track_caller]
fn dirty_all_sizes(device: &Device, rounds: u32) -> TestResult<Vec<u32>> {
    let mut handles = Vec::new();
    for size in SIZES {
        for _ in 0..rounds {
            let handle = device.alloc(size, 1)?.handle;
            write_whole(device, handle, &vec![0xff; size as usize])?;
            handles.push(handle);
        }
    }
    Ok(handles)
}

fn a_new_block_has_no_data_of_another_program(engine: Engine) -> TestResult {
    // Dirties the shared pool, up to the session's quota, and the free lists of each class.
    let other = shared(engine)?;
    let small = dirty_all_sizes(&other, 70)?;
    let mut bytes = if has_pool(engine) {
        other.info()?.session_bytes_max
    } else {
        16 * MIB
    };
    bytes = bytes.min(128 * MIB);
    for _ in 0..bytes / (64 * KIB) {
        let Ok(block) = other.alloc(64 * KIB, 1) else {
            break;
        };
        write_whole(&other, block.handle, &[0xff; 64 * KIB as usize])?;
    }
    check(
        other.stats()?.session_blocks > small.len() as u64,
        "at least one large block is allocated and filled",
    )?;
    drop(other);
    all_sizes_are_zero(&shared(engine)?, 70)?;
    Ok(())
}

fn a_new_block_has_no_data_of_a_freed_block(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for _ in 0..2 {
        for handle in dirty_all_sizes(&device, 5)? {
            device.free(handle)?;
        }
        for handle in all_sizes_are_zero(&device, 6)? {
            device.free(handle)?;
        }
    }
    Ok(())
}

fn bytes_that_realloc_adds_are_zero(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for handle in dirty_all_sizes(&device, 5)? {
        device.free(handle)?;
    }
    for (from, to) in SIZES
        .iter()
        .zip(&SIZES[1..])
        .chain([(&1, &64), (&1, &100_000)])
    {
        let handle = device.alloc(*from, 1)?.handle;
        write_whole(&device, handle, &vec![0xff; *from as usize])?;
        device.realloc(handle, *to)?;
        zeros(&device, handle, *from as u32, (to - from) as usize)
            .about(format_args!("REALLOC from {from} to {to} bytes"))?;
        device.free(handle)?;
    }
    Ok(())
}

fn bytes_cut_off_by_realloc_are_zero_after_growing(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for (large, small) in [
        (64, 1),
        (100, 70),
        (4096, 4000),
        (8192, 5000),
        (100_000, 10),
    ] {
        let handle = device.alloc(large, 1)?.handle;
        write_whole(&device, handle, &vec![0xff; large as usize])?;
        device.realloc(handle, small)?;
        device.realloc(handle, large)?;
        zeros(&device, handle, small as u32, (large - small) as usize).about(format_args!(
            "REALLOC from {large} to {small} bytes and back"
        ))?;
    }
    Ok(())
}

fn a_new_block_has_no_data_of_a_moved_block(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for size in [64, 1000, 8192] {
        let handle = device.alloc(size, 1)?.handle;
        write_whole(&device, handle, &vec![0xff; size as usize])?;
        device.realloc(handle, 20 * size)?;
        for _ in 0..3 {
            let next = device.alloc(size, 1)?.handle;
            zeros(&device, next, 0, size as usize).about(size)?;
        }
    }
    Ok(())
}

fn slabs_in_dirty_memory_give_zeroed_blocks() -> TestResult {
    // The links of free lists lie in the blocks and must be zeroed, too.
    let device = private(MIB)?;
    let (handles, _) = exhaust(&device, 8 * KIB)?;
    for handle in handles {
        write_whole(&device, handle, &[0xff; 8 * KIB as usize])?;
        device.free(handle)?;
    }
    let mut growths = 0;
    for size in [64_u64, 512, 2048] {
        for _ in 0..130 {
            let block = device.alloc(size, 1)?;
            growths += u32::from(u32::from(block.cost.path) == uapi::SLABLAB_PATH_GROWTH);
            zeros(&device, block.handle, 0, size as usize).about(size)?;
        }
    }
    check_eq("growths", growths, 9)
}
