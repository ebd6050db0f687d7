// SPDX-License-Identifier: GPL-2.0

//! `mmap`: a program can map its own blocks and sees no other data.

pub(super) mod area;

use std::sync::{
    Mutex,
    PoisonError, //
};

use rustix::mm::MapFlags;

use crate::{
    device::{
        Device,
        Errno, //
    },
    uapi::{
        self,
        Engine,
        slablab_operation, //
    },
};

use super::{
    fixture::{
        self,
        KIB,
        POOL_BYTES,
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
        MappedPages,
        READ_WRITE, //
    },
    prelude::*,
    processes::together,
};

suite!("mmap" {
    Once a_mapping_and_the_file_show_the_same_bytes,
    Once mappings_show_no_data_of_other_sessions,
    Once bytes_beyond_the_block_are_zero_in_a_mapping,
    Once a_mapped_block_stays_until_its_last_page_is_unmapped,
    Once a_mapped_block_counts_in_the_quota_until_it_is_freed,
    Once a_block_is_mapped_by_an_offset_of_32_bits,
    Once invalid_handles_have_no_offset_of_32_bits,
    Each blocks_that_share_pages_cannot_be_mapped,
    Once a_mapping_outlives_the_descriptor,
    Once concurrent_mmap_realloc_and_free_keep_a_block_intact,
});

/// The size of a page in bytes.
const PAGE: u64 = 4096;

/// Returns sizes of blocks that can be mapped if they are aligned to a page.
fn sizes(engine: Engine) -> [u64; 8] {
    [1, 3000, 4096, 4097, 8192, 12_289, 65_537, 200_000].map(|size| mappable(engine, size))
}

/// Returns the smallest size, from `size` on, of a block that can be mapped if it is aligned to a page. In `extent` the
/// last page of a block may have other blocks, too, unless the size is a multiple of a page.
fn mappable(engine: Engine, size: u64) -> u64 {
    match engine {
        Engine::Extent => size.next_multiple_of(PAGE),
        _ => size,
    }
}

/// Returns the number of pages of a block of `size` bytes.
fn pages(size: u64) -> usize {
    to_len(size.div_ceil(PAGE))
}

/// Allocates a block that can be mapped.
#[track_caller]
fn aligned(device: &Device, size: u64) -> TestResult<u32> {
    Ok(device.alloc(size, PAGE)?.handle)
}

/// Allocates a block, writes the pattern of `seed` to it, and maps the whole block.
#[track_caller]
fn mapped(device: &Device, size: u64, seed: u64) -> TestResult<(u32, MappedPages)> {
    let handle = aligned(device, size)?;
    write_whole(device, handle, &pattern(seed, to_len(size)))?;
    Ok((handle, MappedPages::new(device, handle, 0, pages(size))?))
}

/// Runs a test on each engine whose blocks can be mapped.
#[track_caller]
fn on_each(test: impl Fn(Engine) -> TestResult) -> TestResult {
    for engine in POOL_ENGINES {
        let reply = session(engine)?.info()?.capabilities;
        check(
            reply & uapi::SLABLAB_CAP_MMAP != 0,
            "INFO reports the capability MMAP",
        )?;
        test(engine).about(engine)?;
    }
    Ok(())
}

fn a_mapping_and_the_file_show_the_same_bytes() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        for (size, seed) in sizes(engine).into_iter().zip(10..) {
            let (handle, mapping) = mapped(&device, size, seed)?;
            let expected = pattern(seed, to_len(size));
            same_bytes(&mapping.read(0, to_len(size)), &expected).about(size)?;
            // Bytes written through one mapping are read through the file and every other mapping.
            let again = MappedPages::new(&device, handle, 0, pages(size))?;
            let changed = pattern(seed + 100, to_len(size));
            mapping.write(0, &changed);
            intact(&device, handle, size, seed + 100).about(size)?;
            same_bytes(&again.read(0, to_len(size)), &changed).about(size)?;
            // Bytes written through the file are read through mappings of a single page.
            write_whole(&device, handle, &expected)?;
            for (page, bytes) in expected.chunks(to_len(PAGE)).enumerate() {
                let one = MappedPages::new(&device, handle, page as u32, 1)?;
                same_bytes(&one.read(0, bytes.len()), bytes)
                    .about(format_args!("{size} bytes, page {page}"))?;
            }
        }
        sound(&device)
    })
}

