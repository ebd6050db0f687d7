// SPDX-License-Identifier: GPL-2.0

//! Converts events to a trace.

use std::collections::HashMap;

use slablab_trace::{
    ALIGN_MAX,
    Builder,
    Id,
    OPS_MAX,
    Trace, //
};

use crate::{
    device::Errno,
    target::Target,
    uapi::{
        EventKind,
        slablab_event, //
    },
};

/// The maximum number of events in one read.
const BATCH: usize = 4096;

/// A trace, with counts of the events that are missing from it.
#[derive(Debug)]
pub struct RecordedTrace {
    /// The operations that succeeded.
    pub trace: Trace,
    /// Events that were overwritten before they were read.
    pub lost: u64,
    /// Operations on blocks that are not in the trace, and operations that a trace cannot contain.
    pub left_out: u64,
}

/// The trace of a session's events, under construction.
pub(super) struct TraceBuilder {
    builder: Builder,
    /// The live blocks, by handle.
    blocks: HashMap<u32, Id>,
    /// The number of the next event.
    number: u64,
    refused: u64,
    lost: u64,
    left_out: u64,
}

impl TraceBuilder {
    pub(super) fn new() -> Self {
        Self {
            builder: Builder::new(),
            blocks: HashMap::new(),
            number: 0,
            refused: 0,
            lost: 0,
            left_out: 0,
        }
    }

    /// Reads all available events of the session, and adds them.
    pub(super) fn read(&mut self, target: &dyn Target) -> Result<(), Errno> {
        let mut events = vec![slablab_event::default(); BATCH];
        loop {
            let reply = target.events(self.number, &mut events)?;
            self.number = reply.number;
            self.lost += reply.lost;
            for event in &events[..reply.count as usize] {
                self.add(event);
            }
            if (reply.count as usize) < BATCH {
                return Ok(());
            }
        }
    }

    /// Adds an event.
    pub(super) fn add(&mut self, event: &slablab_event) {
        if event.error != 0 {
            self.refused += 1;
            return;
        }
        if self.builder.operations() == OPS_MAX {
            self.left_out += 1;
            return;
        }
        self.builder.on_cpu(event.cpu);
        let block = self.blocks.get(&event.handle).copied();
        let bytes = u32::try_from(event.size).ok();
        let align = 1_u32.checked_shl(event.align_log2.into());
        let align = align.filter(|align| *align <= ALIGN_MAX);
        match (EventKind::from_raw(event.kind.into()), block, bytes, align) {
            (Some(EventKind::Alloc), _, Some(bytes), Some(align)) => {
                // A live block with the same handle means that its free was lost, so it is freed here.
                if let Some(block) = block {
                    self.builder.free(block);
                }
                let block = self.builder.alloc(bytes, align);
                self.blocks.insert(event.handle, block);
            }
            (Some(EventKind::Realloc), Some(block), Some(bytes), _) => {
                self.builder.realloc(block, bytes);
            }
            (Some(EventKind::Free | EventKind::Revoke), Some(block), ..) => {
                self.builder.free(block);
                self.blocks.remove(&event.handle);
            }
            _ => self.left_out += 1,
        }
    }

    pub(super) fn finish(self, name: &str, source: &str) -> RecordedTrace {
        let source = match self.refused {
            0 => source.to_owned(),
            refused => format!("{source}, without {refused} refused operations"),
        };
        RecordedTrace {
            trace: self.builder.finish(name, &source),
            lost: self.lost,
            left_out: self.left_out,
        }
    }
}
