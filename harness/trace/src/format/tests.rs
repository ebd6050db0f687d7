// SPDX-License-Identifier: GPL-2.0

//! Tests of the formats: valid files, invalid files, and random input.

use proptest::prelude::*;

use super::*;
use crate::{
    Builder,
    Kind,
    Op,
    pattern,
    rng::Rng, //
};

fn ops(text: &str) -> Vec<Op> {
    parse("test", text.as_bytes()).unwrap().ops().to_vec()
}

fn bad(text: &str) -> (usize, LineError) {
    let bad = parse("test", text.as_bytes()).unwrap_err();
    (bad.line, bad.why)
}

fn alloc(id: u32, bytes: u32, align: u32, cpu: u16) -> Op {
    let kind = Kind::Alloc { bytes, align };
    Op { id, cpu, kind }
}

#[test]
fn a_file_with_every_element_of_the_format_is_read() {
    let text = "slablab-trace 1\r\nname  two blocks \nsource by hand\n\n# a comment\n  a 7 100\n\
                a 9 4096 4096 @1\nr 7 300\nf 9 @2\nf 7\na 7 1\n";
    let trace = parse("file", text.as_bytes()).unwrap();
    assert_eq!((&*trace.name, &*trace.source), ("two blocks", "by hand"));
    let free = |id, cpu| Op {
        id,
        cpu,
        kind: Kind::Free,
    };
    let realloc = Op {
        id: 0,
        cpu: 0,
        kind: Kind::Realloc { bytes: 300 },
    };
    assert_eq!(
        trace.ops(),
        [
            alloc(0, 100, 8, 0),
            alloc(1, 4096, 4096, 1),
            realloc,
            free(1, 2),
            free(0, 0),
            alloc(2, 1, 8, 0),
        ]
    );
    assert_eq!((trace.blocks(), trace.peak_bytes()), (3, 4396));
    assert_eq!(parse("file", b"a 1 1").unwrap().name, "file");
}

#[test]
fn an_invalid_line_is_named_with_its_reason() {
    let word = |word: &str| word.to_owned();
    let no_number = |what, word: &str| LineError::NoNumber {
        what,
        word: word.to_owned(),
    };
    let cases = [
        ("slablab-trace 2\n", 1, LineError::Version(word("2"))),
        ("a 1 1\nx 2\n", 2, LineError::NoOperation(word("x"))),
        ("\n# c\na", 3, LineError::Missing("block")),
        ("a 1", 1, LineError::Missing("size")),
        ("a one 1", 1, no_number("block", "one")),
        ("a -1 1", 1, no_number("block", "-1")),
        ("a 1 4294967296", 1, no_number("size", "4294967296")),
        ("a 1 1 8 @65536", 1, no_number("CPU", "65536")),
        ("a 1 1 8 8", 1, LineError::TooMuch(word("8"))),
        ("a 1 1\nf 1 1", 2, LineError::TooMuch(word("1"))),
        ("a 1 0", 1, LineError::NoBytes),
        ("a 1 1\nr 1 0", 2, LineError::NoBytes),
        ("a 1 1 24", 1, LineError::Alignment(24)),
        ("a 1 1 0", 1, LineError::Alignment(0)),
        ("a 1 1 2147483648", 1, LineError::Alignment(1 << 31)),
        ("a 1 1\na 1 1", 2, LineError::AlreadyLive(word("1"))),
        ("a 1 1\nf 1\nf 1", 3, LineError::NotLive(word("1"))),
        ("r 5 1", 1, LineError::NotLive(word("5"))),
    ];
    for (text, line, why) in cases {
        assert_eq!(bad(text), (line, why), "{text:?}");
    }
    let line = parse("", b"a 1 1\nf \xff\n").unwrap_err();
    assert_eq!((line.line, line.why), (2, LineError::NotText));
    let long = format!("a {}", "9".repeat(1000));
    assert!(bad(&long).1.to_string().len() < 100);
}

#[test]
fn rep_headers_have_two_or_four_numbers_in_either_order() {
    let body = "a 0 512\na 1 128\nr 0 640\nf 1\nf 0\n";
    for header in [
        "2\n5\n",
        "5\n2\n",
        "20000\n2\n5\n1\n",
        "1\n2\n5\n20000\n",
        "1\n5\n2\n0\n",
        "\n2\n\n5\n\n",
    ] {
        let read = ops(&format!("{header}{body}"));
        assert_eq!(read.len(), 5, "{header:?}");
        assert_eq!(read[0], alloc(0, 512, 8, 0));
    }
    let counts = |header: &[u64]| LineError::Counts {
        header: header.to_vec(),
        blocks: 2,
        operations: 5,
    };
    assert_eq!(bad(&format!("2\n6\n{body}")), (2, counts(&[2, 6])));
    let four = [2, 5, 1, 20_000];
    assert_eq!(bad(&format!("2\n5\n1\n20000\n{body}")), (4, counts(&four)));
    assert_eq!(bad(&format!("2\n5\n1\n{body}")), (3, LineError::Header(3)));
    assert_eq!(bad(&format!("5\n{body}")), (1, LineError::Header(1)));
}

#[test]
fn rep_files_may_have_gaps_in_their_block_numbers() {
    let body = "a 2 8\na 6 8\nf 2\n";
    assert_eq!(ops(&format!("2\n3\n{body}")), ops(&format!("7\n3\n{body}")));
    let counts = LineError::Counts {
        header: vec![6, 3],
        blocks: 2,
        operations: 3,
    };
    assert_eq!(bad(&format!("6\n3\n{body}")), (2, counts));
}