/// Checks that every mapped byte is zero.
#[track_caller]
fn nothing_in(mapping: &MappedPages) -> TestResult {
    let whole = mapping.whole();
    same_bytes(&whole, &vec![0; whole.len()])
}

fn mappings_show_no_data_of_other_sessions() -> TestResult {
    on_each(|engine| {
        for round in 0..3 {
            // Fills as much of the shared pool as a session may allocate, through the file and through
            // mappings.
            let other = shared(engine)?;
            let mut filled = 0;
            while let Ok(block) = other.alloc(64 * KIB, PAGE) {
                write_whole(&other, block.handle, &[0xff; 64 * KIB as usize])?;
                filled += 1;
                if filled % 16 == 0 {
                    MappedPages::new(&other, block.handle, 0, 16)?
                        .write(0, &[0xfe; 64 * KIB as usize]);
                }
            }
            check(
                filled > 100,
                format_args!("more than 100 blocks are filled, not {filled}"),
            )?;
            drop(other);

            let device = shared(engine)?;
            for size in sizes(engine) {
                let mapping = MappedPages::new(&device, aligned(&device, size)?, 0, pages(size))?;
                nothing_in(&mapping).about(format_args!("round {round}, {size} bytes"))?;
                // The whole last page is written, so that it is dirty when the block is freed.
                mapping.write(0, &vec![0xff; pages(size) * to_len(PAGE)]);
            }
            // Bytes that a resize in place adds are zero, too.
            for (from, to) in [(4096, 5000), (8192, 10_000), (10_000, 50_001)] {
                let (from, to) = (mappable(engine, from), mappable(engine, to));
                let handle = aligned(&device, from)?;
                device.realloc(handle, to)?;
                let mapping = MappedPages::new(&device, handle, 0, pages(to))?;
                nothing_in(&mapping).about(format_args!("REALLOC from {from} to {to} bytes"))?;
            }
        }
        Ok(())
    })
}

fn bytes_beyond_the_block_are_zero_in_a_mapping() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        for (from, to) in [(8192, 5000), (4096, 3000), (12_288, 8193), (65_536, 40_000)] {
            let to = mappable(engine, to);
            let handle = aligned(&device, from)?;
            write_whole(&device, handle, &pattern(1, to_len(from)))?;
            device.realloc(handle, to)?;
            let mapping = MappedPages::new(&device, handle, 0, pages(to))?;
            let mut expected = pattern(1, to_len(to));
            expected.resize(pages(to) * to_len(PAGE), 0);
            same_bytes(&mapping.whole(), &expected)
                .about(format_args!("REALLOC from {from} to {to} bytes"))?;
        }
        Ok(())
    })
}

fn a_mapped_block_stays_until_its_last_page_is_unmapped() -> TestResult {
    on_each(|engine| {
        let observer = shared(engine)?;
        let before = observer.stats()?.live_blocks;
        let device = shared(engine)?;
        let size = mappable(engine, 10_000);
        let (handle, mapping) = mapped(&device, size, 1)?;
        let other = filled(&device, 10_000, 2)?;
        let stays = || -> TestResult {
            unchanged(&device, || {
                refused(device.free(handle), Errno::BUSY)?;
                refused(device.realloc(handle, 20_000), Errno::BUSY)?;
                let mut operations = [slablab_operation {
                    kind: uapi::SLABLAB_OP_FREE as u8,
                    handle,
                    ..Default::default()
                }];
                let submit = device.submit(&mut operations)?;
                let reply = (submit.done, submit.error as i32);
                check_eq("done and error", reply, (0, Errno::BUSY.raw_os_error()))
            })?;
            intact(&device, handle, size, 1)
        };
        stays()?;
        mapping.punch(1, 1)?;
        stays().about("after a part was unmapped")?;
        let again = MappedPages::new(&device, handle, 1, 2)?;
        drop(mapping);
        stays().about("with another mapping")?;
        drop(again);
        // A refused mapping does not pin the block.
        refused(MappedPages::new(&device, handle, 1, 3), Errno::NXIO)?;
        device.realloc(handle, mappable(engine, 20_000))?;
        same_bytes(
            &fixture::read_whole(&device, handle, to_len(size))?,
            &pattern(1, to_len(size)),
        )?;
        drop(MappedPages::new(&device, handle, 0, 5)?);
        device.free(handle)?;
        device.free(other)?;
        check_eq("live blocks", observer.stats()?.live_blocks, before)?;
        // A new block, possibly in the same place, also lives until it is unmapped after its file was closed.
        let (handle, mapping) = mapped(&device, size, 3)?;
        drop(device);
        check_eq("live blocks", observer.stats()?.live_blocks, before + 1)?;
        drop(mapping);
        check_eq("live blocks", observer.stats()?.live_blocks, before)?;
        refused(shared(engine)?.free(handle), Errno::NOENT)?;
        sound(&observer)
    })
}

