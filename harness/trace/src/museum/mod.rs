// SPDX-License-Identifier: GPL-2.0

//! The museum: inputs of public bug reports of other allocators, one trace each.
//!
//! Each [`Exhibit`] has the address of the report, one sentence about the bug, and a trace with the sizes and
//! alignments of the report. Only facts come from the reports, no code and no wording. Where a report names no
//! size, where the trace is shorter or smaller than the original, or where the trace ends with a request that
//! the report does not have, the comment on the generator says so.
//!
//! The requests that are added show a leak: a trace has no counter of free memory, but a block as large as all
//! freed blocks together needs all of them.
//!
//! | file | bugs |
//! |---|---|
//! | `alignment` | misaligned blocks |
//! | `edges` | sizes near a limit, neighbours that are split or joined wrongly |
//! | `buddies` | free blocks that are not coalesced, or in one order of frees only |
//! | `leaks` | memory that serves no later request |

mod alignment;
mod buddies;
mod edges;
mod leaks;

use crate::{
    Trace,
    pattern::Pattern, //
};

/// 1 KiB.
const KIB: u64 = 1 << 10;

/// 1 MiB.
const MIB: u64 = 1 << 20;

/// An input that showed a bug of an allocator.
pub struct Exhibit {
    /// The pattern. Its name is `museum/`, the project, and the number of the report; its description is one
    /// sentence about the bug.
    pub pattern: Pattern,
    /// The address of the report.
    pub address: &'static str,
    /// The size of a pool in which the trace shows the bug, and in which an allocator without the bug can serve
    /// the trace, in bytes. A multiple of 32 KiB.
    pub pool_bytes: u64,
    /// The smallest request that an allocator without the bug may refuse in a pool of this size, because
    /// headers or rounding leave too little memory; `None` if all requests must be served.
    pub may_refuse_from: Option<u32>,
}

impl Exhibit {
    /// Returns the trace. The trace frees all blocks at its end.
    pub fn trace(&self) -> Trace {
        self.pattern.make(0, 100)
    }

    /// Returns whether an allocator without the bug may refuse a request of `bytes` bytes in a pool of
    /// [`Exhibit::pool_bytes`].
    pub fn may_refuse(&self, bytes: u32) -> bool {
        self.may_refuse_from.is_some_and(|from| bytes >= from)
    }
}

/// Declares the exhibits of a file: name, size of the pool, generator, address, sentence, and in brackets the
/// smallest request that may be refused.
macro_rules! exhibits {
    ($($name:literal, $pool_bytes:expr, $generate:expr, $address:literal, $about:literal
        $([refusable: $from:expr])?;)*) => {
        /// The exhibits of this file.
        pub(super) static ALL: &[super::Exhibit] = &[$(super::Exhibit {
            pattern: $crate::pattern::Pattern {
                name: $name,
                about: $about,
                family: $crate::pattern::Family::Museum,
                generate: $generate,
            },
            address: $address,
            pool_bytes: $pool_bytes,
            may_refuse_from: exhibits!(@from $($from)?),
        }),*];
    };
    (@from) => { None };
    (@from $from:expr) => { Some($from) };
}
use exhibits;

/// Returns all exhibits.
pub fn all() -> impl Iterator<Item = &'static Exhibit> {
    [alignment::ALL, edges::ALL, buddies::ALL, leaks::ALL]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;
    use std::collections::HashSet;

    #[test]
    fn there_are_at_least_twenty_exhibits_with_an_address_each() {
        assert!(all().count() >= 20);
        let addresses: HashSet<_> = all().map(|exhibit| exhibit.address).collect();
        assert_eq!(addresses.len(), all().count());
        for exhibit in all() {
            let name = exhibit.pattern.name;
            let number = name.rsplit('-').next().unwrap();
            let kinds = ["issues", "pull"];
            let ends = kinds.map(|kind| format!("/{kind}/{number}"));
            let address = exhibit.address;
            assert!(name.starts_with("museum/"), "{name}");
            assert!(address.starts_with("https://github.com/"), "{name}");
            assert!(ends.iter().any(|end| address.ends_with(end)), "{name}");
            assert!(exhibit.pattern.about.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn the_trace_of_an_exhibit_depends_on_nothing_and_frees_all_blocks() {
        for exhibit in all() {
            let name = exhibit.pattern.name;
            let trace = exhibit.trace();
            assert_eq!(trace, exhibit.pattern.make(7, 1), "{name}");
            let shape = Shape::of(&trace);
            assert_eq!(shape.allocations, shape.frees, "{name}");
            assert_eq!(trace.source, format!("slablab trace make {name}"));
        }
    }

    #[test]
    fn the_pool_of_an_exhibit_has_room_for_its_live_blocks() {
        for exhibit in all() {
            let name = exhibit.pattern.name;
            assert_eq!(exhibit.pool_bytes % (32 * KIB), 0, "{name}");
            assert!(exhibit.trace().peak_bytes() <= exhibit.pool_bytes, "{name}");
            // The traces run in the kernel and on every allocator, so they must be short.
            assert!(exhibit.trace().ops().len() <= 20_000, "{name}");
        }
    }

    #[test]
    fn the_page_of_the_museum_lists_every_exhibit() {
        let page = include_str!("../../../../docs/museum.md");
        for exhibit in all() {
            let name = exhibit.pattern.name.trim_start_matches("museum/");
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("{name}"));
            assert!(row.contains(&format!("]({})", exhibit.address)), "{name}");
            assert!(
                row.ends_with(&format!(" | {} |", exhibit.pattern.about)),
                "{name}"
            );
        }
    }
}
