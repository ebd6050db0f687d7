// SPDX-License-Identifier: GPL-2.0

//! `slablab shell`: one session, a command a line.
//!
//! On a terminal there is a prompt with editing and history. From a pipe there is none, every line
//! is a command, and the output of a script is the same each time: it holds no times and no
//! addresses.

mod events;

use std::{
    io::{
        self,
        BufRead,
        IsTerminal, //
    },
    num::ParseIntError,
    process::ExitCode,
};

use clap::Args;
use rustyline::{
    DefaultEditor,
    error::ReadlineError, //
};

use super::{
    info,
    map,
    stats::Stats, //
};
use crate::{
    device::Errno,
    errno::Name,
    opener::{
        EngineArg,
        Opener,
        TargetArgs, //
    },
    report::{
        self,
        bytes, //
    },
    target::{
        Refused,
        Target, //
    },
    uapi::{
        self,
        Cause,
        Path,
        Rule,
        slablab_cost, //
    },
};

/// Allocate, free, read and write by hand, from a prompt or a script
///
/// `help` lists the commands. Sizes may end in k or m. Lines from a pipe are commands too, `#`
/// begins a comment. A command that fails says so in one line, with the name of the error and the
/// cause, and the script goes on; the exit status is 1 if any did.
#[derive(Args)]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Which engine
    #[arg(long, value_enum, default_value = "default")]
    engine: EngineArg,
}

/// The commands, and what they do.
const HELP: &str = "\
alloc SIZE [ALIGN]      allocate a block, aligned to 8 unless told
free HANDLE             free it
realloc HANDLE SIZE     change its size
write HANDLE BYTE TEXT  write text into it, from a byte on
read HANDLE BYTE LEN    show its bytes
stats                   what the engine says of itself
events [N]              what was done last, ten operations unless told
map                     draw the pool, page by page (not the seed's)
check                   have the engine check its records
extend BYTES            add memory to the pool, a multiple of 32k
shrink                  have the engine give back what it keeps
info                    what there is
help                    this list
quit                    leave; what was not freed is
";

/// The most bytes that one `read` shows.
const READ_MAX: u64 = 64 << 10;

/// Bytes in a line of a dump.
const DUMP_WIDTH: usize = 16;

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{}", Name(*.0))]
    Errno(Errno),
    #[error("{}, {}", Name(*.0), .1)]
    Refused(Errno, Cause),
    #[error("usage: {0}")]
    Usage(&'static str),
    #[error("no command {0}; help lists them")]
    Unknown(String),
    #[error("{0} is no number")]
    Number(String),
    #[error("CHECK found the rule '{0}' broken")]
    Unsound(String),
}

impl From<Errno> for Problem {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match Cause::from_raw(u32::from(refused.cost.cause)) {
            Some(Cause::None) | None => Self::Errno(refused.errno),
            Some(cause) => Self::Refused(refused.errno, cause),
        }
    }
}

/// What a command says, or `None` to leave.
type Said = Result<Option<String>, Problem>;

