// SPDX-License-Identifier: GPL-2.0

//! The type of a defect, and the source line of each.

pub use crate::catalog::Defect;
use crate::{
    kind::Kind,
    rule::Rule, //
};

/// The defect of an allocator, if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Active(Option<Defect>);

impl Active {
    /// The sound allocator has no defect.
    pub const NONE: Self = Self(None);

    /// Returns the value for an allocator with this defect.
    pub fn of(defect: Defect) -> Self {
        Self(Some(defect))
    }

    /// Returns whether the allocator has this defect.
    pub fn is(self, defect: Defect) -> bool {
        self.0 == Some(defect)
    }
}

/// The entry of a defect in the catalog.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) rule: Rule,
    pub(crate) explanation: &'static str,
    pub(crate) report: Option<&'static str>,
}

/// The place of a defect in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The path in the tree.
    pub path: &'static str,
    /// The number of the line, from 1.
    pub line: usize,
    /// The line and those around it, with their numbers.
    pub excerpt: String,
}

/// The number of lines before and behind the line of a defect in an excerpt.
const LINES_AROUND: usize = 4;

impl Defect {
    /// Returns the name.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Returns the kind of the allocator.
    pub const fn kind(self) -> Kind {
        self.entry().kind
    }

    /// Returns the rule that the shortest known trace shows to be broken. Other traces may break other rules.
    pub fn rule(self) -> Rule {
        self.entry().rule
    }

    /// Returns the explanation: what the code does, and what follows.
    pub fn explanation(self) -> &'static str {
        self.entry().explanation
    }

    /// Returns the address of a public report of a similar defect, if one is known.
    pub fn report(self) -> Option<&'static str> {
        self.entry().report
    }

    /// Returns the place of the defect in the source of its allocator: the line that contains `Defect::` and its name.
    pub fn source_line(self) -> Option<SourceLine> {
        let (path, text) = self.kind().source();
        let marks = |line: &str| {
            let mut words = line.split("Defect::").skip(1);
            words.any(|rest| {
                let end = rest.find(|c: char| !c.is_alphanumeric());
                rest[..end.unwrap_or(rest.len())] == format!("{self:?}")
            })
        };
        let index = text.lines().position(marks)?;
        let lines = text.lines().enumerate();
        let first = index.saturating_sub(LINES_AROUND);
        let excerpt = lines
            .skip(first)
            .take(index - first + LINES_AROUND + 1)
            .map(|(number, line)| {
                let mark = if number == index { '>' } else { ' ' };
                format!("{mark}{:>4}  {line}\n", number + 1)
            })
            .collect();
        Some(SourceLine {
            path,
            line: index + 1,
            excerpt,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_defect_is_one_condition_in_the_source_of_its_allocator() {
        for defect in Defect::ALL {
            let mark = format!("self.defect.is(Defect::{defect:?})");
            let mark_in_new = format!(" defect.is(Defect::{defect:?})");
            for kind in Kind::ALL {
                let (path, text) = kind.source();
                let count = text.matches(&mark).count() + text.matches(&mark_in_new).count();
                assert_eq!(count, usize::from(kind == defect.kind()), "{path}: {mark}");
            }
            let place = defect.source_line().unwrap();
            let marked = place.excerpt.lines().find(|line| line.starts_with('>'));
            assert!(
                marked.unwrap().contains(&format!("{defect:?}")),
                "{place:?}"
            );
        }
    }

    #[test]
    fn each_defect_has_a_name_of_its_own_and_an_explanation_of_two_to_four_sentences() {
        let names: HashSet<_> = Defect::ALL.iter().map(|defect| defect.name()).collect();
        assert_eq!(names.len(), Defect::ALL.len());
        for defect in Defect::ALL {
            let text = defect.explanation();
            let sentences = text.matches(". ").count() + 1;
            assert!(text.ends_with('.'), "{text}");
            assert!((2..=4).contains(&sentences), "{sentences}: {text}");
        }
    }
}
