// SPDX-License-Identifier: GPL-2.0

//! A barrier for threads that measure together.
//!
//! Every thread that has joined calls the same sequence of waits:
//!
//! ```text
//! join → wait_first → (wait | start … stop)* → finish
//! ```
//!
//! A participant that is dropped before [`Participant::finish`] makes the waits of all others fail with
//! [`ECANCELED`], so that no thread waits for one that has failed.

// Lock order: `Bench::pending` (a mutex), then `Barrier::state` (a mutex). No other lock is taken, no memory is
// allocated, and no user memory is touched under either mutex. All waits are interruptible.

use core::cell::Cell;

use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    processor::cpu_relax,
    sync::{
        CondVar,
        CondVarTimeoutResult,
        Mutex,
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        }, //
    },
    time::{
        Instant,
        Jiffies,
        Monotonic,
        msecs_to_jiffies, //
    },
};

use super::request::ROUND;

/// The longest time that a thread waits for the others to join.
const BARRIER_TIMEOUT_MS: u32 = 10_000;

/// The state under the lock.
struct BarrierState {
    /// The number of threads that have joined.
    joined: u32,
    /// The number of threads that have arrived in this generation.
    waiting: u32,
    /// The number of times that all threads have passed the barrier.
    generation: u32,
    span: Span,
}

/// The time span in which the threads measured, and the sum of their operations.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    begin_ns: u64,
    end_ns: u64,
    operations: u64,
}

/// A reusable barrier of a fixed number of threads.
#[pin_data]
pub(super) struct Barrier {
    threads: u32,
    /// The origin of all time stamps.
    origin: Instant<Monotonic>,
    /// Set when a participant has failed.
    abandoned: Atomic<bool>,
    /// The number of threads that have reached the spin loop of [`Participant::start`].
    ready: Atomic<u32>,
    #[pin]
    state: Mutex<BarrierState>,
    /// Signals that all threads have arrived, or that one has failed.
    #[pin]
    released: CondVar,
}

/// A thread that has joined a barrier.
pub(super) struct Participant<'a> {
    barrier: &'a Barrier,
    number: u32,
    finished: Cell<bool>,
}

impl Span {
    /// Returns the length of the span in nanoseconds.
    pub(super) fn ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.begin_ns)
    }

    /// Returns the operations of all threads together.
    pub(super) fn operations(&self) -> u64 {
        self.operations
    }
}

impl Barrier {
    /// Creates a barrier of `threads` threads.
    pub(super) fn new(threads: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            threads,
            origin: Instant::now(),
            abandoned: Atomic::new(false),
            ready: Atomic::new(0),
            state <- new_mutex!(
                BarrierState {
                    joined: 0,
                    waiting: 0,
                    generation: 0,
                    span: Span { begin_ns: u64::MAX, end_ns: 0, operations: 0 },
                },
                "slablab_bench_barrier"
            ),
            released <- new_condvar!("slablab_bench_released"),
        })
    }

    /// Joins; returns the thread's number and whether all threads have joined.
    pub(super) fn join(&self) -> (u32, bool) {
        let mut state = self.state.lock();
        let number = state.joined;
        state.joined += 1;
        (number, state.joined == self.threads)
    }
}

impl<'a> Participant<'a> {
    /// Returns the participant of the thread to which [`Barrier::join`] returned `number`.
    pub(super) fn new(barrier: &'a Barrier, number: u32) -> Self {
        Self {
            barrier,
            number,
            finished: Cell::new(false),
        }
    }
}

