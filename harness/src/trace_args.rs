// SPDX-License-Identifier: GPL-2.0

//! The arguments that name traces.

use std::{
    io::{
        self,
        Read, //
    },
    path::Path,
};

use anyhow::{
    Context,
    bail, //
};
use clap::Args;
use slablab_trace::{
    Trace,
    format,
    museum,
    pattern::{
        self,
        Pattern, //
    }, //
};

use crate::{
    arguments::{
        nearest,
        seed,
        usage,
        whole, //
    },
    report::files, //
};

/// The names that stand for several patterns, with their descriptions.
pub(crate) const GROUPS: [(&str, &str); 2] = [
    ("all", "all patterns that imitate programs"),
    ("museum", "all exhibits of the museum"),
];

/// Help on how the command line names a trace.
pub(crate) const HELP: &str = "Files, '-' for standard input, names of patterns, 'all' for every pattern that \
                               imitates programs, or 'museum' for every exhibit of the museum";

/// The long form of [`HELP`].
pub(crate) const LONG_HELP: &str = "\
Files, '-' for standard input, names of patterns, 'all' for every pattern that imitates programs, or 'museum' for \
every exhibit of the museum

A file is a slablab trace, a .rep file of the malloc exercise, or the text of the kernel's kmem events as \
ftrace prints it. The first line determines the format. 'slablab trace make --help' lists the patterns. The \
exhibits of the museum, such as museum/mimalloc-206, are inputs that showed bugs of other allocators.";

/// Returns the patterns that a word of the command line stands for: a group or one pattern. The list is empty if the
/// word is no name.
pub(crate) fn patterns_named(name: &str) -> Vec<&'static Pattern> {
    match name {
        "all" => pattern::workloads().collect(),
        "museum" => museum::all().map(|exhibit| &exhibit.pattern).collect(),
        _ => pattern::named(name).into_iter().collect(),
    }
}

/// The arguments that say how patterns are made.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TraceArgs {
    /// Seed of generated patterns
    #[arg(long, default_value_t = 1, value_parser = seed())]
    pub(crate) seed: u64,

    /// Length of generated patterns, in percent of their default length
    #[arg(long, default_value_t = 100)]
    #[arg(value_parser = whole::<u32>("the length in percent", 1..=10_000))]
    pub(crate) percent: u32,
}

impl TraceArgs {
    /// Reads or generates the traces in `names`.
    pub(crate) fn load(self, names: &[String]) -> anyhow::Result<Vec<Trace>> {
        if names.is_empty() {
            return Err(usage(
                "name a trace: a file, '-' for standard input, a pattern such as larson, 'all' for \
                 every pattern that imitates programs, or 'museum' for every exhibit of the museum \
                 ('slablab trace make --help' lists the patterns)",
            )
            .into());
        }
        let mut traces = Vec::new();
        for name in names {
            let is_group = GROUPS.iter().any(|(group, _)| group == name);
            if is_group && !Path::new(name).exists() {
                let patterns = patterns_named(name).into_iter();
                traces.extend(patterns.map(|pattern| pattern.make(self.seed, self.percent)));
            } else {
                traces.push(one(name, self)?);
            }
        }
        Ok(traces)
    }
}

/// Reads or generates a trace.
fn one(name: &str, trace_args: TraceArgs) -> anyhow::Result<Trace> {
    let path = Path::new(name);
    let mut bytes = Vec::new();
    if name == "-" {
        io::stdin()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
    } else {
        bytes = match (files::read(path), pattern::named(name)) {
            (Ok(bytes), _) => bytes,
            (Err(_), Some(pattern)) => return Ok(pattern.make(trace_args.seed, trace_args.percent)),
            (Err(_), None) if !path.exists() => bail!(missing(name)),
            (Err(error), None) => return Err(error.into()),
        };
    }
    let stem = path.file_stem().unwrap_or_default();
    let trace = format::parse(&stem.to_string_lossy(), &bytes).with_context(|| name.to_owned())?;
    if trace.ops().is_empty() {
        let file = if name == "-" { "standard input" } else { name };
        bail!(
            "{file}: there is no operation in this trace; 'slablab trace --help' describes the \
             format"
        );
    }
    Ok(trace)
}

/// Returns the error for a name that is neither a file nor a pattern. The error names a similar pattern.
fn missing(name: &str) -> String {
    let patterns = pattern::all().map(|pattern| pattern.name);
    let meant = nearest(name, patterns).map_or_else(String::new, |near| {
        format!("; the pattern {near} has a similar name")
    });
    format!(
        "{name}: there is no such file and no such pattern ('slablab trace make --help' lists \
         the patterns){meant}"
    )
}
