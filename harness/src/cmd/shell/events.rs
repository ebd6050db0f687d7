// SPDX-License-Identifier: GPL-2.0

//! What the session did, in words.

use super::{
    Problem,
    place, //
};
use crate::{
    device::Errno,
    errno::Name,
    target::Target,
    uapi::{
        Cause,
        EventKind,
        slablab_event, //
    },
};

/// Events that a shell's session has room for: as many as are always to be had.
pub(super) const KEPT: u32 = 1024;

/// Events that are shown unless told.
pub(super) const SHOWN: u64 = 10;

/// Returns the last `count` operations, a line each. They have no times in them: what a script does
/// reads the same each time.
pub(super) fn last(target: &dyn Target, count: u64) -> Result<String, Problem> {
    let mut events = vec![slablab_event::default(); KEPT as usize];
    let told = target.events(0, &mut events)?;
    let events = &events[..told.count as usize];
    let first = events.len().saturating_sub(count as usize);
    Ok(events[first..].iter().map(line).collect())
}

/// Returns an event as a line.
fn line(event: &slablab_event) -> String {
    let kind = EventKind::from_raw(event.kind.into()).map_or("unknown", EventKind::name);
    let mut text = format!("{:4}  {kind}", event.number);
    let is_alloc = u32::from(event.kind) == EventKind::Alloc.raw();
    if !is_alloc {
        text += &format!(" {}", event.handle);
    }
    if is_alloc || u32::from(event.kind) == EventKind::Realloc.raw() {
        text += &format!(" {}", event.size);
    }
    if is_alloc {
        // What is no power of two is not known any more.
        let align = 1_u64.checked_shl(event.align_log2.into());
        text += &align.map_or_else(|| " ?".to_owned(), |align| format!(" {align}"));
    }
    text += ": ";
    if event.error == 0 {
        return text + &place(event.handle, event.offset, event.usable, &event.cost);
    }
    text += &Name(Errno::from_raw_os_error(event.error as i32)).to_string();
    match Cause::from_raw(event.cost.cause.into()) {
        Some(Cause::None) | None => {}
        Some(cause) => text += &format!(", {cause}"),
    }
    text + "\n"
}