#[test]
fn rep_operations_mean_the_same_as_in_c() {
    let read = ops("1\n4\nf -1\nr 3 10\nr 3 20\nr 3 0\n");
    let kinds: Vec<_> = read.iter().map(|op| op.kind).collect();
    let first = Kind::Alloc {
        bytes: 10,
        align: 8,
    };
    assert_eq!(kinds, [first, Kind::Realloc { bytes: 20 }, Kind::Free]);
    assert_eq!(bad("1\n1\nf 3\n"), (3, LineError::NotLive("3".into())));
    assert_eq!(bad("1\n1\nr 3 0\n"), (3, LineError::NotLive("3".into())));
    assert_eq!(bad("1\n1\na 3 0\n"), (3, LineError::NoBytes));
    assert_eq!(
        bad("1\n1\na 3 4\n7\n"),
        (4, LineError::NoOperation("7".into()))
    );
    assert_eq!(bad("99999999999999999999\n").0, 1);
    for line in ["a -1 10", "r -1 10", "f -2"] {
        let (at, why) = bad(&format!("1\n1\n{line}\n"));
        assert!(at == 3 && matches!(why, LineError::NoNumber { what: "block", .. }));
    }
}

#[test]
fn written_traces_are_read_back() {
    for pattern in pattern::all() {
        let trace = pattern.make(3, 2);
        let text = text::write(&trace);
        assert_eq!(parse("other", text.as_bytes()).unwrap(), trace);
        let rep = parse(&trace.name, rep::write(&trace).as_bytes()).unwrap();
        let plain = |trace: &Trace| {
            let kind = |op: &Op| match op.kind {
                Kind::Alloc { bytes, .. } => (op.id, Some(bytes), true),
                Kind::Realloc { bytes } => (op.id, Some(bytes), false),
                Kind::Free => (op.id, None, false),
            };
            trace.ops().iter().map(kind).collect::<Vec<_>>()
        };
        assert_eq!(plain(&rep), plain(&trace));
    }
}

#[test]
fn name_and_source_become_one_line_each() {
    let trace = Builder::new().finish("a\nf 1\u{1b}[31m", "\r\n");
    assert_eq!((&*trace.name, &*trace.source), ("a f 1 [31m", ""));
    let trace = trace.with_source("sh -c 'a\nf 2'");
    assert_eq!(trace.source, "sh -c 'a f 2'");
    assert_eq!(parse("", text::write(&trace).as_bytes()).unwrap(), trace);
}

/// Returns a trace of random operations.
fn random(seed: u64, operations: usize) -> Trace {
    let mut rng = Rng::new(seed);
    let mut builder = Builder::new();
    let mut live = Vec::new();
    for _ in 0..operations {
        builder.on_cpu(rng.below(3) as u16);
        let pick = rng.index(live.len().max(1));
        match rng.below(4) {
            0 if !live.is_empty() => builder.free(live.swap_remove(pick)),
            1 if !live.is_empty() => builder.realloc(live[pick], rng.doubling(1, 1 << 31) as u32),
            _ => live.push(builder.alloc(rng.doubling(1, 1 << 31) as u32, 1 << rng.below(31))),
        }
    }
    builder.finish("random", &format!("seed {seed}"))
}

proptest! {
    #[test]
    fn random_traces_are_read_back(seed: u64, operations in 0_usize..200) {
        let trace = random(seed, operations);
        prop_assert_eq!(parse("", text::write(&trace).as_bytes()).unwrap(), trace);
    }

    #[test]
    fn parsers_do_not_panic_on_random_bytes(bytes: Vec<u8>) {
        let _ = parse("", &bytes);
        let _ = rep::parse("", &bytes);
        let _ = ftrace::parse("", &bytes);
    }

    // Words of the formats reach deeper into the parsers than random bytes.
    #[test]
    fn parsers_do_not_panic_on_random_words(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "a", "r", "f", "0", "1", "2", "8", "-1", "@1", "@", "4294967295", "name", "#",
                "slablab-trace", "\n", "\n", "\n", "\r\n", "é", "18446744073709551616",
                "# tracer: nop\n", "[001]", ": kmalloc:", ": kfree:", "ptr=1", "bytes_req=8", "ptr=",
            ]),
            0..60,
        )
    ) {
        let text = words.join(" ");
        let _ = parse("", text.as_bytes());
        let _ = rep::parse("", text.as_bytes());
        let _ = ftrace::parse("", text.as_bytes());
    }

    // A trace that was read has the invariants of `Trace`, so it can be written and read again.
    #[test]
    fn traces_from_random_operations_have_the_invariants(
        lines in prop::collection::vec((0_usize..3, 0_u64..6, 0_u64..40), 0..60)
    ) {
        let mut text = String::new();
        for (kind, block, bytes) in &lines {
            text += &match kind {
                0 => format!("a {block} {bytes}\n"),
                1 => format!("r {block} {bytes}\n"),
                _ => format!("f {block}\n"),
            };
        }
        if let Ok(trace) = parse("t", text.as_bytes()) {
            prop_assert_eq!(parse("", text::write(&trace).as_bytes()).unwrap(), trace);
        }
    }
}
