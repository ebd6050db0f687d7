// SPDX-License-Identifier: GPL-2.0

//! Instruction counts, measured by valgrind's callgrind.
//!
//! The benchmark runs itself under callgrind once per allocator and pattern. Callgrind counts only inside
//! `measured_pass` and `measured_free`, the functions that the other stages time.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fs,
    io,
    path::Path,
    process::{
        Command,
        Stdio, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use anyhow::{
    Context,
    bail, //
};

/// The timeout of one run under callgrind.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The number of functions that are reported per allocator and pattern.
const REPORTED_FUNCTIONS: usize = 12;

/// The instruction counts of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct InstructionCount {
    /// The total.
    pub(crate) instructions: u64,
    /// The functions with the most instructions, and the count of each.
    pub(crate) functions: Vec<(String, u64)>,
}

/// Returns the reason why instructions cannot be counted, or `None` when they can.
pub(crate) fn unavailable() -> Option<String> {
    let version = Command::new("valgrind").arg("--version").output();
    match version {
        Ok(output) if output.status.success() => None,
        _ => Some("valgrind is not installed (Debian: apt install valgrind)".into()),
    }
}

/// Runs the benchmark with `arguments` under callgrind, which writes its file to `to`. Returns `None`
/// when the run exceeds [`TIMEOUT`].
///
/// # Errors
///
/// Fails when the child fails, or when its file cannot be read.
pub(crate) fn count(arguments: &[OsString], to: &Path) -> anyhow::Result<Option<InstructionCount>> {
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(to);
    let mut child = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--quiet",
            "--toggle-collect=*measured_pass*",
            "--toggle-collect=*measured_free*",
        ])
        .arg(out)
        .arg(env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run valgrind")?;
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "the run under callgrind failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = fs::read_to_string(to).with_context(|| to.display().to_string())?;
    Ok(Some(
        parse(&text).with_context(|| to.display().to_string())?,
    ))
}

/// Parses the output of callgrind.
///
/// The parser handles the needed part of the "Callgrind Format Specification": names of files and
/// functions, which are numbered at their first occurrence, and cost lines. The cost line after
/// `calls=` is the inclusive cost of the callee and is skipped.
fn parse(text: &str) -> io::Result<InstructionCount> {
    let mut names = HashMap::new();
    let mut files = HashMap::new();
    let mut by_function: HashMap<String, u64> = HashMap::new();
    let (mut function, mut file) = (String::new(), String::new());
    let (mut total, mut summed, mut is_callee_cost) = (None, 0, false);
    for line in text.lines() {
        if let Some(cost) = line
            .strip_prefix("totals: ")
            .or(line.strip_prefix("summary: "))
        {
            total = cost.trim().parse::<u64>().ok();
        } else if let Some(name) = line.strip_prefix("fn=") {
            function = resolve(name, &mut names);
        } else if let Some(name) = line.strip_prefix("cfn=") {
            resolve(name, &mut names);
        } else if let Some(name) = ["fl=", "fi=", "fe="]
            .iter()
            .find_map(|key| line.strip_prefix(key))
        {
            file = resolve(name, &mut files);
        } else if let Some(name) = line.strip_prefix("cfi=").or(line.strip_prefix("cfl=")) {
            resolve(name, &mut files);
        } else if line.starts_with("calls=") {
            is_callee_cost = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            if std::mem::take(&mut is_callee_cost) {
                continue;
            }
            if let Some(cost) = line
                .rsplit(' ')
                .next()
                .and_then(|cost| cost.parse::<u64>().ok())
            {
                summed += cost;
                let place = format!("{} in {}", short(&file), bare(&function));
                *by_function.entry(place).or_default() += cost;
            }
        }
    }
    let mut functions: Vec<_> = by_function.into_iter().collect();
    functions.sort_unstable_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
    functions.truncate(REPORTED_FUNCTIONS);
    let instructions = total.unwrap_or(summed);
    if instructions == 0 {
        return Err(io::Error::other("callgrind counted no instructions"));
    }
    Ok(InstructionCount {
        instructions,
        functions,
    })
}

/// Expands a compressed name: `(7) name` defines number 7, a later `(7)` refers to it.
fn resolve(name: &str, names: &mut HashMap<String, String>) -> String {
    match name.split_once(' ') {
        Some((number, full)) if number.starts_with('(') => {
            names.insert(number.into(), full.into());
            full.into()
        }
        _ => names.get(name).cloned().unwrap_or_else(|| name.into()),
    }
}

/// Returns the last two components of a path.
fn short(path: &str) -> &str {
    let end = path.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    &path[end..]
}

/// Returns a function's name without the hash that the compiler appends.
fn bare(function: &str) -> &str {
    let hash = function.rfind("::h").filter(|at| function.len() - at == 19);
    &function[..hash.unwrap_or(function.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_attributed_to_their_own_function() {
        let text = "version: 1\nevents: Ir\n\nfl=(1) /a/src/pair.rs\nfn=(1) pass\n10 5\n\
                    cfi=(2) /a/heap/slab.rs\ncfn=(2) take\ncalls=3 20\n11 60\n+2 7\n\n\
                    fl=(2)\nfn=(2)\n20 40\nfe=(1)\n* 20\n\ntotals: 72\n";
        assert_eq!(
            parse(text).unwrap(),
            InstructionCount {
                instructions: 72,
                functions: vec![
                    ("heap/slab.rs in take".into(), 40),
                    ("src/pair.rs in take".into(), 20),
                    ("src/pair.rs in pass".into(), 12),
                ],
            }
        );
        assert!(parse("events: Ir\n").is_err());
    }
}
