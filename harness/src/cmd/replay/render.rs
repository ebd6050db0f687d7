// SPDX-License-Identifier: GPL-2.0

//! Results as text and as CSV.

use super::document::{
    Document,
    EngineResult,
    TraceResult, //
};
use crate::{
    report::{
        BAD,
        BOLD,
        Cell,
        GOOD,
        NONE,
        Side,
        Table,
        bytes,
        count,
        figure,
        percent, //
    },
    session_factory::TargetKind,
    uapi::Engine,
};

/// The columns of a table.
const COLUMNS: [(&str, Side); 10] = [
    ("engine", Side::Left),
    ("smallest pool", Side::Right),
    ("utilisation", Side::Right),
    ("internal", Side::Right),
    ("external", Side::Right),
    ("p50", Side::Right),
    ("p99", Side::Right),
    ("max", Side::Right),
    ("answers", Side::Left),
    ("refused", Side::Left),
];

/// Returns a table for each trace, the means, and notes on the figures.
pub(in crate::cmd) fn text(document: &Document) -> String {
    let mut text = String::new();
    for trace in &document.traces {
        text += &format!(
            "{BOLD}{}{BOLD:#}: {} operations, live peak {}\n{}\n",
            trace.name,
            count(trace.operations),
            bytes(trace.peak_bytes),
            table(trace)
        );
    }
    for (trace, result) in document.results() {
        if let Some(wrong) = &result.failure {
            text += &format!(
                "{BAD}WRONG{BAD:#} {} on {} in a pool of {}, operation {} ({}): {}\n",
                trace.name,
                result.engine,
                bytes(wrong.pool_bytes),
                count(wrong.operation),
                wrong.what,
                wrong.violation
            );
            if !wrong.repeat.is_empty() {
                text += &format!("  repeat: {}\n", wrong.repeat);
            }
            text.push('\n');
        }
    }
    if document.traces.len() > 1 {
        text += &format!(
            "{BOLD}means of {} traces{BOLD:#} (column max: maximum)\n{}\n",
            document.traces.len(),
            means(document)
        );
    }
    text + &about(document)
}

/// Returns the table of a trace.
fn table(trace: &TraceResult) -> Table {
    let mut table = Table::new(COLUMNS);
    for result in &trace.engines {
        let space = result.space.as_ref();
        let times = result.times.as_ref();
        let reserved = space.map(|space| match space.pool_bytes {
            Some(pool) => bytes(pool),
            None => format!("({})", bytes(space.reserved_bytes)),
        });
        let cells = [
            reserved,
            space.map(|space| percent(space.utilisation)),
            space.and_then(|space| space.internal).map(percent),
            space.and_then(|space| space.external).map(percent),
            times.map(|times| count(times.p50)),
            times.map(|times| count(times.p99)),
            times.map(|times| count(times.max)),
        ];
        let mut row = vec![Cell::from(result.engine.name())];
        row.extend(cells.map(|cell| cell.unwrap_or_else(|| NONE.to_owned()).into()));
        row.push(match result.failure {
            None => Cell::styled("right", GOOD),
            Some(_) => Cell::styled("WRONG", BAD),
        });
        row.push(refused(result).into());
        table.row(row);
    }
    table
}

/// Formats the refusals of a result by cause.
fn refused(result: &EngineResult) -> String {
    let mut parts: Vec<_> = result
        .refused
        .iter()
        .map(|(cause, number)| format!("{} {cause}", count(*number)))
        .collect();
    if result.left_out > 0 {
        parts.push(format!("{} left out", count(result.left_out)));
    }
    if parts.is_empty() {
        NONE.to_owned()
    } else {
        parts.join(", ")
    }
}

