// SPDX-License-Identifier: GPL-2.0

//! The error of a learner's allocator, and the call in which it happens.

use core::panic::Location;

use slab_heap::violation::{
    Operation,
    Rule,
    Violation, //
};

/// A rule is broken. The violation is recorded already, so a function of the allocator only has to return the error:
/// the operator `?` does that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub(crate) ());

/// A call of the allocator that is being executed.
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
