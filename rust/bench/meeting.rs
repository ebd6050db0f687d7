// SPDX-License-Identifier: GPL-2.0

//! Threads that measure together.

// Lock order: `Bench::gathering` (a mutex), then `Meeting::state` (a mutex), then nothing. VmallocMemory is
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

/// How long a thread waits for the first meeting.
const PATIENCE_MS: u32 = 10_000;

/// What threads have in common.
struct State {
    /// Threads that have a seat.
    seats: u32,
    /// Threads that wait for the others.
    waiting: u32,
    /// Times that all have met.
    met: u32,
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
pub(super) struct Meeting {
    threads: u32,
    /// What times are counted from.
    origin: Instant<Monotonic>,
    abandoned: Atomic<bool>,
    ready: Atomic<u32>,
    #[pin]
    state: Mutex<State>,
    #[pin]
    met: CondVar,
}

/// A thread's part in a meeting. Who drops it before [`Seat::leave`] has failed, and so have the
/// others then.
pub(super) struct Seat<'a> {
    meeting: &'a Meeting,
    number: u32,
    left: Cell<bool>,
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

impl Meeting {
    /// Makes a meeting of `threads` threads.
    pub(super) fn new(threads: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            threads,
            origin: Instant::now(),
            abandoned: Atomic::new(false),
            ready: Atomic::new(0),
            state <- new_mutex!(
                State {
                    seats: 0,
                    waiting: 0,
                    met: 0,
                    span: Span { begin_ns: u64::MAX, end_ns: 0, operations: 0 },
                },
                "slablab_bench_meeting"
            ),
            met <- new_condvar!("slablab_bench_met"),
        })
    }

    /// Counts one thread more, and returns the number of its seat and whether it was the last one.
    pub(super) fn sit(&self) -> (u32, bool) {
        let mut state = self.state.lock();
        let number = state.seats;
        state.seats += 1;
        (number, state.seats == self.threads)
    }
}

impl<'a> Seat<'a> {
    /// Returns the seat with a number that [`Meeting::sit`] gave to the caller.
    pub(super) fn new(meeting: &'a Meeting, number: u32) -> Self {
        Self {
            meeting,
            number,
            left: Cell::new(false),
        }
    }
}

impl Seat<'_> {
    /// Returns the seat's number, from 0.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Lets signals in, and those in who cannot go on.
    ///
    /// # Errors
    ///
    /// [`EINTR`], [`ECANCELED`].
    pub(super) fn breathe(&self) -> Result {
        if self.meeting.abandoned.load(Relaxed) {
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
    /// [`ETIMEDOUT`], and as for [`Seat::meet`].
    pub(super) fn gather(&self) -> Result {
        self.wait(Some(msecs_to_jiffies(PATIENCE_MS)), |_| {})
    }

    /// Waits until all threads have come so far.
    ///
    /// # Errors
    ///
    /// [`EINTR`], [`ECANCELED`] when one of them failed.
    pub(super) fn meet(&self) -> Result {
        self.wait(None, |_| {})
    }

    /// Waits until all threads have come so far, goes on at the same moment as they, and returns
    /// when that is, for [`Seat::finish`]. Once in a meeting.
    ///
    /// # Errors
    ///
    /// As for [`Seat::meet`].
    pub(super) fn start(&self) -> Result<u64> {
        self.meet()?;
        let ready = &self.meeting.ready;
        ready.fetch_add(1, Release);
        let mut turns = 0;
        while ready.load(Acquire) < self.meeting.threads {
            cpu_relax();
            turns += 1;
            if turns % ROUND == 0 {
                self.breathe()?;
            }
        }
        Ok(self.now_ns())
    }

    /// Returns the nanoseconds since the meeting was made.
    fn now_ns(&self) -> u64 {
        self.meeting.origin.elapsed().as_nanos().unsigned_abs()
    }

    /// Says how much was measured since `begin_ns`, and returns what all threads have once all have.
    ///
    /// # Errors
    ///
    /// As for [`Seat::meet`].
    pub(super) fn finish(&self, begin_ns: u64, operations: u64) -> Result<Span> {
        let end_ns = self.now_ns();
        self.wait(None, |span| {
            span.begin_ns = span.begin_ns.min(begin_ns);
            span.end_ns = span.end_ns.max(end_ns);
            span.operations += operations;
        })?;
        Ok(self.meeting.state.lock().span)
    }

    /// Leaves without harm to the others.
    pub(super) fn leave(self) {
        self.left.set(true);
    }

    /// Adds to the span and waits for the others.
    fn wait(&self, patience: Option<Jiffies>, add: impl FnOnce(&mut Span)) -> Result {
        let meeting = self.meeting;
        let mut state = meeting.state.lock();
        add(&mut state.span);
        let met = state.met;
        state.waiting += 1;
        if state.waiting == meeting.threads {
            state.waiting = 0;
            state.met = met.wrapping_add(1);
            meeting.met.notify_all();
            return Ok(());
        }
        while !meeting.abandoned.load(Relaxed) {
            let woken = match patience {
                Some(jiffies) => meeting.met.wait_interruptible_timeout(&mut state, jiffies),
                None if meeting.met.wait_interruptible(&mut state) => {
                    CondVarTimeoutResult::Signal { jiffies: 0 }
                }
                None => CondVarTimeoutResult::Woken { jiffies: 0 },
            };
            if state.met != met {
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

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.left.get() {
            self.meeting.abandoned.store(true, Relaxed);
            // Under the lock, so that nobody is between looking and waiting.
            let state = self.meeting.state.lock();
            self.meeting.met.notify_all();
            drop(state);
        }
    }
}
