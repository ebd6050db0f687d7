// SPDX-License-Identifier: GPL-2.0

//! Exhibits of misaligned blocks.

use super::{
    KIB,
    MIB,
    exhibits, //
};
use crate::pattern::Maker;

exhibits! {
    "museum/mimalloc-206", 64 * KIB, mimalloc_206,
        "https://github.com/microsoft/mimalloc/issues/206",
        "Every second block of 8 bytes aligned to 16 was at a multiple of 8 only.";
    "museum/mimalloc-577", 8 * MIB, mimalloc_577,
        "https://github.com/microsoft/mimalloc/issues/577",
        "A block of 2 MiB aligned to 2 MiB was refused, because alignments had a limit of 1 MiB.";
    "museum/mimalloc-602", 64 * KIB, mimalloc_602,
        "https://github.com/microsoft/mimalloc/issues/602",
        "A block of 256 bytes aligned to 256 was at a multiple of 128 only.";
    "museum/mimalloc-603", 128 * KIB, mimalloc_603,
        "https://github.com/microsoft/mimalloc/issues/603",
        "An aligned realloc kept the misalignment of the old block in the new block.";
    "museum/mimalloc-700", 256 * KIB, mimalloc_700,
        "https://github.com/microsoft/mimalloc/issues/700",
        "Blocks of 256, 512 and 1,024 bytes aligned to their size were misaligned; other sizes were not.";
    "museum/mimalloc-1400", 4 * MIB, mimalloc_1400,
        "https://github.com/microsoft/mimalloc/issues/1400",
        "A free of 8 bytes aligned to 16 KiB with its size looked for the page of small blocks and crashed.";
    "museum/mimalloc-rust-87", MIB, mimalloc_rust_87,
        "https://github.com/purpleprotocol/mimalloc_rust/issues/87",
        "A loop over blocks of 4,096 bytes with alignments from 1 to 32,768 failed at the alignment 4,096.";
    "museum/tlsf-36", 128 * KIB, tlsf_36,
        "https://github.com/mattconte/tlsf/issues/36",
        "A block aligned to 128 lost its alignment when realloc had to move it.";
    "museum/m1n1-168", 256 * KIB, m1n1_168,
        "https://github.com/AsahiLinux/m1n1/issues/168",
        "A vector of elements aligned to 128 lost its alignment when realloc had to move it.";
    "museum/rust-for-linux-974", MIB, rust_for_linux_974,
        "https://github.com/Rust-for-Linux/linux/issues/974",
        "Only a block whose size is a power of two was sure to be aligned to more than a word.";
    "museum/bumpalo-19", 64 * KIB, bumpalo_19,
        "https://github.com/fitzgen/bumpalo/issues/19",
        "A block of 1,024 bytes aligned to 32 corrupted the heap.";
    "museum/sweb-161", 64 * KIB, sweb_161,
        "https://github.com/isec-tugraz/sweb/issues/161",
        "After a realloc to an odd size, later blocks were misaligned.";
}

fn mimalloc_206(trace: &mut Maker) {
    for _ in 0..4 {
        trace.alloc_aligned(8, 16);
    }
}

fn mimalloc_577(trace: &mut Maker) {
    trace.alloc_aligned(2 * MIB, 2 << 20);
}

/// The report has one block. The trace has four, and small blocks in between, because the first block of a pool
/// is aligned by chance.
fn mimalloc_602(trace: &mut Maker) {
    for _ in 0..4 {
        trace.alloc(8);
        trace.alloc_aligned(256, 256);
    }
}

/// Grows a block that a new neighbour prevents from growing in place, so that each realloc moves the block.
fn grow(trace: &mut Maker, align: u32, sizes: &[u64]) {
    let block = trace.alloc_aligned(sizes[0], align);
    for size in &sizes[1..] {
        trace.alloc(24);
        trace.realloc(block, *size);
    }
}

/// The report names no sizes. A trace has one alignment for the life of a block, so the blocks of this trace are
/// aligned from the start.
fn mimalloc_603(trace: &mut Maker) {
    for align in [16, 32, 64, 256] {
        grow(trace, align, &[40, 100, 400, 1_000, 4_000]);
    }
}

/// Four blocks of each of the three sizes, after a small block that a slab of other sizes may begin with.
fn mimalloc_700(trace: &mut Maker) {
    for size in [256, 512, 1024] {
        trace.alloc(8);
        for _ in 0..4 {
            trace.alloc_aligned(size, size as u32);
        }
    }
}

fn mimalloc_1400(trace: &mut Maker) {
    let blocks: Vec<_> = (0..200).map(|_| trace.alloc_aligned(8, 16 << 10)).collect();
    trace.free_all(blocks);
}

/// The blocks of one turn are live at the same time.
fn mimalloc_rust_87(trace: &mut Maker) {
    let aligns: Vec<_> = (0..1_000).map(|block| 1 << (block % 16)).collect();
    for turn in aligns.chunks(16) {
        let blocks: Vec<_> = (turn.iter())
            .map(|align| trace.alloc_aligned(4096, *align))
            .collect();
        trace.free_all(blocks);
    }
}

/// The alignment is that of the report, which names no sizes.
fn tlsf_36(trace: &mut Maker) {
    for _ in 0..8 {
        grow(trace, 128, &[128, 300, 1_000, 3_000]);
    }
}

/// A vector doubles from 4 to 256 elements of 128 bytes. The report names the element, not the number of
/// elements.
fn m1n1_168(trace: &mut Maker) {
    let sizes: Vec<_> = (2..=8).map(|doubling| 128 << doubling).collect();
    grow(trace, 128, &sizes);
    grow(trace, 128, &sizes);
}

/// The report names no sizes. Each size is three times its alignment.
fn rust_for_linux_974(trace: &mut Maker) {
    for align in (4..=10).map(|log2| 1 << log2) {
        for _ in 0..8 {
            trace.alloc_aligned(3 * u64::from(align), align);
        }
    }
}

/// The report has one block. Small blocks in between change the remainder that the next block begins at.
fn bumpalo_19(trace: &mut Maker) {
    for _ in 0..16 {
        trace.alloc(8);
        trace.alloc_aligned(1024, 32);
    }
}

/// The report names no sizes.
fn sweb_161(trace: &mut Maker) {
    for size in [17, 21, 33, 45, 101, 333, 1_001] {
        let path = trace.alloc(16);
        trace.realloc(path, size);
        for _ in 0..4 {
            trace.alloc(64);
        }
    }
}
