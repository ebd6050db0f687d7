// SPDX-License-Identifier: GPL-2.0

//! Patterns: generators of traces that imitate the requests of typical programs.
//!
//! Each pattern is a short function that turns a seed into a trace; no pattern is a recording. Reports
//! quote pattern and seed, so the trace of a seed must never change. The random stream of a pattern
//! depends on its position in the list of the workloads, so a new workload goes to the end of that list. The
//! exhibits of the [`museum`] are patterns, too, but their traces depend on no seed.

mod checkerboards;
mod classic;
mod literature;
mod newer;
mod phases;
mod small;

use crate::{
    ALIGN,
    Builder,
    Id,
    Trace,
    museum,
    rng::Rng, //
};

/// The origin of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The grading traces of the classic malloc exercise.
    Classic,
    /// Programs with mostly small blocks: strings, trees, growing tables.
    Newer,
    /// Benchmarks from papers on allocators.
    Literature,
    /// Few objects of each size class in a small pool.
    Small,
    /// Two sizes in turns, of which one is freed and replaced by a larger one.
    Checkerboards,
    /// Sizes that change over time, while a tenth of the blocks survives.
    Phases,
    /// Inputs of bug reports. Their traces depend neither on the seed nor on the length.
    Museum,
}

impl Family {
    /// Returns the name of the family.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Newer => "newer",
            Self::Literature => "literature",
            Self::Small => "small",
            Self::Checkerboards => "checkerboards",
            Self::Phases => "phases",
            Self::Museum => "museum",
        }
    }
}

/// A function that generates a trace.
pub(crate) type Generator = fn(&mut Maker);

/// A pattern of allocation requests.
pub struct Pattern {
    /// The name: lower-case letters, digits and hyphens, for an exhibit after `museum/`.
    pub name: &'static str,
    /// The description, one line.
    pub about: &'static str,
    /// The origin.
    pub family: Family,
    /// The generator.
    pub(crate) generate: Generator,
}

/// Declares the patterns of a file.
macro_rules! patterns {
    ($family:ident: $($name:literal, $generate:expr, $about:literal;)*) => {
        /// The patterns of this file.
        pub(super) static ALL: &[super::Pattern] = &[$(super::Pattern {
            name: $name,
            about: $about,
            family: super::Family::$family,
            generate: $generate,
        }),*];
    };
}
use patterns;

/// Returns all patterns: the workloads, then the exhibits of the museum.
pub fn all() -> impl Iterator<Item = &'static Pattern> {
    workloads().chain(museum::all().map(|exhibit| &exhibit.pattern))
}

/// Returns the patterns that imitate programs.
pub fn workloads() -> impl Iterator<Item = &'static Pattern> {
    [
        classic::ALL,
        newer::ALL,
        literature::ALL,
        small::ALL,
        checkerboards::ALL,
        phases::ALL,
    ]
    .into_iter()
    .flatten()
}

/// Finds a pattern by its name.
pub fn named(name: &str) -> Option<&'static Pattern> {
    all().find(|pattern| pattern.name == name)
}

impl Pattern {
    /// Returns the trace of a seed, scaled to about `percent` per cent of the normal length. The trace
    /// frees all blocks at its end. The trace of an exhibit is the same for all seeds and lengths.
    pub fn make(&self, seed: u64, percent: u32) -> Trace {
        let stream = workloads().position(|pattern| pattern.name == self.name);
        let mut maker = Maker {
            rng: Rng::split(seed, stream.unwrap_or(0) as u64),
            percent: percent as usize,
            builder: Builder::new(),
        };
        (self.generate)(&mut maker);
        maker.builder.free_rest();
        let mut source = format!("slablab trace make {}", self.name);
        if self.family != Family::Museum {
            source += &format!(" --seed {seed} --percent {percent}");
        }
        maker.builder.finish(self.name, &source)
    }
}

/// The trace under construction, with the random numbers of the pattern.
pub(crate) struct Maker {
    /// The random stream of this pattern and seed.
    pub(crate) rng: Rng,
    /// The length of the trace, in per cent of the normal length.
    percent: usize,
    builder: Builder,
}

impl Maker {
    /// Returns `count` scaled by the wanted length, at least 1.
    pub(crate) fn times(&self, count: usize) -> usize {
        (count.saturating_mul(self.percent) / 100).max(1)
    }

