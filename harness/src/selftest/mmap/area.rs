// SPDX-License-Identifier: GPL-2.0

//! What becomes of a mapping: how it is protected, moved, cut and inherited.

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
    fs::{
        Mode,
        OFlags, //
    },
    mm::{
        MapFlags,
        MprotectFlags,
        MremapFlags,
        ProtFlags, //
    },
    pipe::pipe,
    process::{
        Pid,
        Signal,
        WaitOptions,
        kill_process,
        waitpid, //
    },
};

use crate::{
    device::{
        Device,
        Errno,
        position, //
    },
    uapi::{
        self,
        slablab_alloc, //
    },
};

use crate::selftest::{
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
        Mapping,
        READ_WRITE, //
    },
    memory::submit,
    prelude::*, //
};

use super::{
    PAGE,
    aligned,
    mapped,
    nothing_in,
    on_each, //
};

theme!("mmap/area" {
    Once only_what_shares_is_mapped,
    Once what_was_opened_for_reading_is_only_read,
    Once a_mapping_is_never_executable,
    Once a_mapping_moves_and_shrinks_but_never_grows,
    Once a_part_of_a_mapping_can_be_unmapped,
    Once a_child_inherits_a_mapping_and_leaves_nothing_when_it_is_killed,
    Once nobody_gets_hold_of_a_mapped_page,
});

fn only_what_shares_is_mapped() -> Outcome {
    on_each(|engine| {
        let device = session(engine)?;
        let handle = aligned(&device, 2 * PAGE)?;
        // More than one page at a time the kernel itself would refuse.
        for pages in [1, 2] {
            for access in [ProtFlags::READ, READ_WRITE] {
                unchanged(&device, || {
                    let (position, flags) = (position(handle, 0), MapFlags::PRIVATE);
                    let private = Mapping::with(&device, position, pages, access, flags);
                    refused(private, Errno::INVAL).about(format_args!("{pages} pages"))
                })?;
            }
        }
        Ok(device.free(handle)?)
    })
}

fn what_was_opened_for_reading_is_only_read() -> Outcome {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(uapi::DEVICE, flags, Mode::empty())?;
    let mut alloc = slablab_alloc {
        size: 2 * PAGE,
        align: PAGE,
        ..Default::default()
    };
    submit(&file, uapi::SLABLAB_NR_ALLOC, &mut alloc)?;
    let map = |access| {
        Mapping::with(
            &file,
            position(alloc.handle, 0),
            2,
            access,
            MapFlags::SHARED,
        )
    };
    refused(map(READ_WRITE), Errno::ACCESS)?;
    let mapping = map(ProtFlags::READ)?;
    nothing_in(&mapping)?;
    let write = MprotectFlags::READ | MprotectFlags::WRITE;
    refused(mapping.protect(write), Errno::ACCESS)
}

