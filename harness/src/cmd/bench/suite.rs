// SPDX-License-Identifier: GPL-2.0

//! The rows of the report.

use clap::ValueEnum;
use serde::{
    Deserialize,
    Serialize, //
};
use slab_heap::size_class::Class;

use crate::uapi::{
    self,
    BenchPattern,
    BenchSubject,
    slablab_bench, //
};

/// The number of bytes in a KiB.
const KIB: u64 = 1 << 10;

/// The number of bytes in a MiB.
const MIB: u64 = 1 << 20;

/// The number of operations in a round of the kernel's loop.
const ROUND: u64 = uapi::SLABLAB_BENCH_ROUND as u64;

/// A group of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Group {
    /// Allocate and free one block
    Pair,
    /// Allocate a batch, free it in reverse order
    Lifo,
    /// Allocate a batch, free it in the same order
    Fifo,
    /// Free a block, allocate one of random size
    Replace,
    /// Free or allocate a random block of 4160 bytes
    Churn,
    /// Free one of 8,149 blocks, of which every other one is free
    Fragments,
    /// Free one of 100,000 blocks; needs 2 GiB, and the module parameter private_mib_total=1200
    ManyFragments,
    /// Allocate on one CPU, free on another
    Handover,
    /// Pairs of one size class on two CPUs at once, and on one CPU
    TwoCpus,
    /// System calls, such as an ALLOC and a FREE
    Calls,
}

impl Group {
    /// Returns the heading of the group.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Pair => "Pair: allocate and free one block",
            Self::Lifo => "LIFO: allocate a batch, free it in reverse order; per block",
            Self::Fifo => "FIFO: allocate a batch, free it in the same order; per block",
            Self::Replace => "Replace: free a block, allocate one of random size",
            Self::Churn => "Churn: free or allocate a random block of many; per operation",
            Self::Fragments | Self::ManyFragments => {
                "Fragments: free one block; at first, every other block is free"
            }
            Self::Handover => "Handover: one CPU allocates, another CPU frees; per block",
            Self::TwoCpus => {
                "Two CPUs: pairs of one size class on one CPU, and on two CPUs at once"
            }
            Self::Calls => "System calls",
        }
    }

    /// Returns whether the rows would take minutes for a subject.
    pub(super) fn is_hopeless_for(self, subject: BenchSubject) -> bool {
        self == Self::ManyFragments && subject == BenchSubject::Seed
    }

    /// Returns the number of processors that the rows need.
    pub(super) fn cpus(self) -> usize {
        match self {
            Self::Handover | Self::TwoCpus => 2,
            _ => 1,
        }
    }
}

/// A row: the same call for each subject.
#[derive(Clone)]
pub(super) struct BenchJob {
    pub(super) group: Group,
    pub(super) name: String,
    pub(super) bench: slablab_bench,
}

impl BenchJob {
    fn new(group: Group, pattern: BenchPattern, name: impl Into<String>) -> Self {
        Self {
            group,
            name: name.into(),
            bench: slablab_bench {
                pattern: pattern.raw(),
                threads: 1,
                seed: 1,
                ..Default::default()
            },
        }
    }

    fn blocks(mut self, size: u64, slots: u32, pool_mib: u64) -> Self {
        self.bench.size = size;
        self.bench.slots = slots;
        self.bench.pool_bytes = pool_mib * MIB;
        self
    }

    fn count(mut self, count: u64) -> Self {
        self.bench.count = count;
        self
    }

    fn smallest(mut self, size_min: u64) -> Self {
        self.bench.size_min = size_min;
        self
    }

    fn threads(mut self, threads: u32) -> Self {
        self.bench.threads = threads;
        self
    }

    fn singly(mut self, count: u64) -> Self {
        self.bench.flags = uapi::SLABLAB_BENCH_SINGLY;
        self.bench.count = count;
        self.name += ", singly";
        self
    }

    /// Returns whether operations are timed one by one.
    pub(super) fn is_singly(&self) -> bool {
        self.bench.flags & uapi::SLABLAB_BENCH_SINGLY != 0
    }

    /// Returns the argument of BENCH for a subject.
    pub(super) fn for_subject(&self, subject: BenchSubject) -> slablab_bench {
        slablab_bench {
            subject: subject.raw(),
            ..self.bench
        }
    }
}

