// SPDX-License-Identifier: GPL-2.0

//! What the kernel's own allocations look like in ftrace: the events `kmem:*` as text.
//!
//! ```text
//! # tracer: nop
//!      cat-71   [001] .....  12.3456: kmalloc: call_site=… ptr=00000000d6c8f0e1 bytes_req=32 …
//!      cat-71   [001] .....  12.3457: kfree: call_site=… ptr=00000000d6c8f0e1
//! ```
//!
//! Pointers are told as numbers that say nothing but which is which. Lines of other events mean
//! nothing. A recording begins and ends in the middle of things: frees of what came before it are
//! left out, and what is still out at its end stays out.

use std::collections::HashMap;

use crate::{
    ALIGN, Builder, Id, OPS_MAX, Trace,
    format::{
        BadTrace,
        Why,
        lines, //
    },
};

/// What the text begins with.
pub const HEADER: &str = "# tracer:";

/// The events that say that memory was had, and those that say that it was given back.
const EVENTS: [(&str, bool); 6] = [
    ("kmalloc", true),
    ("kmalloc_node", true),
    ("kmem_cache_alloc", true),
    ("kmem_cache_alloc_node", true),
    ("kfree", false),
    ("kmem_cache_free", false),
];

/// The most that the kernel aligns a block of a power of two to here: a page.
const PAGE: u32 = 4096;

/// A recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What was done.
    pub trace: Trace,
    /// Frees of what came before the recording.
    pub foreign_frees: u64,
    /// Blocks whose free is not in the recording, and whose place was then another's.
    pub missed_frees: u64,
    /// Events that the kernel says it lost.
    pub lost_events: u64,
}

/// Reads a recording.
///
/// # Errors
///
/// The first event of memory that lacks its pointer or its size.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Recorded, BadTrace> {
    let mut reader = Reader::default();
    for line in lines(bytes) {
        // A process can call itself anything: what is not text is another's line.
        let Ok((number, line)) = line else { continue };
        reader.line(line).map_err(|why| why.at(number))?;
    }
    Ok(Recorded {
        trace: reader.builder.finish(name, "recorded from kmem events"),
        foreign_frees: reader.foreign_frees,
        missed_frees: reader.missed_frees,
        lost_events: reader.lost_events,
    })
}

/// Returns the events to switch on, as `group/event`.
pub fn events() -> impl Iterator<Item = String> {
    EVENTS.iter().map(|(event, _)| format!("kmem/{event}"))
}

/// A text that is being read.
#[derive(Default)]
struct Reader {
    builder: Builder,
    blocks: HashMap<u64, Id>,
    foreign_frees: u64,
    missed_frees: u64,
    lost_events: u64,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), Why> {
        if let Some(lost) = lost(line) {
            self.lost_events = self.lost_events.saturating_add(lost);
            return Ok(());
        }
        let Some((event, had, head, fields)) = event(line) else {
            return Ok(());
        };
        let missing = |field| Why::Field { event, field };
        let pointer = field(fields, "ptr=").ok_or(missing("ptr"))?;
        let pointer = u64::from_str_radix(pointer.trim_start_matches("0x"), 16);
        let pointer = pointer.map_err(|_| missing("ptr"))?;
        self.builder.on_cpu(cpu(head));
        let known = self.blocks.remove(&pointer);
        // Room for a free and an allocation.
        if self.builder.operations() + 2 > OPS_MAX {
            return Err(Why::TooLong);
        }
        if !had {
            match known {
                Some(id) => self.builder.free(id),
                // Freeing nothing is no free of anything.
                None => self.foreign_frees += u64::from(pointer != 0),
            }
            return Ok(());
        }
        if let Some(id) = known {
            self.missed_frees += 1;
            self.builder.free(id);
        }
        let bytes = field(fields, "bytes_req=").and_then(|bytes| bytes.parse::<u32>().ok());
        let bytes = bytes.ok_or(missing("bytes_req"))?;
        // An allocation that failed has no pointer; of no bytes, none that can be used.
        if pointer != 0 && bytes > 0 {
            let id = self.builder.alloc(bytes, align(event, bytes));
            self.blocks.insert(pointer, id);
        }
        Ok(())
    }
}

/// Returns the event of a line, whether memory was had by it, and what stands before and behind it.
fn event(line: &str) -> Option<(&'static str, bool, &str, &str)> {
    let found = EVENTS.iter().filter_map(|(event, had)| {
        let (head, fields) = line.rsplit_once(&format!(": {event}: "))?;
        // A process may be called like an event, but the time stands behind its name.
        let is_time = |word: &str| {
            word.bytes()
                .all(|byte| byte == b'.' || byte.is_ascii_digit())
        };
        let time = head.split_whitespace().next_back();
        time.is_some_and(is_time)
            .then_some((*event, *had, head, fields))
    });
    found.max_by_key(|(_, _, head, _)| head.len())
}