fn a_mapping_is_never_executable() -> Outcome {
    on_each(|engine| {
        let device = session(engine)?;
        let handle = aligned(&device, PAGE)?;
        for access in [ProtFlags::EXEC, ProtFlags::READ | ProtFlags::EXEC] {
            unchanged(&device, || {
                let code = Mapping::with(&device, position(handle, 0), 1, access, MapFlags::SHARED);
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

fn a_mapping_moves_and_shrinks_but_never_grows() -> Outcome {
    on_each(|engine| {
        let device = session(engine)?;
        let page = to_len(PAGE);
        let (_, mut mapping) = mapped(&device, 4 * PAGE, 1)?;
        // Behind it in the pool there is somebody else's.
        filled(&device, 4 * PAGE, 2)?;
        let how = MremapFlags::MAYMOVE;
        for (old, new) in [(4, 5), (4, 400), (0, 4), (3, 5)] {
            refused(mapping.resize(old * page, new * page, how), Errno::FAULT)
                .about(format_args!("{old} pages to {new}"))?;
        }
        let left = mapping.resize(4 * page, 4 * page, how | MremapFlags::DONTUNMAP);
        refused(left, Errno::INVAL)?;
        mapping.move_to(Mapping::anonymous(4)?)?;
        same_bytes(&mapping.whole(), &pattern(1, 4 * page))?;
        mapping.resize(4 * page, 2 * page, how)?;
        same_bytes(&mapping.whole(), &pattern(1, 4 * page)[..2 * page])?;
        refused(mapping.resize(2 * page, 4 * page, how), Errno::FAULT).about("back")
    })
}

fn a_part_of_a_mapping_can_be_unmapped() -> Outcome {
    on_each(|engine| {
        let device = session(engine)?;
        let page = to_len(PAGE);
        let (handle, mapping) = mapped(&device, 5 * PAGE, 1)?;
        mapping.punch(1, 2)?;
        for (n, there) in [true, false, false, true, true].into_iter().enumerate() {
            equal("page is there", mapping.has(n), there).about(n)?;
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

/// A child that has this program's memory, and nothing to do.
struct Fork(Pid);

impl Fork {
    /// Makes a child that closes `file`, writes `byte` to the beginning of `mapping` and stays.
    fn new(file: &Device, mapping: &Mapping, byte: u8) -> Outcome<Self> {
        let file = file.as_fd().as_raw_fd();
        // SAFETY: The child makes system calls and writes to the mapping, and nothing else: there may
        // have been threads.
        match unsafe { c::fork() } {
            0 => loop {
                // SAFETY: Nobody in the child uses the file.
                unsafe { c::close(file) };
                mapping.write(0, &[byte]);
                // SAFETY: Nothing is touched.
                unsafe { c::pause() };
            },
            pid => match Pid::from_raw(pid) {
                Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Self(pid)),
                _ => Err(Verdict::failed("no child was made")),
            },
        }
    }
}

impl Drop for Fork {
    /// Kills it as `kill -9` does, and waits for its end.
    fn drop(&mut self) {
        // It may have ended already.
        let _ = kill_process(self.0, Signal::KILL);
        let _ = waitpid(Some(self.0), WaitOptions::empty());
    }
}

/// What the standard library is linked with, and `rustix` leaves to it.
mod c {
    use std::ffi::c_int;

    unsafe extern "C" {
        pub(super) fn fork() -> c_int;
        pub(super) fn close(file: c_int) -> c_int;
        pub(super) fn pause() -> c_int;
    }
}

fn a_child_inherits_a_mapping_and_leaves_nothing_when_it_is_killed() -> Outcome {
    on_each(|engine| {
        let observer = shared(engine)?;
        let before = observer.stats()?.live_blocks;
        for round in 0..20 {
            let device = shared(engine)?;
            let (handle, mapping) = mapped(&device, 8192, round)?;
            mapping.write(0, &[0]);
            let child = Fork::new(&device, &mapping, 0x5a)?;
            while mapping.read(0, 1) != [0x5a] {
                thread::yield_now();
            }
            let mut byte = [0];
            device.read(handle, 0, &mut byte)?;
            equal("byte in the file", byte, [0x5a])?;
            drop((mapping, device));
            // Only the child's mapping is left.
            equal("live blocks", observer.stats()?.live_blocks, before + 1)?;
            drop(child);
            equal("live blocks", observer.stats()?.live_blocks, before)?;
            sound(&observer)?;
        }
        Ok(())
    })
}

fn nobody_gets_hold_of_a_mapped_page() -> Outcome {
    // Other memory is kept, in a pipe that has room for it.
    let (_output, input) = pipe()?;
    let page = to_len(PAGE);
    equal("kept", Mapping::anonymous(1)?.splice_to(&input)?, page)?;
    on_each(|engine| {
        let device = session(engine)?;
        let (_, mapping) = mapped(&device, PAGE, 1)?;
        refused(mapping.splice_to(&input), Errno::FAULT)?;
        // This is how debuggers come to the memory of others, and `process_vm_readv` does.
        let peek = File::open("/proc/self/mem")?.read_at(&mut [0; 64], mapping.address());
        let peek = peek.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL));
        refused(peek, Errno::IO)?;
        // What is copied stays as it was.
        let (output, input) = pipe()?;
        equal("copied", mapping.copy_to(&input)?, page)?;
        mapping.write(0, &pattern(2, page));
        let mut bytes = vec![0; page];
        equal("read", rustix::io::read(&output, &mut bytes[..])?, page)?;
        same_bytes(&bytes, &pattern(1, page))
    })
}
