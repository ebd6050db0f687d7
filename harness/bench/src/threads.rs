// SPDX-License-Identifier: GPL-2.0

//! Threads in the place of CPUs: what the hybrid keeps for each.
//!
//! A thread marks its own with a plain store before it touches it, and looks whether somebody else
//! wants it. Who does, which is rare, says so, makes every running thread see that
//! (`membarrier(2)`), and waits until the mark is gone. It is how rseq and the biased locks of
//! language runtimes keep the fast side free of atomic operations. So this is as safe with several
//! threads as an allocator with a heap for each, and costs as little.

use std::{
    cell::Cell,
    hint,
    sync::{
        Mutex,
        MutexGuard,
        PoisonError,
        atomic::{
            AtomicBool,
            AtomicUsize,
            Ordering::{
                Acquire,
                Relaxed,
                Release,
                SeqCst, //
            },
            compiler_fence, //
        }, //
    },
};

use rustix::thread::{
    MembarrierCommand,
    membarrier, //
};
use slab_heap::platform::{
    Pinning,
    Platform, //
};

/// Threads that can have something. The others have nothing.
const SLOTS: usize = 16;

/// The number of a thread that has none yet.
const NONE: usize = usize::MAX;

thread_local! {
    /// The thread's number.
    static SLOT: Cell<usize> = const { Cell::new(NONE) };
}

/// Returns the number of a thread that asks for the first time.
#[cold]
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    SLOT.set(number);
    number
}

/// What a thread has.
#[derive(Default)]
struct Slot<T> {
    /// The thread is at it.
    busy: AtomicBool,
    /// Somebody else wants it, or has it.
    claimed: AtomicBool,
    own: T,
}

/// Threads, each of which has a `T`.
pub(crate) struct Threads<T> {
    slots: Box<[Slot<T>]>,
    /// Whoever claims something.
    claims: Mutex<()>,
}

impl<T: Default> Threads<T> {
    /// Makes a `T` for each thread that there may be.
    pub(crate) fn new() -> Self {
        membarrier(MembarrierCommand::RegisterPrivateExpedited)
            .expect("Linux has had membarrier for private mappings since 4.14");
        Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            claims: Mutex::default(),
        }
    }
}

impl<T> Threads<T> {
    fn claims(&self) -> MutexGuard<'_, ()> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else wants what the thread has, and marks it.
    #[cold]
    fn wait(&self, slot: &Slot<T>) {
        while slot.claimed.load(SeqCst) {
            slot.busy.store(false, Release);
            drop(self.claims());
            slot.busy.store(true, SeqCst);
        }
    }
}

// SAFETY: A thread is at its own with `busy` set and `claimed` seen clear after that. Who claims
// has the mutex, sets `claimed`, and has the barrier run on every thread: one that had not stored
// `busy` before it sees `claimed` after, and one that had is waited for. `busy` is cleared with
// release, and `claimed` and the mutex are too, so each sees what the last one did.
unsafe impl<T: Send + Sync> Platform<T> for Threads<T> {
    fn cpus(&self) -> usize {
        self.slots.len()
    }

    fn of(&self, cpu: usize) -> Option<&T> {
        Some(&self.slots.get(cpu)?.own)
    }

    #[inline(always)]
    fn pinned<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let number = match SLOT.get() {
            NONE => number(),
            number => number,
        };
        let slot = self.slots.get(number)?;
        slot.busy.store(true, Relaxed);
        compiler_fence(SeqCst);
        if slot.claimed.load(Relaxed) {
            self.wait(slot);
        }
        let result = f(&slot.own);
        slot.busy.store(false, Release);
        Some(result)
    }

    fn on(&self, cpu: usize, work: &mut (dyn FnMut(Pinning<'_, T>) + Send)) {
        let Some(slot) = self.slots.get(cpu) else {
            return;
        };
        work(&|f| {
            let _claim = self.claims();
            slot.claimed.store(true, SeqCst);
            membarrier(MembarrierCommand::PrivateExpedited).expect("it was registered");
            while slot.busy.load(Acquire) {
                hint::spin_loop();
            }
            f(&slot.own);
            slot.claimed.store(false, Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn nobody_is_at_it_with_another() {
        // A counter in two steps: an addition is lost where two are at it.
        let threads = Threads::<AtomicUsize>::new();
        let step = |own: &AtomicUsize| {
            let seen = own.load(Relaxed);
            hint::black_box(seen);
            own.store(seen + 1, Relaxed);
        };
        const TIMES: usize = 20_000;
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for n in 0..TIMES {
                        threads.pinned(step);
                        if n % 64 == 0 {
                            for cpu in 0..threads.cpus() {
                                threads.on(cpu, &mut |pin| pin(&mut |own| step(own)));
                            }
                        }
                    }
                });
            }
        });
        let sum: usize = threads.all().map(|own| own.load(Relaxed)).sum();
        let (own, claimed) = (3 * TIMES, 3 * TIMES.div_ceil(64) * SLOTS);
        // Other tests may have taken numbers, so that a thread had none.
        assert!(sum <= own + claimed && (sum - claimed) % TIMES == 0);
        assert!(sum > claimed);
    }
}
