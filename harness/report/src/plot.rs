// SPDX-License-Identifier: GPL-2.0

//! Small plots of characters.

/// Characters of which each is an eighth higher than the one before.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The same from left to right.
const WIDTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Returns how many eighths of `cells` cells a value is, of which `most` fills all; at least one
/// unless it is 0.
fn eighths(value: u64, most: u64, cells: usize) -> usize {
    let all = cells as u128 * 8;
    let part = (u128::from(value) * all).checked_div(u128::from(most));
    let least = u128::from(value > 0);
    part.unwrap_or(0).clamp(least, all) as usize
}

/// Returns a bar, which is `width` characters long for `most`.
pub fn bar(value: u64, most: u64, width: usize) -> String {
    let eighths = eighths(value, most, width);
    let mut bar = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(WIDTHS[eighths % 8]);
    }
    bar
}

/// Returns a curve as lines of characters, the highest one first. The curve is as wide as there are
/// values, and touches the top with the largest one.
pub fn curve(values: &[u64], height: usize) -> Vec<String> {
    let most = values.iter().copied().max().unwrap_or(0);
    let levels: Vec<usize> = values
        .iter()
        .map(|value| eighths(*value, most, height))
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
    fn bars_are_as_long_as_their_values() {
        assert_eq!(bar(0, 10, 4), "");
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(5, 10, 4), "██");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!(bar(3, 16, 4), "▊");
        assert_eq!(bar(u64::MAX, u64::MAX, 2), "██");
        assert_eq!(bar(0, 0, 4), "");
    }

    #[test]
    fn curves_stand_on_the_last_line() {
        assert_eq!(curve(&[0, 1, 8, 12, 16], 2), ["   ▄█", " ▁███"]);
        assert_eq!(curve(&[], 2), ["", ""]);
        assert_eq!(curve(&[0, 0], 1), ["  "]);
    }
}