fn a_mapped_block_counts_in_the_quota_until_it_is_freed() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        // The blocks, one after the other, have twice the size of the pool.
        for round in 0..2 * POOL_BYTES / (64 * KIB) {
            let handle = aligned(&device, 64 * KIB)?;
            let mapping = MappedPages::new(&device, handle, 0, 16)?;
            check_eq("charged", device.stats()?.session_bytes, 64 * KIB)?;
            drop(mapping);
            check_eq("charged", device.stats()?.session_bytes, 64 * KIB)?;
            device.free(handle).map_err(TestError::from).about(round)?;
            check_eq("charged", device.stats()?.session_bytes, 0)?;
        }
        sound(&device)
    })
}

/// Returns the file position of a block's first page for programs whose offset of `mmap` is a number of pages
/// with 32 bits: `SLABLAB_MMAP_POSITION` of the header.
fn narrow_position(handle: u32) -> u64 {
    uapi::SLABLAB_MMAP_BASE | u64::from(handle) << uapi::SLABLAB_MMAP_HANDLE_SHIFT
}

fn a_block_is_mapped_by_an_offset_of_32_bits() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        for (size, seed) in sizes(engine).into_iter().zip(20..) {
            let handle = aligned(&device, size)?;
            write_whole(&device, handle, &pattern(seed, to_len(size)))?;
            let position = narrow_position(handle);
            check(
                position / PAGE <= u64::from(u32::MAX),
                format_args!("the page number of the position {position:#x} is below 2^32"),
            )?;
            let map =
                |pages| MappedPages::with(&device, position, pages, READ_WRITE, MapFlags::SHARED);
            for pages in [1, pages(size).div_ceil(2), pages(size)] {
                let mapping = map(pages)?;
                let bytes = to_len(size).min(pages * to_len(PAGE));
                same_bytes(
                    &mapping.read(0, bytes),
                    &pattern(seed, to_len(size))[..bytes],
                )?;
                refused(device.free(handle), Errno::BUSY)?;
                // The other pages still pin the block when the first page, which has the position of the
                // mapping, is unmapped.
                if pages > 1 {
                    mapping.punch(0, 1)?;
                    refused(device.free(handle), Errno::BUSY)?;
                }
            }
            refused(map(pages(size) + 1), Errno::NXIO)?;
            let mapping = map(pages(size))?;
            mapping.write(0, &pattern(seed + 1, to_len(size)));
            intact(&device, handle, size, seed + 1)?;
            drop(mapping);
            device.free(handle)?;
        }
        sound(&device)
    })
}

