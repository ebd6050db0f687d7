// SPDX-License-Identifier: GPL-2.0

//! Threads in the place of CPUs: each has a cache of the hybrid's.
//!
//! A thread marks its cache with a plain store before it uses it, and then looks whether another
//! thread has claimed it. A thread that claims a cache, which is rare, sets a flag, makes every
//! running thread see the flag (`membarrier(2)`), and waits until the mark is gone. rseq and the
//! biased locks of language runtimes keep their fast side free of atomic operations in this way.

use std::{
    cell::Cell,
    hint::{
        self,
        assert_unchecked, //
    },
    sync::{
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
use slab_heap::{
    hybrid::{
        CpuCache,
        HostCpuCache, //
    },
    per_cpu::PerCpu,
};

/// Threads that can have a cache.
const THREADS: usize = 16;

/// Caches, by the threads' numbers: the first is no thread's.
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

/// A thread's cache.
#[derive(Default)]
struct Slot {
    /// The thread is using it.
    busy: AtomicBool,
    /// Another thread wants it, or has it. [`NOBODY`]'s is always claimed.
    claimed: AtomicBool,
    cache: HostCpuCache,
}

impl Slot {
    /// Marks the cache, and says whether no other thread has claimed it.
    #[inline(always)]
    fn enter(&self) -> bool {
        self.busy.store(true, Relaxed);
        compiler_fence(SeqCst);
        !self.claimed.load(Acquire)
    }

    /// Removes the mark.
    #[inline(always)]
    fn leave(&self) {
        self.busy.store(false, Release);
    }
}

/// Threads, each of which has a cache.
pub(crate) struct Threads {
    /// By the threads' numbers.
    slots: [Box<Slot>; SLOTS],
}

impl Threads {
    /// Makes a cache for each thread that there may be.
    pub(crate) fn new() -> Self {
        membarrier(MembarrierCommand::RegisterPrivateExpedited)
            .expect("Linux has had membarrier for private mappings since 4.14");
        let threads = Self {
            slots: std::array::from_fn(|_| Box::default()),
        };
        threads.slots[NOBODY].claimed.store(true, SeqCst);
        threads
    }

    /// Returns the caches of threads that have numbers.
    fn numbered(&self) -> &[Box<Slot>] {
        &self.slots[NOBODY + 1..]
    }

    /// Returns the cache of the current thread, or [`NOBODY`]'s if it has no number.
    #[inline(always)]
    fn own(&self) -> &Slot {
        let number = NUMBER.get();
        // SAFETY: It is `NOBODY` or what `number` gave out, which is below.
        unsafe { assert_unchecked(number < SLOTS) };
        &self.slots[number]
    }
}

// SAFETY: A thread uses its cache with `busy` set, after it has seen `claimed` clear. The caller of
// `with_remote` sets `claimed` and has a barrier run on every thread: a thread that had not stored
// `busy` before the barrier sees `claimed` after it, and one that had is waited for. `busy` is
// cleared with release and seen clear with acquire, and so is `claimed`: each closure sees what the
// last one did. `with_local` and `with_remote` exclude each other by the engine's lock.
unsafe impl PerCpu<CpuCache> for Threads {
    fn cpus(&self) -> usize {
        self.numbered().len()
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        Some(&self.numbered().get(cpu)?.cache)
    }

    fn with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        // The first call gives the thread a number.
        number();
        self.try_with_local(f)
    }

    #[inline(always)]
    fn try_with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        let slot = self.own();
        let result = slot.enter().then(|| f(&slot.cache));
        slot.leave();
        result
    }

    fn with_remote<R: Send>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R + Send) -> Option<R> {
        let slot = self.numbered().get(cpu)?;
        slot.claimed.store(true, SeqCst);
        membarrier(MembarrierCommand::PrivateExpedited).expect("it was registered");
        while slot.busy.load(Acquire) {
            hint::spin_loop();
        }
        let result = f(&slot.cache);
        slot.claimed.store(false, Release);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        cell::UnsafeCell,
        sync::Mutex,
        thread, //
    };

    /// A counter by the numbers of CPUs that is counted up in two steps.
    struct Counters([UnsafeCell<usize>; SLOTS]);

    // SAFETY: The test finds out whether two threads use a counter at the same time: additions would
    // be lost.
    unsafe impl Sync for Counters {}

    impl Counters {
        fn add(&self, number: usize) {
            let counter = self.0[number].get();
            // SAFETY: The caller has the cache with this number.
            let seen = unsafe { counter.read_volatile() };
            hint::black_box(seen);
            // SAFETY: As above.
            unsafe { counter.write_volatile(seen + 1) };
        }
    }

    #[test]
    fn two_threads_never_use_the_same_cache() {
        const TIMES: usize = 20_000;
        let threads = Threads::new();
        let counters = Counters(std::array::from_fn(|_| UnsafeCell::new(0)));
        let lock = Mutex::new(());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for n in 0..TIMES {
                        let own = number();
                        if threads.try_with_local(|_| counters.add(own)).is_none() {
                            let _lock = lock.lock().unwrap();
                            threads.with_local(|_| counters.add(own));
                        }
                        if n % 64 == 0 {
                            for cpu in 0..threads.cpus() {
                                let _lock = lock.lock().unwrap();
                                threads.with_remote(cpu, |_| counters.add(cpu + 1));
                            }
                        }
                    }
                });
            }
        });
        let Counters(counters) = counters;
        let sum: usize = counters.into_iter().map(UnsafeCell::into_inner).sum();
        let (own, claimed) = (3 * TIMES, 3 * TIMES.div_ceil(64) * THREADS);
        // Other tests may have taken numbers, so that a thread had none.
        assert!(sum <= own + claimed && (sum - claimed) % TIMES == 0);
        assert!(sum > claimed);
    }
}
