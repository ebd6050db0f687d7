// SPDX-License-Identifier: GPL-2.0

//! Errors of the shell's commands.
//!
//! The message of a failed ioctl ends with the name of its errno in brackets.

use crate::{
    device::Errno,
    drawing::DrawingError,
    errno::Name,
    report,
    target::Refused,
    uapi::Cause, //
};

/// The reason why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// A call failed.
    #[error("{why} ({})", Name(*errno))]
    Call { why: String, errno: Errno },
    /// A command has too few or too many words.
    #[error("usage: {}", .0.trim_end())]
    Usage(String),
    /// There is no such command.
    #[error(
        "there is no command '{word}'{} ('help' lists the commands)",
        near.map(|near| format!(": did you mean '{near}'?")).unwrap_or_default()
    )]
    Unknown {
        word: String,
        near: Option<&'static str>,
    },
    /// A word is not valid in its place.
    #[error("{0}")]
    Word(String),
    /// No block has the name.
    #[error(
        "no block is named '{name}'{}",
        near.as_ref().map(|near| format!(": did you mean '{near}'?")).unwrap_or_default()
    )]
    NoName { name: String, near: Option<String> },
    /// There is no last block.
    #[error("$last is the block that was allocated last, but no block was allocated yet")]
    NoLast,
    /// The pool is not drawn.
    #[error("{0}")]
    Drawing(#[from] DrawingError),
    /// The engine's metadata is damaged.
    #[error("CHECK found a violation of the rule '{0}'")]
    Unsound(String),
    /// The allocator of the engine `student` broke a rule.
    #[error("{0}")]
    Allocator(String),
}

/// Returns the problem of a refused allocation.
pub(super) fn alloc(refused: &Refused, size: u64, align: u64) -> Problem {
    let why = match refused.errno {
        Errno::INVAL if size == 0 => "the size of a block must be at least 1 byte".to_owned(),
        Errno::INVAL if !align.is_power_of_two() => {
            format!("the alignment {align} is not a power of two")
        }
        Errno::INVAL => format!("the alignment {align} is larger than any pool"),
        errno => cause(refused, size).unwrap_or_else(|| call("ALLOC", errno)),
    };
    Problem::Call {
        why,
        errno: refused.errno,
    }
}

/// Returns the problem of a refused reallocation. `block` names the block in the message.
pub(super) fn realloc(refused: &Refused, block: &str, size: u64) -> Problem {
    let why = match refused.errno {
        Errno::INVAL => {
            "the size of a block must be at least 1 byte; use 'free' to free it".to_owned()
        }
        errno => cause(refused, size)
            .or_else(|| on_block(errno, block))
            .unwrap_or_else(|| call("REALLOC", errno)),
    };
    Problem::Call {
        why,
        errno: refused.errno,
    }
}

/// Returns the problem of a failed free.
pub(super) fn free(errno: Errno, block: &str) -> Problem {
    let why = on_block(errno, block).unwrap_or_else(|| call("FREE", errno));
    Problem::Call { why, errno }
}

/// Returns the problem of a failed read or write from byte `byte` of a block on.
pub(super) fn transfer(errno: Errno, block: &str, byte: u32) -> Problem {
    let why = match errno {
        Errno::NXIO => format!("byte {byte} is outside of {block}"),
        // The position is negative: the handle is 2^31 or more, and no live block has such a handle.
        Errno::INVAL => not_live(block),
        errno => on_block(errno, block).unwrap_or_else(|| call("the read or write", errno)),
    };
    Problem::Call { why, errno }
}

/// Returns the problem of a failed extension of the pool.
pub(super) fn extend(errno: Errno) -> Problem {
    let why = match errno {
        Errno::INVAL => "the size of a region must be a multiple of 32k and at most 4g".to_owned(),
        Errno::NOSPC => "the pool already has the maximum number of regions".to_owned(),
        Errno::DQUOT => "the sum of all private pools would exceed its limit".to_owned(),
        Errno::NOMEM => "there is no memory for a region of this size".to_owned(),
        errno => call("EXTEND", errno),
    };
    Problem::Call { why, errno }
}

/// Returns the problem of a failed ioctl without arguments.
pub(super) fn plain(command: &'static str) -> impl Fn(Errno) -> Problem {
    move |errno| Problem::Call {
        why: call(command, errno),
        errno,
    }
}

/// Returns the problem of a failed EVENTS.
pub(super) fn events(errno: Errno) -> Problem {
    let why = match errno {
        Errno::NXIO => "the operations of this session are not recorded".to_owned(),
        errno => call("EVENTS", errno),
    };
    Problem::Call { why, errno }
}

/// Returns the sentence for the cause of a refusal, or `None` if the reply names no cause.
fn cause(refused: &Refused, size: u64) -> Option<String> {
    let size = report::bytes(size);
    Some(match Cause::from_raw(refused.cost.cause.into())? {
        Cause::None => return None,
        Cause::TooBig => {
            format!("refused, too big: {size} do not fit into the pool, even if the pool is empty")
        }
        Cause::Exhausted => format!("refused, exhausted: less than {size} is free"),
        Cause::Fragmented => format!("refused, fragmented: no free block is as large as {size}"),
        Cause::Quota => {
            "refused, quota: the session would exceed its quota of bytes or handles".to_owned()
        }
        Cause::Unsupported => {
            "refused, unsupported: the engine does not support this size and alignment".to_owned()
        }
        Cause::Tables => "refused, tables: the session's handle table could not grow".to_owned(),
        Cause::Injected => {
            "refused, injected: fault injection (FAIL) refused the request".to_owned()
        }
        Cause::Busy => {
            "refused, busy: a CPU that may cache free memory could not be reached in time"
                .to_owned()
        }
        Cause::Faulty => {
            "refused, faulty: the engine's allocator broke a rule, which 'check' prints".to_owned()
        }
    })
}

/// Returns the sentence for an error that is due to the state of a block, or `None` for another error.
fn on_block(errno: Errno, block: &str) -> Option<String> {
    match errno {
        Errno::NOENT => Some(not_live(block)),
        Errno::BUSY => Some(format!("{block} is pinned by a mapping or a copy")),
        _ => None,
    }
}

fn not_live(block: &str) -> String {
    format!("{block} is not live")
}

/// Returns the sentence for an error that has the same meaning for every command.
fn call(command: &str, errno: Errno) -> String {
    match errno {
        Errno::PERM => format!("{command} needs CAP_SYS_ADMIN for this pool"),
        Errno::BADF => format!("{command} needs a session that is open for writing"),
        Errno::OPNOTSUPP => format!("this engine does not support {command}"),
        Errno::NOMEM => format!("there is no memory for {command}"),
        Errno::INTR => format!("a signal interrupted {command}"),
        _ => format!("{command} failed"),
    }
}
