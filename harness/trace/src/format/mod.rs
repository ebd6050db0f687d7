// SPDX-License-Identifier: GPL-2.0

//! Trace files.
//!
//! [`parse`] detects the format by the first line and reads three formats: [`text`], [`rep`] and the
//! output of the kernel's [`ftrace`]. The parsers accept arbitrary bytes; an error names the line.

pub(crate) mod error;
pub(crate) mod lines;
pub mod rep;
pub mod text;

pub use error::{
    BadTrace,
    LineError, //
};

use crate::{
    Trace,
    ftrace, //
};

/// The format of a trace file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The format of slablab: [`text`].
    Text,
    /// The `.rep` format of the classic malloc exercise: [`rep`].
    Rep,
    /// The text output of the kernel's [`ftrace`].
    Ftrace,
}

/// Returns the format of a file, detected by its first line that is not empty and not a comment.
pub fn detect(bytes: &[u8]) -> Format {
    if bytes.starts_with(ftrace::HEADER.as_bytes()) {
        return Format::Ftrace;
    }
    let is_number = |line: &[u8]| line.iter().all(u8::is_ascii_digit);
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    match lines.find(|line| !line.is_empty() && !line.starts_with(b"#")) {
        Some(line) if is_number(line) => Format::Rep,
        _ => Format::Text,
    }
}

/// Reads a trace of any format. The trace is called `name` unless the file contains a name.
///
/// # Errors
///
/// Returns the first invalid line and the reason.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Trace, BadTrace> {
    match detect(bytes) {
        Format::Text => text::parse(name, bytes),
        Format::Rep => rep::parse(name, bytes),
        Format::Ftrace => ftrace::parse(name, bytes).map(|recorded| recorded.trace),
    }
}

/// Reads a number. `what` is its name in error messages.
///
/// # Errors
///
/// Fails when the word is missing, or is not a number in the range of `T`.
fn number<T: std::str::FromStr>(what: &'static str, word: Option<&str>) -> Result<T, LineError> {
    let word = word.ok_or(LineError::Missing(what))?;
    word.parse().map_err(|_| LineError::NoNumber {
        what,
        word: error::excerpt(word),
    })
}

/// Reads a size.
///
/// # Errors
///
/// Fails when [`number`] fails, or when the size is 0.
fn size(word: Option<&str>) -> Result<u32, LineError> {
    match number("size", word)? {
        0 => Err(LineError::NoBytes),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
