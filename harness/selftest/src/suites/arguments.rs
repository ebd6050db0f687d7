// SPDX-License-Identifier: GPL-2.0

//! ioctls with an invalid number, argument or reply address, for every command.

use crate::{
    device::{
        Errno,
        request, //
    },
    target::Target,
    uapi::{
        self,
        Engine,
        slablab_alloc,
        slablab_info,
        slablab_realloc,
        slablab_stats, //
    },
};

use super::{
    call::{
        CommandCall,
        SEED,
        SIZE,
        last_command, //
    },
    fixture::{
        Snapshot,
        filled,
        intact,
        session,
        unchanged,
        undone,
        zeros, //
    },
    memory::{
        Argument,
        Direction,
        GuardedBuffer,
        SIZE_MAX,
        ioc,
        poke,
        submit, //
    },
    suite,
    verdict::{
        ErrorContext,
        TestResult,
        check_eq,
        refused, //
    },
};

suite!("arguments" {
    Each an_unknown_command_is_enotty,
    Each a_command_of_another_type_is_enotty,
    Each a_known_number_with_a_wrong_direction_is_enotty,
    Each an_argument_that_cannot_be_read_is_efault,
    Each an_argument_that_ends_in_an_unmapped_page_is_efault,
    Each a_reply_that_cannot_be_written_is_efault_and_the_call_is_rolled_back,
    Each a_rolled_back_realloc_leaves_the_contents_unchanged,
    Each a_shorter_argument_than_version_1_is_einval,
    Each a_longer_argument_that_ends_in_zeros_is_accepted,
    Each a_longer_argument_with_nonzero_bytes_is_e2big,
    Each the_longest_possible_argument_is_accepted,
    Each unknown_flags_and_reserved_bits_are_einval,
    Each reply_fields_are_ignored_on_input,
    Each an_unsupported_file_operation_fails,
});

fn an_unknown_command_is_enotty(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let fence = GuardedBuffer::new(1)?;
    let address = fence.place(&[0; 64], 0);
    for number in last_command() + 1..=0xff {
        for (direction, bytes) in [(Direction::None, 0), (Direction::Both, 64)] {
            let request = ioc(direction, uapi::SLABLAB_IOC_TYPE, number, bytes);
            refused(poke(&device, request, address), Errno::NOTTY)?;
        }
    }
    check_eq("argument", fence.last(64), vec![0; 64])
}

fn a_command_of_another_type_is_enotty(engine: Engine) -> TestResult {
    for call in CommandCall::all(engine)? {
        let fence = GuardedBuffer::new(1)?;
        let address = fence.place(&call.argument, 0);
        for kind in [
            0,
            0x54,
            uapi::SLABLAB_IOC_TYPE - 1,
            uapi::SLABLAB_IOC_TYPE + 1,
        ] {
            let request = ioc(Direction::Both, kind, call.number, call.argument.len());
            unchanged(&call.device, || {
                refused(poke(&call.device, request, address), Errno::NOTTY)
            })
            .about(call.name)?;
        }
        call.is_as_before()?;
    }
    Ok(())
}

fn a_known_number_with_a_wrong_direction_is_enotty(engine: Engine) -> TestResult {
    for call in CommandCall::all(engine)? {
        let fence = GuardedBuffer::new(1)?;
        let bytes = call.argument.len();
        let address = fence.place(&call.argument, 0);
        for direction in [Direction::None, Direction::Read, Direction::Write] {
            unchanged(&call.device, || {
                refused(call.send_as(direction, bytes, address), Errno::NOTTY)
            })
            .about(call.name)?;
        }
        call.is_as_before()?;
    }
    let device = session(engine)?;
    let handle = filled(&device, SIZE, SEED)?;
    for direction in [Direction::Read, Direction::Write, Direction::Both] {
        let request = ioc(direction, uapi::SLABLAB_IOC_TYPE, uapi::SLABLAB_NR_FREE, 4);
        refused(poke(&device, request, handle as usize), Errno::NOTTY).about("FREE")?;
    }
    intact(&device, handle, SIZE, SEED)
}

fn an_argument_that_cannot_be_read_is_efault(engine: Engine) -> TestResult {
    // The null address, the last byte of the address space, a non-canonical address, and an address of the
    // kernel.
    let nowhere = [0, usize::MAX, 0x8000_0000_0000_0000, 0xffff_8880_0000_0000];
    for call in CommandCall::all(engine)? {
        for address in nowhere {
            call.is_refused(call.argument.len(), address, Errno::FAULT)?;
        }
    }
    Ok(())
}

