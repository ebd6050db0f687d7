// SPDX-License-Identifier: GPL-2.0

//! The fuzz target that cargo-fuzz runs.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| slab_heap_fuzz::run(bytes));
