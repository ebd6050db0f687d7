// SPDX-License-Identifier: GPL-2.0

//! The result of a test: passed, failed (where and why), or skipped (why).
//!
//! A test is a function that returns a [`TestResult`]. It calls the checks of this file and returns
//! early with `?`. The location of the `?` is part of the error, because [`From::from`] is
//! `#[track_caller]`.

use std::{
    fmt,
    io,
    panic::Location, //
};

use crate::{
    device::Errno,
    target::Refused, //
};

/// The reason why a test did not pass.
#[derive(Debug)]
pub(crate) enum TestError {
    /// The contract is broken.
    Failed {
        /// The place of the failed check.
        at: &'static Location<'static>,
        /// The expectation and the value.
        what: String,
    },
    /// The test cannot be run here.
    Skipped(String),
}

/// The result of a test.
pub(crate) type TestResult<T = ()> = Result<T, TestError>;

impl TestError {
    /// Returns a failure at the caller's place.
    #[track_caller]
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed {
            at: Location::caller(),
            what: what.into(),
        }
    }

    /// Returns a skipped test.
    pub(crate) fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped(reason.into())
    }
}

impl From<Errno> for TestError {
    #[track_caller]
    fn from(errno: Errno) -> Self {
        Self::failed(format!("expected success, got {}", name(errno)))
    }
}

impl From<Refused> for TestError {
    #[track_caller]
    fn from(refused: Refused) -> Self {
        Self::failed(format!(
            "expected success, got {} with cause {}",
            name(refused.errno),
            refused.cost.cause
        ))
    }
}

impl From<io::Error> for TestError {
    #[track_caller]
    fn from(error: io::Error) -> Self {
        Self::failed(format!("expected success, got {error}"))
    }
}

/// Checks that two values are the same.
#[track_caller]
pub(crate) fn check_eq<T: PartialEq + fmt::Debug>(what: &str, got: T, expected: T) -> TestResult {
    if got == expected {
        return Ok(());
    }
    Err(TestError::failed(format!(
        "{what}: expected {expected:?}, got {got:?}"
    )))
}

/// Checks that a condition is true. `what` is the condition in words.
#[track_caller]
pub(crate) fn check(condition: bool, what: impl fmt::Display) -> TestResult {
    if condition {
        return Ok(());
    }
    Err(TestError::failed(format!("expected that {what}")))
}

/// An error that has an error number.
pub(crate) trait Numbered {
    /// Returns the error number.
    fn errno(&self) -> Errno;
}

impl Numbered for Errno {
    fn errno(&self) -> Errno {
        *self
    }
}

impl Numbered for Refused {
    fn errno(&self) -> Errno {
        self.errno
    }
}

/// Checks that a call failed with an errno.
#[track_caller]
pub(crate) fn refused<T, E: Numbered>(result: Result<T, E>, expected: Errno) -> TestResult {
    match result {
        Err(error) if error.errno() == expected => Ok(()),
        Err(error) => Err(TestError::failed(format!(
            "expected {}, got {}",
            name(expected),
            name(error.errno())
        ))),
        Ok(_) => Err(TestError::failed(format!(
            "expected {}, got success",
            name(expected)
        ))),
    }
}

/// Checks that a request for memory failed with an errno and a cause.
#[track_caller]
pub(crate) fn refused_because<T>(
    result: Result<T, Refused>,
    errno: Errno,
    causes: &[u32],
) -> TestResult {
    let cause = result
        .as_ref()
        .err()
        .map(|refused| u32::from(refused.cost.cause));
    refused(result, errno)?;
    if cause.is_some_and(|cause| causes.contains(&cause)) {
        return Ok(());
    }
    Err(TestError::failed(format!(
        "cause: expected one of {causes:?}, got {cause:?}"
    )))
}

/// Returns the name of an errno, such as `ENOMEM`.
fn name(errno: Errno) -> String {
    let known = match errno {
        Errno::ACCESS => "EACCES",
        Errno::AGAIN => "EAGAIN",
        Errno::BUSY => "EBUSY",
        Errno::DQUOT => "EDQUOT",
        Errno::FAULT => "EFAULT",
        Errno::INTR => "EINTR",
        Errno::INVAL => "EINVAL",
        Errno::NFILE => "ENFILE",
        Errno::NODEV => "ENODEV",
        Errno::NOENT => "ENOENT",
        Errno::NOMEM => "ENOMEM",
        Errno::NOSPC => "ENOSPC",
        Errno::NOTTY => "ENOTTY",
        Errno::NXIO => "ENXIO",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::PERM => "EPERM",
        Errno::SPIPE => "ESPIPE",
        Errno::TOOBIG => "E2BIG",
        other => return format!("errno {}", other.raw_os_error()),
    };
    known.to_owned()
}

/// Adds context to an error.
pub(crate) trait ErrorContext {
    /// Puts `subject` in front of the message.
    fn about(self, subject: impl fmt::Display) -> Self;
}

impl<T> ErrorContext for TestResult<T> {
    fn about(self, subject: impl fmt::Display) -> Self {
        self.map_err(|verdict| match verdict {
            TestError::Failed { at, what } => TestError::Failed {
                at,
                what: format!("{subject}: {what}"),
            },
            skipped @ TestError::Skipped(_) => skipped,
        })
    }
}

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { at, what } => write!(f, "{}:{}: {what}", at.file(), at.line()),
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
        }
    }
}
