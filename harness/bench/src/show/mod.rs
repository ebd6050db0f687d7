// SPDX-License-Identifier: GPL-2.0

//! The printed report.

mod space;

use std::fmt;

use slablab_report::{
    BAD,
    BOLD,
    Cell,
    GOOD,
    NONE,
    Side,
    Table,
    count,
    figure, //
};

use crate::{
    museum::{
        MuseumCell,
        Verdict, //
    },
    results::{
        AllocatorDescription,
        PatternRow,
        Results,
        Time, //
    },
    standing::{
        self,
        Better, //
    },
    statistics::mean,
};

/// Prints the results of a run as tables.
pub(crate) struct PrintedReport<'run>(pub(crate) &'run Results);

impl fmt::Display for PrintedReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.0;
        for threads in [true, false] {
            let columns = Columns::new(results, |of| of.threads == threads);
            if columns.allocators.iter().all(|(_, of)| of.baseline) {
                continue;
            }
            let title = if threads {
                "Nanoseconds per pair of allocation and free (median ± half the interquartile \
                 range), thread-safe allocators"
            } else {
                "Nanoseconds per pair of allocation and free, allocators without a lock"
            };
            if !results.times.is_empty() {
                writeln!(f, "{BOLD}{title}{BOLD:#}\n\n{}", columns.times(results))?;
            }
            if !results.frees.is_empty() {
                let title = "Nanoseconds per single free: p99 / max";
                writeln!(f, "{BOLD}{title}{BOLD:#}\n\n{}", columns.frees(results))?;
            }
            if !results.instructions.is_empty() {
                let title =
                    "Instructions per pair, including the loop (for single frees: the mean)";
                writeln!(
                    f,
                    "{BOLD}{title}{BOLD:#}\n\n{}",
                    columns.instructions(results)
                )?;
            }
        }
        space::print(f, results)?;
        if !results.museum.is_empty() {
            let columns = Columns::new(results, |of| of.threads && !of.baseline);
            let title = "The museum: inputs of bug reports in a pool of the size of the row, with the smallest \
                         pool that serves all requests, in KiB";
            writeln!(f, "{BOLD}{title}{BOLD:#}\n\n{}", columns.museum(results))?;
            wrong(f, results)?;
        }
        hot(f, results)?;
        targets(f, results)?;
        about(f, results)
    }
}

/// The allocators of a table, with their indexes in the rows, and the engines whose place is shown.
struct Columns<'run> {
    results: &'run Results,
    allocators: Vec<(usize, &'run AllocatorDescription)>,
    engines: Vec<(usize, String)>,
}

impl<'run> Columns<'run> {
    fn new(results: &'run Results, which: impl Fn(&AllocatorDescription) -> bool) -> Self {
        let all = results.allocators.iter().enumerate();
        let allocators: Vec<_> = all.filter(|(_, of)| which(of)).collect();
        let shown = |place| allocators.iter().any(|(other, _)| *other == place);
        let engines = standing::engines(results).filter(|(place, _)| shown(*place));
        let engines = engines.map(|(place, name)| (place, format!("{name} is")));
        Self {
            engines: engines.collect(),
            results,
            allocators,
        }
    }

    /// Returns a table with the columns `first`, the first of which is left-aligned, and one column per allocator.
    fn table(&self, first: &[&str]) -> Table {
        Table::new(self.headings(first))
    }

    /// Returns a table of patterns: one column per allocator, and one for the place of each engine.
    fn pattern_table(&self) -> Table {
        let places = self.engines.iter().map(|(_, name)| (&**name, Side::Left));
        Table::new(self.headings(&["pattern"]).chain(places))
    }

    /// Returns the headings of the columns `first` and of the allocators.
    fn headings<'text>(
        &'text self,
        first: &[&'text str],
    ) -> impl Iterator<Item = (&'text str, Side)> {
        let names = self.allocators.iter();
        let names = names.map(|(_, of)| of.name.trim_end_matches(" (no lock)"));
        let sides = std::iter::once(Side::Left).chain(std::iter::repeat(Side::Right));
        first.iter().copied().chain(names).zip(sides)
    }

