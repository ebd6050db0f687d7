// SPDX-License-Identifier: GPL-2.0

//! Output of the commands: numbers, tables, progress bars, and files.
//!
//! Strings always contain their ANSI styles; [`print()`] removes the styles when standard output is not
//! a terminal.

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

/// The style of success.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();

/// The style of failure.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// The style of headings, and of the best value of a row.
pub const BOLD: Style = Style::new().bold();

/// The content of a cell without a value.
pub const NONE: &str = "–";

/// Returns standard output, which removes styles when it is not a terminal.
pub fn stdout() -> impl io::Write {
    anstream::stdout()
}

/// Prints text to standard output, without its styles when standard output is not a terminal.
pub fn print(text: impl fmt::Display) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    write!(stdout, "{text}")?;
    stdout.flush()
}

/// Returns text without its styles.
pub fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
