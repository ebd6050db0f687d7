// SPDX-License-Identifier: GPL-2.0

//! The report as text.

use super::{
    document::{
        BenchDocument,
        BenchRow,
        Measured, //
    },
    standing::{
        RowFigure,
        Standing, //
    },
    suite::Group,
    verdicts::{
        Verdict,
        verdicts, //
    },
};
use crate::{
    clock::Clock,
    report::{
        BAD,
        BOLD,
        Cell,
        GOOD,
        Side,
        Table, //
    },
    uapi::{
        BenchSubject,
        Rule, //
    },
};

/// The engines that are compared with Linux's allocators.
const COMPARED: [BenchSubject; 2] = [BenchSubject::Hybrid, BenchSubject::Extent];

/// Returns the report on some runs.
pub(super) fn text(documents: &[BenchDocument], lock_prefixes: Option<u32>) -> String {
    let mut text = String::new();
    for document in documents {
        text += &format!("{BOLD}{}{BOLD:#}\n", how(document));
        text += &groups(document);
        for left_out in &document.left_out {
            text += &format!("\nLeft out: {left_out}.\n");
        }
        text.push('\n');
    }
    text += &format!("{BOLD}Targets{BOLD:#}\n");
    let verdicts = verdicts(documents, lock_prefixes);
    let (measured, others): (Vec<_>, Vec<_>) =
        verdicts.into_iter().partition(|of| of.found.is_some());
    if !measured.is_empty() {
        text += &target_table(measured);
    }
    text += &not_measured(documents, &others);
    text += &faults(documents);
    text
}

/// Returns the table of the measured targets and their limits.
fn target_table(measured: Vec<Verdict>) -> String {
    let mut table = Table::new([
        ("target", Side::Left),
        ("engine", Side::Left),
        ("limit", Side::Right),
        ("measured", Side::Right),
        ("", Side::Left),
        ("in the kernel", Side::Left),
    ]);
    for target in measured {
        let Some(found) = target.found else { continue };
        let met = match found.met {
            true => Cell::styled("met", GOOD),
            false => Cell::styled("missed", BAD),
        };
        let standing = found.standing.as_ref().map(Standing::to_string);
        table.row([
            target.what.into(),
            target.engine.name().into(),
            target.limit.into(),
            found.value.into(),
            met,
            standing.unwrap_or_default().into(),
        ]);
    }
    table.to_string()
}

/// Returns a line that names the targets that were not measured, and the reason.
fn not_measured(documents: &[BenchDocument], others: &[Verdict]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let counts = |document: &BenchDocument| document.clock == Clock::Instructions;
    if !documents.iter().any(counts) {
        return "The targets were not checked: they are in instructions, and this machine measures \
                nanoseconds; 'make bench' checks them.\n"
            .to_owned();
    }
    let mut names: Vec<_> = others.iter().map(|target| target.what).collect();
    names.dedup();
    format!(
        "Not part of this run ('make bench' measures all): {}.\n",
        names.join("; ")
    )
}

/// Returns the kernel, the number of processors and the unit of a run.
fn how(document: &BenchDocument) -> String {
    let cpus = match document.cpus {
        1 => "one CPU".to_owned(),
        cpus => format!("{cpus} CPUs"),
    };
    let unit = match document.clock {
        Clock::Instructions => "instructions (QEMU advances its clock by 1 ns per instruction)",
        Clock::Nanoseconds => "nanoseconds",
    };
    format!("Linux {}, {cpus}; figures are {unit}", document.kernel)
}

/// Returns a table for each group.
fn groups(document: &BenchDocument) -> String {
    let mut text = String::new();
    let mut rows = &document.rows[..];
    while let Some(first) = rows.first() {
        let same = rows
            .iter()
            .take_while(|row| row.group == first.group)
            .count();
        let (group, rest) = rows.split_at(same);
        text += &format!("\n{}\n{}", first.group.title(), table(group));
        rows = rest;
    }
    if !document.calls.is_empty() {
        let mut table = Table::new([("", Side::Left), ("per call", Side::Right)]);
        for call in &document.calls {
            table.row([call.name.clone().into(), figure(call.cost).into()]);
        }
        text += &format!("\n{}\n{table}", Group::Calls.title());
    }
    text
}

