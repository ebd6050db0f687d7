// SPDX-License-Identifier: GPL-2.0

//! The error of a learner's allocator, and the call in which the error occurs.

use core::{
    fmt,
    panic::Location, //
};

use slab_heap::violation::{
    Operation,
    Rule,
    Violation, //
};

/// The error for a broken rule. The violation is recorded already, so a function of the allocator only has to return
/// the error, with the operator `?`.
///
/// The text of `{:?}`, which a panic of `unwrap` shows, names the rule.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(pub(crate) Option<(Rule, u64)>);

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((rule, offset)) = self.0 else {
            return f.write_str("a rule is broken");
        };
        match rule {
            Rule::AccessInPool => {
                write!(f, "the word at offset {offset:#x} is outside of the pool")
            }
            Rule::AccessAligned => write!(f, "offset {offset:#x} is not a multiple of 8"),
            Rule::AccessOutsideOfBlocks => {
                write!(f, "the word at offset {offset:#x} belongs to a live block")
            }
            Rule::OperationEnds => f.write_str("the call makes too many accesses"),
            Rule::NoteExists => write!(
                f,
                "note {} of page {} does not exist",
                offset >> 32,
                offset & 0xffff_ffff
            ),
            _ => write!(f, "a rule is broken at offset {offset:#x}"),
        }
    }
}

/// A call of a function of the allocator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) number: u64,
    /// The CPU that makes the call.
    pub(crate) cpu: usize,
}

impl Call {
    /// Returns the violation of a rule in this call.
    pub(crate) fn violation(
        self,
        rule: Rule,
        offset: usize,
        location: Option<&Location<'_>>,
    ) -> Violation {
        Violation {
            rule,
            operation: self.operation,
            call: self.number,
            offset: offset as u64,
            line: location.map_or(0, Location::line),
            sentence: None,
        }
    }
}
