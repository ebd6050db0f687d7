// SPDX-License-Identifier: GPL-2.0

//! Eight patterns with few objects of each size class in a small pool: mostly blocks of 8 to 512 B, and a peak of 70 to
//! 200 KiB of live bytes.
//!
//! An allocator with slabs needs at least one slab for each size class in use. In a large pool these slabs are
//! full; here most of them are not.

use super::{
    Id,
    Maker,
    patterns, //
};

patterns! { Small:
    "small-mix", small_mix, "1,200 blocks of 8 to 256 B, log-uniform, replaced at random";
    "small-strings", small_strings, "three thousand names and lines of text, replaced at random";
    "small-records", small_records, "records of twelve kinds, replaced at random";
    "small-arrays", small_arrays, "arrays of words that grow one element at a time";
    "small-words", small_words, "counts words: a node and a copy of each word, and a table that doubles";
    "small-graph", small_graph, "a graph: nodes with lists of neighbours, rebuilt part by part";
    "small-parser", small_parser, "tokens and a tree per statement; one name in eight is permanent";
    "small-sessions", small_sessions, "sessions that come and go, with twenty different objects each";
}

/// Replaces random members of `held` by blocks of sizes from `draw`.
fn replace(trace: &mut Maker, count: usize, steps: usize, draw: fn(&mut Maker) -> u64) {
    let mut held: Vec<Id> = Vec::new();
    for _ in 0..trace.times(steps) {
        if held.len() >= count {
            let id = trace.pick(&mut held);
            trace.free(id);
        }
        let size = draw(trace);
        held.push(trace.alloc(size));
    }
}

fn small_mix(trace: &mut Maker) {
    replace(trace, 1_200, 9_000, |trace| trace.rng.doubling(8, 255));
}

/// Allocates names of 8 to 24 B, and lines of text of up to 120 B.
fn small_strings(trace: &mut Maker) {
    replace(trace, 3_000, 15_000, |trace| match trace.rng.chance(3, 4) {
        true => trace.between(8, 24),
        false => trace.between(20, 120),
    });
}

/// Allocates records of twelve kinds. Kinds at the start of the list are more frequent.
fn small_records(trace: &mut Maker) {
    const KINDS: [u64; 12] = [24, 32, 56, 16, 64, 120, 28, 40, 128, 60, 248, 96];
    replace(trace, 1_500, 12_000, |trace| {
        let kind = trace.rng.index(KINDS.len());
        KINDS[kind.min(trace.rng.index(KINDS.len()))]
    });
}

/// Grows arrays of 8-byte words: a full array doubles, up to 64 words. A few arrays are freed.
fn small_arrays(trace: &mut Maker) {
    let mut arrays: Vec<(Id, u64)> = Vec::new();
    for _ in 0..trace.times(30_000) {
        if arrays.is_empty() || trace.rng.chance(1, 12) {
            arrays.push((trace.alloc(16), 0));
        }
        if arrays.len() > 1_500 {
            let (id, _) = trace.pick(&mut arrays);
            trace.free(id);
        }
        let index = trace.rng.index(arrays.len());
        let (id, words) = &mut arrays[index];
        *words = (*words + 1).min(64);
        if *words * 8 > trace.size(*id) {
            let size = trace.size(*id) * 2;
            trace.realloc(*id, size);
        }
    }
}

/// Counts words: each new word gets a node of 24 B and a copy. The table of nodes doubles. Then the least used words
/// are dropped, and others come.
fn small_words(trace: &mut Maker) {
    let mut words: Vec<[Id; 2]> = Vec::new();
    let mut table = trace.alloc(64);
    for _ in 0..trace.times(9_000) {
        let size = trace.between(3, 14);
        words.push([trace.alloc(24), trace.alloc(size)]);
        if words.len() as u64 * 8 > trace.size(table) {
            let size = trace.size(table) * 2;
            let larger = trace.alloc(size);
            trace.free(table);
            table = larger;
        }
        if words.len() > 2_500 {
            for _ in 0..400 {
                let word = trace.pick(&mut words);
                trace.free_all(word);
            }
        }
    }
}

/// Holds a graph: each node has a list of up to 16 neighbours. Parts of the graph are removed and built again.
fn small_graph(trace: &mut Maker) {
    let mut nodes: Vec<[Id; 2]> = Vec::new();
    for _ in 0..trace.times(60) {
        while nodes.len() < 1_200 {
            let neighbours = 1 + trace.rng.doubling(1, 15);
            nodes.push([trace.alloc(40), trace.alloc(neighbours * 8)]);
        }
        for _ in 0..400 {
            let node = trace.pick(&mut nodes);
            trace.free_all(node);
        }
    }
}

/// Parses statements: tokens and tree nodes are freed with their statement, every eighth name is permanent.
fn small_parser(trace: &mut Maker) {
    let mut names = Vec::new();
    for _ in 0..trace.times(120) {
        let mut nodes = Vec::new();
        for _ in 0..trace.between(100, 1_200) {
            let token = trace.between(10, 24);
            nodes.push(trace.alloc(token));
            if trace.rng.chance(1, 2) {
                let children = trace.between(1, 6);
                nodes.push(trace.alloc(24 + children * 8));
            }
            if trace.rng.chance(1, 8) {
                let name = trace.between(4, 20);
                names.push(trace.alloc(name));
            }
        }
        trace.free_all(nodes);
        if names.len() > 2_400 {
            let rest = names.split_off(800);
            trace.free_all(std::mem::replace(&mut names, rest));
        }
    }
}

/// Holds a dozen sessions of twenty objects, each of a size of its own. The oldest session ends first, except for one
/// in four, which lives longer.
fn small_sessions(trace: &mut Maker) {
    let mut sessions: Vec<Vec<Id>> = Vec::new();
    for _ in 0..trace.times(250) {
        let mut objects = Vec::new();
        for number in 1..=20 {
            let text = trace.between(0, 7);
            objects.push(trace.alloc(8 * number + text));
        }
        sessions.push(objects);
        if sessions.len() > 90 {
            let oldest = if trace.rng.chance(1, 4) { 20 } else { 0 };
            let objects = sessions.remove(oldest);
            trace.free_all(objects);
        }
    }
}