fn invalid_handles_have_no_offset_of_32_bits() -> TestResult {
    on_each(|engine| {
        let (device, stranger) = (session(engine)?, session(engine)?);
        let theirs = aligned(&stranger, PAGE)?;
        let freed = aligned(&device, PAGE)?;
        device.free(freed)?;
        let handle = aligned(&device, PAGE)?;
        let small = device.alloc(64, 8)?.handle;
        for (number, errno) in [
            (0, Errno::NOENT),
            (1, Errno::NOENT),
            ((1 << 20) - 1, Errno::NOENT),
            (freed, Errno::NOENT),
            (theirs + 7, Errno::NOENT),
            (handle + 1000, Errno::NOENT),
            ((1 << 31) - 1, Errno::NOENT),
            (1 << 31, Errno::NOENT),
            (u32::MAX, Errno::NOENT),
            (small, Errno::INVAL),
        ] {
            unchanged(&device, || {
                let position = narrow_position(number);
                let mapping = MappedPages::with(&device, position, 1, READ_WRITE, MapFlags::SHARED);
                refused(mapping, errno)
            })
            .about(format_args!("handle {number:#x}"))?;
        }
        // The position is valid for mmap only.
        let read = rustix::io::pread(&device, &mut [0; 8], narrow_position(handle));
        refused(read, Errno::NOENT)?;
        Ok(device.free(handle)?)
    })
}

/// Checks that pages cannot be mapped, and that nothing has changed.
#[track_caller]
fn denied(device: &Device, handle: u32, first: u32, pages: usize, errno: Errno) -> TestResult {
    unchanged(device, || {
        refused(MappedPages::new(device, handle, first, pages), errno)
    })
}

fn blocks_that_share_pages_cannot_be_mapped(engine: Engine) -> TestResult {
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
    refused(
        MappedPages::new(Device::open()?, handle, 0, 1),
        Errno::NOENT,
    )
    .about("file without a session")?;
    // None of the refused mappings pins the block.
    device.free(handle)?;
    check_eq("blocks", device.stats()?.session_blocks, 0)
}

fn a_mapping_outlives_the_descriptor() -> TestResult {
    on_each(|engine| {
        let observer = shared(engine)?;
        let before = observer.stats()?.live_blocks;
        let device = shared(engine)?;
        let size = mappable(engine, 20_000);
        let (_, mapping) = mapped(&device, size, 1)?;
        let parts = [(0, 1), (2, 3)];
        drop(device);
        check_eq("live blocks", observer.stats()?.live_blocks, before + 1)?;
        mapping.punch(1, 1)?;
        // Another session allocates the free memory, but not the mapped block.
        let other = shared(engine)?;
        for n in 0..100 {
            filled(&other, 20_000, n)?;
        }
        drop(other);
        let page = to_len(PAGE);
        let mut expected = pattern(1, to_len(size));
        expected.resize(5 * page, 0);
        for (first, pages) in parts {
            let range = first * page..(first + pages) * page;
            same_bytes(&mapping.read(range.start, range.len()), &expected[range])?;
        }
        mapping.write(4 * page, &[1]);
        drop(mapping);
        check_eq("live blocks", observer.stats()?.live_blocks, before)?;
        sound(&observer)
    })
}

fn concurrent_mmap_realloc_and_free_keep_a_block_intact() -> TestResult {
    on_each(|engine| {
        let device = session(engine)?;
        let mut kept = 0;
        for round in 0..200 {
            // The mapping stays until the other threads have finished.
            let held = Mutex::new(None);
            let handle = aligned(&device, 8192)?;
            write_whole(&device, handle, &pattern(round, 8192))?;
            let map = || -> TestResult<Option<MappedPages>> {
                match MappedPages::new(&device, handle, 0, 2) {
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
                            // A mapped block cannot be freed.
                            refused(device.free(handle), Errno::BUSY)?;
                            *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(mapping);
                        }
                    }
                    1 => match device.realloc(handle, mappable(engine, 20_000)) {
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
                    let mapping = map()?.ok_or_else(|| {
                        TestError::failed(
                            "FREE failed with EBUSY, but mmap does not find the block",
                        )
                    })?;
                    same_bytes(&mapping.whole(), &pattern(round, 8192))?;
                    drop((mapping, held));
                    device.free(handle)?;
                }
            }
        }
        check(
            kept > 0,
            "FREE fails at least once with EBUSY during a mapping",
        )?;
        check_eq("blocks", device.stats()?.session_blocks, 0)?;
        sound(&device)
    })
}
