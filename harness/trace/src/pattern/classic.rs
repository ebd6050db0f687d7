// SPDX-License-Identifier: GPL-2.0

//! Eleven patterns after the grading traces of the classic malloc exercise.
//!
//! The patterns are written from descriptions of the traces; no file of the exercise was used.

use super::{
    Id,
    Maker,
    patterns, //
};

patterns! { Classic:
    "coalescing", coalescing, "frees two neighbours and allocates a block of their joint size";
    "binary", binary_large, "allocates 64 and 448 B alternately, frees the large blocks, allocates 512 B";
    "binary-small", binary_small, "allocates 16 and 112 B alternately, frees the large blocks, allocates 128 B";
    "growth", growth_large, "grows one block by 128 B many times, with small blocks between";
    "growth-small", growth_small, "grows one block by 5 B 20,000 times, with small blocks between";
    "random-large", random_large, "about 500 live blocks of up to 32 KiB, freed at random";
    "random-mixed", random_mixed, "about 2,000 live blocks of many sizes, freed at random";
    "compiler", compiler, "a compiler: nodes freed per function, permanent names, page-sized stacks";
    "declarations", declarations, "a parser of declarations: few frees, and a table that doubles";
    "expressions", expressions, "an evaluator: short-lived terms and a few permanent results";
    "typesetter", typesetter, "a typesetter: boxes freed per page, buffers that grow";
}

/// Frees two neighbours and allocates a block of their joint size: a test of coalescing.
fn coalescing(trace: &mut Maker) {
    let mut held = Vec::new();
    for _ in 0..trace.times(400) {
        let pair = [trace.alloc(4095), trace.alloc(4095)];
        trace.free_all(pair);
        held.push(trace.alloc(8190));
        if held.len() > 200 {
            let id = trace.pick(&mut held);
            trace.free(id);
        }
    }
}

/// Allocates small and large blocks alternately, frees the large ones, and allocates larger ones that do
/// not fit into the gaps.
fn binary(trace: &mut Maker, count: usize, small: u64, large: u64, larger: u64) {
    let mut freed = Vec::new();
    for _ in 0..trace.times(count) {
        trace.alloc(small);
        freed.push(trace.alloc(large));
    }
    trace.free_all(freed);
    for _ in 0..trace.times(count) {
        trace.alloc(larger);
    }
}

fn binary_large(trace: &mut Maker) {
    binary(trace, 4_000, 64, 448, 512);
}

fn binary_small(trace: &mut Maker) {
    binary(trace, 12_000, 16, 112, 128);
}

/// Grows one block many times. A small block behind it is replaced after each step.
fn growth(trace: &mut Maker, first: u64, step: u64, between: u64, steps: usize) {
    let block = trace.alloc(first);
    let mut last = trace.alloc(between);
    for _ in 0..trace.times(steps) {
        let size = trace.size(block) + step;
        trace.realloc(block, size);
        let next = trace.alloc(between);
        trace.free(last);
        last = next;
    }
}

fn growth_large(trace: &mut Maker) {
    growth(trace, 512, 128, 128, 5_000);
}

fn growth_small(trace: &mut Maker) {
    growth(trace, 4092, 5, 16, 20_000);
}

/// Holds about `target` live blocks of sizes from `draw`, and frees random ones.
fn random(trace: &mut Maker, target: usize, steps: usize, draw: fn(&mut Maker) -> u64) {
    let mut held = Vec::new();
    for _ in 0..trace.times(steps) {
        // The probability of a free grows with the number of live blocks.
        if held.is_empty() || !trace.rng.chance(held.len() as u64, 2 * target as u64) {
            let size = draw(trace);
            held.push(trace.alloc(size));
        } else {
            let id = trace.pick(&mut held);
            trace.free(id);
        }
    }
}

fn random_large(trace: &mut Maker) {
    random(trace, 500, 10_000, |trace| trace.between(1, 32 << 10));
}

