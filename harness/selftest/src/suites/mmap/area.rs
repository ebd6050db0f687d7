// SPDX-License-Identifier: GPL-2.0

//! Mappings after mprotect, mremap, munmap and fork.

use std::{
    fs::File,
    os::{
        fd::{
            AsFd,
            AsRawFd, //
        },
        unix::fs::FileExt, //
    },
    thread,
};

use rustix::{
    mm::{
        MapFlags,
        MprotectFlags,
        MremapFlags,
        ProtFlags, //
    },
    pipe::pipe,
};

use crate::device::{
    Device,
    Errno,
    position, //
};

use crate::suites::{
    child::Fork,
    fixture::{
        filled,
        pattern,
        same_bytes,
        session,
        shared,
        sound,
        to_len,
        unchanged, //
    },
    mapping::{
        MappedPages,
        READ_WRITE, //
    },
    prelude::*, //
};

use super::{
    PAGE,
    aligned,
    mapped,
    on_each, //
};

suite!("mmap/area" {
    Once only_shared_mappings_are_allowed,
    Once a_mapping_is_never_executable,
    Once a_mapping_moves_and_shrinks_but_never_grows,
    Once a_part_of_a_mapping_can_be_unmapped,
    Once a_child_inherits_a_mapping_and_leaves_nothing_when_it_is_killed,
    Once every_part_and_copy_of_a_mapping_holds_the_block,
    Once a_shared_futex_in_a_mapping_is_refused,
    Once pages_of_a_mapping_cannot_be_pinned,
});

fn only_shared_mappings_are_allowed() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        let handle = aligned(&device, 2 * PAGE)?;
        // The kernel itself would refuse a private mapping of more than one page, so one page is tested, too.
        for pages in [1, 2] {
            for access in [ProtFlags::READ, READ_WRITE] {
                unchanged(&device, || {
                    let (position, flags) = (position(handle, 0), MapFlags::PRIVATE);
                    let private = MappedPages::with(&device, position, pages, access, flags);
                    refused(private, Errno::INVAL).about(format_args!("{pages} pages"))
                })?;
            }
        }
        Ok(device.free(handle)?)
    })
}

fn a_mapping_is_never_executable() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        let handle = aligned(&device, PAGE)?;
        for access in [ProtFlags::EXEC, ProtFlags::READ | ProtFlags::EXEC] {
            unchanged(&device, || {
                let code =
                    MappedPages::with(&device, position(handle, 0), 1, access, MapFlags::SHARED);
                refused(code, Errno::PERM)
            })?;
        }
        device.free(handle)?;
        let (_, mapping) = mapped(&device, PAGE, 1)?;
        for access in [
            MprotectFlags::EXEC,
            MprotectFlags::READ | MprotectFlags::EXEC,
        ] {
            refused(mapping.protect(access), Errno::ACCESS)?;
        }
        mapping.protect(MprotectFlags::READ)?;
        same_bytes(&mapping.whole(), &pattern(1, to_len(PAGE)))
    })
}

fn a_mapping_moves_and_shrinks_but_never_grows() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        let page = to_len(PAGE);
        let (_, mut mapping) = mapped(&device, 4 * PAGE, 1)?;
        // Another block follows the mapped block in the pool.
        filled(&device, 4 * PAGE, 2)?;
        let how = MremapFlags::MAYMOVE;
        for (old, new) in [(4, 5), (4, 400), (0, 4), (3, 5)] {
            refused(mapping.resize(old * page, new * page, how), Errno::FAULT)
                .about(format_args!("mremap from {old} to {new} pages"))?;
        }
        let left = mapping.resize(4 * page, 4 * page, how | MremapFlags::DONTUNMAP);
        refused(left, Errno::INVAL)?;
        mapping.move_to(MappedPages::anonymous(4)?)?;
        same_bytes(&mapping.whole(), &pattern(1, 4 * page))?;
        mapping.resize(4 * page, 2 * page, how)?;
        same_bytes(&mapping.whole(), &pattern(1, 4 * page)[..2 * page])?;
        refused(mapping.resize(2 * page, 4 * page, how), Errno::FAULT)
            .about("mremap from 2 to 4 pages")
    })
}

fn a_part_of_a_mapping_can_be_unmapped() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        let page = to_len(PAGE);
        let (handle, mapping) = mapped(&device, 5 * PAGE, 1)?;
        mapping.punch(1, 2)?;
        for (n, there) in [true, false, false, true, true].into_iter().enumerate() {
            check_eq("page is mapped", mapping.has(n), there).about(n)?;
            if there {
                let expected = &pattern(1, 5 * page)[n * page..][..page];
                same_bytes(&mapping.read(n * page, page), expected).about(n)?;
            }
        }
        mapping.write(3 * page, &pattern(2, page));
        let mut bytes = vec![0; page];
        device.read(handle, 3 * PAGE as u32, &mut bytes)?;
        same_bytes(&bytes, &pattern(2, page))
    })
}

/// Forks a child that closes the session's file, writes `byte` to the beginning of its copy of `mapping`, and
/// waits until it is killed.
fn child(file: &Device, mapping: &MappedPages, byte: u8) -> TestResult<Fork> {
    let file = file.as_fd().as_raw_fd();
    Fork::new(|| {
        // SAFETY: `close` requires that the descriptor is not used any more. The child does not use the file.
        unsafe { c::close(file) };
        mapping.write(0, &[byte]);
        // SAFETY: `pause` takes no arguments and accesses no memory of the program.
        unsafe { c::pause() };
    })
}

