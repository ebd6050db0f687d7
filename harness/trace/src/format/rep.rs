// SPDX-License-Identifier: GPL-2.0

//! The `.rep` files of the classic exercise in writing a `malloc`.
//!
//! Two or four numbers come first, one a line: how many blocks and how many operations there are,
//! in either order; of four, a suggested size of the heap and a weight stand around these, in
//! either order too, and mean nothing here. A file that leaves numbers of blocks out may say how many
//! there are or what the largest number is, and one. Then come `a id size`, `r id size` and `f id`.
//! As C has it, `r` of a block that is not out allocates it, `r` to 0 bytes frees it, and freeing
//! block -1 does nothing.

use std::{
    collections::{
        HashMap,
        HashSet, //
    },
    fmt::Write as _,
};

use super::{
    BadTrace,
    Why,
    error::excerpt,
    lines,
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

/// The block whose free does nothing.
const NULL: &str = "-1";

/// Reads a trace.
///
/// # Errors
///
/// The first line that is bad, and why.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Trace, BadTrace> {
    let mut reader = Reader::default();
    let mut header = Vec::new();
    let mut header_line = 1;
    for line in lines(bytes) {
        let (line_number, line) = line?;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_number = line.bytes().all(|byte| byte.is_ascii_digit());
        if reader.operations == 0 && is_number {
            let value = number("header's number", Some(line)).map_err(|why| why.at(line_number))?;
            header.push(value);
            header_line = line_number;
        } else {
            reader.line(line).map_err(|why| why.at(line_number))?;
        }
    }
    reader
        .fits(&header)
        .map_err(|why| why.at(header_line))
        .map(|()| reader.builder.finish(name, "a .rep file"))
}

/// A file that is being read.
#[derive(Default)]
struct Reader {
    builder: Builder,
    /// What the file calls the blocks that are out.
    blocks: HashMap<u32, u32>,
    /// All names of blocks.
    names: HashSet<u32>,
    operations: u64,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), Why> {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        if !matches!(kind, "a" | "r" | "f") {
            return Err(Why::NoOperation(excerpt(kind)));
        }
        if self.builder.operations() == OPS_MAX {
            return Err(Why::TooLong);
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
            return Err(Why::TooMuch(excerpt(word)));
        }
        self.operations += 1;
        let Some(name) = name else {
            return Ok(());
        };
        self.names.insert(name);
        let block = self.blocks.get(&name).copied();
        match (kind, block, bytes) {
            ("a", Some(_), _) => return Err(Why::AlreadyOut(name.to_string())),
            ("a" | "r", None, 1..) => {
                self.blocks.insert(name, self.builder.alloc(bytes, ALIGN));
            }
            ("r", Some(block), 1..) => self.builder.realloc(block, bytes),
            (_, Some(block), _) => {
                self.builder.free(block);
                self.blocks.remove(&name);
            }
            (_, None, _) => return Err(Why::NotOut(name.to_string())),
        }
        Ok(())
    }

    /// Says whether a header names what there is.
    fn fits(&self, header: &[u64]) -> Result<(), Why> {
        let counts = match *header {
            [one, other] | [_, one, other, _] => [one, other],
            _ => return Err(Why::Header(header.len())),
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
        Err(Why::Counts {
            header: header.to_vec(),
            blocks,
            operations: self.operations,
        })
    }
}

/// Returns a trace as a file, without alignments and CPUs, which it has no place for.
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
