// SPDX-License-Identifier: GPL-2.0

//! The session of the shell: executes commands and stores the names of blocks.

use std::collections::BTreeMap;

use super::{
    command::{
        self,
        BlockReference,
        ShellCommand,
        Value, //
    },
    events,
    place::place,
    problem::{
        self,
        Problem, //
    },
};
use crate::{
    arguments::nearest,
    cmd::{
        info,
        map,
        stats::Stats, //
    },
    drawing::Drawing,
    report::bytes,
    target::Target,
    uapi::{
        Engine,
        Rule, //
    },
};

/// The maximum number of bytes that one `read` shows.
const READ_MAX: u64 = 64 << 10;

/// The number of bytes in a line of a dump.
const DUMP_WIDTH: usize = 16;

/// The output of a command; `None` ends the shell.
pub(super) type CommandResult = Result<Option<String>, Problem>;

/// A session and the names of its blocks.
pub(super) struct ShellSession<'t> {
    target: &'t dyn Target,
    drawing: Drawing<'t>,
    names: BTreeMap<String, NamedBlock>,
    last: Option<u32>,
}

/// A block that has a name. The name stays when the block is freed, so that the user can try a double free,
/// which the device must refuse.
struct NamedBlock {
    handle: u32,
    is_live: bool,
}

/// A block, and its name in messages.
struct Known {
    handle: u32,
    words: String,
}

impl<'t> ShellSession<'t> {
    /// Creates a session without named blocks.
    pub(super) fn new(target: &'t dyn Target, drawing: Drawing<'t>) -> Self {
        Self {
            target,
            drawing,
            names: BTreeMap::new(),
            last: None,
        }
    }

    /// Returns the names of live blocks.
    pub(super) fn live_names(&self) -> Vec<String> {
        let live = self.names.iter().filter(|(_, named)| named.is_live);
        live.map(|(name, _)| name.clone()).collect()
    }

    /// Executes a line.
    pub(super) fn execute(&mut self, line: &str) -> CommandResult {
        let said = self.done(command::parse(line)?);
        self.drawing.follow();
        said
    }

    fn done(&mut self, command: ShellCommand<'_>) -> CommandResult {
        let target = self.target;
        let text = match command {
            ShellCommand::Nothing => String::new(),
            ShellCommand::Alloc { size, align } => self.alloc(size, align)?.1,
            ShellCommand::Let { name, value } => self.named(name, value)?,
            ShellCommand::Free(block) => self.free(block)?,
            ShellCommand::Realloc { block, size } => self.realloc(block, size)?.1,
            ShellCommand::Write { block, byte, text } => {
                let Known { handle, words } = self.known(block)?;
                let moved = target.write(handle, byte, text.as_bytes());
                let moved = moved.map_err(|errno| problem::transfer(errno, &words, byte))?;
                format!("{moved} bytes\n")
            }
            ShellCommand::Read { block, byte, len } => self.read(block, byte, len)?,
            ShellCommand::Names => self.list(),
            ShellCommand::Stats => {
                let stats = target.stats().map_err(problem::plain("STATS"))?;
                Stats::from(&*stats).lines()
            }
            ShellCommand::Events(count) => events::last(target, count)?,
            ShellCommand::Map => map::text(target, &mut self.drawing)?,
            ShellCommand::Check => self.check()?,
            ShellCommand::Extend(more) => {
                let reply = target.extend(more).map_err(problem::extend)?;
                let pool = bytes(reply.pool_bytes);
                format!(
                    "region {} was added; the pool now has {pool}\n",
                    reply.region
                )
            }
            ShellCommand::Shrink => {
                let reply = target.shrink().map_err(problem::plain("SHRINK"))?;
                let (returned, free) = (bytes(reply.bytes), bytes(reply.free_bytes));
                match self.is_student() {
                    // The engine returns nothing: it does not know what the allocator keeps.
                    true => format!("nothing to return; {free} free\n"),
                    false => format!("{returned} returned to the buddy system; {free} free\n"),
                }
            }
            ShellCommand::Info => info::lines(target.info().map_err(problem::plain("INFO"))?),
            ShellCommand::Help => command::help(),
            ShellCommand::Quit => return Ok(None),
        };
        Ok(Some(text))
    }

