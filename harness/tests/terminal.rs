// SPDX-License-Identifier: GPL-2.0

//! Tests of the shell on a terminal.

use std::{
    fs::File,
    io::{
        Read,
        Write, //
    },
    process::{
        Command,
        Stdio, //
    },
};

use rustix::{
    fs::{
        Mode,
        OFlags,
        open, //
    },
    pty::{
        OpenptFlags,
        grantpt,
        openpt,
        ptsname,
        unlockpt, //
    },
};

/// Runs the shell on a terminal, pastes `typed` into the terminal at once, and returns the output.
fn shown(typed: &str) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut ours = File::from(ours);
    ours.write_all(typed.as_bytes()).unwrap();

    // A line that is lost would leave the shell waiting for ever.
    let mut child = Command::new("timeout")
        .args(["--foreground", "20", env!("CARGO_BIN_EXE_slablab")])
        .args(["shell", "--target", "sim", "--pool", "1"])
        .env("TERM", "xterm")
        .stdin(Stdio::from(theirs.try_clone().unwrap()))
        .stdout(Stdio::from(theirs.try_clone().unwrap()))
        .stderr(Stdio::from(theirs))
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    // When the other end of a terminal is closed, a read returns an error instead of 0 bytes.
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = ours.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..count]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn lines_pasted_at_once_are_all_read() {
    let shown = shown("alloc 100\ralloc 5000\rcheck\rquit\r");
    for answer in [
        "112 bytes, path growth",
        "8192 bytes, path buddy",
        "no violation found",
    ] {
        assert!(shown.contains(answer), "{answer:?} is missing in:\n{shown}");
    }
}

#[test]
fn the_tab_key_completes_commands_and_names() {
    let shown = shown("let first = alloc 100\rre\t\t\u{15}read\tfi\t0 4\rfr\tfi\t\rnames\rquit\r");
    for answer in [
        "first: handle 1048576",
        "|....|",
        "first: handle 1048576, freed",
    ] {
        assert!(shown.contains(answer), "{answer:?} is missing in:\n{shown}");
    }
}