fn random_mixed(trace: &mut Maker) {
    random(trace, 2_000, 30_000, |trace| {
        match trace.rng.below(4) {
            0 => trace.between(1, 64),
            1 => trace.between(64, 512),
            // Near powers of two, where a header pushes a block into the next size class.
            2 => (1 << trace.between(5, 12)) - 4 + trace.rng.below(9),
            _ => trace.between(512, 8192),
        }
    });
}

/// Imitates a compiler that works function by function: nodes that are freed with their function, permanent
/// names, and stacks of temporary data that take a page with their header.
fn compiler(trace: &mut Maker) {
    let mut stacks: Vec<Id> = Vec::new();
    for _ in 0..trace.times(120) {
        let mut nodes = Vec::new();
        for _ in 0..trace.between(50, 200) {
            let size = [24, 32, 40, 56, 72, 104][trace.rng.index(6)];
            nodes.push(trace.alloc(size));
            if trace.rng.chance(1, 12) {
                let size = trace.between(3, 30);
                trace.alloc(size);
            }
            if trace.rng.chance(1, 40) {
                stacks.push(trace.alloc(4072));
            }
        }
        while !stacks.is_empty() && trace.rng.chance(2, 3) {
            let id = trace.pick(&mut stacks);
            trace.free(id);
        }
        // One node in ten is inlined elsewhere and survives.
        nodes.retain(|_| !trace.rng.chance(1, 10));
        trace.free_all(nodes);
    }
}

/// Imitates a parser of declarations: few frees, sizes near powers of two, a table that doubles.
fn declarations(trace: &mut Maker) {
    let mut table = trace.alloc(1024);
    let mut entries = 0;
    for _ in 0..trace.times(12_000) {
        let size = match trace.rng.below(5) {
            0..3 => trace.between(12, 48),
            3 => [60, 64, 68, 124, 128, 132, 256][trace.rng.index(7)],
            _ => trace.between(48, 200),
        };
        let id = trace.alloc(size);
        entries += 1;
        if entries * 8 > trace.size(table) {
            let size = trace.size(table) * 2;
            let larger = trace.alloc(size);
            trace.free(table);
            table = larger;
        }
        if trace.rng.chance(1, 5) {
            trace.free(id);
        }
    }
}

/// Imitates an evaluator of expressions: short-lived terms, and a few permanent results.
fn expressions(trace: &mut Maker) {
    for _ in 0..trace.times(3_000) {
        let mut terms = Vec::new();
        for _ in 0..trace.between(20, 120) {
            let size = [16, 24, 48][trace.rng.index(3)];
            terms.push(trace.alloc(size));
        }
        let size = trace.between(200, 2_000);
        let text = trace.alloc(size);
        let result = trace.between(8, 400);
        trace.alloc(result);
        while !terms.is_empty() {
            let id = trace.pick(&mut terms);
            trace.free(id);
        }
        trace.free(text);
    }
}

/// Imitates a typesetter: boxes that are freed with their page, permanent fonts, buffers that grow.
fn typesetter(trace: &mut Maker) {
    for _ in 0..12 {
        let size = trace.between(8 << 10, 40 << 10);
        trace.alloc(size);
    }
    let mut previous = Vec::new();
    for _ in 0..trace.times(60) {
        let mut page = Vec::new();
        let buffer = trace.alloc(256);
        for _ in 0..trace.between(100, 300) {
            let size = trace.between(20, 90);
            page.push(trace.alloc(size));
            if trace.rng.chance(1, 8) {
                let size = trace.size(buffer) + 200;
                trace.realloc(buffer, size);
            }
        }
        // A page is freed one page later, because figures may float to the next page.
        let done = std::mem::replace(&mut previous, page);
        trace.free_all(done);
        let size = trace.size(buffer) / 4;
        trace.realloc(buffer, size.max(64));
    }
}