    /// Returns the handle of a block, and the name of the block in messages.
    fn known(&self, block: BlockReference<'_>) -> Result<Known, Problem> {
        let (handle, words) = match block {
            BlockReference::Handle(handle) => (handle, format!("block {handle}")),
            BlockReference::Last => {
                let handle = self.last.ok_or(Problem::NoLast)?;
                (handle, format!("block $last (handle {handle})"))
            }
            BlockReference::Name(name) => match self.names.get(name) {
                Some(NamedBlock { handle, .. }) => {
                    (*handle, format!("block {name} (handle {handle})"))
                }
                None => {
                    let near = nearest(name, self.names.keys().map(String::as_str));
                    return Err(Problem::NoName {
                        name: name.to_owned(),
                        near: near.map(str::to_owned),
                    });
                }
            },
        };
        Ok(Known { handle, words })
    }

    /// Gives a name to the block that `value` results in.
    fn named(&mut self, name: &str, value: Value<'_>) -> Result<String, Problem> {
        let (handle, text) = match value {
            Value::Alloc { size, align } => self.alloc(size, align)?,
            Value::Realloc { block, size } => self.realloc(block, size)?,
            Value::Block(block) => {
                let handle = self.known(block)?.handle;
                (handle, format!("handle {handle}\n"))
            }
        };
        let named = NamedBlock {
            handle,
            is_live: true,
        };
        let before = self.names.insert(name.to_owned(), named);
        let note = before.filter(|before| before.is_live && before.handle != handle);
        let note = note.map_or_else(String::new, |NamedBlock { handle, .. }| {
            format!("the block that {name} named before is still live: handle {handle}\n")
        });
        Ok(format!("{name}: {text}{note}"))
    }

    fn alloc(&mut self, size: u64, align: u64) -> Result<(u32, String), Problem> {
        let reply = self.target.alloc(size, align);
        let reply = reply.map_err(|refused| problem::alloc(&refused, size, align))?;
        self.last = Some(reply.handle);
        let text = place(reply.handle, reply.offset, reply.usable, &reply.cost);
        Ok((reply.handle, text))
    }

    fn free(&mut self, block: BlockReference<'_>) -> Result<String, Problem> {
        let Known { handle, words } = self.known(block)?;
        let freed = self.target.free(handle);
        freed.map_err(|errno| problem::free(errno, &words))?;
        for named in self
            .names
            .values_mut()
            .filter(|named| named.handle == handle)
        {
            named.is_live = false;
        }
        Ok(String::new())
    }

    fn realloc(&mut self, block: BlockReference<'_>, size: u64) -> Result<(u32, String), Problem> {
        let Known { handle, words } = self.known(block)?;
        let reply = self.target.realloc(handle, size);
        let reply = reply.map_err(|refused| problem::realloc(&refused, &words, size))?;
        self.last = Some(reply.handle);
        let text = place(reply.handle, reply.offset, reply.usable, &reply.cost);
        Ok((reply.handle, text))
    }

    fn read(&self, block: BlockReference<'_>, byte: u32, len: u64) -> Result<String, Problem> {
        let Known { handle, words } = self.known(block)?;
        let mut buffer = vec![0; len.min(READ_MAX) as usize];
        let moved = self.target.read(handle, byte, &mut buffer);
        let moved = moved.map_err(|errno| problem::transfer(errno, &words, byte))?;
        Ok(dump(byte, &buffer[..moved]))
    }

    fn list(&self) -> String {
        let line = |(name, named): (&String, &NamedBlock)| {
            let state = if named.is_live { "" } else { ", freed" };
            format!("{name}: handle {}{state}\n", named.handle)
        };
        self.names.iter().map(line).collect()
    }

    /// Returns whether the engine of the session is the learner's.
    fn is_student(&self) -> bool {
        self.target
            .info()
            .is_ok_and(|info| Engine::from_raw(info.engine) == Some(Engine::Student))
    }

    fn check(&self) -> Result<String, Problem> {
        let check = self.target.check().map_err(problem::plain("CHECK"))?;
        match Rule::from_raw(check.rule) {
            // The figure would not count what the learner's check visits.
            Some(Rule::None) if self.is_student() => Ok("no violation found\n".to_owned()),
            Some(Rule::None) => Ok(format!(
                "no violation found, {} free blocks visited\n",
                check.walked_blocks
            )),
            Some(Rule::Allocator) => {
                let violation = self.target.violation();
                let violation = violation.map_err(problem::plain("VIOLATION"))?;
                Err(Problem::Allocator(violation.to_string()))
            }
            _ => Err(Problem::Unsound(Rule::text(check.rule))),
        }
    }
}

/// Returns bytes in hexadecimal and as text. `first` is the offset of the first byte in its block.
fn dump(first: u32, bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in bytes.chunks(DUMP_WIDTH).enumerate() {
        let at = first as usize + line * DUMP_WIDTH;
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
    text
}
