// SPDX-License-Identifier: GPL-2.0

//! Sixteen patterns of newer programs: tens of thousands of mostly small blocks.

use super::{
    Id,
    Maker,
    patterns, //
};

patterns! { Newer:
    "tiny-random", tiny_random, "a set of blocks of 10 to 40 B, filled, then replaced at random";
    "tiny-queue", tiny_queue, "a queue of blocks of 10 to 40 B: first in, first out";
    "tiny-stack", tiny_stack, "a stack of blocks of 10 to 40 B that grows and shrinks in waves";
    "strings", strings, "strings replaced at random";
    "strings-longer", strings_longer, "frees two thirds of the strings and allocates longer ones";
    "lists", lists, "grows two lists alternately, frees one, and grows a third";
    "tree", tree, "tree nodes with keys, freed at random";
    "radix", radix, "radix tree nodes, replaced by larger ones as children are added";
    "chained", chained, "a chained hash table: entries, and an array that doubles";
    "tables", tables, "many open hash tables that double one by one";
    "vectors", vectors, "vectors that double and shrink by realloc";
    "documents", documents, "documents of objects, keys and texts, freed as a whole";
    "cache", cache, "a cache: node, key and value per entry, oldest entry freed first";
    "events", events, "an event loop: many timers, and short-lived buffers";
    "tokens", tokens, "a lexer: tokens freed per file, and permanent names";
    "rope", rope, "a rope: pieces of text that are split and grow";
}

/// Draws the length of a string: most are short, few are long.
fn length(trace: &mut Maker) -> u64 {
    let longest = 16 << trace.rng.below(4);
    trace.between(4, longest)
}

/// Draws a small size.
fn tiny(trace: &mut Maker) -> u64 {
    trace.between(10, 40)
}

/// Fills a set, and then replaces its members at random.
fn tiny_random(trace: &mut Maker) {
    let mut held = Vec::new();
    for _ in 0..trace.times(30_000) {
        let size = tiny(trace);
        held.push(trace.alloc(size));
    }
    for _ in 0..trace.times(20_000) {
        let id = trace.pick(&mut held);
        trace.free(id);
        let size = tiny(trace);
        held.push(trace.alloc(size));
    }
}

/// Imitates a queue: first in, first out.
fn tiny_queue(trace: &mut Maker) {
    let mut queue = std::collections::VecDeque::new();
    for _ in 0..trace.times(40_000) {
        let size = tiny(trace);
        queue.push_back(trace.alloc(size));
        if queue.len() > trace.times(15_000) {
            trace.free_all(queue.pop_front());
        }
    }
}

/// Imitates a stack that grows and shrinks in waves.
fn tiny_stack(trace: &mut Maker) {
    let mut stack = Vec::new();
    for wave in 1..=4 {
        while stack.len() < trace.times(7_000 * wave) {
            let size = tiny(trace);
            stack.push(trace.alloc(size));
        }
        while stack.len() > trace.times(3_000) {
            trace.free_all(stack.pop());
        }
    }
}

/// Allocates strings, and then replaces them at random.
fn strings(trace: &mut Maker) {
    let mut held = Vec::new();
    for _ in 0..trace.times(25_000) {
        let size = length(trace);
        held.push(trace.alloc(size));
    }
    for _ in 0..trace.times(20_000) {
        let id = trace.pick(&mut held);
        trace.free(id);
        let size = length(trace);
        held.push(trace.alloc(size));
    }
}

/// Frees two thirds of the strings, and allocates longer ones that do not fit into the gaps.
fn strings_longer(trace: &mut Maker) {
    let mut held = Vec::new();
    for _ in 0..trace.times(24_000) {
        let size = length(trace);
        held.push(trace.alloc(size));
    }
    for _ in 0..trace.times(16_000) {
        let id = trace.pick(&mut held);
        trace.free(id);
    }
    for _ in 0..trace.times(9_000) {
        let size = length(trace) + 40;
        trace.alloc(size);
    }
}