    /// Returns the cells of a row of a pattern table, with the smallest value in bold.
    fn cells<T>(
        &self,
        row: &PatternRow<T>,
        value: impl Fn(&T) -> f64,
        text: impl Fn(&T) -> String,
    ) -> Vec<Cell> {
        let cell = |place: usize| row.cells[place].as_ref();
        let values = self.allocators.iter().filter(|(_, of)| !of.baseline);
        let min = values.filter_map(|(place, _)| cell(*place).map(&value));
        let min = min.fold(f64::INFINITY, f64::min);
        let cells = self
            .allocators
            .iter()
            .map(|(place, of)| match cell(*place) {
                None => NONE.into(),
                Some(cell) if !of.baseline && value(cell) <= min => Cell::styled(text(cell), BOLD),
                Some(cell) => text(cell).into(),
            });
        let of = |place: usize| cell(place).map(&value);
        let best = standing::best_peer(self.results, Better::Smaller, of);
        let places = self.engines.iter().map(|(place, _)| {
            let found = best.zip(of(*place));
            found.map_or_else(Cell::default, |(best, own)| {
                standing::ratio(own, best).into()
            })
        });
        cells.chain(places).collect()
    }

    fn times(&self, results: &Results) -> Table {
        let mut table = self.pattern_table();
        let median = |time: &Time| time.nanoseconds.median;
        let (classes, others): (Vec<_>, Vec<_>) =
            (results.times.iter()).partition(|row| row.pattern.starts_with("class-"));
        for row in others {
            let mut cells = vec![Cell::from(&*row.title)];
            cells.extend(self.cells(row, median, |time| {
                let spread = figure(time.nanoseconds.spread());
                format!("{} ±{spread}", figure(median(time)))
            }));
            table.row(cells);
        }
        if classes.is_empty() {
            return table;
        }
        let over = |title: String, sum: fn(&[f64]) -> f64| {
            let all = (0..results.allocators.len()).map(|place| {
                let of = classes.iter().filter_map(|row| row.cells[place].as_ref());
                Some(sum(&of.map(median).collect::<Vec<_>>()))
            });
            PatternRow {
                pattern: String::new(),
                title,
                cells: all.collect(),
            }
        };
        let worst = |of: &[f64]| of.iter().copied().fold(0.0, f64::max);
        for row in [
            over(
                format!("pairs of {} size classes, mean", classes.len()),
                mean,
            ),
            over("pairs of size classes, slowest".into(), worst),
        ] {
            let mut cells = vec![Cell::from(&*row.title)];
            cells.extend(self.cells(&row, |value| *value, |value| figure(*value)));
            table.row(cells);
        }
        table
    }

    fn frees(&self, results: &Results) -> Table {
        let mut table = self.pattern_table();
        for row in &results.frees {
            let mut cells = vec![Cell::from(&*row.title)];
            cells.extend(self.cells(
                row,
                |free| free.p99,
                |free| format!("{} / {}", figure(free.p99), figure(free.max)),
            ));
            table.row(cells);
        }
        table
    }

    fn instructions(&self, results: &Results) -> Table {
        let mut table = self.pattern_table();
        for row in &results.instructions {
            let mut cells = vec![Cell::from(&*row.title)];
            cells.extend(self.cells(row, |of| of.per_pair, |of| figure(of.per_pair)));
            table.row(cells);
        }
        table
    }

    fn museum(&self, results: &Results) -> Table {
        let mut table = self.table(&["exhibit", "pool"]);
        for row in &results.museum {
            let mut cells = vec![
                Cell::from(row.exhibit.trim_start_matches("museum/")),
                count(row.pool_bytes / 1024).into(),
            ];
            cells.extend(self.allocators.iter().map(|(place, _)| {
                let Some(cell) = &row.cells[*place] else {
                    return NONE.into();
                };
                let pool = cell.smallest_pool.map(|bytes| count(bytes / 1024));
                let text = |word: &str| match &pool {
                    Some(pool) => format!("{word} {pool:>6}"),
                    None => format!("{word} {:>6}", ""),
                };
                match &cell.verdict {
                    Verdict::Right => text("right").into(),
                    Verdict::Refused => Cell::styled(text("refused"), BOLD),
                    Verdict::Wrong(_) => Cell::styled(text("wrong"), BAD),
                }
            }));
            table.row(cells);
        }
        table
    }
}

