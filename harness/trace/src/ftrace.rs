// SPDX-License-Identifier: GPL-2.0

//! A reader for the kernel's own allocations, recorded by ftrace as `kmem:*` events.
//!
//! ```text
//! # tracer: nop
//!      cat-71   [001] .....  12.3456: kmalloc: call_site=… ptr=00000000d6c8f0e1 bytes_req=32 …
//!      cat-71   [001] .....  12.3457: kfree: call_site=… ptr=00000000d6c8f0e1
//! ```
//!
//! The kernel hashes the pointers, so they only identify blocks. Lines of other events are ignored.
//! A recording begins and ends while the kernel runs: frees of blocks that were allocated before the
//! recording are counted and left out, and blocks that are live at its end are never freed.

use std::collections::HashMap;

use crate::{
    ALIGN, Builder, Id, OPS_MAX, Trace,
    format::{
        error::{
            BadTrace,
            LineError, //
        },
        lines::lines,
    },
};

/// The first characters of ftrace's text output.
pub const HEADER: &str = "# tracer:";

/// The events that are read, and whether an event is an allocation (`true`) or a free.
const EVENTS: [(&str, bool); 6] = [
    ("kmalloc", true),
    ("kmalloc_node", true),
    ("kmem_cache_alloc", true),
    ("kmem_cache_alloc_node", true),
    ("kfree", false),
    ("kmem_cache_free", false),
];

/// The largest alignment that is assumed for a kmalloc of a power of two: a page.
const PAGE: u32 = 4096;

/// A recorded trace, with counts of the events that could not be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmemTrace {
    /// The allocations and frees.
    pub trace: Trace,
    /// Frees of blocks that were allocated before the recording.
    pub foreign_frees: u64,
    /// Blocks whose free was not recorded, known because their address was allocated again.
    pub missed_frees: u64,
    /// Events that were lost, as the kernel reports them.
    pub lost_events: u64,
}

/// Reads a recording.
///
/// # Errors
///
/// Returns the first allocation or free without a pointer, the first allocation without a size, or
/// the line at which the trace would exceed [`OPS_MAX`] operations.
pub fn parse(name: &str, bytes: &[u8]) -> Result<KmemTrace, BadTrace> {
    let mut reader = FtraceReader::default();
    for line in lines(bytes) {
        // A process name may contain any bytes, so a line that is not UTF-8 is not an error.
        let Ok((number, line)) = line else { continue };
        reader.line(line).map_err(|error| error.at(number))?;
    }
    Ok(KmemTrace {
        trace: reader.builder.finish(name, "recorded from kmem events"),
        foreign_frees: reader.foreign_frees,
        missed_frees: reader.missed_frees,
        lost_events: reader.lost_events,
    })
}

/// Returns the events to enable in ftrace, as `group/event`.
pub fn events() -> impl Iterator<Item = String> {
    EVENTS.iter().map(|(event, _)| format!("kmem/{event}"))
}

/// The state of the parser.
#[derive(Default)]
struct FtraceReader {
    builder: Builder,
    blocks: HashMap<u64, Id>,
    foreign_frees: u64,
    missed_frees: u64,
    lost_events: u64,
}

impl FtraceReader {
    fn line(&mut self, line: &str) -> Result<(), LineError> {
        if let Some(lost) = lost(line) {
            self.lost_events = self.lost_events.saturating_add(lost);
            return Ok(());
        }
        let Some((event, is_alloc, head, fields)) = event(line) else {
            return Ok(());
        };
        let missing = |field| LineError::Field { event, field };
        let pointer = field(fields, "ptr=").ok_or(missing("ptr"))?;
        let pointer = u64::from_str_radix(pointer.trim_start_matches("0x"), 16);
        let pointer = pointer.map_err(|_| missing("ptr"))?;
        self.builder.on_cpu(cpu(head));
        let known = self.blocks.remove(&pointer);
        // One line adds at most a free and an allocation.
        if self.builder.operations() + 2 > OPS_MAX {
            return Err(LineError::TooLong);
        }
        if !is_alloc {
            match known {
                Some(id) => self.builder.free(id),
                // `kfree(NULL)` frees no block.
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
        // A failed allocation has a null pointer; an allocation of 0 bytes returns
        // `ZERO_SIZE_PTR`, which is not a block.
        if pointer != 0 && bytes > 0 {
            let id = self.builder.alloc(bytes, align(event, bytes));
            self.blocks.insert(pointer, id);
        }
        Ok(())
    }
}

/// Returns the event of a line, whether the event is an allocation, and the text before and after the
/// event's name.
fn event(line: &str) -> Option<(&'static str, bool, &str, &str)> {
    let found = EVENTS.iter().filter_map(|(event, is_alloc)| {
        let (head, fields) = line.rsplit_once(&format!(": {event}: "))?;
        // A process name may contain an event's name, but only a real event follows a timestamp.
        let is_time = |word: &str| {
            word.bytes()
                .all(|byte| byte == b'.' || byte.is_ascii_digit())
        };
        let time = head.split_whitespace().next_back();
        time.is_some_and(is_time)
            .then_some((*event, *is_alloc, head, fields))
    });
    found.max_by_key(|(_, _, head, _)| head.len())
}

/// Returns the alignment that the kernel guarantees: a kmalloc of a power of two is naturally aligned.
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

/// Returns the CPU, which ftrace prints in brackets after the process. The process name may contain
/// brackets, too, so the search starts at the end.
fn cpu(head: &str) -> u16 {
    let number = |word: &str| word.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    head.split_whitespace().rev().find_map(number).unwrap_or(0)
}

/// Returns the number of lost events that a line reports: events that were overwritten in the ring
/// buffer, or events that were never written to it.
fn lost(line: &str) -> Option<u64> {
    if let Some(rest) = line.strip_prefix("# entries-in-buffer/entries-written: ") {
        let (in_buffer, written) = rest.split_whitespace().next()?.split_once('/')?;
        return written
            .parse::<u64>()
            .ok()?
            .checked_sub(in_buffer.parse().ok()?);
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
    fn a_recording_is_read_as_a_trace() {
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
                // The free of block 0 was lost, but its address was allocated again.
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
    fn a_process_named_like_an_event_is_not_an_event() {
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