/// Grows two lists alternately, frees one, and grows a third with larger nodes.
fn lists(trace: &mut Maker) {
    let mut first = Vec::new();
    for _ in 0..trace.times(15_000) {
        first.push(trace.alloc(24));
        trace.alloc(32);
    }
    trace.free_all(first);
    for _ in 0..trace.times(10_000) {
        trace.alloc(40);
    }
}

/// Imitates a tree of nodes with keys, from which random nodes are removed.
fn tree(trace: &mut Maker) {
    let mut nodes = Vec::new();
    let add = |trace: &mut Maker, nodes: &mut Vec<(Id, Id)>| {
        let size = trace.between(5, 30);
        nodes.push((trace.alloc(40), trace.alloc(size)));
    };
    for _ in 0..trace.times(15_000) {
        add(trace, &mut nodes);
    }
    for _ in 0..trace.times(8_000) {
        let (node, key) = trace.pick(&mut nodes);
        trace.free(key);
        trace.free(node);
    }
    for _ in 0..trace.times(8_000) {
        add(trace, &mut nodes);
    }
}

/// Imitates an adaptive radix tree: a node is replaced by a larger one when it exceeds 4, 16 or 48 children.
fn radix(trace: &mut Maker) {
    const SIZES: [u64; 4] = [56, 160, 656, 2064];
    const LIMITS: [u32; 4] = [4, 16, 48, u32::MAX];
    let mut nodes: Vec<(Id, usize, u32)> = Vec::new();
    for _ in 0..trace.times(30_000) {
        if nodes.is_empty() || trace.rng.chance(1, 6) {
            nodes.push((trace.alloc(SIZES[0]), 0, 0));
        } else {
            // The smaller of two random indexes prefers older nodes, so some nodes grow large.
            let index = trace.rng.index(nodes.len());
            let index = index.min(trace.rng.index(nodes.len()));
            let (id, kind, children) = &mut nodes[index];
            *children += 1;
            if *children > LIMITS[*kind] {
                *kind += 1;
                let larger = trace.alloc(SIZES[*kind]);
                trace.free(std::mem::replace(id, larger));
            }
        }
        let size = tiny(trace);
        trace.alloc(size);
    }
}

/// Imitates a chained hash table: entries of one size, and an array of chains that doubles.
fn chained(trace: &mut Maker) {
    let mut array = trace.alloc(64 * 8);
    let mut entries = Vec::new();
    for _ in 0..trace.times(40_000) {
        if !entries.is_empty() && trace.rng.chance(1, 4) {
            let id = trace.pick(&mut entries);
            trace.free(id);
        } else {
            entries.push(trace.alloc(32));
        }
        if entries.len() as u64 * 8 > trace.size(array) {
            let size = trace.size(array) * 2;
            let larger = trace.alloc(size);
            trace.free(array);
            array = larger;
        }
    }
}

/// Imitates many open-addressing hash tables, most of them small, that double one by one.
fn tables(trace: &mut Maker) {
    let mut tables: Vec<(Id, u64)> = Vec::new();
    for _ in 0..trace.times(60_000) {
        if tables.is_empty() || trace.rng.chance(1, 12) {
            tables.push((trace.alloc(4 * 17 + 16), 0));
            continue;
        }
        let index = trace.rng.index(tables.len());
        let (id, used) = &mut tables[index];
        *used += 1;
        // The load limit is 7/8, an entry takes 17 bytes, and 16 control bytes follow the entries.
        let room = (trace.size(*id) - 16) / 17;
        if *used > room * 7 / 8 {
            let larger = trace.alloc(room * 2 * 17 + 16);
            trace.free(std::mem::replace(id, larger));
        }
    }
}

/// Imitates vectors that double by realloc; some are shrunk to their length, some are freed.
fn vectors(trace: &mut Maker) {
    let mut vectors: Vec<(Id, u64)> = Vec::new();
    for _ in 0..trace.times(60_000) {
        if vectors.is_empty() || trace.rng.chance(1, 15) {
            vectors.push((trace.alloc(32), 0));
            continue;
        }
        let index = trace.rng.index(vectors.len());
        let (id, used) = &mut vectors[index];
        *used += 8;
        if *used > trace.size(*id) {
            let size = trace.size(*id) * 2;
            trace.realloc(*id, size);
        } else if trace.rng.chance(1, 50) {
            trace.realloc(*id, *used);
        } else if trace.rng.chance(1, 60) {
            let (id, _) = vectors.swap_remove(index);
            trace.free(id);
        }
    }
}

