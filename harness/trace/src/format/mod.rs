// SPDX-License-Identifier: GPL-2.0

//! Files of traces.
//!
//! What a file is, its first line says: [`parse`] reads [`text`], [`rep`] and what the kernel's
//! [`ftrace`] prints. A bad line is named by its number, whatever the bytes are.

mod error;
pub mod rep;
pub mod text;

pub use error::{
    BadTrace,
    Why, //
};

use crate::{
    Trace,
    ftrace, //
};

/// How a file says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Our own: [`text`].
    Text,
    /// That of the classic exercise: [`rep`].
    Rep,
    /// What the kernel's tracing prints: [`ftrace`].
    Ftrace,
}

/// Says what a file is, by its first line that says something.
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

/// Reads a trace, which is called `name` unless it says itself what it is called.
///
/// # Errors
///
/// The first line that is bad, and why.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Trace, BadTrace> {
    match detect(bytes) {
        Format::Text => text::parse(name, bytes),
        Format::Rep => rep::parse(name, bytes),
        Format::Ftrace => ftrace::parse(name, bytes).map(|recorded| recorded.trace),
    }
}

/// Returns the lines, with their numbers.
///
/// # Errors
///
/// Each line that is not text.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Result<(usize, &str), BadTrace>> {
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    lines.map(|(line, number)| match std::str::from_utf8(line) {
        Ok(line) => Ok((number, line.trim())),
        Err(_) => Err(Why::NotText.at(number)),
    })
}

/// Reads a number.
///
/// # Errors
///
/// What is wrong with it; `what` is its name.
fn number<T: std::str::FromStr>(what: &'static str, word: Option<&str>) -> Result<T, Why> {
    let word = word.ok_or(Why::Missing(what))?;
    word.parse().map_err(|_| Why::NoNumber {
        what,
        word: error::excerpt(word),
    })
}

/// Reads a size.
///
/// # Errors
///
/// As for [`number`], and when it is 0.
fn size(word: Option<&str>) -> Result<u32, Why> {
    match number("size", word)? {
        0 => Err(Why::NoBytes),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
