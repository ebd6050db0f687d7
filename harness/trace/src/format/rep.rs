// SPDX-License-Identifier: GPL-2.0

//! The `.rep` format of the classic malloc exercise.
//!
//! ```text
//! 20000      suggested heap size; ignored
//! 2          number of blocks
//! 3          number of operations
//! 1          weight; ignored
//! a 0 512    allocate 512 bytes for block 0
//! r 0 640    resize block 0 to 640 bytes
//! f 0        free block 0
//! ```
//!
//! Existing files differ, so the header may have two numbers (without heap size and weight), the two counts
//! may be swapped, and the two ignored numbers may be swapped. If the block numbers have gaps, the number of
//! blocks may also be the largest block number plus one.
//!
//! The operations mean the same as in C: `r` of a block that is not live allocates the block, `r` to 0
//! bytes frees the block, and `f -1` is `free(NULL)`.

use std::{
    collections::{
        HashMap,
        HashSet, //
    },
    fmt::Write as _,
};

use super::{
    BadTrace,
    LineError,
    error::excerpt,
    lines::lines,
    number,
    size, //
};
use crate::{
    ALIGN,
    Builder,
    Kind,
    OPS_MAX,
    Trace, //
};

/// The block number that stands for a null pointer.
const NULL: &str = "-1";

/// Reads a trace.
///
/// # Errors
///
/// Returns the first invalid line and the reason.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Trace, BadTrace> {
    let mut reader = RepReader::default();
    let mut header = Vec::new();
    let mut header_line = 1;
    for line in lines(bytes) {
        let (line_number, line) = line?;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_number = line.bytes().all(|byte| byte.is_ascii_digit());
        if reader.operations == 0 && is_number {
            let value =
                number("header's number", Some(line)).map_err(|error| error.at(line_number))?;
            header.push(value);
            header_line = line_number;
        } else {
            reader.line(line).map_err(|error| error.at(line_number))?;
        }
    }
    reader
        .check_header(&header)
        .map_err(|error| error.at(header_line))
        .map(|()| reader.builder.finish(name, "a .rep file"))
}

/// The state of the parser.
#[derive(Default)]
struct RepReader {
    builder: Builder,
    /// The live blocks: from the number in the file to the number in the trace.
    blocks: HashMap<u32, u32>,
    /// All block numbers in the file.
    names: HashSet<u32>,
    operations: u64,
}

impl RepReader {
    fn line(&mut self, line: &str) -> Result<(), LineError> {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        if !matches!(kind, "a" | "r" | "f") {
            return Err(LineError::NoOperation(excerpt(kind)));
        }
        if self.builder.operations() == OPS_MAX {
            return Err(LineError::TooLong);
        }
        let name = match (kind, words.next()) {
            ("f", Some(NULL)) => None,
            (_, word) => Some(number("block", word)?),
        };
        let bytes = match kind {
            "f" => 0,
            "a" => size(words.next())?,
            _ => number("size", words.next())?,
        };
        if let Some(word) = words.next() {
            return Err(LineError::TooMuch(excerpt(word)));
        }
        self.operations += 1;
        let Some(name) = name else {
            return Ok(());
        };
        self.names.insert(name);
        let block = self.blocks.get(&name).copied();
        match (kind, block, bytes) {
            ("a", Some(_), _) => return Err(LineError::AlreadyLive(name.to_string())),
            ("a" | "r", None, 1..) => {
                self.blocks.insert(name, self.builder.alloc(bytes, ALIGN));
            }
            ("r", Some(block), 1..) => self.builder.realloc(block, bytes),
            (_, Some(block), _) => {
                self.builder.free(block);
                self.blocks.remove(&name);
            }
            (_, None, _) => return Err(LineError::NotLive(name.to_string())),
        }
        Ok(())
    }

    /// Checks the header against the counts of the file.
    fn check_header(&self, header: &[u64]) -> Result<(), LineError> {
        let counts = match *header {
            [one, other] | [_, one, other, _] => [one, other],
            _ => return Err(LineError::Header(header.len())),
        };
        let blocks = self.names.len() as u64;
        let largest = self
            .names
            .iter()
            .max()
            .map_or(0, |name| u64::from(*name) + 1);
        for blocks in [blocks, largest] {
            if counts == [blocks, self.operations] || counts == [self.operations, blocks] {
                return Ok(());
            }
        }
        Err(LineError::Counts {
            header: header.to_vec(),
            blocks,
            operations: self.operations,
        })
    }
}

/// Returns the trace as a `.rep` file. The format has no alignments and CPUs, so they are lost.
pub fn write(trace: &Trace) -> String {
    let mut text = format!(
        "{}\n{}\n{}\n1\n",
        trace.peak_bytes(),
        trace.blocks(),
        trace.ops().len()
    );
    for op in trace.ops() {
        // Writing to a string does not fail.
        let _ = match op.kind {
            Kind::Alloc { bytes, .. } => writeln!(text, "a {} {bytes}", op.id),
            Kind::Realloc { bytes } => writeln!(text, "r {} {bytes}", op.id),
            Kind::Free => writeln!(text, "f {}", op.id),
        };
    }
    text
}
