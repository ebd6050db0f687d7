// SPDX-License-Identifier: GPL-2.0

//! The lines of a trace file.

use super::error::{
    BadTrace,
    LineError, //
};

/// Returns the lines with their numbers, without white space at both ends.
///
/// # Errors
///
/// An item is an error when the line is not UTF-8.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Result<(usize, &str), BadTrace>> {
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    lines.map(|(line, number)| match std::str::from_utf8(line) {
        Ok(line) => Ok((number, line.trim())),
        Err(_) => Err(LineError::NotText.at(number)),
    })
}