fn an_argument_that_ends_in_an_unmapped_page_is_efault(engine: Engine) -> TestResult {
    for call in CommandCall::all(engine)? {
        let fence = GuardedBuffer::new(1)?;
        let bytes = call.argument.len();
        for outside in [1, bytes / 2, bytes - 1, bytes] {
            let address = fence.place(&call.argument, outside);
            call.is_refused(bytes, address, Errno::FAULT)?;
        }
        // The known part of the argument can be read, but the byte behind it cannot.
        let address = fence.place(&call.argument, 0);
        call.is_refused(bytes + 1, address, Errno::FAULT)?;
    }
    Ok(())
}

fn a_reply_that_cannot_be_written_is_efault_and_the_call_is_rolled_back(
    engine: Engine,
) -> TestResult {
    for call in CommandCall::all(engine)? {
        let fence = GuardedBuffer::new(1)?;
        let address = fence.place(&call.argument, 0);
        fence.read_only()?;
        for _ in 0..3 {
            undone(&call.device, || {
                refused(call.send(call.argument.len(), address), Errno::FAULT)
            })
            .and_then(|()| call.is_as_before())
            .about(call.name)?;
        }
        check_eq(
            "argument",
            fence.last(call.argument.len()),
            call.argument.clone(),
        )?;
        if call.number == uapi::SLABLAB_NR_BIND {
            call.device.bind(engine.raw(), 0, 0)?;
        }
    }
    Ok(())
}

fn a_rolled_back_realloc_leaves_the_contents_unchanged(engine: Engine) -> TestResult {
    let device = session(engine)?;
    // The blocks shrink and grow, some in place and some by a move.
    for (from, to) in [
        (300, 290),
        (290, 300),
        (300, 100),
        (300, 9000),
        (9000, 8200),
        (8200, 9000),
        (9000, 5),
    ] {
        let handle = filled(&device, from, SEED)?;
        let fence = GuardedBuffer::new(1)?;
        let argument = slablab_realloc {
            handle,
            size: to,
            ..Default::default()
        };
        let address = fence.place(&argument.bytes(), 0);
        fence.read_only()?;
        undone(&device, || {
            refused(poke(&device, request::REALLOC, address), Errno::FAULT)
        })
        .and_then(|()| intact(&device, handle, from, SEED))
        .and_then(|()| refused(device.read(handle, from as u32, &mut [0; 8]), Errno::NXIO))
        .about(format_args!("REALLOC from {from} to {to} bytes"))?;
        // Bytes that the rolled back call did not add are zero when another call adds them.
        device.realloc(handle, from + 50)?;
        zeros(&device, handle, from as u32, 50)?;
        device.free(handle)?;
    }
    Ok(())
}

fn a_shorter_argument_than_version_1_is_einval(engine: Engine) -> TestResult {
    for call in CommandCall::all(engine)? {
        let fence = GuardedBuffer::new(1)?;
        let address = fence.place(&call.argument, 0);
        let bytes = call.argument.len();
        for short in [0, 1, 4, bytes / 2, bytes - 8, bytes - 1] {
            call.is_refused(short, address, Errno::INVAL)?;
        }
        check_eq("argument", fence.last(bytes), call.argument.clone()).about(call.name)?;
    }
    Ok(())
}

fn a_longer_argument_that_ends_in_zeros_is_accepted(engine: Engine) -> TestResult {
    for more in [1, 8, 100] {
        for call in CommandCall::all(engine)? {
            let fence = GuardedBuffer::new(1)?;
            let mut argument = call.argument.clone();
            argument.resize(argument.len() + more, 0);
            let address = fence.place(&argument, 0);
            call.send(argument.len(), address)?;
            check_eq(
                "bytes after the known argument",
                fence.last(more),
                vec![0; more],
            )
            .about(call.name)?;
        }
    }
    Ok(())
}

