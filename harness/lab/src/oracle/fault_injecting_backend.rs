// SPDX-License-Identifier: GPL-2.0

//! A target with a fault, to test the checkers.

use std::sync::atomic::{
    AtomicU64,
    Ordering, //
};

use crate::{
    device::Errno,
    sim::Sim,
    target::{
        Refused,
        Target,
        forward, //
    },
    uapi::{
        slablab_alloc,
        slablab_check,
        slablab_operation,
        slablab_realloc,
        slablab_stats,
        slablab_submit, //
    },
};

/// The bytes of the pool of the default target.
pub const POOL_BYTES: u64 = 1 << 20;

/// A function that may change an answer.
type AnswerChange<T> = Box<dyn Fn(&Sim, &mut T) + Sync>;

/// A correct target whose answers are changed before the caller gets them.
pub struct Faulty {
    /// The session whose answers are changed.
    pub sim: Sim,
    /// The number, counted from 1, of the allocation whose answer `alloc` changes.
    pub alloc_number: u64,
    /// The number of allocations.
    pub allocs: AtomicU64,
    /// Changes the answer of ALLOC.
    pub alloc: AnswerChange<Result<slablab_alloc, Refused>>,
    /// Changes the answer of REALLOC.
    pub realloc: AnswerChange<Result<slablab_realloc, Refused>>,
    /// Changes the answer of FREE.
    pub free: AnswerChange<Result<(), Errno>>,
    /// Changes the answers of SUBMIT.
    pub submit: AnswerChange<[slablab_operation]>,
    /// Changes the answers of pread.
    pub moved: AnswerChange<Result<usize, Errno>>,
    /// Changes the answer of STATS.
    pub stats: AnswerChange<slablab_stats>,
    /// Changes the answer of CHECK.
    pub check: AnswerChange<Result<slablab_check, Errno>>,
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
    forward!(sim: info, bind, write, violation, extend, shrink, map, record, events, end_record, inject, fail);

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

    fn submit(&self, operations: &mut [slablab_operation]) -> Result<slablab_submit, Errno> {
        let reply = self.sim.submit(operations);
        (self.submit)(&self.sim, operations);
        reply
    }
}
