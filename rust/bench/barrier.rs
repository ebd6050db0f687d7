// SPDX-License-Identifier: GPL-2.0

//! Threads that measure together.

// Lock order: `Bench::pending` (a mutex), then `Barrier::state` (a mutex), then nothing. VmallocMemory is
// allocated and user memory touched under neither. Waiting is interruptible, and who leaves before the
// end tells the others.

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

/// How long a thread waits for the first barrier.
const BARRIER_TIMEOUT_MS: u32 = 10_000;

/// What threads have in shared.
struct State {
    /// Threads that have a participant.
    joined: u32,
    /// Threads that wait for the others.
    waiting: u32,
    /// Times that all have met.
    generation: u32,
    span: Span,
}

/// What all threads have measured together.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    begin_ns: u64,
    end_ns: u64,
    operations: u64,
}

/// A place where threads wait for each other.
#[pin_data]
pub(super) struct Barrier {
    threads: u32,
    /// What times are counted from.
    origin: Instant<Monotonic>,
    abandoned: Atomic<bool>,
    ready: Atomic<u32>,
    #[pin]
    state: Mutex<State>,
    #[pin]
    released: CondVar,
}

/// A thread's part in a barrier. Who drops it before [`Participant::leave`] has failed, and so have the
/// others then.
pub(super) struct Participant<'a> {
    barrier: &'a Barrier,
    number: u32,
    finished: Cell<bool>,
}

impl Span {
    /// Returns its length.
    pub(super) fn ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.begin_ns)
    }

    /// Returns the operations of all threads.
    pub(super) fn operations(&self) -> u64 {
        self.operations
    }
}

impl Barrier {
    /// Makes a barrier of `threads` threads.
    pub(super) fn new(threads: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            threads,
            origin: Instant::now(),
            abandoned: Atomic::new(false),
            ready: Atomic::new(0),
            state <- new_mutex!(
                State {
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

    /// Counts one thread more, and returns the number of its participant and whether it was the last one.
    pub(super) fn join(&self) -> (u32, bool) {
        let mut state = self.state.lock();
        let number = state.joined;
        state.joined += 1;
        (number, state.joined == self.threads)
    }
}

impl<'a> Participant<'a> {
    /// Returns the participant with a number that [`Barrier::sit`] gave to the caller.
    pub(super) fn new(barrier: &'a Barrier, number: u32) -> Self {
        Self {
            barrier,
            number,
            finished: Cell::new(false),
        }
    }
}

impl Participant<'_> {
    /// Returns the participant's number, from 0.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Lets signals in, and those in who cannot go on.
    ///
    /// # Errors
    ///
    /// [`EINTR`], [`ECANCELED`].
    pub(super) fn check_interrupted(&self) -> Result {
        if self.barrier.abandoned.load(Relaxed) {
            Err(ECANCELED)
        } else if current!().signal_pending() {
            Err(EINTR)
        } else {
            Ok(())
        }
    }

    /// Waits until all threads are there, but not for ever.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`], and as for [`Participant::meet`].
    pub(super) fn wait_first(&self) -> Result {
        self.arrive(Some(msecs_to_jiffies(BARRIER_TIMEOUT_MS)), |_| {})
    }

    /// Waits until all threads have come so far.
    ///
    /// # Errors
    ///
    /// [`EINTR`], [`ECANCELED`] when one of them failed.
    pub(super) fn wait(&self) -> Result {
        self.arrive(None, |_| {})
    }

    /// Waits until all threads have come so far, goes on at the same moment as they, and returns
    /// when that is, for [`Participant::finish`]. Once in a barrier.
    ///
    /// # Errors
    ///
    /// As for [`Participant::meet`].
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

    /// Returns the nanoseconds since the barrier was made.
    fn now_ns(&self) -> u64 {
        self.barrier.origin.elapsed().as_nanos().unsigned_abs()
    }

    /// Says how much was measured since `begin_ns`, and returns what all threads have once all have.
    ///
    /// # Errors
    ///
    /// As for [`Participant::meet`].
    pub(super) fn stop(&self, begin_ns: u64, operations: u64) -> Result<Span> {
        let end_ns = self.now_ns();
        self.arrive(None, |span| {
            span.begin_ns = span.begin_ns.min(begin_ns);
            span.end_ns = span.end_ns.max(end_ns);
            span.operations += operations;
        })?;
        Ok(self.barrier.state.lock().span)
    }

    /// Leaves without harm to the others.
    pub(super) fn finish(self) {
        self.finished.set(true);
    }

    /// Adds to the span and waits for the others.
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
            // Under the lock, so that nobody is between looking and waiting.
            let state = self.barrier.state.lock();
            self.barrier.released.notify_all();
            drop(state);
        }
    }
}
