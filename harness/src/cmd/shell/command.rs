// SPDX-License-Identifier: GPL-2.0

//! The commands of the shell, and the parser of lines.

use super::problem::Problem;
use crate::arguments::{
    nearest,
    size, //
};

/// A command: its word, its arguments and its description.
pub(super) struct CommandEntry {
    pub(super) word: &'static str,
    pub(super) arguments: &'static str,
    about: &'static str,
}

/// All commands, in the order of the help.
pub(super) const COMMANDS: [CommandEntry; 16] = [
    entry(
        "alloc",
        "SIZE [ALIGN]",
        "allocate a block (default alignment: 8)",
    ),
    entry(
        "let",
        "NAME = alloc SIZE [ALIGN]",
        "name a new block; 'let NAME = BLOCK' names an existing one",
    ),
    entry("free", "BLOCK", "free a block"),
    entry("realloc", "BLOCK SIZE", "resize a block"),
    entry(
        "write",
        "BLOCK BYTE TEXT",
        "write TEXT into a block at byte BYTE",
    ),
    entry(
        "read",
        "BLOCK BYTE LEN",
        "show LEN bytes of a block from byte BYTE",
    ),
    entry("names", "", "list the names of blocks"),
    entry("stats", "", "show the engine's statistics"),
    entry("events", "[N]", "show the last N operations (default: 10)"),
    entry("map", "", "draw the pool, page by page"),
    entry("check", "", "check the engine's metadata"),
    entry(
        "extend",
        "BYTES",
        "add BYTES to the pool, a multiple of 32k",
    ),
    entry(
        "shrink",
        "",
        "return cached memory to the buddy system of the pool",
    ),
    entry("info", "", "show the engines, the pool and the quotas"),
    entry("help", "", "show this list"),
    entry("quit", "", "end the session and free its live blocks"),
];

const fn entry(word: &'static str, arguments: &'static str, about: &'static str) -> CommandEntry {
    CommandEntry {
        word,
        arguments,
        about,
    }
}

/// Returns the list of commands.
pub(super) fn help() -> String {
    let line = |entry: &CommandEntry| {
        let usage = format!("{} {}", entry.word, entry.arguments);
        format!("{usage:<31} {}\n", entry.about)
    };
    COMMANDS.iter().map(line).collect::<String>()
        + "\nBLOCK is a name, $last (the block that was allocated last) or a handle.\n\
           SIZE, BYTES and LEN may end in k, m or g: 4k is 4096.\n"
}

/// A block as a line of the shell names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockReference<'l> {
    Handle(u32),
    Name(&'l str),
    Last,
}

/// A parsed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShellCommand<'l> {
    /// A blank line, or a comment.
    Nothing,
    Alloc {
        size: u64,
        align: u64,
    },
    /// Executes a command that results in a block, and names the block.
    Let {
        name: &'l str,
        value: Value<'l>,
    },
    Free(BlockReference<'l>),
    Realloc {
        block: BlockReference<'l>,
        size: u64,
    },
    Write {
        block: BlockReference<'l>,
        byte: u32,
        text: &'l str,
    },
    Read {
        block: BlockReference<'l>,
        byte: u32,
        len: u64,
    },
    Names,
    Stats,
    Events(u64),
    Map,
    Check,
    Extend(u64),
    Shrink,
    Info,
    Help,
    Quit,
}

/// The right side of `let`: a command that returns a block, or a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'l> {
    Alloc {
        size: u64,
        align: u64,
    },
    Realloc {
        block: BlockReference<'l>,
        size: u64,
    },
    Block(BlockReference<'l>),
}

/// The alignment of blocks for which none is given.
const ALIGN: u64 = 8;

/// The default number of events that `events` shows.
pub(super) const EVENTS: u64 = 10;

