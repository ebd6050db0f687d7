// SPDX-License-Identifier: GPL-2.0

//! Tests of the list. `harness/lab/tests/peers.rs` replays traces on the peers, with every answer checked.

use std::{
    alloc::{
        Layout,
        alloc,
        dealloc, //
    },
    ptr::NonNull,
};

use crate::{
    PEERS,
    named, //
};

#[test]
fn the_versions_are_those_of_cargo_lock() {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    for kind in &PEERS {
        let facts = kind.facts();
        let package = format!(
            "name = \"{}\"\nversion = \"{}\"\n",
            facts.package, facts.version
        );
        assert!(LOCK.contains(&package), "Cargo.lock has no {package}");
    }
}

#[test]
fn a_name_is_one_word_that_names_one_peer() {
    for kind in &PEERS {
        let name = kind.facts().name;
        let same = PEERS.iter().filter(|other| other.facts().name == name);
        assert_eq!(same.count(), 1, "{name}");
        assert_eq!(named(name).unwrap().facts(), kind.facts());
        assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()));
    }
    assert!(named("none").is_none());
}

#[test]
fn a_reallocation_keeps_the_contents() {
    let pool = Layout::from_size_align(1 << 16, 1 << 16).unwrap();
    for kind in &PEERS {
        let name = kind.facts().name;
        // SAFETY: The size is not 0.
        let memory = NonNull::new(unsafe { alloc(pool) }).unwrap();
        let range = NonNull::slice_from_raw_parts(memory, pool.size());
        // SAFETY: The memory is new, and is freed after the allocator.
        let mut peer = unsafe { kind.construct(range) }.unwrap();
        let layout = |bytes| Layout::from_size_align(bytes, 16).unwrap();
        // SAFETY: The size is not 0.
        let mut block = unsafe { peer.allocate(layout(100)) }.unwrap();
        // SAFETY: The block has 100 bytes.
        unsafe { block.write_bytes(7, 100) };
        let mut bytes = 100;
        for new in [300, 40, 5000, 41] {
            // SAFETY: The size is not 0.
            let neighbour = unsafe { peer.allocate(layout(24)) }.unwrap();
            // SAFETY: The block is live and has `bytes` bytes.
            block = unsafe { peer.reallocate(block, layout(bytes), new) }.unwrap();
            bytes = new;
            for byte in 0..40 {
                // SAFETY: The block has at least 40 bytes.
                assert_eq!(unsafe { block.add(byte).read() }, 7, "{name}, {new} bytes");
            }
            // SAFETY: The block is live with this layout.
            unsafe { peer.free(neighbour, layout(24)) };
        }
        // SAFETY: The block is live with this layout.
        unsafe { peer.free(block, layout(bytes)) };
        drop(peer);
        // SAFETY: The memory was allocated with this layout.
        unsafe { dealloc(memory.as_ptr(), pool) };
    }
}
