// SPDX-License-Identifier: GPL-2.0

//! What the host brings for engines and sessions: locks, a machine, and memory for tables.

use std::sync::{
    Mutex,
    MutexGuard,
    PoisonError, //
};

use rustix::{
    thread::gettid,
    time::{
        ClockId,
        clock_gettime, //
    },
};
use slab_heap::{
    guard::Caller,
    lock::Lock,
    platform::{
        Pinning,
        Platform, //
    },
};
use slab_session::{
    Event,
    Moment,
    Slot,
    Storage, //
};

/// The host's lock.
#[derive(Debug, Default)]
pub(super) struct HostLock<T>(Mutex<T>);

impl<T> HostLock<T> {
    /// Puts a lock around `value`.
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }
}

// SAFETY: A mutex lets one thread in at a time, and orders them.
unsafe impl<T> Lock<T> for HostLock<T> {
    fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A machine with one CPU, at which threads take turns.
///
/// With more than one, what a program is told would depend on which thread runs where: this is
/// what a program sees of the module that stays on one CPU.
#[derive(Default)]
pub(super) struct Machine<T> {
    turn: Mutex<()>,
    own: T,
}

impl<T> Machine<T> {
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: Whoever runs for the CPU has its turn, and mutexes order them.
unsafe impl<T: Sync> Platform<T> for Machine<T> {
    fn cpus(&self) -> usize {
        1
    }

    fn of(&self, cpu: usize) -> Option<&T> {
        (cpu == 0).then_some(&self.own)
    }

    fn pinned<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let _turn = self.turn();
        Some(f(&self.own))
    }

    fn on(&self, _cpu: usize, work: &mut (dyn FnMut(Pinning<'_, T>) + Send)) {
        work(&|f| {
            let _turn = self.turn();
            f(&self.own);
        });
    }
}

/// This process.
pub(super) struct Process;

impl Caller for Process {
    fn pid(&self) -> u32 {
        std::process::id()
    }
}

/// The host's heap.
pub(super) struct Heap;

// SAFETY: A vector is its entries' only owner.
unsafe impl Storage for Heap {
    type Chunk = Vec<Slot>;
    type Ring = Vec<Event>;

    fn chunk(&self, entries: usize) -> Option<Self::Chunk> {
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(entries).ok()?;
        chunk.resize(entries, Slot::VACANT);
        Some(chunk)
    }

    fn moment() -> Moment {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = now.tv_sec as u64;
        Moment {
            time_ns: seconds * 1_000_000_000 + now.tv_nsec as u64,
            thread: gettid().as_raw_nonzero().get() as u32,
            // The machine has one.
            cpu: 0,
        }
    }

    fn interrupted() -> bool {
        // A signal ends this program wherever it is.
        false
    }
}