/// Returns the table of each engine's means over all traces.
fn means(document: &Document) -> Table {
    let mut table = Table::new(COLUMNS);
    for engine in document.engines() {
        let all: Vec<_> = document
            .results()
            .map(|(_, result)| result)
            .filter(|result| result.engine == engine)
            .collect();
        let mean = |value: fn(&EngineResult) -> Option<f64>| {
            let values: Vec<_> = all.iter().filter_map(|result| value(result)).collect();
            // The mean over some of the traces cannot be compared with a mean over all of them.
            (values.len() == all.len()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let shown = |value: Option<f64>, unit: fn(f64) -> String| {
            Cell::from(value.map_or_else(|| NONE.to_owned(), unit))
        };
        let longest = all
            .iter()
            .filter_map(|result| Some(result.times.as_ref()?.max))
            .max();
        let wrong = all.iter().filter(|result| result.failure.is_some()).count();
        table.row([
            engine.name().into(),
            "".into(),
            shown(mean(|result| Some(result.space?.utilisation)), percent),
            shown(mean(|result| result.space?.internal), percent),
            shown(mean(|result| result.space?.external), percent),
            shown(
                mean(|result| Some(result.times.as_ref()?.p50 as f64)),
                figure,
            ),
            shown(
                mean(|result| Some(result.times.as_ref()?.p99 as f64)),
                figure,
            ),
            longest.map_or_else(|| NONE.to_owned(), count).into(),
            match wrong {
                0 => Cell::styled("right", GOOD),
                wrong => Cell::styled(format!("{wrong} WRONG"), BAD),
            },
            count(
                all.iter()
                    .map(|result| result.refused.values().sum::<u64>())
                    .sum(),
            )
            .into(),
        ]);
    }
    table
}

/// Returns the notes below the tables.
fn about(document: &Document) -> String {
    let times = document
        .results()
        .find_map(|(_, result)| result.times.as_ref());
    let checked: u64 = document
        .results()
        .map(|(_, result)| result.checked_bytes)
        .sum();
    let mut text = format!(
        "{} bytes were read back and compared. Pool for checks and times: {}. Target: {}, Linux \
         {}.\n",
        count(checked),
        bytes(document.pool_bytes),
        document.target.name(),
        document.kernel
    );
    if document.faults.is_any() {
        let options: Vec<_> = document.faults.options().collect();
        text += &format!("Fault injection: {}.\n", options.join(" "));
    }
    if let Some(times) = times {
        text += &format!(
            "p50, p99 and max are {} per operation, including zeroing; the cost of a call that \
             does nothing ({}) is subtracted.\n",
            times.clock.name(),
            count(times.empty_call)
        );
    }
    if document.target == TargetKind::Sim {
        text += "slub was left out: it runs in the kernel only.\n";
    }
    let has = |engine| document.engines().iter().any(|subject| subject.is(engine));
    if has(Engine::Student) {
        text += "student: internal is only what the engine rounds up to multiples of 8 bytes. What your allocator rounds up \
            itself counts as external.\n";
    }
    if has(Engine::Slub) {
        text += "slub has no pool: the size of all its blocks is shown in brackets.\n";
    }
    text + &peers(document)
}

/// Returns the notes on the peers: what they are, and what they do not report.
fn peers(document: &Document) -> String {
    let mut text = String::new();
    for subject in document.engines() {
        let results = document.results().map(|(_, result)| result);
        let facts = results.filter(|result| result.engine == subject);
        let Some(facts) = facts.filter_map(|result| result.peer.as_ref()).next() else {
            continue;
        };
        text += &format!(
            "The peer {subject} is {} {}: {}. It has {} of metadata outside of the pool.",
            facts.package,
            facts.version,
            facts.description,
            bytes(facts.metadata_bytes)
        );
        if let Some(align_max) = facts.align_max {
            text += &format!(" The largest alignment is {}.", bytes(align_max));
        }
        if let Some(cannot) = &facts.cannot {
            text += &format!(" It cannot {cannot}.");
        }
        text.push('\n');
    }
    if !text.is_empty() {
        text += "Peers have no CHECK, no MAP, no magazines and no statistics by size class, and do not say why they \
            refuse a request: every refusal counts as exhausted, or as too big if the request is larger than the \
            pool. A dash stands for a figure that a peer does not report.\n";
    }
    text
}

/// Returns CSV with a line for each trace and engine.
pub(super) fn csv(document: &Document) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "trace",
        "engine",
        "operations",
        "peak_bytes",
        "done",
        "refused",
        "left_out",
        "pool_bytes",
        "reserved_bytes",
        "utilisation",
        "internal",
        "external",
        "clock",
        "p50",
        "p99",
        "max",
        "wrong_operation",
    ])?;
    for (trace, result) in document.results() {
        let space = result.space.as_ref();
        let times = result.times.as_ref();
        let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
        let share = |share: Option<f64>| share.map_or_else(String::new, |s| format!("{s:.6}"));
        writer.write_record([
            trace.name.clone(),
            result.engine.to_string(),
            trace.operations.to_string(),
            trace.peak_bytes.to_string(),
            result.done.to_string(),
            result.refused.values().sum::<u64>().to_string(),
            result.left_out.to_string(),
            number(space.and_then(|space| space.pool_bytes)),
            number(space.map(|space| space.reserved_bytes)),
            share(space.map(|space| space.utilisation)),
            share(space.and_then(|space| space.internal)),
            share(space.and_then(|space| space.external)),
            times.map_or("", |times| times.clock.name()).to_owned(),
            number(times.map(|times| times.p50)),
            number(times.map(|times| times.p99)),
            number(times.map(|times| times.max)),
            number(result.failure.as_ref().map(|wrong| wrong.operation)),
        ])?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
