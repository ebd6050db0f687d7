// SPDX-License-Identifier: GPL-2.0

//! Threads in the role of CPUs: each thread has a CPU cache of hybrid.
//!
//! A thread marks its cache as busy with a plain store before an access, and then checks whether another
//! thread claimed the cache. A thread that claims a cache, which is rare, sets a flag, makes every
//! running thread see the flag (`membarrier(2)`), and waits until the cache is not busy. rseq and the
//! biased locks of language runtimes avoid atomic operations on their fast path in the same way.

use std::{
    cell::Cell,
    hint::{
        self,
        assert_unchecked, //
    },
    ptr::NonNull,
    sync::{
        Arc,
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
    backing_heap::Piece,
    magazines::{
        CacheSize,
        CpuCache,
        Slot, //
    },
    per_cpu::{
        Exclusive,
        PerCpu, //
    },
};
use slab_host::HostPieces;

/// The maximum number of threads that have a cache.
const THREADS: usize = 16;

/// The number of caches. Cache 0 belongs to no thread.
const SLOTS: usize = THREADS + 1;

/// The number of a thread that has no number of its own: either it did not call [`number`] yet, or all
/// [`THREADS`] numbers were assigned to other threads.
const NOBODY: usize = 0;

thread_local! {
    /// The thread's number, below [`SLOTS`].
    static NUMBER: Cell<usize> = const { Cell::new(NOBODY) };
}

/// Returns the thread's number, and assigns one at the first call if there is one left.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(NOBODY + 1);
    if NUMBER.get() == NOBODY {
        let next = NEXT.fetch_update(Relaxed, Relaxed, |next| (next < SLOTS).then_some(next + 1));
        NUMBER.set(next.unwrap_or(NOBODY));
    }
    NUMBER.get()
}

/// A thread's cache.
struct ThreadCache {
    /// Whether the thread uses its cache.
    busy: AtomicBool,
    /// Whether another thread claimed the cache. The cache of [`NOBODY`] is always claimed.
    claimed: AtomicBool,
    cache: CpuCache<[Slot; CacheSize::FULL_SLOTS]>,
}

impl ThreadCache {
    /// Returns an empty cache. It has slots for the largest size, but uses only those of `size`.
    fn new(size: CacheSize) -> Self {
        Self {
            busy: AtomicBool::default(),
            claimed: AtomicBool::default(),
            cache: CpuCache::new(size),
        }
    }

    /// Marks the cache as busy, and returns whether no other thread claimed it.
    #[inline(always)]
    fn enter(&self) -> bool {
        self.busy.store(true, Relaxed);
        compiler_fence(SeqCst);
        !self.claimed.load(Acquire)
    }

    /// Marks the cache as not busy.
    #[inline(always)]
    fn leave(&self) {
        self.busy.store(false, Release);
    }
}

/// The caches of all threads, and the further metadata of the engine.
pub(crate) struct Threads {
    /// The caches by thread number.
    slots: [Box<ThreadCache>; SLOTS],
    pieces: Arc<HostPieces>,
}

impl Threads {
    /// Allocates the caches, each of `size`.
    pub(crate) fn new(size: CacheSize) -> Self {
        membarrier(MembarrierCommand::RegisterPrivateExpedited)
            .expect("membarrier needs Linux 4.14 or later");
        let threads = Self {
            slots: std::array::from_fn(|_| Box::new(ThreadCache::new(size))),
            pieces: Arc::default(),
        };
        threads.slots[NOBODY].claimed.store(true, SeqCst);
        threads
    }

    /// Returns the further metadata of the engine.
    pub(crate) fn pieces(&self) -> Arc<HostPieces> {
        self.pieces.clone()
    }

    /// Returns the caches of threads that have numbers.
    fn numbered(&self) -> &[Box<ThreadCache>] {
        &self.slots[NOBODY + 1..]
    }

    /// Returns the cache of the current thread, or the cache of [`NOBODY`] if the thread has no number.
    #[inline(always)]
    fn own(&self) -> &ThreadCache {
        let number = NUMBER.get();
        // SAFETY: The number is `NOBODY` or was assigned by `number`; both are below `SLOTS`.
        unsafe { assert_unchecked(number < SLOTS) };
        &self.slots[number]
    }
}

// SAFETY: A thread uses its cache only while `busy` is set and after it read `claimed` as false. The caller
// of `with_remote` sets `claimed` and then runs a barrier on every thread: a thread that had not stored
// `busy` before the barrier reads `claimed` as true after it, and for a thread that had stored `busy` the
// caller waits. `busy` and `claimed` are cleared with release and read with acquire, so each closure sees the
// writes of the previous one. Callers of `with_remote` and `with_local` hold the engine's lock, so no two of
// these calls run at the same time.
unsafe impl PerCpu<CpuCache> for Threads {
    fn cpus(&self) -> usize {
        self.numbered().len()
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        Some(&self.numbered().get(cpu)?.cache)
    }

    fn with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        // The first call gives the thread a number.
        number();
        self.try_with_local(f)
    }

    #[inline(always)]
    fn try_with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        let slot = self.own();
        let result = slot.enter().then(|| {
            // SAFETY: `Exclusive::new` requires that no other `Exclusive` for the cache exists and that the
            // effects of earlier ones are visible. The comment on this `impl` shows both.
            f(&unsafe { Exclusive::new(&slot.cache as &CpuCache) })
        });
        slot.leave();
        result
    }

    fn with_remote<R: Send>(
        &self,
        cpu: usize,
        f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R + Send,
    ) -> Option<R> {
        let slot = self.numbered().get(cpu)?;
        slot.claimed.store(true, SeqCst);
        membarrier(MembarrierCommand::PrivateExpedited)
            .expect("membarrier was registered in `new`");
        while slot.busy.load(Acquire) {
            hint::spin_loop();
        }
        // SAFETY: `Exclusive::new` requires that no other `Exclusive` for the cache exists and that the
        // effects of earlier ones are visible. The comment on this `impl` shows both.
        let result = f(&unsafe { Exclusive::new(&slot.cache as &CpuCache) });
        slot.claimed.store(false, Release);
        Some(result)
    }

    fn metadata(&self, piece: Piece) -> Option<NonNull<u8>> {
        self.pieces.get(piece)
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

    /// Counters by thread number, which are incremented by a separate read and write.
    struct ThreadCounters([UnsafeCell<usize>; SLOTS]);

    // SAFETY: The caches under test exclude concurrent access to a counter; if they fail, increments
    // are lost and the test fails.
    unsafe impl Sync for ThreadCounters {}

    impl ThreadCounters {
        fn add(&self, number: usize) {
            let counter = self.0[number].get();
            // SAFETY: The caller has exclusive access to the cache with this number.
            let seen = unsafe { counter.read_volatile() };
            hint::black_box(seen);
            // SAFETY: The caller has exclusive access to the cache with this number.
            unsafe { counter.write_volatile(seen + 1) };
        }
    }

    #[test]
    fn two_threads_never_use_the_same_cache() {
        const TIMES: usize = 20_000;
        let threads = Threads::new(CacheSize::FULL);
        let counters = ThreadCounters(std::array::from_fn(|_| UnsafeCell::new(0)));
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
        let ThreadCounters(counters) = counters;
        let sum: usize = counters.into_iter().map(UnsafeCell::into_inner).sum();
        let (own, claimed) = (3 * TIMES, 3 * TIMES.div_ceil(64) * THREADS);
        // Other tests may have used up the numbers. A thread without a number increments nothing by itself.
        assert!(sum <= own + claimed && (sum - claimed) % TIMES == 0);
        assert!(sum > claimed);
    }
}
