// SPDX-License-Identifier: GPL-2.0

//! Plots of block characters for a terminal.

/// Blocks of 0 to 8 eighths of a cell's height.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Blocks of 0 to 8 eighths of a cell's width.
const WIDTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Scales a value to eighths of a cell, so that `max` fills `cells` cells. A value above 0 gives at least
/// one eighth.
fn eighths(value: u64, max: u64, cells: usize) -> usize {
    let all = cells as u128 * 8;
    let part = (u128::from(value) * all).checked_div(u128::from(max));
    let least = u128::from(value > 0);
    part.unwrap_or(0).clamp(least, all) as usize
}

/// Returns a bar whose length is proportional to `value`; `max` gives `width` characters.
pub fn bar(value: u64, max: u64, width: usize) -> String {
    let eighths = eighths(value, max, width);
    let mut bar = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(WIDTHS[eighths % 8]);
    }
    bar
}

/// Returns a curve as `height` lines of text, the top line first. Each value is one column, and the
/// largest value reaches the top.
pub fn curve(values: &[u64], height: usize) -> Vec<String> {
    let max = values.iter().copied().max().unwrap_or(0);
    let levels: Vec<usize> = values
        .iter()
        .map(|value| eighths(*value, max, height))
        .collect();
    let line = |floor: usize| {
        let filled = |level: &usize| HEIGHTS[level.saturating_sub(floor).min(8)];
        levels.iter().map(filled).collect::<String>()
    };
    (0..height).rev().map(|row| line(row * 8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_length_is_proportional_to_the_value() {
        assert_eq!(bar(0, 10, 4), "");
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(5, 10, 4), "██");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!(bar(3, 16, 4), "▊");
        assert_eq!(bar(u64::MAX, u64::MAX, 2), "██");
        assert_eq!(bar(0, 0, 4), "");
    }

    #[test]
    fn curves_start_on_the_last_line() {
        assert_eq!(curve(&[0, 1, 8, 12, 16], 2), ["   ▄█", " ▁███"]);
        assert_eq!(curve(&[], 2), ["", ""]);
        assert_eq!(curve(&[0, 0], 1), ["  "]);
    }
}
