// SPDX-License-Identifier: GPL-2.0

//! What a workload drives: a session on the device, or the same in this process.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::uapi::{
    slablab_alloc,
    slablab_check,
    slablab_cost,
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
};

/// An allocation or reallocation that was not served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    /// What the call failed with.
    pub(crate) errno: Errno,
    /// The cost in the reply, whose cause says more.
    pub(crate) cost: slablab_cost,
}

/// A session that can be driven from several threads. The methods are the device's commands.
pub(crate) trait Target: Sync {
    /// Says what there is and what this session may do.
    fn info(&self) -> Result<slablab_info, Errno>;

    /// Chooses the session's engine and pool; too late once something was allocated.
    fn bind(&self, engine: u32, flags: u32, pool_bytes: u64) -> Result<(), Errno>;

    /// Allocates a block.
    fn alloc(&self, size: u64, align: u64) -> Result<slablab_alloc, Refused>;

    /// Frees a block.
    fn free(&self, handle: u32) -> Result<(), Errno>;

    /// Changes a block's size.
    fn realloc(&self, handle: u32, size: u64) -> Result<slablab_realloc, Refused>;

    /// Reads a block's bytes; less than asked for at the block's end.
    fn read(&self, handle: u32, byte: u32, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Writes a block's bytes; less than asked for at the block's end.
    fn write(&self, handle: u32, byte: u32, bytes: &[u8]) -> Result<usize, Errno>;

    /// Returns the figures of the engine and of this session.
    fn stats(&self) -> Result<Box<slablab_stats>, Errno>;

    /// Has the engine's records checked.
    fn check(&self) -> Result<slablab_check, Errno>;

    /// Adds `bytes` bytes to the pool.
    fn extend(&self, bytes: u64) -> Result<slablab_extend, Errno>;

    /// Has the engine give back what it keeps.
    fn shrink(&self) -> Result<slablab_shrink, Errno>;

    /// Tells what the pages of a region are, from `page` on; at most 4096 extents at once.
    fn map(
        &self,
        region: u32,
        page: u32,
        extents: &mut [slablab_extent],
    ) -> Result<slablab_map, Errno>;

    /// Does operations, up to 4096 of them, until one is not served. They are written back.
    fn submit(&self, operations: &mut [slablab_operation]) -> Result<slablab_submit, Errno>;

    /// Records every operation from now on, the last so many of them.
    fn record(&self, events: u32) -> Result<(), Errno>;

    /// Tells what was recorded, from event `number` on.
    fn events(&self, number: u64, events: &mut [slablab_event]) -> Result<slablab_events, Errno>;

    /// Records no more.
    fn end_record(&self) -> Result<(), Errno>;

    /// Does something wrong to a block of `size` bytes, in a pool in debug mode, and tells what was
    /// reported of it.
    fn inject(&self, misuse: u32, size: u64) -> Result<slablab_report, Errno>;

    /// Has every `every`-th request fail, and the `growth`-th growth, none where that is 0; returns
    /// how many did before.
    fn fail(&self, every: u64, growth: u64) -> Result<u64, Errno>;

    /// Returns the file, where there is one, for requests that no method would send.
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
