// SPDX-License-Identifier: GPL-2.0

//! From the command line to traces.

use std::{
    fs,
    io::{
        self,
        Read, //
    },
    path::Path,
};

use anyhow::{
    Context,
    anyhow,
    bail, //
};
use clap::Args;
use slablab_trace::{
    Trace,
    format,
    pattern, //
};

/// The word for every pattern.
const ALL: &str = "all";

/// What names a trace on the command line, in a line.
pub(crate) const HELP: &str =
    "Files, '-' for standard input, names of patterns, or 'all' for every pattern";

/// The same at length.
pub(crate) const LONG_HELP: &str = "\
Files, '-' for standard input, names of patterns, or 'all' for every pattern

A file is a slablab trace, a .rep file of the malloc exercise, or what the kernel's ftrace prints of \
its kmem events: its first line tells. 'slablab trace make --help' lists the patterns.";

/// The arguments that say how patterns are made.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct MakingArgs {
    /// What patterns are made from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// How long patterns are, in hundredths of their usual length
    #[arg(long, default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) percent: u32,
}

impl MakingArgs {
    /// Reads or makes the traces that are named.
    pub(crate) fn load(self, names: &[String]) -> anyhow::Result<Vec<Trace>> {
        let mut traces = Vec::new();
        for name in names {
            if name == ALL && !Path::new(name).exists() {
                traces.extend(pattern::all().map(|pattern| pattern.make(self.seed, self.percent)));
            } else {
                traces.push(one(name, self)?);
            }
        }
        if let Some(empty) = traces.iter().find(|trace| trace.ops().is_empty()) {
            bail!("{}: there is no operation in it", empty.name);
        }
        Ok(traces)
    }
}

/// Reads or makes a trace.
fn one(name: &str, making: MakingArgs) -> anyhow::Result<Trace> {
    let mut bytes = Vec::new();
    if name == "-" {
        io::stdin()
            .read_to_end(&mut bytes)
            .context("standard input")?;
    } else {
        bytes = match (fs::read(name), pattern::named(name)) {
            (Ok(bytes), _) => bytes,
            (Err(_), Some(pattern)) => return Ok(pattern.make(making.seed, making.percent)),
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => {
                return Err(anyhow!(
                    "{name}: no such file, nor a pattern ('slablab trace make --help' lists them)"
                ));
            }
            (Err(error), None) => return Err(error).context(name.to_owned()),
        };
    }
    let stem = Path::new(name).file_stem().unwrap_or_default();
    format::parse(&stem.to_string_lossy(), &bytes).with_context(|| name.to_owned())
}
