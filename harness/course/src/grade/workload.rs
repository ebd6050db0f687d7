// SPDX-License-Identifier: GPL-2.0

//! The workloads of a grade: generators of traces.
//!
//! Each workload imitates a kind of program. The seed decides the operations and also the proportions: how many blocks
//! are live, how large they are, and in which order they are freed. An allocator that is written for one trace therefore
//! gains nothing in a grade whose seed is drawn anew.
//!
//! A grade can be repeated with its seed, so the traces of a seed must not change. The random stream of a workload
//! depends on its position in [`ALL`], so a new workload goes to the end of the list.

use std::collections::VecDeque;

use slablab_trace::{
    Builder,
    Id,
    Trace,
    rng::Rng, //
};

/// A generator of traces.
pub struct Workload {
    /// The name, which a rubric uses.
    pub name: &'static str,
    /// The description, one line.
    pub about: &'static str,
    generate: fn(&mut Maker),
}

/// All workloads.
pub static ALL: [Workload; 9] = [
    Workload {
        name: "fill",
        about: "allocates and never frees",
        generate: fill,
    },
    Workload {
        name: "fill-aligned",
        about: "allocates blocks of several alignments and never frees",
        generate: fill_aligned,
    },
    Workload {
        name: "random",
        about: "sizes from 16 B to nearly 2 KB, freed at random",
        generate: random,
    },
    Workload {
        name: "lifo",
        about: "the block that was allocated last is freed first",
        generate: lifo,
    },
    Workload {
        name: "fifo",
        about: "the block that was allocated first is freed first",
        generate: fifo,
    },
    Workload {
        name: "churn",
        about: "a fixed number of small blocks, of which random ones are replaced",
        generate: churn,
    },
    Workload {
        name: "mixed",
        about: "many small blocks and a few of several pages",
        generate: mixed,
    },
    Workload {
        name: "phases",
        about: "fills memory with blocks of one size, frees most of them, and goes on with another size",
        generate: phases,
    },
    Workload {
        name: "growth",
        about: "buffers that grow and shrink among small blocks",
        generate: growth,
    },
];

/// Returns the workload with this name.
pub fn named(name: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.name == name)
}

impl Workload {
    /// Returns the trace of a seed.
    pub fn trace(&self, seed: u64) -> Trace {
        let stream = ALL.iter().position(|workload| workload.name == self.name);
        let mut maker = Maker {
            rng: Rng::split(seed, stream.unwrap_or(0) as u64),
            builder: Builder::new(),
        };
        (self.generate)(&mut maker);
        maker.builder.finish(self.name, "slablab course grade")
    }
}

/// A trace under construction.
struct Maker {
    rng: Rng,
    builder: Builder,
}

impl Maker {
    /// Draws a uniform number from `low` to `high`.
    fn between(&mut self, low: u64, high: u64) -> usize {
        (low + self.rng.below(high - low + 1)) as usize
    }

    fn alloc(&mut self, bytes: u64) -> Id {
        self.builder.alloc(bytes as u32, slablab_trace::ALIGN)
    }

    /// Allocates a block of a size from `low` to `high`. Each power-of-two interval is equally likely.
    fn alloc_between(&mut self, low: u64, high: u64) -> Id {
        let bytes = self.rng.doubling(low, high);
        self.alloc(bytes)
    }

    /// Removes a random item of a list, which must not be empty.
    fn pick(&mut self, list: &mut Vec<Id>) -> Id {
        let index = self.rng.index(list.len());
        list.swap_remove(index)
    }

    fn free(&mut self, id: Id) {
        self.builder.free(id);
    }
}

fn fill(maker: &mut Maker) {
    let largest = maker.between(64, 1024) as u64;
    for _ in 0..maker.between(600, 900) {
        maker.alloc_between(8, largest);
    }
}

fn fill_aligned(maker: &mut Maker) {
    const ALIGNS: [u32; 6] = [8, 8, 8, 16, 32, 64];
    let largest = maker.between(256, 1024) as u64;
    for _ in 0..maker.between(600, 900) {
        let bytes = maker.rng.doubling(8, largest) as u32;
        let align = ALIGNS[maker.rng.index(ALIGNS.len())];
        maker.builder.alloc(bytes, align);
    }
}

fn random(maker: &mut Maker) {
    let (target, largest) = (
        maker.between(250, 400) as u64,
        maker.between(1000, 2000) as u64,
    );
    let mut live = Vec::new();
    for _ in 0..2400 {
        // The probability of a free grows with the number of live blocks.
        if live.is_empty() || !maker.rng.chance(live.len() as u64, 2 * target) {
            live.push(maker.alloc_between(16, largest));
        } else {
            let id = maker.pick(&mut live);
            maker.free(id);
        }
    }
}

