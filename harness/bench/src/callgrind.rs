// SPDX-License-Identifier: GPL-2.0

//! Instructions, counted by valgrind's callgrind.
//!
//! The command runs itself under it, once for each allocator and pattern, and counts only inside of
//! the functions that the clock times too.

use std::{
    collections::HashMap,
    env,
    ffi::OsString,
    fs, io,
    path::Path,
    process::{
        Command,
        Stdio, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    },
};

use anyhow::{
    Context,
    bail, //
};

/// The time after which a child is given up.
const PATIENCE: Duration = Duration::from_secs(90);

/// Functions that are reported of each.
const FUNCTIONS: usize = 12;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// All instructions.
    pub(crate) instructions: u64,
    /// Where most of them are: in which function, and how many there.
    pub(crate) functions: Vec<(String, u64)>,
}

/// Says why instructions cannot be counted, if they cannot.
pub(crate) fn missing() -> Option<String> {
    let version = Command::new("valgrind").arg("--version").output();
    match version {
        Ok(output) if output.status.success() => None,
        _ => Some("valgrind is not installed (Debian: apt install valgrind)".into()),
    }
}

/// Runs this command with other arguments, and counts; `None` when it took too long.
///
/// # Errors
///
/// What went wrong in the child, or with its file, which is left at `to`.
pub(crate) fn count(arguments: &[OsString], to: &Path) -> anyhow::Result<Option<Counted>> {
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
        .context("valgrind")?;
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "under callgrind: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = fs::read_to_string(to).with_context(|| to.display().to_string())?;
    Ok(Some(
        parse(&text).with_context(|| to.display().to_string())?,
    ))
}

/// Reads what callgrind wrote.
///
/// Only what is needed of "Callgrind Format Specification": names of files and functions, which are
/// numbered when they first come, and costs of lines, of which those after `calls=` belong to what
/// was called.
fn parse(text: &str) -> io::Result<Counted> {
    let mut names = HashMap::new();
    let mut files = HashMap::new();
    let mut by_function: HashMap<String, u64> = HashMap::new();
    let (mut function, mut file) = (String::new(), String::new());
    let (mut total, mut summed, mut called) = (None, 0, false);
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
            called = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            if std::mem::take(&mut called) {
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
    functions.truncate(FUNCTIONS);
    let instructions = total.unwrap_or(summed);
    if instructions == 0 {
        return Err(io::Error::other("nothing was counted"));
    }
    Ok(Counted {
        instructions,
        functions,
    })
}

/// Returns the name that a compressed one stands for: `(7) name` the first time, then `(7)`.
fn resolve(name: &str, names: &mut HashMap<String, String>) -> String {
    match name.split_once(' ') {
        Some((number, full)) if number.starts_with('(') => {
            names.insert(number.into(), full.into());
            full.into()
        }
        _ => names.get(name).cloned().unwrap_or_else(|| name.into()),
    }
}

/// Returns the end of a path.
fn short(path: &str) -> &str {
    let end = path.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    &path[end..]
}

/// Returns a function's name without the number that the compiler adds.
fn bare(function: &str) -> &str {
    let hash = function.rfind("::h").filter(|at| function.len() - at == 19);
    &function[..hash.unwrap_or(function.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_of_the_function_that_has_them() {
        let text = "version: 1\nevents: Ir\n\nfl=(1) /a/src/pair.rs\nfn=(1) pass\n10 5\n\
                    cfi=(2) /a/heap/slab.rs\ncfn=(2) take\ncalls=3 20\n11 60\n+2 7\n\n\
                    fl=(2)\nfn=(2)\n20 40\nfe=(1)\n* 20\n\ntotals: 72\n";
        assert_eq!(
            parse(text).unwrap(),
            Counted {
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
