// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with a file.

use crate::{
    ALIGN_MAX,
    OPS_MAX, //
};

/// A line that is bad.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadTrace {
    /// Its number, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It is not UTF-8.
    #[error("this is not text")]
    NotText,
    /// It is of a later version of the format.
    #[error("version '{0}' of the format is not known, only 1 is")]
    Version(String),
    /// It begins with a word that means nothing.
    #[error("'{0}' is no operation: a (allocate), r (reallocate) and f (free) are")]
    NoOperation(String),
    /// A word is missing.
    #[error("the {0} is missing")]
    Missing(&'static str),
    /// A word is not a number.
    #[error("the {what} '{word}' is no whole number in range")]
    NoNumber {
        /// What the word should be.
        what: &'static str,
        /// The word.
        word: String,
    },
    /// There are words behind the last one.
    #[error("'{0}' is one word too many")]
    TooMuch(String),
    /// The size is 0.
    #[error("the size must be at least 1")]
    NoBytes,
    /// The alignment is not one.
    #[error("the alignment {0} is no power of two up to {ALIGN_MAX}")]
    Alignment(u32),
    /// A block is allocated that is out.
    #[error("block {0} is out already")]
    AlreadyOut(String),
    /// A block is resized or freed that is not out.
    #[error("block {0} is not out")]
    NotOut(String),
    /// There are too many operations.
    #[error("there are more than {OPS_MAX} operations")]
    TooLong,
    /// A header does not fit what follows.
    #[error(
        "the header has {header:?}, which must name {blocks} blocks and {operations} operations: \
         so many follow"
    )]
    Counts {
        /// What it says.
        header: Vec<u64>,
        /// Blocks that there are.
        blocks: u64,
        /// Operations that there are.
        operations: u64,
    },
    /// There are too few or too many numbers in front.
    #[error("a header has two or four numbers, one a line, and this one has {0}")]
    Header(usize),
    /// An event of the kernel lacks something.
    #[error("the event {event} has no {field}")]
    Field {
        /// The event.
        event: &'static str,
        /// What it lacks.
        field: &'static str,
    },
}

impl Why {
    /// Returns this with a line's number.
    pub(crate) fn at(self, line: usize) -> BadTrace {
        BadTrace { line, why: self }
    }
}

/// Returns as much of a word as an error can bear.
pub(crate) fn excerpt(word: &str) -> String {
    const LONGEST: usize = 24;
    match word.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}