impl Participant<'_> {
    /// Returns the thread's number, from 0.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Returns an error if the measurement must end early.
    ///
    /// # Errors
    ///
    /// [`EINTR`] for a pending signal, [`ECANCELED`] when another participant has failed.
    pub(super) fn check_interrupted(&self) -> Result {
        if self.barrier.abandoned.load(Relaxed) {
            Err(ECANCELED)
        } else if current!().signal_pending() {
            Err(EINTR)
        } else {
            Ok(())
        }
    }

    /// Waits until all threads have joined, at most [`BARRIER_TIMEOUT_MS`].
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`], [`EINTR`] for a signal, [`ECANCELED`] when another participant has failed.
    pub(super) fn wait_first(&self) -> Result {
        self.arrive(Some(msecs_to_jiffies(BARRIER_TIMEOUT_MS)), |_| {})
    }

    /// Waits until all threads have arrived.
    ///
    /// # Errors
    ///
    /// [`EINTR`] for a signal, [`ECANCELED`] when another participant has failed.
    pub(super) fn wait(&self) -> Result {
        self.arrive(None, |_| {})
    }

    /// Waits until all threads have arrived, and returns the time for [`Participant::stop`]. Each thread calls
    /// this function at most once.
    ///
    /// The threads spin at the end of the wait, because the wake-ups from a sleep are too far apart.
    ///
    /// # Errors
    ///
    /// [`EINTR`] for a signal, [`ECANCELED`] when another participant has failed.
    pub(super) fn start(&self) -> Result<u64> {
        self.wait()?;
        let ready = &self.barrier.ready;
        ready.fetch_add(1, Release);
        let mut turns = 0;
        while ready.load(Acquire) < self.barrier.threads {
            cpu_relax();
            turns += 1;
            if turns % ROUND == 0 {
                self.check_interrupted()?;
            }
        }
        Ok(self.now_ns())
    }

    /// Returns the nanoseconds since the barrier was created.
    fn now_ns(&self) -> u64 {
        self.barrier.origin.elapsed().as_nanos().unsigned_abs()
    }

    /// Adds `operations` operations since `begin_ns` to the span, waits for the other threads to do the
    /// same, and returns the span of all.
    ///
    /// # Errors
    ///
    /// [`EINTR`] for a signal, [`ECANCELED`] when another participant has failed.
    pub(super) fn stop(&self, begin_ns: u64, operations: u64) -> Result<Span> {
        let end_ns = self.now_ns();
        self.arrive(None, |span| {
            span.begin_ns = span.begin_ns.min(begin_ns);
            span.end_ns = span.end_ns.max(end_ns);
            span.operations += operations;
        })?;
        Ok(self.barrier.state.lock().span)
    }

    /// Ends the participation without making the waits of others fail.
    pub(super) fn finish(self) {
        self.finished.set(true);
    }

    /// Updates the span with `add`, and waits until all threads have arrived.
    fn arrive(&self, timeout: Option<Jiffies>, add: impl FnOnce(&mut Span)) -> Result {
        let barrier = self.barrier;
        let mut state = barrier.state.lock();
        add(&mut state.span);
        let generation = state.generation;
        state.waiting += 1;
        if state.waiting == barrier.threads {
            state.waiting = 0;
            state.generation = generation.wrapping_add(1);
            barrier.released.notify_all();
            return Ok(());
        }
        while !barrier.abandoned.load(Relaxed) {
            let woken = match timeout {
                Some(jiffies) => barrier
                    .released
                    .wait_interruptible_timeout(&mut state, jiffies),
                None if barrier.released.wait_interruptible(&mut state) => {
                    CondVarTimeoutResult::Signal { jiffies: 0 }
                }
                None => CondVarTimeoutResult::Woken { jiffies: 0 },
            };
            if state.generation != generation {
                return Ok(());
            }
            match woken {
                CondVarTimeoutResult::Woken { .. } => {}
                CondVarTimeoutResult::Signal { .. } => return Err(EINTR),
                CondVarTimeoutResult::Timeout => return Err(ETIMEDOUT),
            }
        }
        Err(ECANCELED)
    }
}

impl Drop for Participant<'_> {
    fn drop(&mut self) {
        if !self.finished.get() {
            self.barrier.abandoned.store(true, Relaxed);
            // The threads are notified under the lock, so that no thread is between its test of `abandoned` and
            // its sleep.
            let state = self.barrier.state.lock();
            self.barrier.released.notify_all();
            drop(state);
        }
    }
}
