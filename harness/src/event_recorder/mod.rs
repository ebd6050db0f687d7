// SPDX-License-Identifier: GPL-2.0

//! Records the operations of a session as a trace.
//!
//! A [`Recording`] wraps a target and enables EVENTS in its session. It reads the recorded events
//! before the ring can overflow, so no event is lost unless another program uses the same session.

mod trace_builder;

use std::{
    os::fd::BorrowedFd,
    sync::{
        Mutex,
        PoisonError,
        atomic::{
            AtomicU64,
            Ordering, //
        }, //
    },
};

pub(crate) use self::trace_builder::RecordedTrace;
use self::trace_builder::TraceBuilder;
use crate::{
    device::Errno,
    target::{
        Refused,
        Target, //
    },
    uapi::{
        SLABLAB_EVENTS_MAX,
        slablab_alloc,
        slablab_check,
        slablab_event,
        slablab_events,
        slablab_extend,
        slablab_extent,
        slablab_info,
        slablab_map,
        slablab_operation,
        slablab_realloc,
        slablab_report,
        slablab_shrink,
        slablab_stats,
        slablab_submit, //
    },
};

/// Operations between two readings: half of the ring, because other threads add events while one
/// thread reads.
const PERIOD: u64 = SLABLAB_EVENTS_MAX as u64 / 2;

/// A target whose operations become a trace.
pub(crate) struct Recording<'t> {
    target: &'t dyn Target,
    /// Operations since the last reading.
    unread: AtomicU64,
    made: Mutex<(TraceBuilder, Result<(), Errno>)>,
}

impl<'t> Recording<'t> {
    /// Starts recording in a session.
    pub(crate) fn begin(target: &'t dyn Target) -> Result<Self, Errno> {
        target.record(SLABLAB_EVENTS_MAX)?;
        Ok(Self {
            target,
            unread: AtomicU64::new(0),
            made: Mutex::new((TraceBuilder::new(), Ok(()))),
        })
    }

    /// Stops recording and returns the trace.
    ///
    /// # Errors
    ///
    /// When this or an earlier reading of events failed.
    pub(crate) fn end(self, name: &str, source: &str) -> Result<RecordedTrace, Errno> {
        let made = self.made.into_inner();
        let (mut made, result) = made.unwrap_or_else(PoisonError::into_inner);
        result.and_then(|()| made.read(self.target))?;
        self.target.end_record()?;
        Ok(made.finish(name, source))
    }

    /// Reads events if the ring could overflow after this number of further operations.
    fn expect(&self, operations: usize) {
        let operations = operations as u64;
        let unread = self.unread.fetch_add(operations, Ordering::Relaxed);
        if unread + operations <= PERIOD {
            return;
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.unread.store(operations, Ordering::Relaxed);
        let (made, result) = &mut *made;
        if result.is_ok() {
            *result = made.read(self.target);
        }
    }
}

impl Target for Recording<'_> {
    fn info(&self) -> Result<slablab_info, Errno> {
        self.target.info()
    }

    fn bind(&self, engine: u32, flags: u32, pool_bytes: u64) -> Result<(), Errno> {
        self.target.bind(engine, flags, pool_bytes)
    }

    fn alloc(&self, size: u64, align: u64) -> Result<slablab_alloc, Refused> {
        self.expect(1);
        self.target.alloc(size, align)
    }

    fn free(&self, handle: u32) -> Result<(), Errno> {
        self.expect(1);
        self.target.free(handle)
    }

    fn realloc(&self, handle: u32, size: u64) -> Result<slablab_realloc, Refused> {
        self.expect(1);
        self.target.realloc(handle, size)
    }

    fn read(&self, handle: u32, byte: u32, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.target.read(handle, byte, buffer)
    }

    fn write(&self, handle: u32, byte: u32, bytes: &[u8]) -> Result<usize, Errno> {
        self.target.write(handle, byte, bytes)
    }

    fn stats(&self) -> Result<Box<slablab_stats>, Errno> {
        self.target.stats()
    }

    fn check(&self) -> Result<slablab_check, Errno> {
        self.target.check()
    }

    fn extend(&self, bytes: u64) -> Result<slablab_extend, Errno> {
        self.target.extend(bytes)
    }

    fn shrink(&self) -> Result<slablab_shrink, Errno> {
        self.target.shrink()
    }

    fn map(
        &self,
        region: u32,
        page: u32,
        extents: &mut [slablab_extent],
    ) -> Result<slablab_map, Errno> {
        self.target.map(region, page, extents)
    }

    fn submit(&self, operations: &mut [slablab_operation]) -> Result<slablab_submit, Errno> {
        self.expect(operations.len());
        self.target.submit(operations)
    }

    fn record(&self, events: u32) -> Result<(), Errno> {
        self.target.record(events)
    }

    fn events(&self, number: u64, events: &mut [slablab_event]) -> Result<slablab_events, Errno> {
        self.target.events(number, events)
    }

    fn end_record(&self) -> Result<(), Errno> {
        self.target.end_record()
    }

    fn inject(&self, misuse: u32, size: u64) -> Result<slablab_report, Errno> {
        self.target.inject(misuse, size)
    }

    fn fail(&self, every: u64, growth: u64) -> Result<u64, Errno> {
        self.target.fail(every, growth)
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        // The caller is going to send a request through the file.
        self.expect(1);
        self.target.file()
    }
}

#[cfg(test)]
mod tests;
