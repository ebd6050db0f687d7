// SPDX-License-Identifier: GPL-2.0

//! Tests that C programs can use the header.

use std::{
    path::Path,
    process::Command, //
};

/// Runs the C compiler on a file, with every warning an error.
fn compile(arguments: &[&str]) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let warnings = [
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "-I",
        "rust/uapi",
    ];
    let output = Command::new("cc")
        .current_dir(top)
        .args(warnings)
        .args(arguments)
        .output()
        .expect("cannot run the C compiler cc");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_c_program_compiles_without_a_warning() {
    let program = concat!(env!("CARGO_TARGET_TMPDIR"), "/client");
    compile(&[
        "-std=c99",
        "-static",
        "-o",
        program,
        "harness/tests/client.c",
    ]);
}

/// The kernel copies whole structures to a program: padding could contain kernel memory.
#[test]
fn the_structures_have_no_padding() {
    compile(&[
        "-std=c99",
        "-Wpadded",
        "-fsyntax-only",
        "-x",
        "c",
        "rust/uapi/slablab.h",
    ]);
}

#[test]
fn the_header_needs_no_other_before_it() {
    for standard in ["-std=c99", "-std=gnu17"] {
        compile(&[standard, "-fsyntax-only", "-x", "c", "rust/uapi/slablab.h"]);
    }
}
