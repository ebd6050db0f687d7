// SPDX-License-Identifier: GPL-2.0

//! Errors of the parsers.

use crate::{
    ALIGN_MAX,
    OPS_MAX, //
};

/// A trace file that cannot be read: its first invalid line, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadTrace {
    /// The number of the line, counted from 1.
    pub line: usize,
    /// The reason.
    pub why: LineError,
}

/// The reason why a line is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line is not UTF-8.
    #[error("the line is not UTF-8 text")]
    NotText,
    /// The file has an unknown version of the format.
    #[error("unknown version '{0}' of the format, only version 1 is supported")]
    Version(String),
    /// The line begins with an unknown word.
    #[error("unknown operation '{0}': expected a (allocate), r (reallocate) or f (free)")]
    NoOperation(String),
    /// A word is missing.
    #[error("the {0} is missing")]
    Missing(&'static str),
    /// A word is not a number.
    #[error("the {what} '{word}' is not a whole number in range")]
    NoNumber {
        /// The meaning of the word, such as "size".
        what: &'static str,
        /// The word.
        word: String,
    },
    /// The line has more words than its operation takes.
    #[error("unexpected word '{0}' after the operation")]
    TooMuch(String),
    /// The size is 0.
    #[error("the size must be at least 1")]
    NoBytes,
    /// The alignment is not a power of two up to [`ALIGN_MAX`].
    #[error("the alignment {0} is not a power of two up to {ALIGN_MAX}")]
    Alignment(u32),
    /// An allocation names a block that is live.
    #[error("block {0} is already live")]
    AlreadyLive(String),
    /// A reallocation or free names a block that is not live.
    #[error("block {0} is not live")]
    NotLive(String),
    /// The trace has more than [`OPS_MAX`] operations.
    #[error("the trace has more than {OPS_MAX} operations")]
    TooLong,
    /// The header of a `.rep` file differs from the counts in the file.
    #[error(
        "the header has {header:?}, but the file has {blocks} blocks and {operations} operations"
    )]
    Counts {
        /// The numbers of the header.
        header: Vec<u64>,
        /// The number of blocks in the file.
        blocks: u64,
        /// The number of operations in the file.
        operations: u64,
    },
    /// The header of a `.rep` file has neither two nor four numbers.
    #[error("the header must have two or four numbers, one per line, but has {0}")]
    Header(usize),
    /// A kernel event lacks a field.
    #[error("the event {event} has no {field}")]
    Field {
        /// The name of the event.
        event: &'static str,
        /// The name of the missing field.
        field: &'static str,
    },
}

impl LineError {
    /// Returns the error for line `line`.
    pub(crate) fn at(self, line: usize) -> BadTrace {
        BadTrace { line, why: self }
    }
}

/// Returns the first characters of a word, so that an error message stays short.
pub(crate) fn excerpt(word: &str) -> String {
    const MAX_CHARS: usize = 24;
    match word.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}