/// Returns what the kernel promises: a kmalloc of a power of two is aligned to it.
fn align(event: &str, bytes: u32) -> u32 {
    if event.starts_with("kmalloc") && bytes.is_power_of_two() {
        bytes.clamp(ALIGN, PAGE)
    } else {
        ALIGN
    }
}

/// Returns the value of a field.
fn field<'text>(fields: &'text str, name: &str) -> Option<&'text str> {
    fields
        .split_whitespace()
        .find_map(|word| word.strip_prefix(name))
}

/// Returns the CPU that stands in brackets behind the process, which may have brackets in its name.
fn cpu(head: &str) -> u16 {
    let number = |word: &str| word.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    head.split_whitespace().rev().find_map(number).unwrap_or(0)
}

/// Returns how many events a line says were lost: written, but not in the buffer any more, or never
/// written.
fn lost(line: &str) -> Option<u64> {
    if let Some(rest) = line.strip_prefix("# entries-in-buffer/entries-written: ") {
        let (kept, written) = rest.split_whitespace().next()?.split_once('/')?;
        return written.parse::<u64>().ok()?.checked_sub(kept.parse().ok()?);
    }
    let (_, rest) = line.strip_prefix("CPU:")?.split_once("[LOST ")?;
    rest.strip_suffix(" EVENTS]")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Kind,
        Op,
        format, //
    };

    const TEXT: &str = "\
# tracer: nop
#
# entries-in-buffer/entries-written: 9/12   #P:2
#
            init-1     [000] .....     1.000001: kfree: call_site=a+0x1/0x2 ptr=00000000aaaaaaaa
            init-1     [000] .....     1.000002: kmalloc: call_site=a+0x1/0x2 ptr=0000000011111111 bytes_req=64 bytes_alloc=64 gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 accounted=false
 a b: [7] c-12     [001] d..1.     1.000003: kmem_cache_alloc: call_site=b ptr=0000000022222222 name=vm_area_struct bytes_req=152 bytes_alloc=152 gfp_flags=GFP_KERNEL node=-1 accounted=true
CPU:1 [LOST 42 EVENTS]
            init-1     [000] .....     1.000004: sched_switch: prev_comm=x ptr=1
            init-1     [001] .....     1.000005: kmem_cache_free: call_site=b ptr=0000000022222222 name=vm_area_struct
            init-1     [000] .....     1.000006: kmalloc: call_site=a ptr=0000000011111111 bytes_req=65536 bytes_alloc=65536 gfp_flags=GFP_KERNEL node=-1 accounted=false
            init-1     [000] .....     1.000007: kmalloc: call_site=a ptr=(null) bytes_req=24 bytes_alloc=0 gfp_flags=GFP_KERNEL node=-1 accounted=false
";

    #[test]
    fn a_recording_becomes_a_trace() {
        let text = TEXT.replace("(null)", "0000000000000000");
        let recorded = parse("boot", text.as_bytes()).unwrap();
        let op = |id, cpu, kind| Op { id, cpu, kind };
        let alloc = |bytes, align| Kind::Alloc { bytes, align };
        assert_eq!(
            recorded.trace.ops(),
            [
                op(0, 0, alloc(64, 64)),
                op(1, 1, alloc(152, 8)),
                op(1, 1, Kind::Free),
                // Its free was lost.
                op(0, 0, Kind::Free),
                op(2, 0, alloc(65536, 4096)),
            ]
        );
        assert_eq!(
            (
                recorded.foreign_frees,
                recorded.missed_frees,
                recorded.lost_events
            ),
            (1, 1, 45)
        );
        assert_eq!(format::detect(text.as_bytes()), format::Format::Ftrace);
    }

    #[test]
    fn a_process_that_is_called_like_an_event_is_none() {
        let text = "\
# tracer: nop
 a: kmalloc: b-1     [001] .....     1.000001: kmem_cache_alloc: call_site=b ptr=0000000022222222 name=x bytes_req=152
 a: kmalloc: b-1     [001] .....     1.000002: kfree: call_site=b ptr=0000000022222222
 a: kmalloc: b-1     [001] .....     1.000003: sched_switch: prev_comm=x
";
        let recorded = parse("named", text.as_bytes());
        let kinds = |trace: &Trace| trace.ops().iter().map(|op| op.kind).collect::<Vec<_>>();
        let alloc = Kind::Alloc {
            bytes: 152,
            align: 8,
        };
        assert_eq!(kinds(&recorded.unwrap().trace), [alloc, Kind::Free]);
    }

    #[test]
    fn events_without_their_fields_are_bad_lines() {
        let bad = parse("", TEXT.as_bytes()).unwrap_err();
        assert_eq!(bad.line, 12);
        assert_eq!(bad.to_string(), "line 12: the event kmalloc has no ptr");
        let text = "x-1 [000] 1.0: kmalloc: ptr=1 bytes_alloc=8";
        let bad = parse("", text.as_bytes()).unwrap_err();
        assert_eq!(
            bad.to_string(),
            "line 1: the event kmalloc has no bytes_req"
        );
    }
}
