// SPDX-License-Identifier: GPL-2.0

//! A target that records every request in the shared page before the target executes the request.

use std::os::fd::BorrowedFd;

use super::{
    TargetCall,
    underway::request, //
};
use crate::{
    device::Errno,
    target::{
        Refused,
        Target, //
    },
    uapi::{
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
        slablab_submit,
        slablab_violation, //
    },
};

/// A target that records its requests in the shared page of the process, if there is one.
pub struct Watched(pub Box<dyn Target>);

impl Target for Watched {
    fn info(&self) -> Result<slablab_info, Errno> {
        request(TargetCall::Other, [0; 3], || self.0.info())
    }

    fn bind(&self, engine: u32, flags: u32, pool_bytes: u64) -> Result<(), Errno> {
        request(TargetCall::Other, [0; 3], || {
            self.0.bind(engine, flags, pool_bytes)
        })
    }

    fn alloc(&self, size: u64, align: u64) -> Result<slablab_alloc, Refused> {
        request(TargetCall::Alloc, [size, align, 0], || {
            self.0.alloc(size, align)
        })
    }

    fn free(&self, handle: u32) -> Result<(), Errno> {
        request(TargetCall::Free, [handle.into(), 0, 0], || {
            self.0.free(handle)
        })
    }

    fn realloc(&self, handle: u32, size: u64) -> Result<slablab_realloc, Refused> {
        request(TargetCall::Realloc, [handle.into(), size, 0], || {
            self.0.realloc(handle, size)
        })
    }

    fn read(&self, handle: u32, byte: u32, buffer: &mut [u8]) -> Result<usize, Errno> {
        let arguments = [handle.into(), byte.into(), buffer.len() as u64];
        request(TargetCall::Read, arguments, || {
            self.0.read(handle, byte, buffer)
        })
    }

    fn write(&self, handle: u32, byte: u32, bytes: &[u8]) -> Result<usize, Errno> {
        let arguments = [handle.into(), byte.into(), bytes.len() as u64];
        request(TargetCall::Write, arguments, || {
            self.0.write(handle, byte, bytes)
        })
    }

    fn stats(&self) -> Result<Box<slablab_stats>, Errno> {
        request(TargetCall::Stats, [0; 3], || self.0.stats())
    }

    fn check(&self) -> Result<slablab_check, Errno> {
        request(TargetCall::Check, [0; 3], || self.0.check())
    }

    fn violation(&self) -> Result<slablab_violation, Errno> {
        request(TargetCall::Other, [0; 3], || self.0.violation())
    }

    fn extend(&self, bytes: u64) -> Result<slablab_extend, Errno> {
        request(TargetCall::Extend, [bytes, 0, 0], || self.0.extend(bytes))
    }

    fn shrink(&self) -> Result<slablab_shrink, Errno> {
        request(TargetCall::Shrink, [0; 3], || self.0.shrink())
    }

    fn map(
        &self,
        region: u32,
        page: u32,
        extents: &mut [slablab_extent],
    ) -> Result<slablab_map, Errno> {
        request(TargetCall::Map, [region.into(), page.into(), 0], || {
            self.0.map(region, page, extents)
        })
    }

    fn submit(&self, operations: &mut [slablab_operation]) -> Result<slablab_submit, Errno> {
        request(TargetCall::Submit, [operations.len() as u64, 0, 0], || {
            self.0.submit(operations)
        })
    }

    fn record(&self, events: u32) -> Result<(), Errno> {
        request(TargetCall::Other, [0; 3], || self.0.record(events))
    }

    fn events(&self, number: u64, events: &mut [slablab_event]) -> Result<slablab_events, Errno> {
        request(TargetCall::Other, [0; 3], || self.0.events(number, events))
    }

    fn end_record(&self) -> Result<(), Errno> {
        request(TargetCall::Other, [0; 3], || self.0.end_record())
    }

    fn inject(&self, misuse: u32, size: u64) -> Result<slablab_report, Errno> {
        request(TargetCall::Other, [0; 3], || self.0.inject(misuse, size))
    }

    fn fail(&self, every: u64, growth: u64) -> Result<u64, Errno> {
        request(TargetCall::Other, [0; 3], || self.0.fail(every, growth))
    }

    fn read_free(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        self.0.read_free(offset, buffer)
    }

    fn stray_write(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.0.stray_write(offset, bytes)
    }

    fn run_on(&self, cpu: usize) -> Result<(), Errno> {
        self.0.run_on(cpu)
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        self.0.file()
    }
}
