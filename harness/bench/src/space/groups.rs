// SPDX-License-Identifier: GPL-2.0

//! The groups of traces in the space tables.

use slablab_trace::pattern::{
    self,
    Family,
    Pattern, //
};

/// A group of traces, which has means of its own.
pub(crate) struct Group {
    /// The name in tables and on the command line.
    pub(crate) name: &'static str,
    /// Returns whether a pattern belongs to the group.
    has: fn(&Pattern) -> bool,
}

/// The patterns of the group `twelve`: one of each kind of program that `slablab trace make` imitates.
const TWELVE: [&str; 12] = [
    "aligned",
    "cache",
    "compiler",
    "documents",
    "larson",
    "log-uniform",
    "pareto",
    "random-large",
    "random-mixed",
    "sawtooth",
    "vectors",
    "walk",
];

/// The groups in the order of the tables. A pattern may belong to two groups.
pub(crate) const ALL: [Group; 6] = [
    Group {
        name: "twelve",
        has: |pattern| TWELVE.contains(&pattern.name),
    },
    Group {
        name: "classic",
        has: |pattern| pattern.family == Family::Classic,
    },
    Group {
        name: "newer",
        has: |pattern| pattern.family == Family::Newer,
    },
    Group {
        name: "small",
        has: |pattern| pattern.family == Family::Small,
    },
    Group {
        name: "checkerboards",
        has: |pattern| pattern.family == Family::Checkerboards,
    },
    Group {
        name: "phases",
        has: |pattern| pattern.family == Family::Phases,
    },
];

/// Returns the names of the groups of a pattern.
pub(crate) fn of(pattern: &Pattern) -> impl Iterator<Item = &'static str> {
    let groups = ALL.iter().filter(|group| (group.has)(pattern));
    groups.map(|group| group.name)
}

/// Returns the number of patterns of a group.
pub(crate) fn size(name: &str) -> usize {
    pattern::workloads()
        .filter(|pattern| of(pattern).any(|group| group == name))
        .count()
}

/// Returns the patterns that one of the words selects. The name of a group selects the group; another word selects the
/// patterns whose name contains it. No words select all patterns that belong to a group.
pub(crate) fn patterns(words: &[String]) -> Vec<&'static Pattern> {
    let wanted = |pattern: &&Pattern| {
        let groups: Vec<_> = of(pattern).collect();
        let named = |word: &String| match ALL.iter().any(|group| group.name == word) {
            true => groups.contains(&&**word),
            false => pattern.name.contains(&**word),
        };
        !groups.is_empty() && (words.is_empty() || words.iter().any(named))
    };
    pattern::workloads().filter(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(word: &str) -> Vec<&'static str> {
        let found = patterns(&[word.into()]).into_iter();
        found.map(|pattern| pattern.name).collect()
    }

    #[test]
    fn every_group_has_its_patterns() {
        let sizes = ALL.map(|group| (group.name, size(group.name)));
        let expected = [
            ("twelve", 12),
            ("classic", 11),
            ("newer", 16),
            ("small", 8),
            ("checkerboards", 6),
            ("phases", 5),
        ];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn words_select_groups_and_parts_of_names() {
        assert_eq!(named("phases").len(), 5);
        assert_eq!(named("pareto"), ["pareto"]);
        assert_eq!(named("binary"), ["binary", "binary-small"]);
        assert_eq!(named("small").len(), 8);
        assert!(named("xmalloc").is_empty());
        assert_eq!(patterns(&[]).len(), 6 + 11 + 16 + 8 + 6 + 5);
    }
}
