// SPDX-License-Identifier: GPL-2.0

//! Tests of the explanations.

use super::*;

const POOL_BYTES: u64 = 64 << 10;

fn block(offset: u64, bytes: u64) -> JournalBlock {
    JournalBlock {
        offset,
        bytes,
        align: 8,
    }
}

fn breach(rule: AllocatorRule, function: AllocatorFunction, offset: u64, line: u32) -> Failure {
    Failure::Breach(Breach {
        rule: rule.raw(),
        function: function.raw(),
        line,
        offset,
        sentence: String::new(),
    })
}

/// Returns the explanation of a failure in the last of seven requests, while two blocks are live.
fn explained(failure: &Failure, request: Request, answer: Answer) -> String {
    let history = History {
        live: vec![block(0, 64), block(128, 8)],
        requests: 7,
        last: Some((request, answer)),
    };
    explain(failure, &history, POOL_BYTES)
}

#[test]
fn a_misaligned_block_is_explained_with_its_alignment() {
    let failure = breach(
        AllocatorRule::BlockAligned,
        AllocatorFunction::Allocate,
        72,
        0,
    );
    let request = Request::Alloc {
        size: 20,
        align: 64,
    };
    let text = explained(&failure, request, Answer::None);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "Operation: allocate 24 bytes aligned to 64 (request 7 of the test)",
            "Your `allocate` returned offset 0x48, which is not a multiple of 64.",
            "The rule: a block begins at a multiple of the alignment in its layout, here 64."
        ]
    );
    assert!(text.contains("\n0x0       ████████········▓····"), "{text}");
    assert!(text.contains("└─┘ the block that was returned"), "{text}");
}

#[test]
fn an_access_to_a_live_block_names_the_block_and_the_line() {
    let rule = AllocatorRule::AccessOutsideOfBlocks;
    let failure = breach(rule, AllocatorFunction::Free, 128, 31);
    let text = explained(&failure, Request::Free(block(64, 64)), Answer::None);
    assert!(
        text.starts_with(
            "Operation: free the block of 64 bytes at offset 0x40 (request 7 of the test)\n\
             Your `free` accessed offset 0x80, which belongs to a live block, the one of 8 bytes at 0x80 \
             (rust/student/lib.rs, line 31).\n"
        ),
        "{text}"
    );
    assert!(text.contains("└──────┘ the block that is freed"), "{text}");
    assert!(text.contains("▲ the access at 0x80"), "{text}");
}

#[test]
fn a_note_that_does_not_exist_is_named() {
    let failure = breach(
        AllocatorRule::NoteExists,
        AllocatorFunction::Allocate,
        9 << 32 | 3,
        5,
    );
    let text = explained(&failure, Request::Alloc { size: 8, align: 8 }, Answer::None);
    assert!(
        text.contains("Your `allocate` accessed note 9 of page 3"),
        "{text}"
    );
}

#[test]
fn a_refused_request_shows_where_there_is_room() {
    let failure = Failure::Answer("a request of 100 bytes was refused".to_owned());
    let request = |size, align| Request::Alloc { size, align };
    let text = explained(&failure, request(100, 128), Answer::Refused);
    assert!(text.contains("room for 104 bytes at 0x100"), "{text}");
    let text = explained(&failure, request(60, 64), Answer::Refused);
    assert!(text.contains("room for 64 bytes at 0x40"), "{text}");
    let text = explained(&failure, request(POOL_BYTES - 128, 8), Answer::Refused);
    assert!(!text.contains("room for"), "{text}");
}

#[test]
fn a_failure_before_the_first_request_is_one_of_new() {
    let failure = breach(
        AllocatorRule::AccessInPool,
        AllocatorFunction::New,
        POOL_BYTES,
        12,
    );
    let text = explain(&failure, &History::default(), POOL_BYTES);
    assert!(
        text.starts_with("Operation: new, for a pool of 65536 bytes\nYour `new` accessed the word"),
        "{text}"
    );
}

#[test]
fn a_resized_block_is_shown_as_live() {
    let failure = breach(
        AllocatorRule::BlockDisjoint,
        AllocatorFunction::Resize,
        128,
        0,
    );
    let request = Request::Realloc {
        block: block(64, 40),
        size: 200,
    };
    let text = explained(&failure, request, Answer::None);
    assert!(
        text.starts_with("Operation: resize the block of 40 bytes at offset 0x40 to 200 bytes"),
        "{text}"
    );
    assert!(text.contains("3 live blocks with 112 bytes"), "{text}");
    assert!(text.contains("▲ 0x80 would belong to two blocks"), "{text}");
}