/// Reads commands until there are no more.
pub(crate) fn run(args: ShellArgs) -> anyhow::Result<ExitCode> {
    let mut opener = Opener::new(&args.target);
    let target = opener.open(args.engine.into())?;
    // Where that cannot be, `events` will say so.
    let _ = target.record(events::KEPT);
    if io::stdin().is_terminal() {
        prompt(&*target)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = false;
    for line in io::stdin().lock().lines() {
        match execute(&*target, &line?) {
            Ok(Some(text)) => report::print(text)?,
            Ok(None) => break,
            Err(problem) => {
                report::print(format_args!("error: {problem}\n"))?;
                failed = true;
            }
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Reads commands from a terminal.
fn prompt(target: &dyn Target) -> anyhow::Result<()> {
    report::print("One session, its blocks are freed at the end. 'help' lists the commands.\n")?;
    let mut editor = DefaultEditor::new()?;
    loop {
        let line = match editor.readline("slablab> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        editor.add_history_entry(&line)?;
        match execute(target, &line) {
            Ok(Some(text)) => report::print(text)?,
            Ok(None) => return Ok(()),
            Err(problem) => report::print(format_args!("error: {problem}\n"))?,
        }
    }
}

/// Does what a line says.
fn execute(target: &dyn Target, line: &str) -> Said {
    let line = line.trim();
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let text = match (command, &words[..]) {
        ("" | "#", _) => String::new(),
        (comment, _) if comment.starts_with('#') => String::new(),
        ("alloc", [size]) => alloc(target, number(size)?, 8)?,
        ("alloc", [size, align]) => alloc(target, number(size)?, number(align)?)?,
        ("alloc", _) => return Err(Problem::Usage("alloc SIZE [ALIGN]")),
        ("free", [handle]) => target.free(small(handle)?).map(|()| String::new())?,
        ("free", _) => return Err(Problem::Usage("free HANDLE")),
        ("realloc", [handle, size]) => realloc(target, small(handle)?, number(size)?)?,
        ("realloc", _) => return Err(Problem::Usage("realloc HANDLE SIZE")),
        ("write", [handle, byte, _, ..]) => {
            // The text is the rest of the line, with the blanks that are in it.
            let text = after(after(rest));
            let moved = target.write(small(handle)?, small(byte)?, text.as_bytes())?;
            format!("{moved} bytes\n")
        }
        ("write", _) => return Err(Problem::Usage("write HANDLE BYTE TEXT")),
        ("read", [handle, byte, len]) => read(target, small(handle)?, small(byte)?, number(len)?)?,
        ("read", _) => return Err(Problem::Usage("read HANDLE BYTE LEN")),
        ("stats", []) => Stats::from(&*target.stats()?).lines(),
        ("events", []) => events::last(target, events::SHOWN)?,
        ("events", [count]) => events::last(target, number(count)?)?,
        ("events", _) => return Err(Problem::Usage("events [N]")),
        ("map", []) => map::text(target)?,
        ("check", []) => check(target)?,
        ("extend", [bytes]) => extend(target, number(bytes)?)?,
        ("shrink", []) => shrink(target)?,
        ("extend", _) => return Err(Problem::Usage("extend BYTES")),
        ("info", []) => info::lines(target.info()?),
        ("help", _) => HELP.to_owned(),
        ("quit" | "exit", _) => return Ok(None),
        (unknown, _) => return Err(Problem::Unknown(unknown.to_owned())),
    };
    Ok(Some(text))
}

/// Returns what follows the first word.
fn after(text: &str) -> &str {
    text.trim_start()
        .split_once(char::is_whitespace)
        .map_or("", |(_, rest)| rest)
}

/// Reads a number: decimal or 0x…, with k or m behind it for KiB and MiB.
fn number(word: &str) -> Result<u64, Problem> {
    let (digits, unit) = match word.char_indices().next_back() {
        Some((end, 'k' | 'K')) => (&word[..end], 1 << 10),
        Some((end, 'm' | 'M')) => (&word[..end], 1 << 20),
        _ => (word, 1),
    };
    let parsed: Result<u64, ParseIntError> = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    parsed
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| Problem::Number(word.to_owned()))
}

/// Reads a number of 32 bits.
fn small(word: &str) -> Result<u32, Problem> {
    u32::try_from(number(word)?).map_err(|_| Problem::Number(word.to_owned()))
}

fn alloc(target: &dyn Target, size: u64, align: u64) -> Result<String, Problem> {
    let reply = target.alloc(size, align)?;
    Ok(place(reply.handle, reply.offset, reply.usable, &reply.cost))
}

fn realloc(target: &dyn Target, handle: u32, size: u64) -> Result<String, Problem> {
    let reply = target.realloc(handle, size)?;
    Ok(place(reply.handle, reply.offset, reply.usable, &reply.cost))
}

/// Says where a block is and how it came there.
fn place(handle: u32, offset: u64, usable: u64, cost: &slablab_cost) -> String {
    let mut text = format!("handle {handle}");
    if offset != uapi::NO_OFFSET {
        text += &format!(", offset {offset:#x}");
    }
    text += &format!(", {usable} bytes");
    let path = Path::from_raw(u32::from(cost.path));
    text += &format!(", path {}", path.map_or("unknown", Path::name));
    if u32::from(cost.class_index) != uapi::SLABLAB_NO_CLASS {
        text += &format!(", class {}", cost.class_index);
    }
    if u32::from(cost.order) != uapi::SLABLAB_NO_ORDER {
        text += &format!(", order {}", cost.order);
    }
    for (name, number) in [("splits", cost.splits), ("merges", cost.merges)] {
        if number != 0 && u32::from(number) != uapi::SLABLAB_UNKNOWN {
            text += &format!(", {name} {number}");
        }
    }
    if cost.fragmentation != 0 {
        text += &format!(", fragmentation index {}", cost.fragmentation);
    }
    text + "\n"
}

fn read(target: &dyn Target, handle: u32, byte: u32, len: u64) -> Result<String, Problem> {
    let mut buffer = vec![0; len.min(READ_MAX) as usize];
    let moved = target.read(handle, byte, &mut buffer)?;
    let mut text = String::new();
    for (line, bytes) in buffer[..moved].chunks(DUMP_WIDTH).enumerate() {
        let at = byte as usize + line * DUMP_WIDTH;
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let shown: String = bytes
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() || *byte == b' ' {
                    *byte as char
                } else {
                    '.'
                }
            })
            .collect();
        text += &format!("{at:08x} {hex:<48}  |{shown}|\n");
    }
    Ok(text)
}

fn check(target: &dyn Target) -> Result<String, Problem> {
    let check = target.check()?;
    match Rule::from_raw(check.rule) {
        Some(Rule::None) => Ok(format!(
            "sound, {} free blocks walked\n",
            check.walked_blocks
        )),
        Some(rule) => Err(Problem::Unsound(rule.to_string())),
        None => Err(Problem::Unsound(check.rule.to_string())),
    }
}

fn extend(target: &dyn Target, bytes_more: u64) -> Result<String, Problem> {
    let reply = target.extend(bytes_more)?;
    Ok(format!(
        "region {}, the pool has {}\n",
        reply.region,
        bytes(reply.pool_bytes)
    ))
}

fn shrink(target: &dyn Target) -> Result<String, Problem> {
    let reply = target.shrink()?;
    Ok(format!(
        "{} went back, {} are free\n",
        bytes(reply.bytes),
        bytes(reply.free_bytes)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Sim;

    fn say(target: &dyn Target, line: &str) -> String {
        match execute(target, line) {
            Ok(text) => text.unwrap_or_else(|| "bye".to_owned()),
            Err(problem) => format!("error: {problem}"),
        }
    }

    #[test]
    fn a_block_is_written_and_read() {
        let sim = Sim::private(crate::uapi::Engine::Seed, 1 << 20).unwrap();
        let told = say(&sim, "alloc 100 64");
        assert!(told.starts_with("handle 1048576, offset 0x"), "{told}");
        assert_eq!(say(&sim, "write 1048576 2 two  words"), "10 bytes\n");
        assert_eq!(
            say(&sim, "read 1048576 0 16"),
            "00000000  00 00 74 77 6f 20 20 77 6f 72 64 73 00 00 00 00  |..two  words....|\n"
        );
        assert_eq!(say(&sim, "check").split(',').next(), Some("sound"));
        assert_eq!(say(&sim, "free 1048576"), "");
        assert_eq!(say(&sim, "free 1048576"), "error: ENOENT");
    }

    #[test]
    fn the_pool_is_drawn_after_each_step() {
        let sim = Sim::private(crate::uapi::Engine::Hybrid, 1 << 18).unwrap();
        let row = || {
            let text = say(&sim, "map");
            let plain = report::plain(&text);
            plain.lines().nth(1).unwrap_or_default().trim().to_owned()
        };
        assert_eq!(row(), format!("0  {}", ".".repeat(64)));
        say(&sim, "alloc 5000");
        say(&sim, "alloc 8");
        assert_eq!(row(), format!("0  ##.a{}", ".".repeat(60)));
        // The CPU keeps what is freed, until it is told to give it back.
        say(&sim, "free 1048576");
        assert_eq!(row(), format!("0  ##.a{}", ".".repeat(60)));
        say(&sim, "shrink");
        assert_eq!(row(), format!("0  ...a{}", ".".repeat(60)));
    }

    #[test]
    fn what_was_done_is_told_again() {
        let sim = Sim::private(crate::uapi::Engine::Hybrid, 1 << 20).unwrap();
        assert_eq!(say(&sim, "events"), "error: ENXIO");
        sim.record(events::KEPT).unwrap();
        let told = say(&sim, "alloc 100 64");
        say(&sim, "realloc 1048576 2m");
        say(&sim, "alloc 8 3");
        say(&sim, "free 1048576");
        say(&sim, "free 1048576");
        let (_, place) = told.split_once(", ").unwrap();
        assert_eq!(
            say(&sim, "events"),
            format!(
                "   0  alloc 100 64: {told}   1  realloc 1048576 2097152: ENOMEM, too big\n   2  \
                 alloc 8 ?: EINVAL\n   3  free 1048576: handle 1048576, {}path magazine, class 11\n   \
                 4  free 1048576: ENOENT\n",
                place.split_once("path").unwrap().0,
            )
        );
        assert_eq!(say(&sim, "events 1"), "   4  free 1048576: ENOENT\n");
        for _ in 0..2000 {
            say(&sim, "free 5");
        }
        assert_eq!(say(&sim, "events 2000").lines().count(), 1024);
    }

    #[test]
    fn what_is_wrong_is_said_in_a_line() {
        let sim = Sim::private(crate::uapi::Engine::Seed, 1 << 20).unwrap();
        assert_eq!(say(&sim, "alloc 2m"), "error: ENOMEM, too big");
        assert_eq!(say(&sim, "alloc 64 3"), "error: EINVAL");
        assert_eq!(say(&sim, "alloc"), "error: usage: alloc SIZE [ALIGN]");
        assert_eq!(say(&sim, "alloc many"), "error: many is no number");
        assert_eq!(
            say(&sim, "free 99999999999"),
            "error: 99999999999 is no number"
        );
        assert_eq!(
            say(&sim, "steal 1"),
            "error: no command steal; help lists them"
        );
        assert_eq!(say(&sim, "extend 1"), "error: EINVAL");
        assert_eq!(say(&sim, "  # a comment"), "");
        assert_eq!(say(&sim, "quit"), "bye");
    }

    #[test]
    fn numbers_have_bases_and_units() {
        assert_eq!(number("0x10").ok(), Some(16));
        assert_eq!(number("3k").ok(), Some(3072));
        assert!(number("99999999999999m").is_err());
        assert!(number("k").is_err());
    }
}
