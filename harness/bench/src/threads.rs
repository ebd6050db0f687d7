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
    hint::{
        self,
        assert_unchecked, //
    },
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
const THREADS: usize = 16;

/// What there is by the threads' numbers, of which the first is no thread's.
const SLOTS: usize = THREADS + 1;

/// The number of a thread that has none yet, or for which none was left.
const NOBODY: usize = 0;

thread_local! {
    /// The thread's number, below [`SLOTS`].
    static NUMBER: Cell<usize> = const { Cell::new(NOBODY) };
}

/// Returns the thread's number. One that asks for the first time gets one, if there is one left.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(NOBODY + 1);
    if NUMBER.get() == NOBODY {
        let next = NEXT.fetch_update(Relaxed, Relaxed, |next| (next < SLOTS).then_some(next + 1));
        NUMBER.set(next.unwrap_or(NOBODY));
    }
    NUMBER.get()
}

/// What a thread has.
#[derive(Default)]
struct Slot<T> {
    /// The thread is at it.
    busy: AtomicBool,
    /// Somebody else wants it, or has it. Nobody's is claimed for ever.
    claimed: AtomicBool,
    own: T,
}

impl<T> Slot<T> {
    /// Marks it, and says whether nobody else wants it.
    #[inline(always)]
    fn enter(&self) -> bool {
        self.busy.store(true, Relaxed);
        compiler_fence(SeqCst);
        !self.claimed.load(Acquire)
    }

    /// Takes the mark away.
    #[inline(always)]
    fn leave(&self) {
        self.busy.store(false, Release);
    }
}

/// Threads, each of which has a `T`.
pub(crate) struct Threads<T> {
    /// By the threads' numbers.
    slots: [Box<Slot<T>>; SLOTS],
    /// Whoever claims something.
    claims: Mutex<()>,
}

impl<T: Default> Threads<T> {
    /// Makes a `T` for each thread that there may be.
    pub(crate) fn new() -> Self {
        membarrier(MembarrierCommand::RegisterPrivateExpedited)
            .expect("Linux has had membarrier for private mappings since 4.14");
        let threads = Self {
            slots: std::array::from_fn(|_| Box::default()),
            claims: Mutex::default(),
        };
        threads.slots[NOBODY].claimed.store(true, SeqCst);
        threads
    }
}

impl<T> Threads<T> {
    /// Returns what there is for those who have numbers.
    fn somebodys(&self) -> &[Box<Slot<T>>] {
        &self.slots[NOBODY + 1..]
    }

    /// Returns what the thread has. Nobody's, if it has no number.
    #[inline(always)]
    fn own(&self) -> &Slot<T> {
        let number = NUMBER.get();
        // SAFETY: It is `NOBODY` or what `number` gave out, which is below.
        unsafe { assert_unchecked(number < SLOTS) };
        &self.slots[number]
    }

    fn claims(&self) -> MutexGuard<'_, ()> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: A thread is at its own with `busy` set and `claimed` seen clear after that. Who claims
// has the mutex, sets `claimed`, and has the barrier run on every thread: one that had not stored
// `busy` before it sees `claimed` after, and one that had is waited for. `busy` is cleared with
// release and seen so with acquire, and `claimed` and the mutex are too: each sees what the last one
// did. Threads without a number see nobody's, where `claimed` is never cleared: it is none of the CPUs.
unsafe impl<T: Send + Sync> Platform<T> for Threads<T> {
    fn cpus(&self) -> usize {
        self.somebodys().len()
    }

    fn of(&self, cpu: usize) -> Option<&T> {
        Some(&self.somebodys().get(cpu)?.own)
    }

    fn pinned<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        if number() == NOBODY {
            return None;
        }
        let slot = self.own();
        while !slot.enter() {
            slot.leave();
            // Who claims has the mutex until he is done.
            drop(self.claims());
        }
        let result = f(&slot.own);
        slot.leave();
        Some(result)
    }

    #[inline(always)]
    fn try_pinned<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let slot = self.own();
        let result = slot.enter().then(|| f(&slot.own));
        slot.leave();
        result
    }

    fn on(&self, cpu: usize, work: &mut (dyn FnMut(Pinning<'_, T>) + Send)) {
        let Some(slot) = self.somebodys().get(cpu) else {
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
                        if threads.try_pinned(step).is_none() {
                            threads.pinned(step);
                        }
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
        let (own, claimed) = (3 * TIMES, 3 * TIMES.div_ceil(64) * THREADS);
        // Other tests may have taken numbers, so that a thread had none.
        assert!(sum <= own + claimed && (sum - claimed) % TIMES == 0);
        assert!(sum > claimed);
    }
}
