// SPDX-License-Identifier: GPL-2.0

//! `mmap`: a program sees its own blocks, all of them, and nothing else, ever.

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
        Engine,
        slablab_alloc,
        slablab_operation, //
    },
};

use super::{
    fixture::{
        KIB,
        POOL_ENGINES,
        filled,
        intact,
        pattern,
        same_bytes,
        session,
        shared,
        sound,
        to_len,
        unchanged,
        write_whole, //
    },
    mapping::{
        Mapping,
        READ_WRITE, //
    },
    memory::submit,
    processes::together,
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

theme!("mmap" {
    Once a_mapping_and_the_file_show_the_same_bytes,
    Once what_others_left_is_not_seen,
    Once what_the_program_left_behind_a_blocks_end_is_not_seen,
    Once a_mapped_block_stays_until_the_session_ends,
    Each what_is_no_block_of_whole_pages_is_refused,
    Once only_what_shares_is_mapped,
    Once what_was_opened_for_reading_is_only_read,
    Once a_mapping_is_never_executable,
    Once a_mapping_moves_and_shrinks_but_never_grows,
    Once a_part_of_a_mapping_can_be_unmapped,
    Once a_mapping_outlives_the_descriptor,
    Once a_child_inherits_a_mapping_and_leaves_nothing_when_it_is_killed,
    Once nobody_gets_hold_of_a_mapped_page,
    Once whoever_maps_moves_or_frees_a_block_leaves_it_whole,
});

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Sizes of blocks, with an alignment of a page, that have it whole.
const SIZES: [u64; 8] = [1, 3000, 4096, 4097, 8192, 12_289, 65_537, 200_000];

/// Returns the pages that a block of `size` bytes has.
fn pages(size: u64) -> usize {
    to_len(size.div_ceil(PAGE))
}

/// Allocates a block that can be mapped.
#[track_caller]
fn aligned(device: &Device, size: u64) -> Outcome<u32> {
    Ok(device.alloc(size, PAGE)?.handle)
}

/// Allocates a block, writes the pattern of `seed` to it, and maps it whole.
#[track_caller]
fn mapped(device: &Device, size: u64, seed: u64) -> Outcome<(u32, Mapping)> {
    let handle = aligned(device, size)?;
    write_whole(device, handle, &pattern(seed, to_len(size)))?;
    Ok((handle, Mapping::new(device, handle, 0, pages(size))?))
}

/// Runs a test on each engine whose blocks can be mapped.
#[track_caller]
fn on_each(test: impl Fn(Engine) -> Outcome) -> Outcome {
    for engine in POOL_ENGINES {
        let told = session(engine)?.info()?.capabilities;
        holds(told & uapi::SLABLAB_CAP_MMAP != 0, "it is told")?;
        test(engine).about(engine)?;
    }
    Ok(())
}

fn a_mapping_and_the_file_show_the_same_bytes() -> Outcome {
    on_each(|engine| {
        let device = session(engine)?;
        for (size, seed) in SIZES.into_iter().zip(10..) {
            let (handle, mapping) = mapped(&device, size, seed)?;
            let expected = pattern(seed, to_len(size));
            same_bytes(&mapping.read(0, to_len(size)), &expected).about(size)?;
            // What is written here is read there, and in every other mapping.
            let again = Mapping::new(&device, handle, 0, pages(size))?;
            let changed = pattern(seed + 100, to_len(size));
            mapping.write(0, &changed);
            intact(&device, handle, size, seed + 100).about(size)?;
            same_bytes(&again.read(0, to_len(size)), &changed).about(size)?;
            // The other way round, and a page at a time.
            write_whole(&device, handle, &expected)?;
            for (page, bytes) in expected.chunks(to_len(PAGE)).enumerate() {
                let one = Mapping::new(&device, handle, page as u32, 1)?;
                same_bytes(&one.read(0, bytes.len()), bytes)
                    .about(format_args!("{size} bytes, page {page}"))?;
            }
        }
        sound(&device)
    })
}

/// Checks that all that is mapped is zero.
#[track_caller]
fn nothing_in(mapping: &Mapping) -> Outcome {
    let whole = mapping.whole();
    same_bytes(&whole, &vec![0; whole.len()])
}

fn what_others_left_is_not_seen() -> Outcome {
    on_each(|engine| {
        for round in 0..3 {
            // All of the shared pool that one may have, through the file and through mappings.
            let other = shared(engine)?;
            let mut filled = 0;
            while let Ok(block) = other.alloc(64 * KIB, PAGE) {
                write_whole(&other, block.handle, &[0xff; 64 * KIB as usize])?;
                filled += 1;
                if filled % 16 == 0 {
                    Mapping::new(&other, block.handle, 0, 16)?.write(0, &[0xfe; 64 * KIB as usize]);
                }
            }
            holds(filled > 100, format_args!("{filled} blocks are filled"))?;
            drop(other);

            let device = shared(engine)?;
            for size in SIZES {
                let mapping = Mapping::new(&device, aligned(&device, size)?, 0, pages(size))?;
                nothing_in(&mapping).about(format_args!("round {round}, {size} bytes"))?;
                // All of the last page goes back dirty.
                mapping.write(0, &vec![0xff; pages(size) * to_len(PAGE)]);
            }
            // What a block got where it is.
            for (from, to) in [(4096, 5000), (8192, 10_000), (10_000, 50_001)] {
                let handle = aligned(&device, from)?;
                device.realloc(handle, to)?;
                let mapping = Mapping::new(&device, handle, 0, pages(to))?;
                nothing_in(&mapping).about(format_args!("{from} to {to} bytes"))?;
            }
        }
        Ok(())
    })
}

fn what_the_program_left_behind_a_blocks_end_is_not_seen() -> Outcome {
    on_each(|engine| {
        let device = session(engine)?;
        for (from, to) in [(8192, 5000), (4096, 3000), (12_288, 8193), (65_536, 40_000)] {
            let handle = aligned(&device, from)?;
            write_whole(&device, handle, &pattern(1, to_len(from)))?;
            device.realloc(handle, to)?;
            let mapping = Mapping::new(&device, handle, 0, pages(to))?;
            let mut expected = pattern(1, to_len(to));
            expected.resize(pages(to) * to_len(PAGE), 0);
            same_bytes(&mapping.whole(), &expected).about(format_args!("{from} to {to}"))?;
        }
        Ok(())
    })
}

fn a_mapped_block_stays_until_the_session_ends() -> Outcome {
    on_each(|engine| {
        let observer = shared(engine)?;
        let before = observer.stats()?.live_blocks;
        let device = shared(engine)?;
        let (handle, mapping) = mapped(&device, 10_000, 1)?;
        let other = filled(&device, 10_000, 2)?;
        let stays = || -> Outcome {
            unchanged(&device, || {
                refused(device.free(handle), Errno::BUSY)?;
                refused(device.realloc(handle, 20_000), Errno::BUSY)?;
                let mut operations = [slablab_operation {
                    kind: uapi::SLABLAB_OP_FREE as u8,
                    handle,
                    ..Default::default()
                }];
                let submit = device.submit(&mut operations)?;
                let told = (submit.done, submit.error as i32);
                equal("submission", told, (0, Errno::BUSY.raw_os_error()))
            })?;
            intact(&device, handle, 10_000, 1)
        };
        stays()?;
        mapping.punch(1, 1)?;
        stays().about("unmapped in part")?;
        drop(mapping);
        stays().about("unmapped")?;
        drop(Mapping::new(&device, handle, 1, 2)?);
        stays().about("mapped again")?;
        device.free(other)?;
        equal("live blocks", observer.stats()?.live_blocks, before + 1)?;
        drop(device);
        equal("live blocks", observer.stats()?.live_blocks, before)?;
        sound(&observer)
    })
}

/// Checks that pages cannot be mapped, and that nothing has changed.
#[track_caller]
fn denied(device: &Device, handle: u32, first: u32, pages: usize, errno: Errno) -> Outcome {
    unchanged(device, || {
        refused(Mapping::new(device, handle, first, pages), errno)
    })
}

fn what_is_no_block_of_whole_pages_is_refused(engine: Engine) -> Outcome {
    let device = session(engine)?;
    if !POOL_ENGINES.contains(&engine) {
        let handle = aligned(&device, 3 * PAGE)?;
        denied(&device, handle, 0, 3, Errno::NODEV)?;
        return Ok(device.free(handle)?);
    }
    let stranger = session(engine)?;
    for n in 0..10 {
        filled(&stranger, 3 * PAGE, n)?;
    }
    let handle = aligned(&device, 3 * PAGE)?;
    let small = [1, 64, 1000, 2048].map(|size| device.alloc(size, 1));
    let freed = aligned(&device, PAGE)?;
    device.free(freed)?;

    for (first, pages) in [
        (0, 4),
        (1, 3),
        (2, 2),
        (3, 1),
        (0x000f_ffff, 1),
        (0, 1 << 20),
    ] {
        denied(&device, handle, first, pages, Errno::NXIO)
            .about(format_args!("page {first}, {pages} pages"))?;
    }
    for block in small {
        let handle = block?.handle;
        denied(&device, handle, 0, 1, Errno::INVAL)?;
        device.free(handle)?;
    }
    // The first handles have the same numbers in both sessions.
    let theirs = aligned(&stranger, PAGE)?;
    for nothing in [freed, theirs, 0, 1, handle + (1 << 20), 1 << 31, u32::MAX] {
        denied(&device, nothing, 0, 1, Errno::NOENT).about(format_args!("handle {nothing:#x}"))?;
    }
    refused(Mapping::new(Device::open()?, handle, 0, 1), Errno::NOENT).about("no session")?;
    // None of this holds the block.
    device.free(handle)?;
    equal("blocks", device.stats()?.session_blocks, 0)
}

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

fn a_mapping_outlives_the_descriptor() -> Outcome {
    on_each(|engine| {
        let observer = shared(engine)?;
        let before = observer.stats()?.live_blocks;
        let device = shared(engine)?;
        let (_, mapping) = mapped(&device, 20_000, 1)?;
        let parts = [(0, 1), (2, 3)];
        drop(device);
        equal("live blocks", observer.stats()?.live_blocks, before + 1)?;
        mapping.punch(1, 1)?;
        // Others get what is free, and nothing of this.
        let other = shared(engine)?;
        for n in 0..100 {
            filled(&other, 20_000, n)?;
        }
        drop(other);
        let page = to_len(PAGE);
        let mut expected = pattern(1, 20_000);
        expected.resize(5 * page, 0);
        for (first, pages) in parts {
            let range = first * page..(first + pages) * page;
            same_bytes(&mapping.read(range.start, range.len()), &expected[range])?;
        }
        mapping.write(4 * page, &[1]);
        drop(mapping);
        equal("live blocks", observer.stats()?.live_blocks, before)?;
        sound(&observer)
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

fn whoever_maps_moves_or_frees_a_block_leaves_it_whole() -> Outcome {
    on_each(|engine| {
        let device = session(engine)?;
        let mut kept = 0;
        for round in 0..200 {
            let handle = aligned(&device, 8192)?;
            write_whole(&device, handle, &pattern(round, 8192))?;
            let map = || -> Outcome<Option<Mapping>> {
                match Mapping::new(&device, handle, 0, 2) {
                    Ok(mapping) => Ok(Some(mapping)),
                    Err(Errno::BUSY | Errno::NOENT) => Ok(None),
                    Err(errno) => Err(errno.into()),
                }
            };
            together(3, |n| {
                match n {
                    0 => {
                        if let Some(mapping) = map()? {
                            same_bytes(&mapping.whole(), &pattern(round, 8192))?;
                            // It was mapped, so it stays.
                            refused(device.free(handle), Errno::BUSY)?;
                        }
                    }
                    1 => match device.realloc(handle, 20_000) {
                        Ok(_) => {}
                        Err(refusal) if refusal.errno == Errno::NOENT => {}
                        refusal => refused(refusal, Errno::BUSY)?,
                    },
                    _ => match device.free(handle) {
                        Ok(()) => {}
                        Err(Errno::NOENT) => {}
                        refusal => refused(refusal, Errno::BUSY)?,
                    },
                }
                Ok(())
            })
            .about(format_args!("round {round}"))?;
            match device.free(handle) {
                Ok(()) | Err(Errno::NOENT) => {}
                refusal => {
                    refused(refusal, Errno::BUSY)?;
                    kept += 1;
                    let mapping = map()?.ok_or_else(|| Verdict::failed("it was mapped"))?;
                    same_bytes(&mapping.whole(), &pattern(round, 8192))?;
                }
            }
        }
        holds(kept > 0, "some were mapped")?;
        equal("blocks", device.stats()?.session_blocks, kept)?;
        sound(&device)
    })
}
