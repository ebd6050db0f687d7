// SPDX-License-Identifier: GPL-2.0

//! Tests of the explanations.

use super::*;

const POOL_BYTES: u64 = 64 << 10;
const POOL: TestPool = TestPool {
    bytes: POOL_BYTES,
    whole_pages: false,
};

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
    explain(failure, &history, POOL)
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
            "Operation: free the block of 64 bytes aligned to 8 at offset 0x40 (request 7 of the test)\n\
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
    let failure = Failure::Answer(
        "a request of 100 bytes was refused as fragmented, but the pool has room".to_owned(),
    );
    let request = |size, align| Request::Alloc { size, align };
    let text = explained(&failure, request(100, 128), Answer::Refused);
    assert!(text.contains("room for 104 bytes at 0x100"), "{text}");
    let text = explained(&failure, request(60, 64), Answer::Refused);
    assert!(text.contains("room for 64 bytes at 0x40"), "{text}");
    let text = explained(&failure, request(POOL_BYTES - 128, 8), Answer::Refused);
    assert!(!text.contains("room for"), "{text}");
    assert!(
        text.contains("\nYour `allocate` returned `Ok(None)`, but the pool has room.\n"),
        "{text}"
    );
}

#[test]
fn a_failure_before_the_first_request_is_one_of_new() {
    let failure = breach(
        AllocatorRule::AccessInPool,
        AllocatorFunction::New,
        POOL_BYTES,
        12,
    );
    let text = explain(&failure, &History::default(), POOL);
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
        text.starts_with(
            "Operation: resize the block of 40 bytes aligned to 8 at offset 0x40 to 200 bytes"
        ),
        "{text}"
    );
    assert!(text.contains("3 live blocks with 112 bytes"), "{text}");
    assert!(text.contains("▲ 0x80 would belong to two blocks"), "{text}");
}

/// Returns the explanation of a wrong answer on a pool of an exercise with slabs.
fn answered(text: &str, request: Request, answer: Answer) -> String {
    let history = History {
        live: vec![block(0, 64), block(128, 8)],
        requests: 7,
        last: Some((request, answer)),
    };
    let pool = TestPool {
        whole_pages: true,
        ..POOL
    };
    explain(&Failure::Answer(text.to_owned()), &history, pool)
}

#[test]
fn room_in_an_exercise_with_slabs_is_a_whole_page() {
    let alloc = |size| Request::Alloc { size, align: 8 };
    let refused = "a request of 100 bytes was refused as fragmented, but the pool has room";
    let text = answered(refused, alloc(100), Answer::Refused);
    assert!(text.contains("room for 104 bytes at 0x1000"), "{text}");
    let text = answered(refused, alloc(POOL_BYTES - 4096), Answer::Refused);
    assert!(text.contains("at 0x1000"), "{text}");
    let text = answered(refused, alloc(POOL_BYTES - 4088), Answer::Refused);
    assert!(!text.contains("room for"), "{text}");
    // The failure is not the refusal.
    let text = answered(
        "blocks: 63 expected, 126 found",
        alloc(100),
        Answer::Refused,
    );
    assert!(!text.contains("room for"), "{text}");
}

#[test]
fn a_resize_that_moves_a_block_is_shown_at_the_old_place() {
    let request = Request::Realloc {
        block: JournalBlock {
            align: 1024,
            ..block(4096, 104)
        },
        size: 121,
    };
    let text = answered(
        "a resize from 100 to 121 bytes moved the block from 0x1000 to 0x2000, but there was room",
        request,
        Answer::Block(block(8192, 128)),
    );
    assert!(
        text.starts_with(
            "Operation: resize the block of 104 bytes aligned to 1024 at offset 0x1000 to 128 bytes (request 7 of the test)\n\
             A resize from 104 to 128 bytes moved the block from 0x1000 to 0x2000, but there was room. \
             Your `resize` returned false.\n"
        ),
        "{text}"
    );
    // The lowest row begins at 0xf30, and a column has 8 bytes.
    let old = format!(
        "\n0xf30     {}\n{:36}└───────────┘ the block before it moved\n",
        "·".repeat(64),
        ""
    );
    assert!(text.contains(&old), "{text}");
}

#[test]
fn a_refused_shrink_is_explained_without_room() {
    let request = Request::Realloc {
        block: block(4096, 8192),
        size: 4096,
    };
    let text = answered(
        "a resize was refused as exhausted",
        request,
        Answer::Refused,
    );
    assert!(text.contains("\nYour `resize` returned false, "), "{text}");
    assert!(
        text.contains("\nThe rule: a block that shrinks can always keep its place.\n"),
        "{text}"
    );
    assert!(!text.contains("room for 4096"), "{text}");
    // The block to be resized is no room for a larger one.
    let request = Request::Realloc {
        block: block(4096, 8192),
        size: 8200,
    };
    let text = answered(
        "a resize was refused as fragmented",
        request,
        Answer::Refused,
    );
    assert!(text.contains("room for 8200 bytes at 0x3000"), "{text}");
}

#[test]
fn a_breach_in_allocate_during_a_resize_says_why_it_was_called() {
    let failure = breach(
        AllocatorRule::AccessInPool,
        AllocatorFunction::Allocate,
        POOL_BYTES,
        3,
    );
    let request = Request::Realloc {
        block: block(64, 8),
        size: 371,
    };
    let text = explained(&failure, request, Answer::None);
    let reason = "line 3). Your `resize` returned false, so `allocate` was called for 376 bytes.\n";
    assert!(text.contains(reason), "{text}");
    let text = explained(&failure, Request::Alloc { size: 8, align: 8 }, Answer::None);
    assert!(!text.contains("`resize`"), "{text}");
}

#[test]
fn a_failure_in_which_the_allocator_does_not_return_is_a_crash() {
    let is_crash = |rule| breach(rule, AllocatorFunction::Free, 0, 1).is_crash();
    assert!(is_crash(AllocatorRule::CallEnds));
    assert!(!is_crash(AllocatorRule::AccessInPool));
    assert!(!is_crash(AllocatorRule::OwnCheck));
}
