// SPDX-License-Identifier: GPL-2.0

//! The place of an engine in a row, compared with Linux's own allocators.

use std::fmt;

use super::document::BenchRow;
use crate::uapi::BenchSubject;

/// Linux's own allocators, with the names of their functions.
const PEERS: [(BenchSubject, &str); 2] = [
    (BenchSubject::Kmalloc, "__kmalloc"),
    (BenchSubject::KmemCache, "kmem_cache"),
];

/// The figure of a row that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowFigure {
    /// The cost of an operation without the loop.
    Cost,
    /// The longest of the operations that were timed one by one.
    Longest,
}

/// The place of an engine. It prints as `first` or `behind kmem_cache by 12 %`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Standing {
    /// The best of Linux's allocators.
    best: &'static str,
    /// The figure of the engine, divided by that of the best of Linux's allocators.
    ratio: f64,
}

impl RowFigure {
    /// Returns the figure by which the tables compare a row.
    pub(super) fn of_row(row: &BenchRow) -> Self {
        match row.is_singly() {
            true => Self::Longest,
            false => Self::Cost,
        }
    }

    fn value(self, row: &BenchRow, subject: BenchSubject) -> Option<f64> {
        match self {
            Self::Cost => row.net(subject),
            Self::Longest => Some(row.of(subject)?.singly?.max as f64),
        }
    }

    /// Returns the place of an engine in a row, or `None` if the engine or all of Linux's allocators were not measured.
    pub(super) fn standing(self, row: &BenchRow, engine: BenchSubject) -> Option<Standing> {
        let peers = PEERS.iter();
        let values = peers.filter_map(|(peer, name)| Some((self.value(row, *peer)?, *name)));
        let (least, best) = values.min_by(|one, other| one.0.total_cmp(&other.0))?;
        let ratio = self.value(row, engine)? / least;
        Some(Standing { best, ratio })
    }
}

impl Standing {
    /// Returns the figure of the engine, divided by that of the best of Linux's allocators.
    pub(super) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Returns whether none of Linux's allocators is better.
    pub(super) fn is_first(&self) -> bool {
        self.ratio <= 1.0
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_first() {
            return f.write_str("first");
        }
        // A slower engine is never shown as behind by 0 %.
        let percent = ((self.ratio - 1.0) * 100.0).round().max(1.0);
        write!(f, "behind {} by {percent} %", self.best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::bench::{
        document::{
            Measured,
            Singly, //
        },
        suite::Group,
    };

    /// Returns a row with the costs of some subjects.
    fn row(costs: &[(BenchSubject, f64)]) -> BenchRow {
        let results = costs.iter().map(|(subject, cost)| Measured {
            cost: *cost,
            ..Measured::new(*subject, false, &[])
        });
        BenchRow {
            group: Group::Pair,
            name: "64 B".to_owned(),
            block_bytes: 64,
            threads: 1,
            results: results.collect(),
        }
    }

    fn place(row: &BenchRow, figure: RowFigure) -> Option<String> {
        let standing = figure.standing(row, BenchSubject::Hybrid);
        standing.map(|standing| standing.to_string())
    }

    #[test]
    fn an_engine_is_first_or_behind_the_best_of_the_kernel() {
        let hybrid_at = |cost| {
            let row = row(&[
                (BenchSubject::Nothing, 10.0),
                (BenchSubject::Hybrid, 10.0 + cost),
                (BenchSubject::Kmalloc, 210.0),
                (BenchSubject::KmemCache, 110.0),
            ]);
            place(&row, RowFigure::Cost).unwrap()
        };
        assert_eq!(hybrid_at(99.0), "first");
        assert_eq!(hybrid_at(100.0), "first");
        assert_eq!(hybrid_at(100.1), "behind kmem_cache by 1 %");
        assert_eq!(hybrid_at(150.0), "behind kmem_cache by 50 %");
    }

    #[test]
    fn single_operations_are_compared_by_their_maximum() {
        let mut row = row(&[(BenchSubject::Hybrid, 1.0), (BenchSubject::Kmalloc, 2.0)]);
        for (result, max) in row.results.iter_mut().zip([300, 200]) {
            result.singly = Some(Singly {
                p50: 1,
                p99: 1,
                max,
                disturbed: 0,
            });
        }
        assert_eq!(RowFigure::of_row(&row), RowFigure::Longest);
        let behind = "behind __kmalloc by 50 %".to_owned();
        assert_eq!(place(&row, RowFigure::Longest), Some(behind));
    }

    #[test]
    fn a_row_without_the_kernels_allocators_has_no_place() {
        let row = row(&[(BenchSubject::Hybrid, 1.0), (BenchSubject::Seed, 2.0)]);
        assert_eq!(place(&row, RowFigure::Cost), None);
    }
}
