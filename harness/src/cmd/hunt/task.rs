// SPDX-License-Identifier: GPL-2.0

//! The texts of a hunt: the task and the explanation.

use std::fmt::Write as _;

use slablab_hunt::{
    Defect,
    Kind,
    Rule, //
};

/// The width of the text in columns.
const WIDTH: usize = 80;

/// Returns the task of a seed.
pub(super) fn text(seed: u64, kind: Kind) -> String {
    let mut text = format!(
        "Hunt {seed}\n\nThe allocator: {}\n\n{}\n",
        kind.name(),
        wrapped(kind.about(), 2)
    );
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "The pool: {} MiB. Requests are rounded up to multiples of 8 bytes.\n\nThe allocator has exactly one defect.\n\n",
        kind.pool_mib()
    );
    text += &wrapped(
        "Find a trace that exposes the defect, and the rule that breaks. The trace must pass on the sound allocator, \
         which serves every request of it. Memory is lost if a request is refused that the sound allocator serves, for \
         example a large block after all blocks were freed.",
        0,
    );
    text += "\nRules\n";
    for rule in Rule::ALL {
        let lines = wrapped(rule.sentence(), 18);
        let _ = write!(text, "  {:<16}{}", rule.name(), lines.trim_start());
    }
    let command = format!("slablab hunt --seed {seed}");
    text += "\nHow to go on\n";
    for (arguments, purpose) in [
        (
            "run shell",
            "single requests, and the allocator's own check",
        ),
        (
            "run stress --ops 5000",
            "workloads; --record PATH writes them as traces",
        ),
        ("run replay my.trace --passes 0 --no-search", "your trace"),
        (
            "run --sound replay my.trace --passes 0 --no-search",
            "your trace on the sound allocator",
        ),
        (
            "submit my.trace --rule disjoint",
            "the rule is one of the names above",
        ),
        (
            "explain --give-up",
            "the defect, with its line in the source",
        ),
    ] {
        let _ = writeln!(text, "  {command} {arguments}\n      {purpose}");
    }
    text += "\n";
    text += &wrapped(
        "A trace is a text file with one operation per line: 'a 0 64' allocates 64 bytes for block 0, 'a 1 64 4096' \
         aligns block 1 to 4096, 'r 0 100' resizes block 0 to 100 bytes, and 'f 0' frees it. At the end all blocks are \
         freed, and the allocator's own check is called.",
        0,
    );
    text
}

/// Returns the explanation of a defect.
pub(super) fn explanation(defect: Defect) -> String {
    let mut text = format!(
        "The defect: {} ({})\n\n{}",
        defect.name(),
        defect.kind().name(),
        wrapped(defect.explanation(), 0)
    );
    if let Some(source) = defect.source_line() {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n{}, line {}:\n{}",
            source.path, source.line, source.excerpt
        );
    }
    if let Some(report) = defect.report() {
        text += &format!("\nA report of a similar defect: {report}\n");
    }
    text
}

/// Breaks a text into lines that are indented by `indent` columns.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(lines, "{:indent$}{line}", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(lines, "{:indent$}{line}", "");
    lines
}
