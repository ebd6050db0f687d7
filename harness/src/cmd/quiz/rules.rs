// SPDX-License-Identifier: GPL-2.0

//! The rules of each engine, as the page in front of the questions shows them.
//!
//! The rules suffice to answer every question: `tests::pencil` answers the questions of many quizzes by these rules alone.

use anyhow::Context;

use super::{
    POOL_BYTES,
    QuizEngine, //
};
use crate::{
    report::bytes,
    target::Target, //
};

/// The largest size class that the rules of `hybrid` name.
const NAMED_BYTES_MAX: u64 = 256;

/// Returns the rules of an engine. `target` is a session on it.
///
/// # Errors
///
/// When the session does not answer.
pub(super) fn of(engine: QuizEngine, target: &dyn Target) -> anyhow::Result<Vec<String>> {
    let stats = target.stats().context("STATS failed")?;
    let classes = stats.classes.iter().take(stats.class_count as usize);
    let classes = classes.map(|class| class.block_bytes);
    let pool = bytes(POOL_BYTES);
    Ok(match engine {
        QuizEngine::Buddy => {
            let mut rules = vec![format!(
                "The allocator is the buddy system of the engine seed. At the beginning, its pool of {pool} is one \
                 free block. All requests are above 4 KiB, which is too large for the slabs of seed."
            )];
            rules.extend(buddy().map(str::to_owned));
            rules.push(
                "If no free block is large enough, the request is refused: as too big if its block is larger than the \
                 pool; as exhausted if its block is larger than all free blocks together; otherwise as fragmented."
                    .to_owned(),
            );
            rules
        }
        QuizEngine::Seed => {
            let classes: Vec<_> = classes.map(|bytes| bytes.to_string()).collect();
            let mut rules = vec![
                format!(
                    "The allocator has slabs over a buddy system. At the beginning, its pool of {pool} is one free \
                     block of the buddy system, and the slabs are empty."
                ),
                format!(
                    "A request of at most 4 KiB goes to the slab with the smallest blocks that are large enough: {} \
                     bytes.",
                    classes.join(", ")
                ),
                "The free blocks of a slab are a stack: the block that was freed last is allocated first, and a free \
                 puts its block on top (path slab)."
                    .to_owned(),
                "If the stack is empty, the slab takes 64 blocks in one piece from the buddy system (path growth). The \
                 block with the highest offset is allocated first, then the next lower one."
                    .to_owned(),
                "A slab returns no memory to the buddy system.".to_owned(),
                "A larger request goes to the buddy system (path buddy).".to_owned(),
            ];
            rules.extend(buddy().map(str::to_owned));
            rules.push(
                "If no free block is large enough for a request or for the 64 blocks of a growth, the request is \
                 refused: as too big if the block that it needs is larger than the pool; as exhausted if this block \
                 is larger than all free blocks together; otherwise as fragmented. Blocks in the stacks of slabs are \
                 not free in this sense."
                    .to_owned(),
            );
            rules
        }
        QuizEngine::Hybrid => {
            let named = classes.filter(|bytes| *bytes <= NAMED_BYTES_MAX);
            let named: Vec<_> = named.map(|bytes| bytes.to_string()).collect();
            hybrid(&pool, &named.join(", "))
        }
    })
}

/// Returns the rules of the buddy system of `seed`.
fn buddy() -> [&'static str; 4] {
    [
        "The buddy system rounds a request up to the next power of two: a request of 40 KiB gets a block of 64 KiB.",
        "The buddy system takes the smallest free block that is large enough; of several, the one that became free last. A block \
         that is too large is split into halves: the lower half is used, or split again, and the upper half becomes \
         free.",
        "The buddy of a block of size S at offset O is the block of size S at offset O xor S. A freed block merges \
         with its buddy if the whole buddy is free in one piece. The result merges with its own buddy in the same way, \
         and so on. The last result becomes free.",
        "A split makes two blocks of one. A merge makes one block of two.",
    ]
}

/// Returns the rules of `hybrid`, of which some size classes are named.
fn hybrid(pool: &str, classes: &str) -> Vec<String> {
    let mut rules = vec![format!(
        "The allocator has magazines over slabs over a buddy system. At the beginning, its pool of {pool} is one \
         free block of the buddy system."
    )];
    rules.push(format!(
        "A request of at most 4 KiB gets an object of the smallest size class that is large enough: {classes}, … \
         bytes. A slab of these classes is one page of 4 KiB, cut into objects from its first byte on."
    ));
    let rest = [
        "Each class has a magazine, a stack of free objects. If the magazine has an object, an allocation takes the \
         object on top (path magazine). A free puts its object on top (path magazine).",
        "If an allocation finds the magazine empty, or a free finds it full, the capacity of the magazine is raised \
         first: from 0 to 4 objects, then to 8, then to 16.",
        "An allocation that found the magazine empty then takes 1 object, and as many as half of the new capacity \
         besides, from the slab of the class: the objects with the lowest offsets that are not allocated and not in the \
         magazine. The lowest object serves the request. The others go into the magazine, with the lowest on top. If the \
         class has a slab already, this is the path slab. If not, a page of the buddy system becomes the slab of the \
         class (path growth).",
        "A larger request gets the smallest number of whole pages of 4 KiB (path buddy): a request of 254 KiB gets 64 \
         pages, 256 KiB. The sizes in this quiz are chosen so that this number is a power of two, unless the request is \
         too big.",
        "Free blocks have a power of two of pages. The buddy system takes the smallest free block that is large \
         enough. Of several free blocks of this size, whole pages take the one with the lowest offset, and a slab takes the one \
         with the highest offset. A block that is too large is split into halves. For whole pages, the lower half is \
         used, or split again, and the upper half becomes free. For a slab, the upper half is used, or split again, and \
         the lower half becomes free.",
        "The buddy of a block of size S at offset O is the block of size S at offset O xor S. A freed block merges \
         with its buddy if the whole buddy is free in one piece. The result merges with its own buddy in the same way, \
         and so on. The last result becomes free.",
        "If no free block is large enough, the magazines are emptied into the slabs and get the capacity 0. Then the \
         slabs without an allocated object are freed to the buddy system, smaller classes first, and the request is \
         tried again.",
        "If there is still no block that is large enough, the request is refused: as exhausted if it has more pages \
         than are free; otherwise as fragmented. A request of more pages than the pool has is refused at once as too \
         big, and changes nothing.",
        "The allocator can also serve a request from adjacent free blocks that are no buddies. It serves no request of \
         this quiz in this way.",
    ];
    rules.extend(rest.map(str::to_owned));
    rules
}