/// Returns the rows of a group. `brief` selects fewer and shorter rows.
pub(super) fn jobs(group: Group, brief: bool) -> Vec<BenchJob> {
    let times = |rounds: u64| if brief { 2 } else { rounds };
    let job = |pattern, name: String| BenchJob::new(group, pattern, name);
    match group {
        Group::Pair => {
            let pair = |size: u64, others, name| {
                job(BenchPattern::Pair, name)
                    .blocks(size, others, 8)
                    .count(times(20) * ROUND)
            };
            // An allocator without live blocks is a special case: it may return all its memory to the page allocator.
            let alone = [64, 8 * KIB].map(|size| {
                let name = format!("{}, no other live block", bytes(size));
                pair(size, 0, name)
            });
            let sizes = pair_sizes(brief).into_iter();
            sizes
                .map(|size| pair(size, 1, bytes(size)))
                .chain(alone)
                .collect()
        }
        Group::Lifo | Group::Fifo => {
            let pattern = if group == Group::Lifo {
                BenchPattern::Lifo
            } else {
                BenchPattern::Fifo
            };
            [
                (64, 16),
                (64, 1000),
                (KIB, 16),
                (KIB, 1000),
                (8 * KIB, 1000),
            ]
            .into_iter()
            .map(|(size, slots)| {
                let rounds = times(if slots < 100 { 200 } else { 20 });
                job(pattern, format!("{} × {}", slots, bytes(size)))
                    .blocks(size, slots, 32)
                    .count(rounds * u64::from(slots))
            })
            .collect()
        }
        Group::Replace => [(10_000, 4 * KIB, 64), (2_000, 64 * KIB, 160)]
            .into_iter()
            .flat_map(|(slots, size, pool_mib)| {
                let slots = if brief { slots / 10 } else { slots };
                let name = format!("{slots} slots, 8 B … {}", bytes(size));
                let job = job(BenchPattern::Replace, name)
                    .blocks(size, slots, pool_mib)
                    .smallest(8);
                [
                    job.clone().count(times(40) * ROUND),
                    job.singly(times(40) * 1000),
                ]
            })
            .collect(),
        Group::Churn => {
            let slots = if brief { 1_000 } else { 8_000 };
            let job =
                job(BenchPattern::Churn, format!("{slots} slots, 4160 B")).blocks(4160, slots, 128);
            vec![
                job.clone().count(times(20) * ROUND),
                job.singly(times(20) * 1000),
            ]
        }
        Group::Fragments => {
            let slots = if brief { 1_001 } else { 8_149 };
            vec![
                job(BenchPattern::Fragments, format!("{slots} × 8 KiB"))
                    .blocks(8 * KIB, slots, 64)
                    .singly(u64::from(slots / 2)),
            ]
        }
        Group::ManyFragments => vec![
            job(BenchPattern::Fragments, "100000 × 8 KiB".to_owned())
                .blocks(8 * KIB, 100_000, 1024)
                .singly(50_000),
        ],
        Group::Handover => [64, KIB, 8 * KIB]
            .into_iter()
            .map(|size| {
                job(BenchPattern::Handover, format!("256 × {}", bytes(size)))
                    .blocks(size, 256, 8)
                    .threads(2)
                    .count(times(80) * 256)
            })
            .collect(),
        Group::TwoCpus => [64, 512, 4 * KIB]
            .into_iter()
            .flat_map(|size| {
                [1, 2].map(|threads| {
                    let plural = if threads == 1 { "CPU" } else { "CPUs" };
                    job(
                        BenchPattern::Pair,
                        format!("{}, {threads} {plural}", bytes(size)),
                    )
                    .blocks(size, 1, 8)
                    .threads(threads)
                    .count(times(100) * ROUND)
                })
            })
            .collect(),
        Group::Calls => Vec::new(),
    }
}

/// Returns the sizes of pairs: each size class of the hybrid, and large sizes.
fn pair_sizes(brief: bool) -> Vec<u64> {
    if brief {
        return vec![8, 64, 4 * KIB, 64 * KIB];
    }
    Class::all()
        .map(|class| class.bytes() as u64)
        .chain([8 * KIB, 64 * KIB])
        .collect()
}

/// Returns a number of bytes in the form of the row names.
fn bytes(size: u64) -> String {
    if size >= 8 * KIB {
        format!("{} KiB", size / KIB)
    } else {
        format!("{size} B")
    }
}
