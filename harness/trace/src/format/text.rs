// SPDX-License-Identifier: GPL-2.0

//! The text format of slablab: one operation per line.
//!
//! ```text
//! slablab-trace 1
//! name   two blocks
//! source by hand
//! # a comment; empty lines are comments, too
//! a 0 100            allocate 100 bytes for block 0
//! a 1 4096 4096      allocate 4096 bytes at a multiple of 4096 for block 1
//! r 0 300            resize block 0 to 300 bytes
//! f 1 @2             free block 1, on CPU 2
//! ```
//!
//! The explanations after the operations are not part of the format. The three header lines are
//! optional. The default alignment is 8, and the default CPU is 0. A block is named by any number up
//! to 2^64 - 1; a number may be used again after its block was freed. Blocks may still be live at the
//! end.

use std::{
    collections::HashMap,
    fmt::Write as _, //
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
    ALIGN_MAX,
    Builder,
    Kind,
    OPS_MAX,
    Trace, //
};

/// The first word of a file.
const MAGIC: &str = "slablab-trace";

/// Reads a trace.
///
/// # Errors
///
/// Returns the first invalid line and the reason.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Trace, BadTrace> {
    let mut reader = TextReader {
        builder: Builder::new(),
        blocks: HashMap::new(),
        name: name.to_owned(),
        source: String::new(),
    };
    for line in lines(bytes) {
        let (line_number, line) = line?;
        reader.line(line).map_err(|error| error.at(line_number))?;
    }
    Ok(reader.builder.finish(&reader.name, &reader.source))
}

/// The state of the parser.
struct TextReader {
    builder: Builder,
    /// The live blocks: from the number in the file to the number in the trace.
    blocks: HashMap<u64, u32>,
    name: String,
    source: String,
}

impl TextReader {
    fn line(&mut self, line: &str) -> Result<(), LineError> {
        let mut words = line.split_whitespace();
        let word = match words.next() {
            None => return Ok(()),
            Some(word) if word.starts_with('#') => return Ok(()),
            Some(word) => word,
        };
        let rest = line[word.len()..].trim();
        match word {
            MAGIC if rest == "1" => Ok(()),
            MAGIC => Err(LineError::Version(excerpt(rest))),
            "name" => {
                self.name = rest.to_owned();
                Ok(())
            }
            "source" => {
                self.source = rest.to_owned();
                Ok(())
            }
            "a" | "r" | "f" => {
                let mut words: Vec<&str> = words.collect();
                let cpu = match words.last().and_then(|word| word.strip_prefix('@')) {
                    Some(cpu) => {
                        words.pop();
                        number("CPU", Some(cpu))?
                    }
                    None => 0,
                };
                self.builder.on_cpu(cpu);
                self.operation(word, &words)
            }
            word => Err(LineError::NoOperation(excerpt(word))),
        }
    }

    fn operation(&mut self, kind: &str, words: &[&str]) -> Result<(), LineError> {
        if self.builder.operations() == OPS_MAX {
            return Err(LineError::TooLong);
        }
        let max_words = match kind {
            "a" => 3,
            "r" => 2,
            _ => 1,
        };
        let name: u64 = number("block", words.first().copied())?;
        let block = self.blocks.get(&name).copied();
        let live = || block.ok_or(LineError::NotLive(name.to_string()));
        if let Some(word) = words.get(max_words) {
            return Err(LineError::TooMuch(excerpt(word)));
        }
        let bytes = || size(words.get(1).copied());
        match kind {
            "a" => {
                let bytes = bytes()?;
                let align = match words.get(2) {
                    Some(word) => number("alignment", Some(word))?,
                    None => ALIGN,
                };
                if !align.is_power_of_two() || align > ALIGN_MAX {
                    return Err(LineError::Alignment(align));
                }
                if block.is_some() {
                    return Err(LineError::AlreadyLive(name.to_string()));
                }
                self.blocks.insert(name, self.builder.alloc(bytes, align));
            }
            "r" => self.builder.realloc(live()?, bytes()?),
            _ => {
                self.builder.free(live()?);
                self.blocks.remove(&name);
            }
        }
        Ok(())
    }
}

/// Returns the trace as a file of this format.
pub fn write(trace: &Trace) -> String {
    let mut text = format!("{MAGIC} 1\nname {}\nsource {}\n", trace.name, trace.source);
    for op in trace.ops() {
        // Writing to a string does not fail.
        let id = op.id;
        let _ = match op.kind {
            Kind::Alloc { bytes, align } if align == ALIGN => write!(text, "a {id} {bytes}"),
            Kind::Alloc { bytes, align } => write!(text, "a {id} {bytes} {align}"),
            Kind::Realloc { bytes } => write!(text, "r {id} {bytes}"),
            Kind::Free => write!(text, "f {id}"),
        };
        if op.cpu > 0 {
            let _ = write!(text, " @{}", op.cpu);
        }
        text.push('\n');
    }
    text
}