/// Parses a line.
///
/// # Errors
///
/// When the line is no command; the error says why.
pub(super) fn parse(line: &str) -> Result<ShellCommand<'_>, Problem> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(ShellCommand::Nothing);
    }
    let (word, rest) = first(line);
    let words: Vec<&str> = rest.split_whitespace().collect();
    Ok(match (word, &words[..]) {
        ("alloc", [size]) => ShellCommand::Alloc {
            size: bytes(size)?,
            align: ALIGN,
        },
        ("alloc", [size, align]) => ShellCommand::Alloc {
            size: bytes(size)?,
            align: bytes(align)?,
        },
        ("let", _) => parse_let(rest)?,
        ("free", [of]) => ShellCommand::Free(block(of)?),
        ("realloc", [of, size]) => ShellCommand::Realloc {
            block: block(of)?,
            size: bytes(size)?,
        },
        // The text is the rest of the line, including its blanks.
        ("write", [of, byte, _, ..]) => ShellCommand::Write {
            block: block(of)?,
            byte: small(byte)?,
            text: first(first(rest).1).1,
        },
        ("read", [of, byte, len]) => ShellCommand::Read {
            block: block(of)?,
            byte: small(byte)?,
            len: bytes(len)?,
        },
        ("names", []) => ShellCommand::Names,
        ("stats", []) => ShellCommand::Stats,
        ("events", []) => ShellCommand::Events(EVENTS),
        ("events", [count]) => match bytes(count)? {
            0 => {
                return Err(Problem::Word(
                    "the number of events must be at least 1".to_owned(),
                ));
            }
            count => ShellCommand::Events(count),
        },
        ("map", []) => ShellCommand::Map,
        ("check", []) => ShellCommand::Check,
        ("extend", [more]) => ShellCommand::Extend(bytes(more)?),
        ("shrink", []) => ShellCommand::Shrink,
        ("info", []) => ShellCommand::Info,
        ("help", _) => ShellCommand::Help,
        ("quit" | "exit", _) => ShellCommand::Quit,
        _ => return Err(not_understood(word)),
    })
}

/// Parses the part of a line after `let`.
fn parse_let(rest: &str) -> Result<ShellCommand<'_>, Problem> {
    let (name, value) = rest.split_once('=').ok_or_else(|| not_understood("let"))?;
    let name = name.trim();
    if !is_name(name) {
        return Err(Problem::Word(format!(
            "'{name}' is not a name: a name has only letters, digits and '_', and begins with a letter"
        )));
    }
    let value = value.trim();
    let words: Vec<&str> = value.split_whitespace().collect();
    let value = match (&words[..], parse(value)) {
        // A command without its arguments.
        (["alloc" | "realloc"], Err(usage @ Problem::Usage(_))) => return Err(usage),
        // A single word is a block. Several words are a command.
        ([word], _) => Value::Block(block(word)?),
        (_, Ok(ShellCommand::Alloc { size, align })) => Value::Alloc { size, align },
        (_, Ok(ShellCommand::Realloc { block, size })) => Value::Realloc { block, size },
        (_, Ok(_)) => return Err(not_understood("let")),
        (_, Err(problem)) => return Err(problem),
    };
    Ok(ShellCommand::Let { name, value })
}

/// Returns the problem of a line that cannot be parsed: wrong arguments, or an unknown command.
fn not_understood(word: &str) -> Problem {
    match COMMANDS.iter().find(|entry| entry.word == word) {
        Some(entry) => Problem::Usage(format!("{} {}", entry.word, entry.arguments)),
        None => Problem::Unknown {
            word: word.to_owned(),
            near: nearest(word, COMMANDS.iter().map(|entry| entry.word)),
        },
    }
}

/// Returns the first word of a text, and the rest.
fn first(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest)
}

/// Returns whether a word can be the name of a block.
fn is_name(word: &str) -> bool {
    let starts = |first: char| first.is_alphabetic() || first == '_';
    word.starts_with(starts) && word.chars().all(|one| one.is_alphanumeric() || one == '_')
}

/// Parses a block.
fn block(word: &str) -> Result<BlockReference<'_>, Problem> {
    if word == "$last" {
        return Ok(BlockReference::Last);
    }
    if is_name(word) {
        return Ok(BlockReference::Name(word));
    }
    let handle = word.parse().map_err(|_| {
        Problem::Word(format!(
            "'{word}' is not a block: write a name, $last or a handle"
        ))
    })?;
    Ok(BlockReference::Handle(handle))
}

/// Parses a number of bytes.
fn bytes(word: &str) -> Result<u64, Problem> {
    size(word).map_err(Problem::Word)
}

/// Parses the number of a byte in a block.
fn small(word: &str) -> Result<u32, Problem> {
    u32::try_from(bytes(word)?).map_err(|_| {
        Problem::Word(format!(
            "'{word}' is too large: the number of a byte must be less than 4g"
        ))
    })
}