/// Returns the table of a group.
fn table(rows: &[BenchRow]) -> String {
    let mut columns = BenchSubject::ALL.to_vec();
    let has_student = |row: &BenchRow| row.of(BenchSubject::Student).is_some();
    if !rows.iter().any(has_student) {
        columns.retain(|subject| *subject != BenchSubject::Student);
    }
    let mut headings = vec![("", Side::Left)];
    headings.extend(columns.iter().map(|subject| match subject {
        BenchSubject::Nothing => ("(loop)", Side::Right),
        subject => (subject.name(), Side::Right),
    }));
    let engines = BenchSubject::ENGINES.map(|engine| (engine, format!("locks: {engine}")));
    headings.extend(engines.iter().map(|(_, name)| (&**name, Side::Right)));
    let compared: Vec<_> = COMPARED
        .into_iter()
        .filter(|engine| rows.iter().any(|row| row.of(*engine).is_some()))
        .map(|engine| (engine, format!("{engine} is")))
        .collect();
    headings.extend(compared.iter().map(|(_, name)| (&**name, Side::Left)));
    let mut table = Table::new(headings);
    for row in rows {
        let mut cells = vec![row.name.clone()];
        let cost = |subject| match row.of(subject)?.singly {
            Some(singly) => Some(format!("{} / {} / {}", singly.p50, singly.p99, singly.max)),
            None if subject == BenchSubject::Nothing => {
                row.of(subject).map(|empty| figure(empty.cost))
            }
            None => row.net(subject).map(figure),
        };
        let locks = |subject| row.of(subject).map(|result| format!("{:.3}", result.locks));
        cells.extend(
            columns
                .iter()
                .map(|subject| cost(*subject).unwrap_or_else(|| "–".to_owned())),
        );
        cells.extend(
            BenchSubject::ENGINES.map(|engine| locks(engine).unwrap_or_else(|| "–".to_owned())),
        );
        cells.extend(compared.iter().map(|(engine, _)| {
            let standing = RowFigure::of_row(row).standing(row, *engine);
            standing.map_or_else(|| "–".to_owned(), |standing| standing.to_string())
        }));
        table.row(cells.into_iter().map(Cell::from));
    }
    let note = if rows.iter().any(BenchRow::is_singly) {
        "Rows 'singly': p50 / p99 / max of single operations; the engines are compared by the maximum.\n"
    } else {
        ""
    };
    format!("{table}{note}")
}

/// Formats a figure: one decimal below 1000, none above.
fn figure(figure: f64) -> String {
    if figure < 1000.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.0}")
    }
}

/// Returns the results of the checks.
fn faults(documents: &[BenchDocument]) -> String {
    let rows = || documents.iter().flat_map(|document| &document.rows);
    let results = || rows().flat_map(|row| &row.results);
    let sum = |field: fn(&Measured) -> u64| results().map(field).sum::<u64>();
    let mut text = format!(
        "\nIn a separate pass, both ends of {} blocks were written, and compared before the free; \
         {} blocks were wrong. {} requests were refused.\n",
        crate::report::count(sum(|result| result.checked_blocks)),
        crate::report::count(sum(|result| result.wrong_blocks)),
        crate::report::count(sum(|result| result.refusals)),
    );
    for row in rows() {
        for result in row.results.iter().filter(|result| !result.is_right()) {
            text += &format!(
                "{BAD}{}, {}: {}: {} wrong blocks, violated rule: {}{BAD:#}\n",
                row.group.title(),
                row.name,
                result.subject,
                result.wrong_blocks,
                Rule::from_raw(result.rule).map_or("unknown", Rule::name)
            );
        }
        let refused = |result: &&Measured| result.refusals > 0;
        for result in row.results.iter().filter(refused) {
            text += &format!(
                "{}, {}: {} refused {} requests, so fewer operations were measured.\n",
                row.group.title(),
                row.name,
                result.subject,
                result.refusals
            );
        }
    }
    text
}
