// SPDX-License-Identifier: GPL-2.0

//! Records the operations of a session as a trace.
//!
//! A [`Recording`] wraps a target and enables EVENTS in its session. It reads the recorded events
//! before the ring can overflow, so no event is lost unless another program uses the same session.

mod trace_builder;

use std::{
    os::fd::BorrowedFd,
    sync::{
        PoisonError,
        RwLock,
        atomic::{
            AtomicU64,
            Ordering, //
        }, //
    },
};

pub use self::trace_builder::RecordedTrace;
use self::trace_builder::TraceBuilder;
use crate::{
    device::Errno,
    target::{
        Refused,
        Target,
        forward, //
    },
    uapi::{
        SLABLAB_EVENTS_MAX,
        slablab_alloc,
        slablab_operation,
        slablab_realloc,
        slablab_submit, //
    },
};

/// The maximum number of operations between two readings: the size of the ring.
const PERIOD: u64 = SLABLAB_EVENTS_MAX as u64;

/// A target that records its operations as a trace.
pub struct Recording<'t> {
    target: &'t dyn Target,
    /// The number of operations since the last reading.
    unread: AtomicU64,
    /// The trace so far. The lock is held for reading during an operation, and for writing while events are
    /// read.
    made: RwLock<(TraceBuilder, Result<(), Errno>)>,
}

impl<'t> Recording<'t> {
    /// Starts recording in a session.
    pub fn begin(target: &'t dyn Target) -> Result<Self, Errno> {
        target.record(SLABLAB_EVENTS_MAX)?;
        Ok(Self {
            target,
            unread: AtomicU64::new(0),
            made: RwLock::new((TraceBuilder::new(), Ok(()))),
        })
    }

    /// Stops recording and returns the trace.
    ///
    /// # Errors
    ///
    /// When this or an earlier reading of events failed.
    pub fn end(self, name: &str, source: &str) -> Result<RecordedTrace, Errno> {
        let made = self.made.into_inner();
        let (mut made, result) = made.unwrap_or_else(PoisonError::into_inner);
        result.and_then(|()| made.read(self.target))?;
        self.target.end_record()?;
        Ok(made.finish(name, source))
    }

    /// Executes a number of operations. If the ring could overflow, the events are read before.
    ///
    /// No operation is under way during the reading: a free that is under way hides all later events.
    fn recorded<R>(&self, operations: usize, execute: impl FnOnce() -> R) -> R {
        let operations = operations as u64;
        loop {
            let under_way = self.made.read().unwrap_or_else(PoisonError::into_inner);
            let unread = self.unread.fetch_add(operations, Ordering::Relaxed);
            if unread == 0 || unread + operations <= PERIOD {
                return execute();
            }
            self.unread.fetch_sub(operations, Ordering::Relaxed);
            drop(under_way);
            self.read_events();
        }
    }

    /// Reads all events, also if another thread has just read them.
    fn read_events(&self) {
        let mut made = self.made.write().unwrap_or_else(PoisonError::into_inner);
        let (made, result) = &mut *made;
        if result.is_ok() {
            *result = made.read(self.target);
        }
        self.unread.store(0, Ordering::Relaxed);
    }
}

impl Target for Recording<'_> {
    forward!(target: info, bind, read, write, stats, check, violation, extend, shrink, map, record, events, end_record, inject, fail);

    fn alloc(&self, size: u64, align: u64) -> Result<slablab_alloc, Refused> {
        self.recorded(1, || self.target.alloc(size, align))
    }

    fn free(&self, handle: u32) -> Result<(), Errno> {
        self.recorded(1, || self.target.free(handle))
    }

    fn realloc(&self, handle: u32, size: u64) -> Result<slablab_realloc, Refused> {
        self.recorded(1, || self.target.realloc(handle, size))
    }

    fn submit(&self, operations: &mut [slablab_operation]) -> Result<slablab_submit, Errno> {
        self.recorded(operations.len(), || self.target.submit(operations))
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        // The caller sends one request through the file, which counts as an operation.
        self.recorded(1, || self.target.file())
    }
}

#[cfg(test)]
mod tests;
