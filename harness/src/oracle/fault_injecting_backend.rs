// SPDX-License-Identifier: GPL-2.0

//! A target with a fault, for tests of those who have to notice.

use std::sync::atomic::{
    AtomicU64,
    Ordering, //
};

use crate::{
    device::Errno,
    sim::Sim,
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
        slablab_submit, //
    },
};

/// Bytes of its pool.
pub(crate) const POOL_BYTES: u64 = 1 << 20;

/// Changes an answer, if it is the one to be changed.
type Fault<T> = Box<dyn Fn(&Sim, &mut T) + Sync>;

/// A sound target whose answers are changed on the way.
pub(crate) struct Faulty {
    pub(crate) sim: Sim,
    /// The allocation, counted from 1, to which `alloc` is done.
    pub(crate) alloc_number: u64,
    pub(crate) allocs: AtomicU64,
    pub(crate) alloc: Fault<Result<slablab_alloc, Refused>>,
    pub(crate) realloc: Fault<Result<slablab_realloc, Refused>>,
    pub(crate) free: Fault<Result<(), Errno>>,
    pub(crate) submit: Fault<[slablab_operation]>,
    pub(crate) moved: Fault<Result<usize, Errno>>,
    pub(crate) stats: Fault<slablab_stats>,
    pub(crate) check: Fault<Result<slablab_check, Errno>>,
}

impl Default for Faulty {
    fn default() -> Self {
        Self {
            sim: Sim::private(crate::uapi::Engine::Seed, POOL_BYTES).unwrap(),
            alloc_number: 2,
            allocs: AtomicU64::new(0),
            alloc: Box::new(|_, _| {}),
            realloc: Box::new(|_, _| {}),
            free: Box::new(|_, _| {}),
            submit: Box::new(|_, _| {}),
            moved: Box::new(|_, _| {}),
            stats: Box::new(|_, _| {}),
            check: Box::new(|_, _| {}),
        }
    }
}

impl Target for Faulty {
    fn info(&self) -> Result<slablab_info, Errno> {
        self.sim.info()
    }

    fn bind(&self, engine: u32, flags: u32, pool_bytes: u64) -> Result<(), Errno> {
        self.sim.bind(engine, flags, pool_bytes)
    }

    fn alloc(&self, size: u64, align: u64) -> Result<slablab_alloc, Refused> {
        let mut reply = self.sim.alloc(size, align);
        if self.allocs.fetch_add(1, Ordering::Relaxed) + 1 == self.alloc_number {
            (self.alloc)(&self.sim, &mut reply);
        }
        reply
    }

    fn free(&self, handle: u32) -> Result<(), Errno> {
        let mut reply = self.sim.free(handle);
        (self.free)(&self.sim, &mut reply);
        reply
    }

    fn realloc(&self, handle: u32, size: u64) -> Result<slablab_realloc, Refused> {
        let mut reply = self.sim.realloc(handle, size);
        (self.realloc)(&self.sim, &mut reply);
        reply
    }

    fn read(&self, handle: u32, byte: u32, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut reply = self.sim.read(handle, byte, buffer);
        (self.moved)(&self.sim, &mut reply);
        reply
    }

    fn write(&self, handle: u32, byte: u32, bytes: &[u8]) -> Result<usize, Errno> {
        self.sim.write(handle, byte, bytes)
    }

    fn stats(&self) -> Result<Box<slablab_stats>, Errno> {
        let mut stats = self.sim.stats()?;
        (self.stats)(&self.sim, &mut stats);
        Ok(stats)
    }

    fn check(&self) -> Result<slablab_check, Errno> {
        let mut reply = self.sim.check();
        (self.check)(&self.sim, &mut reply);
        reply
    }

    fn extend(&self, bytes: u64) -> Result<slablab_extend, Errno> {
        self.sim.extend(bytes)
    }

    fn shrink(&self) -> Result<slablab_shrink, Errno> {
        self.sim.shrink()
    }

    fn map(
        &self,
        region: u32,
        page: u32,
        extents: &mut [slablab_extent],
    ) -> Result<slablab_map, Errno> {
        self.sim.map(region, page, extents)
    }

    fn submit(&self, operations: &mut [slablab_operation]) -> Result<slablab_submit, Errno> {
        let reply = self.sim.submit(operations);
        (self.submit)(&self.sim, operations);
        reply
    }

    fn record(&self, events: u32) -> Result<(), Errno> {
        self.sim.record(events)
    }

    fn events(&self, number: u64, events: &mut [slablab_event]) -> Result<slablab_events, Errno> {
        self.sim.events(number, events)
    }

    fn end_record(&self) -> Result<(), Errno> {
        self.sim.end_record()
    }

    fn inject(&self, misuse: u32, size: u64) -> Result<slablab_report, Errno> {
        self.sim.inject(misuse, size)
    }

    fn fail(&self, every: u64, growth: u64) -> Result<u64, Errno> {
        self.sim.fail(every, growth)
    }
}
