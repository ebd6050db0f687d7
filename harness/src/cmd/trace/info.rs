// SPDX-License-Identifier: GPL-2.0

//! The description of a trace as text.

use std::fmt::Write as _;

use serde::Serialize;
use slablab_trace::{
    Trace,
    shape::{
        Shape,
        Spread, //
    },
};

use crate::report::{
    BOLD,
    bar,
    blocks,
    bytes,
    count,
    curve,
    percent, //
};

/// Height of the curve of live bytes, in lines.
const CURVE_HEIGHT: usize = 6;

/// Characters of the longest bar.
const BAR_WIDTH: usize = 40;

/// A trace's figures, for JSON.
#[derive(Serialize)]
pub(super) struct TraceDocument {
    name: String,
    source: String,
    #[serde(flatten)]
    shape: Shape,
}

impl TraceDocument {
    /// Creates the document of a trace.
    pub(super) fn new(trace: &Trace, shape: Shape) -> Self {
        Self {
            name: trace.name.clone(),
            source: trace.source.clone(),
            shape,
        }
    }
}

/// Returns the description of a trace as text.
pub(super) fn text(trace: &Trace, shape: &Shape) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#}", trace.name);
    if !trace.source.is_empty() {
        text += &format!("  ({})", trace.source);
    }
    text.push('\n');
    let mut line = |name: &str, value: String| text += &format!("{name:<12} {value}\n");
    line(
        "operations",
        format!(
            "{}: {} allocated, {} reallocated, {} freed",
            count(shape.operations),
            count(shape.allocations),
            count(shape.reallocations),
            count(shape.frees)
        ),
    );
    line(
        "live peak",
        format!(
            "{} after operation {}; at most {}",
            bytes(shape.peak_bytes),
            count(shape.peak_operation),
            blocks(shape.peak_blocks)
        ),
    );
    line(
        "at the end",
        match shape.left_bytes {
            0 => "no live block".to_owned(),
            left => format!(
                "{} live in {}",
                bytes(left),
                blocks(shape.allocations - shape.frees)
            ),
        },
    );
    if shape.aligned > 0 {
        let share = shape.aligned as f64 / shape.allocations as f64;
        line(
            "aligned",
            format!(
                "{} of the blocks are aligned to more than 8 bytes",
                percent(share)
            ),
        );
    }
    if shape.cpus > 1 {
        line("CPUs", count(shape.cpus));
    }
    text += "\nlive bytes over the operations\n";
    for (row, line) in curve(&shape.live_bytes, CURVE_HEIGHT).iter().enumerate() {
        let label = match row {
            0 => bytes(shape.peak_bytes),
            _ => String::new(),
        };
        let _ = writeln!(text, "{label:>10} ▕{}", line.trim_end());
    }
    text += &histogram("sizes", &shape.sizes, bytes);
    text += &histogram("lifetimes, in operations", &shape.lifetimes, count);
    text
}

/// Returns a histogram: one bar for each number of binary digits.
fn histogram(title: &str, spread: &Spread, unit: impl Fn(u64) -> String) -> String {
    if spread.count == 0 {
        return String::new();
    }
    let mut text = format!(
        "\n{title}: p50 {}, p99 {}, max {}\n",
        unit(spread.p50),
        unit(spread.p99),
        unit(spread.max)
    );
    let most = spread.digits.iter().copied().max().unwrap_or(0);
    let first = spread.digits.iter().position(|count| *count > 0);
    for digits in first.unwrap_or(0)..spread.digits.len() {
        let label = match 1_u64.checked_shl(digits as u32) {
            Some(end) => format!("< {}", unit(end)),
            None => format!("≤ {}", unit(u64::MAX)),
        };
        let number = spread.digits[digits];
        let _ = writeln!(
            text,
            "{:>10} ▕{:<BAR_WIDTH$} {}",
            label,
            bar(number, most, BAR_WIDTH),
            count(number)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use slablab_trace::Builder;

    #[test]
    fn a_trace_is_drawn() {
        let mut builder = Builder::new();
        let first = builder.alloc(100, 64);
        let second = builder.alloc(3000, 8);
        builder.free(first);
        builder.realloc(second, 200);
        let trace = builder.finish("small", "by hand");
        let text = crate::report::plain(&super::text(&trace, &Shape::of(&trace)));
        assert_eq!(text, SMALL, "{text}");
    }

    const SMALL: &str = "\
small  (by hand)
operations   4: 2 allocated, 1 reallocated, 1 freed
live peak    3.03 KiB after operation 2; at most 2 blocks
at the end   200 B live in 1 block
aligned      50.0 % of the blocks are aligned to more than 8 bytes

live bytes over the operations
  3.03 KiB ▕ █▆
           ▕ ██
           ▕ ██
           ▕ ██
           ▕ ██
           ▕▁██▃

sizes: p50 200 B, p99 2.93 KiB, max 2.93 KiB
   < 128 B ▕████████████████████████████████████████ 1
   < 256 B ▕████████████████████████████████████████ 1
   < 512 B ▕                                         0
   < 1 KiB ▕                                         0
   < 2 KiB ▕                                         0
   < 4 KiB ▕████████████████████████████████████████ 1

lifetimes, in operations: p50 2, p99 2, max 2
       < 4 ▕████████████████████████████████████████ 1
";

    #[test]
    fn the_least_and_the_longest_numbers_have_bars() {
        let spread = Spread::of(vec![0, u64::MAX]);
        let text = histogram("n", &spread, |number| number.to_string());
        assert!(text.contains("< 1 ▕█"), "{text}");
        assert!(text.contains("≤ 18446744073709551615 ▕█"), "{text}");
    }
}