    /// Allocates a block.
    pub(crate) fn alloc(&mut self, bytes: u64) -> Id {
        self.builder.alloc(bytes as u32, ALIGN)
    }

    /// Allocates a block at a multiple of `align`.
    pub(crate) fn alloc_aligned(&mut self, bytes: u64, align: u32) -> Id {
        self.builder.alloc(bytes as u32, align)
    }

    /// Frees a block.
    pub(crate) fn free(&mut self, id: Id) {
        self.builder.free(id);
    }

    /// Changes the size of a live block.
    pub(crate) fn realloc(&mut self, id: Id, bytes: u64) {
        self.builder.realloc(id, bytes as u32);
    }

    /// Sets the CPU of all following operations.
    pub(crate) fn on_cpu(&mut self, cpu: usize) {
        self.builder.on_cpu(cpu as u16);
    }

    /// Returns the size of a live block in bytes.
    pub(crate) fn size(&self, id: Id) -> u64 {
        u64::from(self.builder.bytes(id))
    }

    /// Draws a uniform number from `low` to `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.rng.below(high - low + 1)
    }

    /// Removes a random item from a list, which must not be empty.
    pub(crate) fn pick<T>(&mut self, list: &mut Vec<T>) -> T {
        let index = self.rng.index(list.len());
        list.swap_remove(index)
    }

    /// Frees all blocks of a list.
    pub(crate) fn free_all(&mut self, list: impl IntoIterator<Item = Id>) {
        list.into_iter().for_each(|id| self.free(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;
    use std::collections::HashSet;

    #[test]
    fn pattern_names_are_unique_words_and_can_be_found() {
        let names: HashSet<_> = all().map(|pattern| pattern.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(named("larson").is_some());
        assert!(named("waltz").is_none());
        let is_word = |name: &str| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let word = |name: &'static str| name.strip_prefix("museum/").unwrap_or(name);
        assert!(names.iter().all(|name| is_word(word(name))));
    }

    #[test]
    fn traces_depend_on_their_seed_alone_and_free_all_blocks() {
        for pattern in workloads() {
            let trace = pattern.make(1, 10);
            assert_eq!(trace, pattern.make(1, 10));
            let shape = Shape::of(&trace);
            assert_eq!(shape.allocations, shape.frees, "{}", pattern.name);
            assert!(shape.operations > 100, "{}", pattern.name);
        }
        let ops = |seed| named("strings").unwrap().make(seed, 10).ops().to_vec();
        assert_ne!(ops(1), ops(2));
    }

    #[test]
    fn patterns_make_traces_at_the_smallest_percentages() {
        for pattern in all() {
            for (seed, percent) in [(1, 0), (2, 1), (3, 2)] {
                assert!(!pattern.make(seed, percent).ops().is_empty());
            }
        }
    }

    /// Reports quote pattern and seed, so the traces of a seed must not change by accident.
    #[test]
    fn traces_of_a_seed_equal_those_of_earlier_versions() {
        let sum = |trace: &Trace| {
            let mix = |sum: u64, op: &crate::Op| {
                let (kind, bytes, align) = match op.kind {
                    crate::Kind::Alloc { bytes, align } => (1, bytes, align),
                    crate::Kind::Realloc { bytes } => (2, bytes, 0),
                    crate::Kind::Free => (3, 0, 0),
                };
                let words = [kind, op.id, u32::from(op.cpu), bytes, align];
                words
                    .iter()
                    .fold(sum, |sum, word| crate::rng::mix(sum ^ u64::from(*word)))
            };
            trace.ops().iter().fold(0, mix)
        };
        let sums = workloads().scan(0, |all, pattern| {
            *all = crate::rng::mix(*all ^ sum(&pattern.make(7, 10)));
            Some(*all)
        });
        let sums: Vec<_> = sums.collect();
        for (patterns, sum) in SUMS {
            assert_eq!(sums[patterns - 1], sum, "the first {patterns} patterns");
        }
        assert_eq!(sums.len(), SUMS[SUMS.len() - 1].0);
    }

    /// Numbers of patterns, and the sum of their traces. The list grows with the list of patterns.
    const SUMS: [(usize, u64); 2] = [
        (34, 13_744_273_092_334_590_070),
        (53, 16_209_890_151_114_846_547),
    ];
}
