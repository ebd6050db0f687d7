// SPDX-License-Identifier: GPL-2.0

//! What was measured, for people.

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
    results::{
        Allocator,
        Results,
        Row,
        Time, //
    },
    statistics::mean,
    targets::{
        utilisation,
        utilisation_at_most, //
    },
};

/// A run of the benchmark, printed.
pub(crate) struct Report<'run>(pub(crate) &'run Results);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.0;
        for threads in [true, false] {
            let columns = Columns::new(results, |of| of.threads == threads);
            if columns.0.iter().all(|(_, of)| of.baseline) {
                continue;
            }
            let title = if threads {
                "Nanoseconds for an allocation and a free (median ± half the distance of the \
                 quartiles), each allocator safe with threads"
            } else {
                "The same without locks, for one thread only"
            };
            writeln!(f, "{BOLD}{title}{BOLD:#}\n\n{}", columns.times(results))?;
            if !results.frees.is_empty() {
                let title = "A single free: p99 / max ns";
                writeln!(f, "{BOLD}{title}{BOLD:#}\n\n{}", columns.frees(results))?;
            }
            if !results.instructions.is_empty() {
                let title =
                    "Instructions for the same (the loop's included; of single frees the mean)";
                writeln!(
                    f,
                    "{BOLD}{title}{BOLD:#}\n\n{}",
                    columns.instructions(results)
                )?;
            }
        }
        if !results.space.is_empty() {
            let columns = Columns::new(results, |of| of.threads && !of.baseline);
            let title = "Utilisation: the most bytes out at once over the smallest pool, % (hybrid ≤: \
                         what the rounding of sizes alone would allow)";
            writeln!(f, "{BOLD}{title}{BOLD:#}\n\n{}", columns.space(results))?;
        }
        hot(f, results)?;
        targets(f, results)?;
        about(f, results)
    }
}

/// The allocators of a table.
struct Columns<'run>(Vec<(usize, &'run Allocator)>);

impl<'run> Columns<'run> {
    fn new(results: &'run Results, which: impl Fn(&Allocator) -> bool) -> Self {
        let all = results.allocators.iter().enumerate();
        Self(all.filter(|(_, of)| which(of)).collect())
    }

    /// Begins a table whose first columns have headings of their own.
    fn table(&self, words: usize, first: &[&'run str]) -> Table {
        let names = self
            .0
            .iter()
            .map(|(_, of)| of.name.trim_end_matches(" (no lock)"));
        let sides = std::iter::repeat_n(Side::Left, words).chain(std::iter::repeat(Side::Right));
        Table::new(first.iter().copied().chain(names).zip(sides))
    }

    /// Returns the cells of a row, the least of them bold.
    fn cells<T>(
        &self,
        row: &Row<T>,
        value: impl Fn(&T) -> f64,
        text: impl Fn(&T) -> String,
    ) -> Vec<Cell> {
        let cell = |place: usize| row.cells[place].as_ref();
        let least = self.0.iter().filter(|(_, of)| !of.baseline);
        let least = least.filter_map(|(place, _)| cell(*place).map(&value));
        let least = least.fold(f64::INFINITY, f64::min);
        let cells = self.0.iter().map(|(place, of)| match cell(*place) {
            None => NONE.into(),
            Some(cell) if !of.baseline && value(cell) <= least => Cell::styled(text(cell), BOLD),
            Some(cell) => text(cell).into(),
        });
        cells.collect()
    }

    fn times(&self, results: &Results) -> Table {
        let mut table = self.table(1, &["pattern"]);
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
            Row {
                pattern: String::new(),
                title,
                cells: all.collect(),
            }
        };
        let worst = |of: &[f64]| of.iter().copied().fold(0.0, f64::max);
        for row in [
            over(
                format!("pairs of {} class sizes, mean", classes.len()),
                mean,
            ),
            over("the slowest of them".into(), worst),
        ] {
            let mut cells = vec![Cell::from(&*row.title)];
            cells.extend(self.cells(&row, |value| *value, |value| figure(*value)));
            table.row(cells);
        }
        table
    }

