// SPDX-License-Identifier: GPL-2.0

//! The performance targets of the engines: which figure of which rows has which limit.

use super::{
    document::BenchRow,
    suite::Group, //
};
use crate::uapi::BenchSubject;

/// A target: the worst figure of some rows must be at most `limit`.
pub(super) struct Target {
    pub(super) what: &'static str,
    pub(super) engines: &'static [BenchSubject],
    /// Selects the rows.
    pub(super) rows: fn(&BenchRow) -> bool,
    pub(super) figure: Figure,
    pub(super) limit: f64,
    /// Whether the engine must also be first in each of the rows.
    pub(super) first: bool,
}

/// The figure of an engine in a row that a target limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// The cost of an operation without the loop.
    Cost,
    /// The longest of the operations that were timed one by one.
    Longest,
    /// The cost, divided by the cost of `kmem_cache`.
    OfKmemCache,
    /// The cost on two CPUs at once, divided by the cost on one CPU.
    OfOneCpu,
    /// The number of acquisitions of the engine's lock per operation.
    Locks,
}

/// The engines that the targets are for. `seed` has no targets: its algorithm is the starting point of the project.
const BOTH: &[BenchSubject] = &[BenchSubject::Hybrid, BenchSubject::Extent];
const HYBRID: &[BenchSubject] = &[BenchSubject::Hybrid];
const EXTENT: &[BenchSubject] = &[BenchSubject::Extent];

/// The targets of the rows.
pub(super) const TARGETS: [Target; 17] = [
    Target {
        what: "pair of each size that a magazine serves",
        engines: BOTH,
        rows: |row| row.group == Group::Pair,
        figure: Figure::Cost,
        limit: 80.0,
        first: false,
    },
    Target {
        what: "pair of each size class / kmem_cache",
        engines: BOTH,
        rows: |row| row.group == Group::Pair && row.block_bytes <= 4096,
        figure: Figure::OfKmemCache,
        limit: 0.57,
        first: false,
    },
    Target {
        what: "LIFO batch of 1000 × 64 B",
        engines: BOTH,
        rows: |row| is(row, Group::Lifo, "1000 × 64 B"),
        figure: Figure::Cost,
        limit: 140.0,
        first: true,
    },
    Target {
        what: "FIFO batch of 1000 × 64 B",
        engines: BOTH,
        rows: |row| is(row, Group::Fifo, "1000 × 64 B"),
        figure: Figure::Cost,
        limit: 140.0,
        first: true,
    },
    Target {
        what: "LIFO batch of 1000 × 8 KiB",
        engines: BOTH,
        rows: |row| is(row, Group::Lifo, "1000 × 8 KiB"),
        figure: Figure::Cost,
        limit: 300.0,
        first: true,
    },
    Target {
        what: "FIFO batch of 1000 × 8 KiB",
        engines: BOTH,
        rows: |row| is(row, Group::Fifo, "1000 × 8 KiB"),
        figure: Figure::Cost,
        limit: 300.0,
        first: true,
    },
    Target {
        what: "replace one of 10,000 blocks up to 4 KiB",
        engines: HYBRID,
        rows: |row| replaces(row, 4096) && !row.is_singly(),
        figure: Figure::Cost,
        limit: 110.0,
        first: false,
    },
    Target {
        what: "replace one of 10,000 blocks up to 4 KiB",
        engines: EXTENT,
        rows: |row| replaces(row, 4096) && !row.is_singly(),
        figure: Figure::Cost,
        limit: 160.0,
        first: false,
    },
    Target {
        what: "the longest replace of a block up to 4 KiB",
        engines: BOTH,
        rows: |row| replaces(row, 4096) && row.is_singly(),
        figure: Figure::Longest,
        limit: 2500.0,
        first: false,
    },
    Target {
        what: "the longest replace of a block up to 64 KiB",
        engines: BOTH,
        rows: |row| replaces(row, 65536) && row.is_singly(),
        figure: Figure::Longest,
        limit: 2500.0,
        first: false,
    },
    Target {
        what: "the longest free of 8 KiB among 8,149",
        engines: HYBRID,
        rows: |row| row.group == Group::Fragments,
        figure: Figure::Longest,
        limit: 1500.0,
        first: false,
    },
    Target {
        what: "the longest free of 8 KiB among 8,149",
        engines: EXTENT,
        rows: |row| row.group == Group::Fragments,
        figure: Figure::Longest,
        limit: 400.0,
        first: false,
    },
    Target {
        what: "the longest free of 8 KiB among 100,000",
        engines: HYBRID,
        rows: |row| row.group == Group::ManyFragments,
        figure: Figure::Longest,
        limit: 1500.0,
        first: false,
    },
    Target {
        what: "the longest free of 8 KiB among 100,000",
        engines: EXTENT,
        rows: |row| row.group == Group::ManyFragments,
        figure: Figure::Longest,
        limit: 400.0,
        first: false,
    },
    Target {
        what: "one CPU allocates, another frees / kmem_cache",
        engines: BOTH,
        rows: |row| row.group == Group::Handover,
        figure: Figure::OfKmemCache,
        limit: 0.55,
        first: true,
    },
    Target {
        what: "pair on two CPUs at once / on one CPU",
        engines: BOTH,
        rows: |row| row.group == Group::TwoCpus,
        figure: Figure::OfOneCpu,
        limit: 1.05,
        first: false,
    },
    Target {
        what: "lock acquisitions per pair on two CPUs",
        engines: BOTH,
        rows: |row| row.group == Group::TwoCpus,
        figure: Figure::Locks,
        limit: 1.0 / 32.0,
        first: false,
    },
];

/// Returns whether a row has this group and name.
fn is(row: &BenchRow, group: Group, name: &str) -> bool {
    row.group == group && row.name == name
}

/// Returns whether a row replaces blocks of up to this size.
fn replaces(row: &BenchRow, block_bytes: u64) -> bool {
    row.group == Group::Replace && row.block_bytes == block_bytes
}

impl Target {
    /// Returns the limit as text.
    pub(super) fn limit_text(&self) -> String {
        let limit = match self.figure {
            Figure::Locks => format!("≤ 1/{:.0}", 1.0 / self.limit),
            _ => format!("≤ {}", self.limit),
        };
        if self.first { limit + ", first" } else { limit }
    }
}

impl Figure {
    /// Returns the figure of an engine in a row. `rows` are all rows of the target.
    pub(super) fn of(
        self,
        rows: &[&BenchRow],
        row: &BenchRow,
        engine: BenchSubject,
    ) -> Option<f64> {
        let cost = row.net(engine);
        match self {
            Self::Cost => cost.map(tenths),
            Self::Longest => Some(row.of(engine)?.singly?.max as f64),
            Self::OfKmemCache => Some(cost? / row.net(BenchSubject::KmemCache)?),
            Self::OfOneCpu => {
                let mut others = rows.iter();
                let alone = others
                    .find(|other| other.threads == 1 && other.block_bytes == row.block_bytes)?;
                (row.threads == 2).then_some(cost? / alone.net(engine)?)
            }
            Self::Locks => Some(row.of(engine)?.locks),
        }
    }
}

/// Rounds a figure to one decimal, for the output and the verdict: timer ticks add some thousandths.
fn tenths(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}
