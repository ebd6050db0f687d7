// SPDX-License-Identifier: GPL-2.0

//! Generated traces: what programs ask of an allocator, without the programs.
//!
//! Each is made from a seed by a few lines that say what it is. None is a recording. What a seed
//! gives must stay as it is: it is part of reports. So a new pattern goes to the end of the list.

mod classic;
mod literature;
mod newer;

use crate::{
    ALIGN,
    Builder,
    Id,
    Trace,
    rng::Rng, //
};

/// Where patterns come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// What the classic exercise in writing a `malloc` is graded by.
    Classic,
    /// Mostly small blocks: strings, trees, tables that grow.
    Newer,
    /// What papers on allocators measure with.
    Literature,
}

impl Family {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Newer => "newer",
            Self::Literature => "literature",
        }
    }
}

/// What makes a trace.
type Generator = fn(&mut Maker);

/// A kind of trace.
pub struct Pattern {
    /// Its name, a word.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Where it comes from.
    pub family: Family,
    generate: Generator,
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

/// Returns all patterns.
pub fn all() -> impl Iterator<Item = &'static Pattern> {
    [classic::ALL, newer::ALL, literature::ALL]
        .into_iter()
        .flatten()
}

/// Finds a pattern.
pub fn named(name: &str) -> Option<&'static Pattern> {
    all().find(|pattern| pattern.name == name)
}

impl Pattern {
    /// Makes the trace of a seed, of about `percent` hundredths of the usual length. All blocks are
    /// freed at its end.
    pub fn make(&self, seed: u64, percent: u32) -> Trace {
        let stream = all().position(|pattern| pattern.name == self.name);
        let mut maker = Maker {
            rng: Rng::split(seed, stream.unwrap_or(0) as u64),
            percent: percent as usize,
            builder: Builder::new(),
        };
        (self.generate)(&mut maker);
        maker.builder.free_rest();
        let source = format!(
            "slablab trace make {} --seed {seed} --percent {percent}",
            self.name
        );
        maker.builder.finish(self.name, &source)
    }
}

/// A trace that a pattern makes.
struct Maker {
    /// Numbers for whoever draws some.
    rng: Rng,
    /// How much of it all is wanted.
    percent: usize,
    builder: Builder,
}

impl Maker {
    /// Returns a count, or as much of it as is wanted.
    fn times(&self, count: usize) -> usize {
        (count.saturating_mul(self.percent) / 100).max(1)
    }

    /// Allocates a block.
    fn alloc(&mut self, bytes: u64) -> Id {
        self.builder.alloc(bytes as u32, ALIGN)
    }

    /// Allocates a block at a multiple of `align`.
    fn alloc_aligned(&mut self, bytes: u64, align: u32) -> Id {
        self.builder.alloc(bytes as u32, align)
    }

    /// Frees a block.
    fn free(&mut self, id: Id) {
        self.builder.free(id);
    }

    /// Gives a block another size.
    fn realloc(&mut self, id: Id, bytes: u64) {
        self.builder.realloc(id, bytes as u32);
    }

    /// Goes to another CPU.
    fn on_cpu(&mut self, cpu: usize) {
        self.builder.on_cpu(cpu as u16);
    }

    /// Returns the size of a block that is out.
    fn size(&self, id: Id) -> u64 {
        u64::from(self.builder.bytes(id))
    }

    /// Draws a number from `low` to `high`, all as likely.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.rng.below(high - low + 1)
    }

    /// Takes a random one out of a list, which is not empty.
    fn pick<T>(&mut self, list: &mut Vec<T>) -> T {
        let index = self.rng.index(list.len());
        list.swap_remove(index)
    }

    /// Frees all of a list.
    fn free_all(&mut self, list: impl IntoIterator<Item = Id>) {
        list.into_iter().for_each(|id| self.free(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;
    use std::collections::HashSet;

    #[test]
    fn every_pattern_has_a_name_of_its_own_and_can_be_found() {
        let names: HashSet<_> = all().map(|pattern| pattern.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(named("larson").is_some());
        assert!(named("waltz").is_none());
        let is_word = |name: &str| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        assert!(names.iter().all(|name| is_word(name)));
    }

    #[test]
    fn traces_depend_on_their_seed_alone_and_free_what_they_allocate() {
        for pattern in all() {
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
    fn a_pattern_can_be_as_short_as_one_likes() {
        for pattern in all() {
            for (seed, percent) in [(1, 0), (2, 1), (3, 2)] {
                assert!(!pattern.make(seed, percent).ops().is_empty());
            }
        }
    }

    /// What a seed gives is part of reports. These figures change only on purpose.
    #[test]
    fn what_a_seed_gives_stays() {
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
        let all = all().fold(0, |all, pattern| {
            crate::rng::mix(all ^ sum(&pattern.make(7, 10)))
        });
        assert_eq!(all, SUM);
    }

    const SUM: u64 = 13_744_273_092_334_590_070;
}