    fn frees(&self, results: &Results) -> Table {
        let mut table = self.table(1, &["pattern"]);
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
        let mut table = self.table(1, &["pattern"]);
        for row in &results.instructions {
            let mut cells = vec![Cell::from(&*row.title)];
            cells.extend(self.cells(row, |of| of.per_pair, |of| figure(of.per_pair)));
            table.row(cells);
        }
        table
    }

    fn space(&self, results: &Results) -> Table {
        let hybrid = results.place("hybrid");
        let mut table = self.table(2, &["family", "trace", "peak, KiB", "hybrid ≤"]);
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        for space in &results.space {
            let row = Row {
                pattern: String::new(),
                title: String::new(),
                cells: space.cells.clone(),
            };
            let mut cells = vec![
                Cell::from(&*space.family),
                Cell::from(&*space.trace),
                count(space.peak_bytes as u64 / 1024).into(),
                hybrid
                    .and_then(|place| space.cells[place].as_ref())
                    .map_or_else(
                        || Cell::from(NONE),
                        |of| percent(of.utilisation_at_most).into(),
                    ),
            ];
            cells.extend(self.cells(&row, |of| -of.utilisation, |of| percent(of.utilisation)));
            table.row(cells);
        }
        for family in ["classic", "newer"] {
            for (title, beside) in [("mean", false), ("mean, tables beside counted", true)] {
                let mut cells = vec![
                    Cell::from(family),
                    Cell::styled(title, BOLD),
                    Cell::default(),
                    (hybrid.filter(|_| !beside))
                        .and_then(|place| utilisation_at_most(results, family, place))
                        .map_or_else(Cell::default, |share| percent(share).into()),
                ];
                cells.extend(self.0.iter().map(|(place, _)| {
                    utilisation(results, family, *place).map_or_else(
                        || Cell::from(NONE),
                        |(pool, all)| Cell::styled(percent(if beside { all } else { pool }), BOLD),
                    )
                }));
                table.row(cells);
            }
        }
        table
    }
}

/// Tells where the hybrid's instructions are.
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
        let title = format!("Where hybrid's instructions are: {}", row.title);
        writeln!(f, "{BOLD}{title}{BOLD:#}\n")?;
        for (function, count) in of.functions.iter().take(8) {
            writeln!(f, "{:>8}  {function}", figure(*count))?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// Tells the targets.
fn targets(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    if results.targets.is_empty() {
        return Ok(());
    }
    let headings = [
        "target",
        "to be",
        "hybrid",
        "best other",
        "best without lock",
        "",
    ];
    let mut table = Table::new(headings.map(|heading| (heading, Side::Left)));
    for target in &results.targets {
        let verdict = if target.met {
            Cell::styled("met", GOOD)
        } else {
            Cell::styled("missed", BAD)
        };
        table.row(vec![
            Cell::from(&*target.what),
            Cell::from(&*target.target),
            Cell::from(&*target.hybrid),
            Cell::from(&*target.best_other),
            Cell::from(&*target.best_without_lock),
            verdict,
        ]);
    }
    writeln!(f, "{table}")
}

/// Tells how it was measured.
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
        "One thread measures; a second one sleeps, so that nobody may leave out locks. Large pages \
         are off for all.\n\
         hybrid, seed, buddy, talc, rlsf and llist are behind a spinlock (one exchange, one store), \
         each in a touched pool of its own.\n\
         glibc and mimalloc are as they come. hybrid and seed are compiled with checks for \
         overflow, as in the kernel, the others without.\n\
         Alignment is 8. Blocks are not touched but where it says used."
    )?;
    writeln!(
        f,
        "{} repetitions of {} µs, interleaved, with new pools {} times; {} were disturbed and done again, {} at every try.\n\
         {} blocks were handed out with every answer checked.",
        about.repetitions,
        count(about.repetition_microseconds),
        about.rounds,
        count(about.redone),
        count(about.disturbed as u64),
        count(about.checked_blocks)
    )?;
    if let Some(why) = &about.no_instructions {
        writeln!(f, "No instructions were counted: {why}.")?;
    }
    if about.quick {
        writeln!(
            f,
            "This was a quick run: it proves that all works, and its times mean nothing."
        )?;
    }
    Ok(())
}