/// Prints the wrong answers to exhibits of the museum.
fn wrong(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    let mut found = false;
    for row in &results.museum {
        for (of, cell) in results.allocators.iter().zip(&row.cells) {
            if let Some(MuseumCell {
                verdict: Verdict::Wrong(why),
                ..
            }) = cell
            {
                writeln!(f, "Wrong: {}, {}: {why}", row.exhibit, of.name)?;
                found = true;
            }
        }
    }
    if found { writeln!(f) } else { Ok(()) }
}

/// Prints the functions in which hybrid runs most instructions.
fn hot(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    let Some(place) = results.place("hybrid") else {
        return Ok(());
    };
    for row in &results.instructions {
        let Some(of) = &row.cells[place] else {
            continue;
        };
        if !matches!(&*row.pattern, "pair-64" | "replace-4k") {
            continue;
        }
        let title = format!("Instructions of hybrid by function: {}", row.title);
        writeln!(f, "{BOLD}{title}{BOLD:#}\n")?;
        for (function, count) in of.functions.iter().take(8) {
            writeln!(f, "{:>8}  {function}", figure(*count))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// Prints the targets.
fn targets(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    if results.targets.is_empty() {
        return Ok(());
    }
    let headings = [
        "target",
        "engine",
        "required",
        "measured",
        "",
        "best peer",
        "engine is",
    ];
    let mut table = Table::new(headings.map(|heading| (heading, Side::Left)));
    for target in &results.targets {
        let result = if target.met {
            Cell::styled("met", GOOD)
        } else {
            Cell::styled("missed", BAD)
        };
        table.row([
            Cell::from(&*target.what),
            Cell::from(&*target.engine),
            Cell::from(&*target.target),
            Cell::from(&*target.measured),
            result,
            Cell::from(&*target.best_peer),
            Cell::from(&*target.standing),
        ]);
    }
    writeln!(f, "{table}")
}

/// Prints the conditions of the run.
fn about(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    let about = &results.about;
    writeln!(
        f,
        "{}, {}, Linux {}; seed {}.",
        about.date, about.processor, about.kernel, about.seed
    )?;
    let versions = results
        .allocators
        .iter()
        .filter(|of| of.threads && !of.version.is_empty());
    let versions: Vec<_> = versions.map(|of| &*of.version).collect();
    writeln!(f, "Peers: {}.", versions.join(", "))?;
    writeln!(
        f,
        "One thread measures; a second thread sleeps, so that glibc does not skip its locks. \
         Transparent huge pages are disabled.\n\
         hybrid, seed, buddy, talc, rlsf and llist run behind a spinlock (one exchange, one store), \
         each in a populated pool of its own.\n\
         glibc and mimalloc run with their default settings. hybrid and seed are compiled with \
         overflow checks, as in the kernel; the other allocators are compiled without them.\n\
         The alignment of timed blocks is 8. Blocks are written only by patterns with 'used' in their title."
    )?;
    writeln!(
        f,
        "{} interleaved repetitions of {} µs in {} rounds with new pools; {} disturbed repetitions \
         were repeated, {} were disturbed in every attempt.\n\
         Checked passes allocated {} blocks and found no error.",
        about.repetitions,
        count(about.repetition_microseconds),
        about.rounds,
        count(about.redone),
        count(about.disturbed as u64),
        count(about.checked_blocks)
    )?;
    if let Some(why) = &about.no_instructions {
        writeln!(f, "Instructions were not counted: {why}.")?;
    }
    if about.quick {
        writeln!(
            f,
            "This was a quick run, which only checks that the benchmark works: its times are meaningless."
        )?;
    }
    Ok(())
}
