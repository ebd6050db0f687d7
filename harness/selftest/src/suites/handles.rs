// SPDX-License-Identifier: GPL-2.0

//! Handles: valid, stale and invalid ones.

use std::collections::HashSet;

use crate::{
    device::{
        Device,
        Errno,
        request, //
    },
    rng::Rng,
    uapi::Engine,
};

use super::{
    fixture::{
        filled,
        intact,
        session,
        shared,
        unchanged, //
    },
    memory::poke,
    prelude::*, //
};

suite!("handles" {
    Each handles_are_positive_numbers_of_31_bits_and_all_different,
    Each a_number_that_is_no_handle_is_enoent,
    Each a_stale_handle_is_enoent,
    Each a_block_is_not_freed_twice,
    Each a_handle_above_32_bits_is_not_truncated,
    Each a_handle_of_another_session_is_invalid_or_names_an_own_block,
    Each equal_numbers_name_different_blocks_in_different_sessions,
    Each no_invented_number_frees_a_block,
});

/// Checks that every operation on a block refuses the number as a handle.
#[track_caller]
fn names_nothing(device: &Device, handle: u32) -> TestResult {
    refused(device.free(handle), Errno::NOENT).about("FREE")?;
    refused(device.realloc(handle, 64), Errno::NOENT).about("REALLOC")?;
    // A position has 31 bits for the handle. With a larger number it is negative, and the kernel itself
    // refuses it.
    if handle < 1 << 31 {
        refused(device.read(handle, 0, &mut [0; 8]), Errno::NOENT).about("pread")?;
        refused(device.write(handle, 0, &[1; 8]), Errno::NOENT).about("pwrite")?;
    }
    Ok(())
}

fn handles_are_positive_numbers_of_31_bits_and_all_different(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let mut live = HashSet::new();
    for n in 0..5_000 {
        let handle = device.alloc(64, 8)?.handle;
        check(
            handle > 0 && handle < 1 << 31,
            format_args!("the handle {handle:#x} is positive and below 2^31"),
        )?;
        check(
            live.insert(handle),
            format_args!("{handle:#x} is not the handle of a live block"),
        )?;
        if n % 3 == 0 {
            device.free(handle)?;
            live.remove(&handle);
        }
    }
    check_eq(
        "session's blocks",
        device.stats()?.session_blocks,
        live.len() as u64,
    )
}

fn a_number_that_is_no_handle_is_enoent(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 64, 1)?;
    unchanged(&device, || {
        for number in [
            0,
            1,
            0xf_ffff,
            1 << 31,
            handle | 1 << 31,
            0x7fff_ffff,
            u32::MAX,
        ] {
            names_nothing(&device, number).about(format_args!("{number:#x}"))?;
        }
        names_nothing(&device, handle ^ 1 << 20).about("handle of another generation")?;
        names_nothing(&device, handle + 1).about("handle with another index")
    })?;
    intact(&device, handle, 64, 1)
}

fn a_stale_handle_is_enoent(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let keeper = filled(&device, 64, 2)?;
    let stale = device.alloc(64, 8)?.handle;
    device.free(stale)?;
    unchanged(&device, || names_nothing(&device, stale))?;
    // The handle stays stale when its memory and its entry in the table were used again.
    let mut handles = Vec::new();
    for n in 0..3_000 {
        handles.push((filled(&device, 64, n)?, n));
    }
    unchanged(&device, || names_nothing(&device, stale))?;
    for (handle, n) in handles {
        intact(&device, handle, 64, n)?;
    }
    intact(&device, keeper, 64, 2)
}

fn a_block_is_not_freed_twice(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for size in [1, 64, 4096, 5000, 100_000] {
        let handle = device.alloc(size, 8)?.handle;
        device.free(handle)?;
        unchanged(&device, || refused(device.free(handle), Errno::NOENT)).about(size)?;
        let (first, second) = (filled(&device, size, 1)?, filled(&device, size, 2)?);
        intact(&device, first, size, 1).about("first block after the second FREE")?;
        intact(&device, second, size, 2).about("second block after the second FREE")?;
    }
    Ok(())
}

fn a_handle_above_32_bits_is_not_truncated(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 64, 3)?;
    unchanged(&device, || {
        for high in [1 << 32, 1 << 63, 0xffff_ffff << 32] {
            let answer = poke(&device, request::FREE, handle as usize | high);
            refused(answer, Errno::NOENT).about(format_args!("{high:#x}"))?;
        }
        Ok(())
    })?;
    intact(&device, handle, 64, 3)?;
    Ok(device.free(handle)?)
}

fn a_handle_of_another_session_is_invalid_or_names_an_own_block(engine: Engine) -> TestResult {
    let (mine, theirs) = (shared(engine)?, shared(engine)?);
    let my_block = filled(&mine, 64, 4)?;
    let mut their_blocks = Vec::new();
    for n in 0..100 {
        their_blocks.push((filled(&theirs, 64, 1_000 + n)?, n));
    }
    for (number, _) in &their_blocks {
        if *number == my_block {
            intact(&mine, *number, 64, 4)?;
        } else {
            unchanged(&theirs, || names_nothing(&mine, *number))?;
        }
    }
    for (handle, n) in their_blocks {
        intact(&theirs, handle, 64, 1_000 + n)?;
    }
    intact(&mine, my_block, 64, 4)
}

fn equal_numbers_name_different_blocks_in_different_sessions(engine: Engine) -> TestResult {
    let (one, other) = (shared(engine)?, shared(engine)?);
    let (first, second) = (filled(&one, 64, 5)?, filled(&other, 64, 6)?);
    check_eq("first handles of two sessions", first, second)?;
    one.free(first)?;
    intact(&other, second, 64, 6)?;
    names_nothing(&one, first)
}

fn no_invented_number_frees_a_block(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let mut known = Vec::new();
    for n in 0..64 {
        known.push((filled(&device, 64, n)?, n));
    }
    let live: HashSet<_> = known.iter().map(|(handle, _)| *handle).collect();
    unchanged(&device, || {
        let mut random = Rng::new(5);
        for _ in 0..5_000 {
            let number = random.next() as u32;
            // Half of the guesses are close to live handles: generation 0 to 3, index 0 to 99.
            let near = ((number >> 30) << 20) | (number % 100);
            let guess = if random.chance(1, 2) { number } else { near };
            if !live.contains(&guess) {
                refused(device.free(guess), Errno::NOENT).about(format_args!("{guess:#x}"))?;
            }
        }
        Ok(())
    })?;
    for (handle, n) in known {
        intact(&device, handle, 64, n)?;
    }
    Ok(())
}
