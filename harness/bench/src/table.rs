// SPDX-License-Identifier: GPL-2.0

//! Tables of plain text with as many columns as there are allocators.

use std::fmt::{
    self,
    Write as _, //
};

use anstyle::{
    AnsiColor,
    Style, //
};

/// The style of what is reached.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();

/// The style of what is not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// The style of headings, and of the best of a row.
pub(crate) const BOLD: Style = Style::new().bold();

/// A cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Returns a cell in a style.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

/// A table: words in the first columns, figures in the others, two spaces between.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    words: usize,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Begins a table with its headings, of which the first `words` stand over words.
    pub(crate) fn new<'text>(words: usize, headings: impl IntoIterator<Item = &'text str>) -> Self {
        let headings = headings.into_iter();
        let headings = headings.map(|heading| Cell::styled(heading, BOLD));
        Self {
            words,
            rows: vec![headings.collect()],
        }
    }

    /// Adds a row of as many cells as there are headings.
    pub(crate) fn row(&mut self, row: Vec<Cell>) {
        assert_eq!(row.len(), self.rows[0].len());
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |column: usize| self.rows.iter().map(|row| row[column].width()).max();
        let widths: Vec<_> = (0..self.rows[0].len()).map(widest).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (index, cell) in row.iter().enumerate() {
                let padding = widths[index].unwrap_or(0) - cell.width();
                let (before, after) = if index < self.words {
                    (0, padding)
                } else {
                    (padding, 0)
                };
                let gap = if index == 0 { "" } else { "  " };
                write!(line, "{gap}{:before$}", "")?;
                let Cell { text, style } = cell;
                if !text.is_empty() {
                    write!(line, "{style}{text}{style:#}")?;
                }
                write!(line, "{:after$}", "")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Returns a figure with as many decimals as its size bears, its digits in groups of three.
pub(crate) fn figure(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => grouped(value.round() as u64),
    }
}

/// Returns a number with its digits in groups of three.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_decimals_that_they_bear() {
        let figures = [1.234, 9.999, 12.34, 123.4, 12_345.6].map(figure);
        assert_eq!(figures, ["1.23", "10.00", "12.3", "123", "12,346"]);
    }

    #[test]
    fn words_stand_left_and_figures_right() {
        let mut table = Table::new(1, ["what", "ns"]);
        table.row(vec!["a".into(), "12.5".into()]);
        table.row(vec!["longer".into(), "9".into()]);
        assert_eq!(
            anstream::adapter::strip_str(&table.to_string()).to_string(),
            "what      ns\na       12.5\nlonger     9\n"
        );
    }
}
