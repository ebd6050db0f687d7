// SPDX-License-Identifier: GPL-2.0

//! The tables of the memory that traces need.

use std::fmt;

use slablab_report::{
    BOLD,
    Cell,
    NONE,
    Side,
    Table,
    count, //
};

use crate::{
    results::{
        Results,
        Space, //
    },
    space::{
        groups,
        means::{
            self,
            GroupMeans, //
        },
    },
    standing::{
        self,
        Better, //
    },
};

/// A row of means of a group.
struct MeanRow {
    title: &'static str,
    figure: fn(&GroupMeans) -> f64,
    kind: MeanKind,
}

/// The kind of a row of means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MeanKind {
    /// A utilisation that the bound limits.
    Bounded,
    /// A utilisation.
    Utilisation,
    /// A share of the pool, in which nobody competes.
    Metadata,
}

/// The rows of means of a group.
const MEANS: [MeanRow; 5] = [
    MeanRow {
        title: "mean",
        figure: |means| means.utilisation,
        kind: MeanKind::Bounded,
    },
    MeanRow {
        title: "with tables and state",
        figure: |means| means.with_metadata,
        kind: MeanKind::Utilisation,
    },
    MeanRow {
        title: "and the cache of a CPU",
        figure: |means| means.with_caches,
        kind: MeanKind::Utilisation,
    },
    MeanRow {
        title: "tables and state, % of pool",
        figure: |means| means.metadata,
        kind: MeanKind::Metadata,
    },
    MeanRow {
        title: "cache of a CPU, % of pool",
        figure: |means| means.cache,
        kind: MeanKind::Metadata,
    },
];

/// Prints a table for each alignment, and a table of all means.
pub(super) fn print(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    let mut aligns: Vec<_> = results.space.iter().map(|space| space.align).collect();
    aligns.dedup();
    for align in &aligns {
        let title = format!(
            "Utilisation in % at alignment {align}: peak of live bytes / smallest pool (bound: sizes rounded to \
             {align} in whole pages, no other loss)"
        );
        writeln!(
            f,
            "{BOLD}{title}{BOLD:#}\n\n{}",
            SpaceTable::of(results, *align)
        )?;
    }
    if aligns.len() > 1 {
        let aligns: Vec<_> = aligns.iter().map(usize::to_string).collect();
        let title = format!("Mean utilisation in %, at alignment {}", aligns.join(" / "));
        writeln!(f, "{BOLD}{title}{BOLD:#}\n\n{}", summary(results))?;
    }
    Ok(())
}

/// Formats a share in per cent.
fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// Returns the places and names of the allocators that run in a pool.
fn columns(results: &Results) -> Vec<(usize, &str)> {
    let all = results.allocators.iter().enumerate();
    let pools = all.filter(|(_, of)| of.threads && of.pool);
    pools.map(|(place, of)| (place, &*of.name)).collect()
}

/// The table of one alignment.
struct SpaceTable<'run> {
    results: &'run Results,
    columns: Vec<(usize, &'run str)>,
    table: Table,
}

impl<'run> SpaceTable<'run> {
    fn of(results: &'run Results, align: usize) -> Table {
        let columns = columns(results);
        let first = [
            ("group", Side::Left),
            ("trace", Side::Left),
            ("peak, KiB", Side::Right),
            ("bound", Side::Right),
        ];
        let names = columns.iter().map(|(_, name)| (*name, Side::Right));
        let places: Vec<_> = standing::engines(results)
            .map(|(_, name)| format!("{name} is"))
            .collect();
        let last = std::iter::once("best peer").chain(places.iter().map(|place| &**place));
        let headings = (first.into_iter().chain(names)).chain(last.map(|name| (name, Side::Left)));
        let mut table = Self {
            results,
            table: Table::new(headings),
            columns,
        };
        for group in &groups::ALL {
            table.group(group.name, align);
        }
        table.table
    }

    /// Adds the rows of a group.
    fn group(&mut self, group: &str, align: usize) {
        let results = self.results;
        let member =
            |space: &&Space| space.align == align && space.groups.iter().any(|name| name == group);
        for space in results.space.iter().filter(member) {
            let first = [
                Cell::from(group),
                Cell::from(&*space.trace),
                count(space.peak_bytes as u64 / 1024).into(),
                percent(space.bound).into(),
            ];
            self.row(first, true, |place| {
                Some(space.cells[place].as_ref()?.utilisation)
            });
        }
        let Some(bound) = means::bound(results, group, align) else {
            return;
        };
        for MeanRow {
            title,
            figure,
            kind,
        } in MEANS
        {
            let bound = match kind {
                MeanKind::Bounded => percent(bound).into(),
                MeanKind::Utilisation | MeanKind::Metadata => Cell::default(),
            };
            let first = [
                Cell::from(group),
                Cell::styled(title, BOLD),
                Cell::default(),
                bound,
            ];
            self.row(first, kind != MeanKind::Metadata, |place| {
                means::of(results, group, align, place).map(|means| figure(&means))
            });
        }
    }

    /// Adds a row with the values of all allocators, and, if `compared`, the places of the engines.
    fn row(&mut self, first: [Cell; 4], compared: bool, value: impl Fn(usize) -> Option<f64>) {
        let values = self.columns.iter().filter_map(|(place, _)| value(*place));
        let max = values.fold(0.0, f64::max);
        let mut cells = Vec::from(first);
        cells.extend(self.columns.iter().map(|(place, _)| match value(*place) {
            None => NONE.into(),
            Some(share) if compared && share >= max => Cell::styled(percent(share), BOLD),
            Some(share) => percent(share).into(),
        }));
        let best = standing::best_peer(self.results, Better::Larger, &value);
        let best = best.filter(|_| compared);
        cells.push(best.map_or_else(Cell::default, |best| {
            format!("{} {}", best.name, percent(best.value)).into()
        }));
        cells.extend(standing::engines(self.results).map(|(place, _)| {
            let found = best.zip(value(place));
            found.map_or_else(Cell::default, |(best, share)| {
                standing::points(share, best.value).into()
            })
        }));
        self.table.row(cells);
    }
}

/// Returns the table of the means of all groups, with one figure for each alignment in a cell.
fn summary(results: &Results) -> Table {
    let mut aligns: Vec<_> = results.space.iter().map(|space| space.align).collect();
    aligns.dedup();
    let columns = columns(results);
    let names = columns.iter().map(|(_, name)| (*name, Side::Right));
    let first = [
        ("group", Side::Left),
        ("", Side::Left),
        ("bound", Side::Right),
    ];
    let mut table = Table::new(first.into_iter().chain(names));
    let cell = |value: &dyn Fn(usize) -> Option<f64>| {
        let values = aligns.iter().map(|align| value(*align));
        let values: Option<Vec<_>> = values.map(|value| value.map(percent)).collect();
        values.map_or_else(|| Cell::from(NONE), |values| values.join(" / ").into())
    };
    for group in &groups::ALL {
        if aligns
            .iter()
            .any(|align| means::rows(results, group.name, *align).is_empty())
        {
            continue;
        }
        for MeanRow {
            title,
            figure,
            kind,
        } in MEANS
        {
            let bound = match kind {
                MeanKind::Bounded => cell(&|align| means::bound(results, group.name, align)),
                MeanKind::Utilisation | MeanKind::Metadata => Cell::default(),
            };
            let mut cells = vec![group.name.into(), title.into(), bound];
            cells.extend(columns.iter().map(|(place, _)| {
                cell(&|align| {
                    means::of(results, group.name, align, *place).map(|means| figure(&means))
                })
            }));
            table.row(cells);
        }
    }
    table
}
