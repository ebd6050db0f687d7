// SPDX-License-Identifier: GPL-2.0

//! How figures are shown to people: numbers, tables, progress; and the files they are kept in.
//!
//! Texts always carry their styles; [`print()`] leaves them away where there is no terminal.

#![forbid(unsafe_code)]

pub mod files;
mod numbers;
mod plot;
mod progress;
mod table;

use std::{
    fmt,
    io::{
        self,
        Write as _, //
    },
};

use anstyle::{
    AnsiColor,
    Style, //
};

pub use numbers::{
    blocks,
    bytes,
    count,
    figure,
    percent, //
};
pub use plot::{
    bar,
    curve, //
};
pub use progress::Stage;
pub use table::{
    Cell,
    Side,
    Table, //
};

/// The style of what went well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();

/// The style of what went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// The style of headings, and of the best of a row.
pub const BOLD: Style = Style::new().bold();

/// What stands in a cell of which nothing is known.
pub const NONE: &str = "–";

/// Prints text, without its styles where there is no terminal.
pub fn print(text: impl fmt::Display) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    write!(stdout, "{text}")?;
    stdout.flush()
}

/// Returns text without its styles.
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