/// Imitates documents of objects, keys and texts; all blocks of a document are freed together.
fn documents(trace: &mut Maker) {
    let mut documents: Vec<Vec<Id>> = Vec::new();
    for _ in 0..trace.times(500) {
        let mut blocks = Vec::new();
        for _ in 0..trace.between(10, 150) {
            blocks.push(trace.alloc(24));
            let size = trace.between(3, 20);
            blocks.push(trace.alloc(size));
            if trace.rng.chance(1, 2) {
                let size = length(trace);
                blocks.push(trace.alloc(size));
            }
            if trace.rng.chance(1, 6) {
                let size = 32 * trace.between(1, 8);
                blocks.push(trace.alloc(size));
            }
        }
        documents.push(blocks);
        if documents.len() > 100 {
            let blocks = trace.pick(&mut documents);
            trace.free_all(blocks);
        }
    }
}

/// Imitates a cache: each entry is a node, a key and a value of 16 B to 1 KiB; the oldest entry is freed
/// first.
fn cache(trace: &mut Maker) {
    let mut entries = std::collections::VecDeque::new();
    for _ in 0..trace.times(12_000) {
        let (key, value) = (trace.between(8, 30), trace.rng.doubling(16, 1023));
        entries.push_back([trace.alloc(48), trace.alloc(key), trace.alloc(value)]);
        if entries.len() > trace.times(4_000) {
            trace.free_all(entries.pop_front().into_iter().flatten());
        }
    }
}

/// Imitates an event loop: many timers and tasks, and a few short-lived buffers.
fn events(trace: &mut Maker) {
    let mut timers = Vec::new();
    let mut buffers = Vec::new();
    for _ in 0..trace.times(40_000) {
        let size = [40, 40, 56, 88][trace.rng.index(4)];
        timers.push(trace.alloc(size));
        if timers.len() > 12_000 {
            let id = trace.pick(&mut timers);
            trace.free(id);
        }
        if trace.rng.chance(1, 10) {
            let size = [512, 1024, 1500, 2048][trace.rng.index(4)];
            buffers.push(trace.alloc(size));
        }
        if buffers.len() > 100 {
            let id = trace.pick(&mut buffers);
            trace.free(id);
        }
    }
}

/// Imitates a lexer: the tokens of a file are freed at its end, names are permanent.
fn tokens(trace: &mut Maker) {
    for _ in 0..trace.times(250) {
        let size = trace.between(4 << 10, 16 << 10);
        let text = trace.alloc(size);
        let mut tokens = Vec::new();
        for _ in 0..trace.between(200, 800) {
            let size = trace.between(10, 24);
            tokens.push(trace.alloc(size));
            if trace.rng.chance(1, 5) {
                let size = trace.between(4, 20);
                trace.alloc(size);
            }
        }
        trace.free(text);
        trace.free_all(tokens);
    }
}

/// Imitates a rope: pieces of text of up to 1 KiB with a node each; most pieces are split into small ones.
fn rope(trace: &mut Maker) {
    let mut pieces = Vec::new();
    for _ in 0..trace.times(200) {
        pieces.push((trace.alloc(1024), trace.alloc(48)));
    }
    for _ in 0..trace.times(12_000) {
        if pieces.is_empty() {
            pieces.push((trace.alloc(1024), trace.alloc(48)));
        }
        let index = trace.rng.index(pieces.len());
        let (text, _) = pieces[index];
        let size = trace.size(text);
        if size > 64 && trace.rng.chance(2, 3) {
            let cut = trace.between(16, size - 16);
            trace.realloc(text, cut);
            pieces.push((trace.alloc(size - cut), trace.alloc(48)));
        } else if size < 900 {
            let grown = size + trace.between(1, 60);
            trace.realloc(text, grown);
        }
        if trace.rng.chance(1, 10) {
            let (text, node) = trace.pick(&mut pieces);
            trace.free(text);
            trace.free(node);
        }
    }
}