fn a_longer_argument_with_nonzero_bytes_is_e2big(engine: Engine) -> TestResult {
    for call in CommandCall::all(engine)? {
        let fence = GuardedBuffer::new(1)?;
        let bytes = call.argument.len();
        for (more, at) in [(1, 0), (8, 0), (8, 7), (100, 99), (1000, 512)] {
            let mut argument = call.argument.clone();
            argument.resize(bytes + more, 0);
            argument[bytes + at] = 1;
            let address = fence.place(&argument, 0);
            call.is_refused(argument.len(), address, Errno::TOOBIG)?;
            check_eq("argument", fence.last(argument.len()), argument).about(call.name)?;
        }
    }
    Ok(())
}

fn the_longest_possible_argument_is_accepted(engine: Engine) -> TestResult {
    for call in CommandCall::all(engine)? {
        let fence = GuardedBuffer::new(5)?;
        let mut argument = call.argument.clone();
        argument.resize(SIZE_MAX, 0);
        argument[SIZE_MAX - 1] = 0x80;
        call.is_refused(SIZE_MAX, fence.place(&argument, 0), Errno::TOOBIG)?;
        argument[SIZE_MAX - 1] = 0;
        call.is_refused(SIZE_MAX, fence.place(&argument, 1), Errno::FAULT)?;
        call.send(SIZE_MAX, fence.place(&argument, 0))?;
    }
    Ok(())
}

fn unknown_flags_and_reserved_bits_are_einval(engine: Engine) -> TestResult {
    for call in CommandCall::all(engine)? {
        let fence = GuardedBuffer::new(1)?;
        for (field, bits) in call.unknown_bits() {
            for bit in bits {
                let mut argument = call.argument.clone();
                argument[bit / 8] |= 1 << (bit % 8);
                let address = fence.place(&argument, 0);
                call.is_refused(argument.len(), address, Errno::INVAL)
                    .about(format_args!("field {field}, bit {bit} of the argument"))?;
            }
        }
    }
    Ok(())
}

fn reply_fields_are_ignored_on_input(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let mut alloc = slablab_alloc {
        size: 64,
        align: 8,
        handle: u32::MAX,
        offset: u64::MAX,
        usable: u64::MAX,
        ..Default::default()
    };
    alloc.cost.cause = 0xff;
    submit(&device, uapi::SLABLAB_NR_ALLOC, &mut alloc)?;
    check_eq(
        "cause",
        u32::from(alloc.cost.cause),
        uapi::SLABLAB_CAUSE_NONE,
    )?;
    let mut realloc = slablab_realloc {
        handle: alloc.handle,
        size: 128,
        offset: 1,
        usable: u64::MAX,
        ..Default::default()
    };
    submit(&device, uapi::SLABLAB_NR_REALLOC, &mut realloc)?;
    check_eq("handle", realloc.handle, alloc.handle)?;
    let mut info = slablab_info {
        abi_version: 77,
        engine: 77,
        sessions_max: 77,
        ..Default::default()
    };
    submit(&device, uapi::SLABLAB_NR_INFO, &mut info)?;
    check_eq("ABI version", info.abi_version, uapi::SLABLAB_ABI_VERSION)?;
    check_eq("engine", info.engine, engine.raw())?;
    // Entries beyond the last class must be overwritten with zeros.
    let mut stats = slablab_stats {
        classes: [uapi::slablab_class_stats {
            block_bytes: 5,
            ..Default::default()
        }; uapi::SLABLAB_CLASSES_MAX as usize],
        ..Default::default()
    };
    submit(&device, uapi::SLABLAB_NR_STATS, &mut stats)?;
    let unused = &stats.classes[stats.class_count as usize..];
    check_eq(
        "unused classes with a block size",
        unused.iter().filter(|class| class.block_bytes != 0).count(),
        0,
    )
}

fn an_unsupported_file_operation_fails(engine: Engine) -> TestResult {
    use rustix::fs::{
        SeekFrom,
        seek, //
    };

    let device = session(engine)?;
    let handle = filled(&device, SIZE, SEED)?;
    let before = Snapshot::of(&device)?;
    // The position of a block is part of each request, so the file has no position of its own.
    refused(seek(&device, SeekFrom::Start(0)), Errno::SPIPE)?;
    refused(rustix::io::read(&device, &mut [0; 8]), Errno::NOENT)?;
    refused(rustix::io::write(&device, &[0; 8]), Errno::NOENT)?;
    refused(rustix::fs::ftruncate(&device, 0), Errno::INVAL)?;
    check_eq("figures", Snapshot::of(&device)?, before)?;
    intact(&device, handle, SIZE, SEED)
}