fn lifo(maker: &mut Maker) {
    let largest = maker.between(128, 1024) as u64;
    let mut stack = Vec::new();
    while maker.builder.operations() < 2400 {
        for _ in 0..maker.between(20, 300) {
            stack.push(maker.alloc_between(16, largest));
        }
        for _ in 0..maker.between(20, 300).min(stack.len()) {
            stack.pop().into_iter().for_each(|id| maker.free(id));
        }
    }
}

fn fifo(maker: &mut Maker) {
    let largest = maker.between(128, 1024) as u64;
    let target = maker.between(150, 400);
    let mut queue = VecDeque::new();
    while maker.builder.operations() < 2400 {
        queue.push_back(maker.alloc_between(16, largest));
        // The queue becomes a little shorter and longer again.
        while queue.len() > target || (queue.len() > target / 2 && maker.rng.chance(2, 5)) {
            queue.pop_front().into_iter().for_each(|id| maker.free(id));
        }
    }
}

fn churn(maker: &mut Maker) {
    let largest = maker.between(64, 512) as u64;
    let mut live = Vec::new();
    for _ in 0..maker.between(300, 600) {
        live.push(maker.alloc_between(16, largest));
    }
    for _ in 0..900 {
        let id = maker.pick(&mut live);
        maker.free(id);
        live.push(maker.alloc_between(16, largest));
    }
}

fn mixed(maker: &mut Maker) {
    let (small_target, large_target) = (maker.between(300, 600), maker.between(8, 16));
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..2400 {
        let (list, target, low, high) = if maker.rng.chance(1, 10) {
            (&mut large, large_target, 3000, 12_000)
        } else {
            (&mut small, small_target, 16, 200)
        };
        if list.is_empty() || !maker.rng.chance(list.len() as u64, 2 * target as u64) {
            let id = maker.alloc_between(low, high);
            list.push(id);
        } else {
            let id = maker.pick(list);
            maker.free(id);
        }
    }
}

fn phases(maker: &mut Maker) {
    let limit = maker.between(96 << 10, 160 << 10);
    let mut live = Vec::new();
    for _ in 0..6 {
        let size = maker.rng.doubling(48, 2000);
        let count = (limit / size as usize).min(400);
        for _ in 0..count {
            let bytes = size - maker.rng.below(size / 4);
            live.push(maker.alloc(bytes));
        }
        let survivors = live.len() / 16;
        while live.len() > survivors {
            let id = maker.pick(&mut live);
            maker.free(id);
        }
    }
}

fn growth(maker: &mut Maker) {
    let mut buffers: Vec<Id> = (0..maker.between(4, 8)).map(|_| maker.alloc(64)).collect();
    let mut small = Vec::new();
    while maker.builder.operations() < 2000 {
        let index = maker.rng.index(buffers.len());
        let (id, step) = (buffers[index], maker.rng.doubling(8, 512) as u32);
        let bytes = maker.builder.bytes(id);
        if bytes + step > 16 << 10 {
            maker.free(id);
            buffers[index] = maker.alloc(64);
        } else if maker.rng.chance(1, 6) {
            maker.builder.realloc(id, (bytes / 2).max(8));
        } else {
            maker.builder.realloc(id, bytes + step);
        }
        small.push(maker.alloc_between(16, 200));
        if small.len() > 200 || maker.rng.chance(1, 3) {
            let id = maker.pick(&mut small);
            maker.free(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use slablab_trace::{
        Kind,
        rng::mix, //
    };

    use super::*;

    #[test]
    fn traces_have_a_size_that_a_grade_can_measure_and_differ_by_their_seed() {
        for workload in &ALL {
            assert_eq!(workload.trace(3), workload.trace(3));
            assert_ne!(
                workload.trace(3).ops(),
                workload.trace(4).ops(),
                "{}",
                workload.name
            );
            for seed in 0..50 {
                let trace = workload.trace(seed);
                let (operations, peak) = (trace.ops().len(), trace.peak_bytes());
                assert!(
                    (500..6000).contains(&operations),
                    "{}: {operations} operations",
                    workload.name
                );
                assert!(
                    (10_000..500_000).contains(&peak),
                    "{}: {peak} bytes",
                    workload.name
                );
            }
        }
        assert!(named("waltz").is_none());
    }

    /// A grade of an earlier version can be repeated.
    #[test]
    fn traces_of_a_seed_equal_those_of_earlier_versions() {
        let number = |op: &slablab_trace::Op| match op.kind {
            Kind::Alloc { bytes, align } => u64::from(bytes) << 32 | u64::from(align),
            Kind::Realloc { bytes } => u64::from(bytes) << 32 | 1,
            Kind::Free => 0,
        };
        let traces = ALL.iter().map(|workload| workload.trace(7));
        let sum = traces.fold(0, |sum, trace| {
            let sum = mix(sum ^ trace.ops().len() as u64);
            trace
                .ops()
                .iter()
                .fold(sum, |sum, op| mix(mix(sum ^ u64::from(op.id)) ^ number(op)))
        });
        assert_eq!(sum, SUM);
    }

    const SUM: u64 = 12_614_952_927_262_431_881;
}
