// SPDX-License-Identifier: GPL-2.0

//! Tests of the shell's commands, on the target `sim`.

use super::*;
use crate::{
    sim::Sim,
    target::Target,
    uapi::Engine, //
};

const NEW: Origin = Origin {
    is_new: true,
    debug: false,
};

/// Begins a session whose operations are recorded.
fn begin(target: &dyn Target) -> ShellSession<'_> {
    target.record(events::RECORDED_EVENTS).unwrap();
    ShellSession::new(target, Drawing::begin(target, NEW).unwrap())
}

fn say(session: &mut ShellSession<'_>, line: &str) -> String {
    match session.execute(line) {
        Ok(text) => text.unwrap_or_else(|| "bye".to_owned()),
        Err(problem) => format!("error: {problem}"),
    }
}

#[test]
fn a_block_is_written_and_read() {
    let sim = Sim::private(Engine::Seed, 1 << 20).unwrap();
    let session = &mut begin(&sim);
    let printed = say(session, "alloc 100 64");
    assert!(
        printed.starts_with("handle 1048576, offset 0x"),
        "{printed}"
    );
    assert_eq!(say(session, "write 1048576 2 two  words"), "10 bytes\n");
    assert_eq!(
        say(session, "read 1048576 0 16"),
        "00000000  00 00 74 77 6f 20 20 77 6f 72 64 73 00 00 00 00  |..two  words....|\n"
    );
    assert_eq!(
        say(session, "check").split(',').next(),
        Some("no violation found")
    );
    assert_eq!(say(session, "free 1048576"), "");
    assert_eq!(
        say(session, "free 1048576"),
        "error: block 1048576 is not live (ENOENT)"
    );
}

#[test]
fn a_block_has_a_name() {
    let sim = Sim::private(Engine::Hybrid, 1 << 20).unwrap();
    let session = &mut begin(&sim);
    let printed = say(session, "let a = alloc 100");
    assert!(
        printed.starts_with("a: handle 1048576, offset 0x"),
        "{printed}"
    );
    assert_eq!(say(session, "write a 0 hello"), "5 bytes\n");
    assert!(say(session, "read a 0 5").ends_with("|hello|\n"));
    assert!(say(session, "let b=alloc 2k 4k").starts_with("b: handle 1048577"));
    assert!(say(session, "realloc $last 64").starts_with("handle 1048577"));
    assert_eq!(say(session, "let c = $last"), "c: handle 1048577\n");
    assert!(say(session, "let d = realloc a 200").starts_with("d: handle 1048576"));
    assert_eq!(session.live_names(), ["a", "b", "c", "d"]);
    assert_eq!(say(session, "free c"), "");
    assert_eq!(session.live_names(), ["a", "d"]);
    assert_eq!(
        say(session, "names"),
        "a: handle 1048576\nb: handle 1048577, freed\nc: handle 1048577, freed\n\
         d: handle 1048576\n"
    );
    assert_eq!(
        say(session, "free b"),
        "error: block b (handle 1048577) is not live (ENOENT)"
    );
    // Giving a name to another block prints a note if the old block is still live.
    let again = say(session, "let a = alloc 8");
    let note = "the block that a named before is still live: handle 1048576\n";
    assert!(again.ends_with(note), "{again}");
}

#[test]
fn a_name_that_is_none_is_explained() {
    let sim = Sim::private(Engine::Hybrid, 1 << 20).unwrap();
    let session = &mut begin(&sim);
    assert!(say(session, "free $last").starts_with("error: $last is the block"));
    assert_eq!(
        say(session, "free first"),
        "error: no block is named 'first'"
    );
    say(session, "let first = alloc 8");
    assert_eq!(
        say(session, "free frist"),
        "error: no block is named 'frist': did you mean 'first'?"
    );
    for line in [
        "let 1a = alloc 8",
        "let = alloc 8",
        "let a b = alloc 8",
        "let a- = alloc 8",
    ] {
        let printed = say(session, line);
        assert!(
            printed.contains("is not a name: a name has only letters"),
            "{printed}"
        );
    }
    let usage = "error: usage: let NAME = alloc SIZE [ALIGN]";
    for line in ["let", "let a", "let a = free first"] {
        assert_eq!(say(session, line), usage, "{line}");
    }
    assert_eq!(
        say(session, "let a = alloc 8 8 8"),
        "error: usage: alloc SIZE [ALIGN]"
    );
    assert_eq!(say(session, "let a = "), usage);
    assert_eq!(
        say(session, "let a = alloc"),
        "error: usage: alloc SIZE [ALIGN]"
    );
    assert_eq!(
        say(session, "let a = realloc"),
        "error: usage: realloc BLOCK SIZE"
    );
    assert!(say(session, "free a-b").contains("is not a block: write a name, $last or"));
    // An allocation that failed names no block.
    assert!(say(session, "let x = alloc 4g").contains("too big"));
    assert_eq!(say(session, "free x"), "error: no block is named 'x'");
}

#[test]
fn the_pool_is_drawn_after_each_step() {
    let sim = Sim::private(Engine::Hybrid, 1 << 18).unwrap();
    let session = &mut begin(&sim);
    let row = |session: &mut ShellSession<'_>| {
        let text = say(session, "map");
        let plain = report::plain(&text);
        plain.lines().nth(1).unwrap_or_default().trim().to_owned()
    };
    assert_eq!(row(session), format!("0  {}", ".".repeat(64)));
    say(session, "alloc 5000");
    say(session, "alloc 8");
    // The magazine got a block in advance, which lies beside the one of the caller.
    assert_eq!(row(session), format!("0  ####...a{}", ".".repeat(56)));
    // A freed block stays in the CPU's magazine until SHRINK flushes it.
    say(session, "free 1048576");
    assert_eq!(row(session), format!("0  ####...a{}", ".".repeat(56)));
    say(session, "shrink");
    assert_eq!(row(session), format!("0  .......a{}", ".".repeat(56)));
}

