// SPDX-License-Identifier: GPL-2.0

//! The command `events`: the last operations of the session.

use super::{
    place::place,
    problem::{
        self,
        Problem, //
    },
};
use crate::{
    device::Errno,
    target::{
        Refused,
        Target, //
    },
    uapi::{
        EventKind,
        slablab_event, //
    },
};

/// The size of the session's ring of events. A ring of this size is always available.
pub(super) const RECORDED_EVENTS: u32 = 1024;

/// Returns the last `count` operations, one line each. The lines contain no times, so that the output of a
/// script is the same each time.
pub(super) fn last(target: &dyn Target, count: u64) -> Result<String, Problem> {
    let mut events = vec![slablab_event::default(); RECORDED_EVENTS as usize];
    let reply = target.events(0, &mut events).map_err(problem::events)?;
    let events = &events[..reply.count as usize];
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let first = events.len().saturating_sub(count);
    Ok(events[first..].iter().map(line).collect())
}

/// Returns an event as a line.
fn line(event: &slablab_event) -> String {
    let kind = EventKind::from_raw(event.kind.into());
    let mut text = format!(
        "{:4}  {}",
        event.number,
        kind.map_or("unknown", EventKind::name)
    );
    let is_alloc = kind == Some(EventKind::Alloc);
    if !is_alloc {
        text += &format!(" {}", event.handle);
    }
    if is_alloc || kind == Some(EventKind::Realloc) {
        text += &format!(" {}", event.size);
    }
    // An event stores log2 of the alignment, so the value of an invalid alignment is lost.
    let align = 1_u64.checked_shl(event.align_log2.into());
    if is_alloc {
        text += &align.map_or_else(|| " ?".to_owned(), |align| format!(" {align}"));
    }
    text += ": ";
    if event.error == 0 {
        return text + &place(event.handle, event.offset, event.usable, &event.cost);
    }
    let errno = Errno::from_raw_os_error(event.error as i32);
    let refused = Refused {
        errno,
        cost: event.cost,
    };
    let block = format!("block {}", event.handle);
    let problem = match kind {
        Some(EventKind::Alloc) if errno == Errno::INVAL && event.size > 0 && align.is_none() => {
            Problem::Call {
                why: "the alignment is not a power of two".to_owned(),
                errno,
            }
        }
        Some(EventKind::Alloc) => problem::alloc(&refused, event.size, align.unwrap_or(1)),
        Some(EventKind::Realloc) => problem::realloc(&refused, &block, event.size),
        _ => problem::free(errno, &block),
    };
    text + &format!("{problem}\n")
}
