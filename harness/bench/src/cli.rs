// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode, //
};

use anyhow::Context;
use clap::{
    Parser,
    error::ErrorKind, //
};
use slablab_report::files::{
    FileKind,
    Output, //
};

use crate::{
    machine,
    museum,
    plot,
    pool::PAGE_BYTES,
    run::{
        self,
        BenchPlan, //
    },
    show, //
};

/// The kind of file that `--json` writes. An existing file of another kind is not overwritten.
const FIGURES: FileKind = FileKind {
    name: "a JSON file of bench-host",
    is: |bytes| {
        let value = serde_json::from_slice::<serde_json::Value>(bytes);
        value.is_ok_and(|value| {
            let parts = ["about", "allocators", "times", "targets"];
            parts.iter().all(|part| value.get(part).is_some())
        })
    },
};

/// Compare the engines of slablab with other allocators, in one process on the host.
///
/// The exit status is 0 when every allocator answered correctly, whatever the times, and 1 when an
/// answer was wrong. In the museum, only a wrong answer of an engine of slablab counts: wrong answers of other
/// allocators are the results of that table.
#[derive(Parser)]
#[command(version, name = "bench-host")]
pub(crate) struct Cli {
    /// Run every stage briefly: a check that the benchmark works, with meaningless times
    #[arg(long)]
    quick: bool,

    /// Measure only hybrid and the allocators whose name contains one of the words
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    heap: Vec<String>,

    /// Measure only patterns whose name contains one of the words ("space" selects the traces, "museum"
    /// the inputs of bug reports)
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    pattern: Vec<String>,

    /// Measure only the space of traces that belong to one of the groups (twelve, classic, newer, small,
    /// checkerboards, phases) or whose name contains one of the words
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    trace: Vec<String>,

    /// Align the requests of the traces to this many bytes; 8 keeps the alignments in the traces
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [8, 16])]
    #[arg(value_parser = alignment)]
    align: Vec<usize>,

    /// Run this many rounds of five repetitions for each allocator and pattern
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Seed of the random numbers for sizes, slots and traces
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Do not count instructions
    #[arg(long)]
    no_callgrind: bool,

    /// Write all results to this file; an existing file must be from an earlier run
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Directory for the picture and the output of callgrind
    #[arg(long, value_name = "DIR", default_value = "build/out")]
    out: PathBuf,

    /// Run one allocator and pattern once, for callgrind
    #[arg(long, hide = true, num_args = 2, value_names = ["HEAP", "PATTERN"])]
    count: Option<Vec<String>>,

    /// Run one allocator on one exhibit of the museum, and print the result as JSON
    #[arg(long, hide = true, num_args = 2, value_names = ["HEAP", "EXHIBIT"])]
    exhibit: Option<Vec<String>>,
}

/// Parses an alignment: a power of two from 8 to the size of a page.
fn alignment(text: &str) -> Result<usize, String> {
    let align = text.parse::<usize>().ok();
    let align = align.filter(|align| align.is_power_of_two() && (8..=PAGE_BYTES).contains(align));
    align.ok_or_else(|| "an alignment is a power of two from 8 to 4096".into())
}

impl Cli {
    /// Runs the benchmark as the arguments say.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if let Some([heap, exhibit]) = self.exhibit.as_deref() {
            museum::child(heap, exhibit)?;
            return Ok(ExitCode::SUCCESS);
        }
        machine::equalize_conditions();
        let plan = BenchPlan {
            quick: self.quick,
            heaps: self.heap,
            // A selection of traces alone selects the space stage alone.
            patterns: match self.pattern.is_empty() && !self.trace.is_empty() {
                true => vec!["space".into()],
                false => self.pattern,
            },
            traces: self.trace,
            aligns: self.align,
            rounds: self.rounds.map(|rounds| rounds as usize),
            seed: self.seed,
            callgrind: !self.no_callgrind,
            out: self.out,
        };
        if let Some([heap, pattern]) = self.count.as_deref() {
            run::counted(&plan, heap, pattern)?;
            return Ok(ExitCode::SUCCESS);
        }
        if !plan.measures() {
            let words = match plan.traces.is_empty() {
                true => ("pattern", &plan.patterns),
                false => ("trace", &plan.traces),
            };
            let why = format!(
                "no {} has a name that contains one of {:?}, so nothing would be measured\n",
                words.0, words.1
            );
            clap::Error::raw(ErrorKind::ValueValidation, why).exit();
        }
        fs::create_dir_all(&plan.out).with_context(|| plan.out.display().to_string())?;
        let picture = Output::open(&plan.out.join("bench-host.svg"), plot::KIND)?;
        let json = match &self.json {
            Some(file) => Some(Output::open(file, FIGURES)?),
            None => None,
        };
        let results = run::all(&plan)?;
        slablab_report::print(show::PrintedReport(&results))?;
        if let Some(file) = json {
            let text = serde_json::to_string_pretty(&results)? + "\n";
            let path = file.path().display().to_string();
            file.write(text.as_bytes())?;
            println!("Figures: {path}");
        }
        let path = picture.path().display().to_string();
        picture.write(plot::draw(&results)?.as_bytes())?;
        println!("Picture: {path}");
        Ok(match results.wrong_in_the_museum() {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_picture_is_recognized_by_its_title() {
        let svg = plot::draw(&crate::results::Results::default()).unwrap();
        assert!((plot::KIND.is)(svg.as_bytes()));
        assert!(!(plot::KIND.is)(b"<svg></svg>"));
    }

    #[test]
    fn only_json_of_an_earlier_run_is_overwritten() {
        let figures = serde_json::to_vec(&crate::results::Results::default()).unwrap();
        assert!((FIGURES.is)(&figures));
        for other in [&b"{}"[..], b"[]", b"a 1 100\n", b"{\"about\": 1}"] {
            assert!(!(FIGURES.is)(other), "{other:?}");
        }
    }
}
