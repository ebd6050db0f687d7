// SPDX-License-Identifier: GPL-2.0

//! Tables of plain text with two spaces between columns.

use std::fmt;

use anstyle::Style;
use comfy_table::{
    CellAlignment,
    ContentArrangement,
    presets, //
};

use crate::BOLD;

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Left-aligned, for words.
    Left,
    /// Right-aligned, for numbers.
    Right,
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub struct Cell(String);

impl Cell {
    /// Returns a cell in a style.
    pub fn styled(text: impl fmt::Display, style: Style) -> Self {
        Self(format!("{style}{text}{style:#}"))
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table(comfy_table::Table);

impl Table {
    /// Creates a table with its headings.
    pub fn new<'text>(columns: impl IntoIterator<Item = (&'text str, Side)>) -> Self {
        let (headings, sides): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let mut table = comfy_table::Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        // The headings are an ordinary row, because a column can be styled only once a row exists.
        let headings = headings.into_iter().map(|heading| match heading {
            "" => String::new(),
            heading => Cell::styled(heading, BOLD).0,
        });
        table.add_row(headings);
        for (column, side) in table.column_iter_mut().zip(sides) {
            column.set_padding((0, 2)).set_cell_alignment(match side {
                Side::Left => CellAlignment::Left,
                Side::Right => CellAlignment::Right,
            });
        }
        Self(table)
    }

    /// Adds a row of as many cells as there are headings.
    pub fn row(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.0.add_row(row.into_iter().map(|cell| cell.0));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        GOOD,
        plain, //
    };

    #[test]
    fn cells_are_aligned_in_columns() {
        let mut table = Table::new([
            ("what", Side::Left),
            ("how many", Side::Right),
            ("", Side::Left),
        ]);
        table.row(["a".into(), "5".into(), Cell::styled("x", GOOD)]);
        table.row(["10 … 40 B".into(), "123456789".into(), "".into()]);
        assert_eq!(
            plain(&table.to_string()),
            "what        how many\n\
             a                  5  x\n\
             10 … 40 B  123456789\n"
        );
    }
}