#[test]
fn the_seed_is_drawn_from_what_was_done() {
    let sim = Sim::private(Engine::Seed, 1 << 18).unwrap();
    let session = &mut begin(&sim);
    let rows = |session: &mut ShellSession<'_>| {
        let plain = report::plain(&say(session, "map"));
        let rows = plain.lines().filter(|line| line.starts_with("      0  "));
        rows.map(|line| line.trim()[3..].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(session), [".".repeat(64)]);
    // `alloc 5000` takes 8 KiB of the buddy system. `alloc 8` takes one page for a set of 64 blocks of 64 B.
    say(session, "let big = alloc 5000");
    say(session, "alloc 8");
    assert_eq!(rows(session), [format!("##a{}", ".".repeat(61))]);
    say(session, "free big");
    say(session, "extend 32k");
    assert_eq!(
        rows(session),
        [format!("..a{}", ".".repeat(61)), ".".repeat(8)]
    );
    // More operations than the ring of events holds.
    for _ in 0..2000 {
        say(session, "alloc 5000");
        say(session, "free $last");
    }
    assert_eq!(
        rows(session),
        [format!("..a{}", ".".repeat(61)), ".".repeat(8)]
    );
}

#[test]
fn events_list_the_operations_of_the_session() {
    let sim = Sim::private(Engine::Hybrid, 1 << 20).unwrap();
    let session = &mut begin(&sim);
    sim.end_record().unwrap();
    assert_eq!(
        say(session, "events"),
        "error: the operations of this session are not recorded (ENXIO)"
    );
    sim.record(events::RECORDED_EVENTS).unwrap();
    let printed = say(session, "alloc 100 64");
    say(session, "realloc 1048576 2m");
    say(session, "alloc 8 3");
    say(session, "free 1048576");
    say(session, "free 1048576");
    let (_, place) = printed.split_once(", ").unwrap();
    assert_eq!(
        say(session, "events"),
        format!(
            "   0  alloc 100 64: {printed}   1  realloc 1048576 2097152: refused, too big: 2 MiB do \
             not fit into the pool, even if the pool is empty (ENOMEM)\n   2  alloc 8 ?: the alignment is \
             not a power of two (EINVAL)\n   3  free 1048576: handle 1048576, {}path magazine, \
             class 11\n   4  free 1048576: block 1048576 is not live (ENOENT)\n",
            place.split_once("path").unwrap().0,
        )
    );
    assert_eq!(
        say(session, "events 1"),
        "   4  free 1048576: block 1048576 is not live (ENOENT)\n"
    );
    for _ in 0..2000 {
        say(session, "free 5");
    }
    assert_eq!(say(session, "events 2000").lines().count(), 1024);
}

#[test]
fn errors_are_complete_sentences() {
    let sim = Sim::private(Engine::Seed, 1 << 20).unwrap();
    let session = &mut begin(&sim);
    for (line, printed) in [
        (
            "alloc 2m",
            "refused, too big: 2 MiB do not fit into the pool, even if the pool is empty (ENOMEM)",
        ),
        (
            "alloc 64 3",
            "the alignment 3 is not a power of two (EINVAL)",
        ),
        (
            "alloc 0",
            "the size of a block must be at least 1 byte (EINVAL)",
        ),
        ("alloc", "usage: alloc SIZE [ALIGN]"),
        ("stats now", "usage: stats"),
        (
            "alloc many",
            "'many' is not a number of bytes; write 100, 0x40, 4k, 2m or 1g (KiB, MiB, GiB)",
        ),
        ("free 99", "block 99 is not live (ENOENT)"),
        ("read 99 0 4", "block 99 is not live (ENOENT)"),
        (
            "read 4294967295 0 4",
            "block 4294967295 is not live (EINVAL)",
        ),
        (
            "free 99999999999",
            "'99999999999' is not a block: write a name, $last or a handle",
        ),
        (
            "aloc 1",
            "there is no command 'aloc': did you mean 'alloc'? ('help' lists the commands)",
        ),
        (
            "dance",
            "there is no command 'dance' ('help' lists the commands)",
        ),
        (
            "extend 1",
            "the size of a region must be a multiple of 32k and at most 4g (EINVAL)",
        ),
        ("events 0", "the number of events must be at least 1"),
    ] {
        assert_eq!(say(session, line), format!("error: {printed}"), "{line}");
    }
    say(session, "let a = alloc 100");
    for (line, printed) in [
        (
            "realloc a 0",
            "the size of a block must be at least 1 byte; use 'free' to free it (EINVAL)",
        ),
        (
            "read a 4096 4",
            "byte 4096 is outside of block a (handle 1048576) (ENXIO)",
        ),
        (
            "write a 5g x",
            "'5g' is too large: the number of a byte must be less than 4g",
        ),
    ] {
        assert_eq!(say(session, line), format!("error: {printed}"), "{line}");
    }
    assert_eq!(say(session, "  # a comment"), "");
    assert_eq!(say(session, "quit"), "bye");
}

#[test]
fn the_help_names_every_command() {
    let sim = Sim::private(Engine::Hybrid, 1 << 20).unwrap();
    let session = &mut begin(&sim);
    let help = say(session, "help");
    for entry in &command::COMMANDS {
        assert!(help.contains(entry.word), "{}", entry.word);
        let printed = say(session, entry.word);
        assert!(!printed.contains("there is no command"), "{printed}");
    }
}
