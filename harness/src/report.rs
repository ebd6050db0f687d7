// SPDX-License-Identifier: GPL-2.0

//! How figures are shown to people.

use std::{
    fmt::{
        self,
        Write as _, //
    },
    io::{
        self,
        Write as _, //
    },
};

use anstyle::{
    AnsiColor,
    Style, //
};

/// The style of what went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();

/// The style of what went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// The style of headings.
pub(crate) const HEADING: Style = Style::new().bold();

/// Prints text, without its styles where there is no terminal.
pub(crate) fn print(text: impl fmt::Display) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    write!(stdout, "{text}")?;
    stdout.flush()
}

/// Returns a number with its digits in groups of three.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Returns a number of blocks.
pub(crate) fn blocks(number: u64) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} block{plural}", count(number))
}

/// Returns a number of bytes in the largest unit of which there is at least one.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1 << 10 {
        return format!("{number} B");
    }
    let unit = ((number.ilog2() / 10) as usize).min(UNITS.len());
    let scaled = number as f64 / (1_u64 << (10 * unit)) as f64;
    let decimals = match number % (1 << (10 * unit)) {
        0 => 0,
        _ if scaled < 10.0 => 2,
        _ => 1,
    };
    format!("{scaled:.decimals$} {}", UNITS[unit - 1])
}

/// On which side of a column its cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// A cell of a table.
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
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

/// A table of plain text, two spaces between columns.
#[derive(Clone, Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    sides: [Side; COLUMNS],
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// Begins a table with its headings.
    pub(crate) fn new(columns: [(&str, Side); COLUMNS]) -> Self {
        Self {
            sides: columns.map(|(_, side)| side),
            rows: vec![columns.map(|(heading, _)| Cell::styled(heading, HEADING))],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, row: [Cell; COLUMNS]) {
        self.rows.push(row);
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.text.chars().count().max(*width);
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (index, cell) in row.iter().enumerate() {
                let Cell { text, style } = cell;
                let padding = widths[index] - text.chars().count();
                let (before, after) = match self.sides[index] {
                    Side::Left if index + 1 == COLUMNS => (0, 0),
                    Side::Left => (0, padding),
                    Side::Right => (padding, 0),
                };
                let gap = if index == 0 { "" } else { "  " };
                write!(line, "{gap}{:before$}", "")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1 KiB");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(20_000), "19.5 KiB");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new([
            ("what", Side::Left),
            ("how many", Side::Right),
            ("", Side::Left),
        ]);
        table.row(["a".into(), "5".into(), "x".into()]);
        table.row(["longer".into(), "123456789".into(), "".into()]);
        assert_eq!(
            anstream::adapter::strip_str(&table.to_string()).to_string(),
            "what     how many\n\
             a               5  x\n\
             longer  123456789\n"
        );
    }
}