/// Functions of the C library that `rustix` does not provide.
mod c {
    use std::ffi::c_int;

    unsafe extern "C" {
        pub(super) fn close(file: c_int) -> c_int;
        pub(super) fn pause() -> c_int;
    }
}

fn a_child_inherits_a_mapping_and_leaves_nothing_when_it_is_killed() -> TestResult {
    on_each(|engine| {
        let observer = shared(engine)?;
        let before = observer.stats()?.live_blocks;
        for round in 0..20 {
            let device = shared(engine)?;
            let (handle, mapping) = mapped(&device, 8192, round)?;
            mapping.write(0, &[0]);
            let child = child(&device, &mapping, 0x5a)?;
            while mapping.read(0, 1) != [0x5a] {
                thread::yield_now();
            }
            let mut byte = [0];
            device.read(handle, 0, &mut byte)?;
            check_eq("byte in the file", byte, [0x5a])?;
            drop((mapping, device));
            // Only the child's mapping is left.
            check_eq("live blocks", observer.stats()?.live_blocks, before + 1)?;
            drop(child);
            check_eq("live blocks", observer.stats()?.live_blocks, before)?;
            sound(&observer)?;
        }
        Ok(())
    })
}

fn every_part_and_copy_of_a_mapping_holds_the_block() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        let page = to_len(PAGE);
        let held = |handle, by: &str| {
            unchanged(&device, || refused(device.free(handle), Errno::BUSY)).about(by)
        };
        // Parts of a mapping that munmap leaves, or that mprotect splits off.
        let (handle, mapping) = mapped(&device, 6 * PAGE, 1)?;
        mapping.protect_part(2, 1, MprotectFlags::READ)?;
        held(handle, "mapping in three parts")?;
        mapping.punch(3, 3)?;
        held(handle, "mapping without its last part")?;
        mapping.punch(0, 2)?;
        held(handle, "mapping without its first and last part")?;
        mapping.punch(2, 1)?;
        device.free(handle)?;
        // All pages are unmapped already, so the mapping must not be unmapped again.
        std::mem::forget(mapping);

        // A mapping that moves and shrinks.
        let (handle, mut mapping) = mapped(&device, 4 * PAGE, 2)?;
        mapping.move_to(MappedPages::anonymous(4)?)?;
        held(handle, "moved")?;
        mapping.resize(4 * page, page, MremapFlags::MAYMOVE)?;
        held(handle, "shrunk")?;
        // Another mapping replaces the mapping.
        let mut other = MappedPages::anonymous(1)?;
        other.move_to(mapping)?;
        device.free(handle)?;
        drop(other);

        // The copy of the mapping in a child outlives the mapping of the parent.
        let (handle, mapping) = mapped(&device, 2 * PAGE, 3)?;
        let child = child(&device, &mapping, 0x5a)?;
        while mapping.read(0, 1) != [0x5a] {
            thread::yield_now();
        }
        drop(mapping);
        held(handle, "mapping in the child")?;
        drop(child);
        device.free(handle)?;
        sound(&device)
    })
}

fn a_shared_futex_in_a_mapping_is_refused() -> TestResult {
    use rustix::thread::futex;

    on_each(|engine| {
        let device = session(engine)?;
        let (_, mapping) = mapped(&device, PAGE, 1)?;
        mapping.write(0, &[0; 4]);
        let word = mapping.word();
        refused(futex::wake(word, futex::Flags::empty(), 1), Errno::FAULT)?;
        let wait = futex::wait(word, futex::Flags::empty(), 1, None);
        refused(wait, Errno::FAULT)?;
        // A private futex is identified by its address and needs no page, so it works.
        check_eq(
            "threads that futex_wake woke",
            futex::wake(word, futex::Flags::PRIVATE, 1)?,
            0,
        )?;
        let wait = futex::wait(word, futex::Flags::PRIVATE, 1, None);
        refused(wait, Errno::AGAIN)
    })
}

fn pages_of_a_mapping_cannot_be_pinned() -> TestResult {
    // A page of anonymous memory can be pinned, so the refusal below is not due to the pipe.
    let (_output, input) = pipe()?;
    let page = to_len(PAGE);
    check_eq(
        "spliced bytes",
        MappedPages::anonymous(1)?.splice_to(&input)?,
        page,
    )?;
    on_each(|engine| {
        let device = session(engine)?;
        let (_, mapping) = mapped(&device, PAGE, 1)?;
        refused(mapping.splice_to(&input), Errno::FAULT)?;
        // Debuggers and `process_vm_readv` access the memory of other programs in the same way.
        let peek = File::open("/proc/self/mem")?.read_at(&mut [0; 64], mapping.address());
        let peek = peek.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
        refused(peek, Errno::IO)?;
        // A copy does not change when the mapping is written.
        let (output, input) = pipe()?;
        check_eq("copied bytes", mapping.copy_to(&input)?, page)?;
        mapping.write(0, &pattern(2, page));
        let mut bytes = vec![0; page];
        check_eq("read", rustix::io::read(&output, &mut bytes[..])?, page)?;
        same_bytes(&bytes, &pattern(1, page))
    })
}
