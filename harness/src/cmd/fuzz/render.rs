// SPDX-License-Identifier: GPL-2.0

//! The output of `slablab fuzz`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    call::{
        ArgumentSource,
        KINDS, //
    },
    processes::{
        Fuzzed,
        Processes, //
    },
    reply_counts::ProcessEvent,
};
use crate::{
    device::Errno,
    errno,
    report::{
        BAD,
        Cell,
        GOOD,
        Side,
        Table,
        count, //
    },
};

/// The sources of arguments, with their names in the output.
const WAYS: [(ArgumentSource, &str); 3] = [
    (ArgumentSource::Structured, "structured"),
    (ArgumentSource::Mutated, "mutated"),
    (ArgumentSource::Random, "random"),
];

/// The JSON output.
#[derive(Serialize)]
pub(super) struct FuzzDocument {
    seed: u64,
    processes: usize,
    seconds: f64,
    calls: u64,
    cut_short: u64,
    kills: u64,
    forks: u64,
    files_received: u64,
    /// The number of calls and of successful calls, by the source of their arguments.
    made: BTreeMap<&'static str, [u64; 2]>,
    /// The number of answers, by the kind of call and by the answer.
    answers: BTreeMap<&'static str, BTreeMap<String, u64>>,
    violations: Vec<String>,
}

/// Returns the name of an answer.
fn name(number: i32) -> String {
    match number {
        0 => "ok".to_owned(),
        number => errno::Name(Errno::from_raw_os_error(number)).to_string(),
    }
}

/// Returns the JSON output.
pub(super) fn document(processes: &Processes, fuzzed: &Fuzzed) -> FuzzDocument {
    let counts = &fuzzed.counts;
    let made = WAYS.map(|(made, name)| (name, <[u64; 2]>::from(counts.calls(made))));
    let calls = made.iter().map(|(_, [calls, _])| calls).sum();
    let answers = |kind| counts.answers(kind).into_iter();
    let answers = |kind| {
        answers(kind)
            .map(|(number, count)| (name(number), count))
            .collect()
    };
    FuzzDocument {
        seed: processes.seed,
        processes: processes.processes,
        seconds: fuzzed.seconds,
        calls,
        cut_short: counts.events(ProcessEvent::Begun) - calls,
        kills: counts.events(ProcessEvent::Kill),
        forks: counts.events(ProcessEvent::Fork),
        files_received: counts.events(ProcessEvent::Received),
        made: made.into(),
        answers: KINDS
            .iter()
            .enumerate()
            .map(|(kind, name)| (*name, answers(kind)))
            .collect(),
        violations: fuzzed.violations.clone(),
    }
}

/// Returns the output as text.
pub(super) fn text(processes: &Processes, fuzzed: &Fuzzed) -> String {
    let document = document(processes, fuzzed);
    let mut table = Table::new([
        ("call", Side::Left),
        ("calls", Side::Right),
        ("succeeded", Side::Right),
        ("µs per call", Side::Right),
        ("failed", Side::Left),
    ]);
    for (number, kind) in KINDS.into_iter().enumerate() {
        let answers = &document.answers[kind];
        let served = answers.get("ok").copied().unwrap_or(0);
        let refused: Vec<_> = answers
            .iter()
            .filter(|(answer, _)| *answer != "ok")
            .map(|(answer, number)| format!("{} {answer}", count(*number)))
            .collect();
        let calls = answers.values().sum();
        let micros = fuzzed.counts.time(number).as_micros() as u64;
        table.row([
            Cell::from(kind),
            count(calls).into(),
            count(served).into(),
            micros
                .checked_div(calls)
                .map_or_else(String::new, count)
                .into(),
            refused.join(", ").into(),
        ]);
    }
    let mut text = format!("{table}\n");
    for (way, [calls, served]) in &document.made {
        text += &format!(
            "{way}: {} calls, {} succeeded\n",
            count(*calls),
            count(*served)
        );
    }
    text += &format!(
        "{} calls of {} processes, and {} calls that {} kills interrupted; {} forks, {} files \
         received; {:.1} s\n",
        count(document.calls),
        document.processes,
        count(document.cut_short),
        count(document.kills),
        count(document.forks),
        count(document.files_received),
        document.seconds
    );
    for violation in &document.violations {
        text += &format!("{BAD}FAILED{BAD:#} {violation}\n");
    }
    if document.violations.is_empty() {
        text += &format!("{GOOD}passed{GOOD:#}: no block of this run is live in any pool\n");
    } else {
        text += &format!("{}\n", processes.repeat());
    }
    text
}
