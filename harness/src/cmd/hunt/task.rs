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
    let _ = write!(
        text,
        "\nHow to go on\n  \
         {command} run shell                  single requests, and 'check'\n  \
         {command} run stress --ops 5000      workloads\n  \
         {command} run replay my.trace --passes 0 --no-search\n  \
         {command} run --sound shell          the sound allocator, to compare\n  \
         {command} submit my.trace --rule disjoint\n  \
         {command} explain --give-up\n\n\
         'slablab trace --help' describes the format of a trace: a 0 64 allocates 64 bytes for block 0,\n\
         r 0 100 resizes the block, f 0 frees it.\n"
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
