// SPDX-License-Identifier: GPL-2.0

//! The per-CPU caches of `hybrid`, in the kernel.
//!
//! ```text
//! memory │ pointer │ pointer │ … │ header │ cache of CPU 0 │ header │ cache of CPU 1 │ …
//! ```
//!
//! The caches are contiguous ordinary memory and do not come from the per-CPU allocator, for two
//! reasons: the per-CPU allocator charges no memory cgroup, and under memory shortage it retries for
//! ever with a global mutex held. All caches are on the NUMA node of the CPU that creates the pool.

// Lock order: the engine's lock, then the lock on CPU hotplug, which is only taken with a trylock. A call on
// another CPU spins, with interrupts enabled, until that CPU has run an interrupt handler, as a TLB flush
// under a page-table lock does. The wait ends only if a caller of the engine has interrupts enabled, and
// holds no lock that any CPU takes with interrupts disabled: a CPU that waits for such a lock would never
// run the handler. A caller may hold the session's spinlock, during `try_allocate_fast` and
// `try_free_fast`, which make no calls on other CPUs.

use core::{
    ffi::{
        c_int,
        c_void, //
    },
    hint,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicBool,
        Ordering::{
            Relaxed,
            SeqCst, //
        },
        compiler_fence, //
    },
};

use kernel::{
    bindings,
    cpu::nr_cpu_ids,
    prelude::*,
    sync::Arc, //
};
use slab_heap::{
    backing_heap::Piece,
    magazines::{
        CacheSize,
        CpuCache, //
    },
    per_cpu::{
        Exclusive,
        PerCpu, //
    }, //
};

use crate::{
    pieces::Pieces,
    pin,
    vmalloc::VmallocMemory, //
};

/// The header before a CPU's cache.
///
/// `busy` is set while a task on the CPU uses the cache. Only this CPU accesses `busy`, in a task or in an
/// interrupt handler, so plain loads and stores suffice.
#[repr(C, align(64))]
struct Header {
    busy: AtomicBool,
}

const _: () = assert!(CpuCache::ALIGN <= align_of::<Header>());

/// A cache for each CPU.
///
/// # Invariants
///
/// `headers` points to `cpus` pointers in `_memory`. Each pointer points to a [`Header`] in `_memory`, and a
/// [`CpuCache`] with `slots` slots follows the header.
pub(crate) struct CpuCaches {
    _memory: VmallocMemory,
    headers: NonNull<NonNull<Header>>,
    cpus: usize,
    slots: usize,
    pieces: Arc<Pieces>,
}

// SAFETY: `_memory` and `pieces` are `Send`. All other pointers are into `_memory`, and point to `Sync` types.
unsafe impl Send for CpuCaches {}

// SAFETY: Shared references give access to a `Header`, a `CpuCache` and `Pieces` only, which are `Sync`.
unsafe impl Sync for CpuCaches {}

/// The maximum number of interrupts for one remote call. A CPU whose task is using the cache is interrupted
/// again: the task is not preempted, and uses the cache for one operation only. If the task is still using
/// the cache at the last interrupt, the remote call fails.
const MAX_INTERRUPTS: u32 = 64;

/// Log2 of the longest pause between two interrupts, in turns of a waiting loop. The first pause is one turn,
/// and each further pause is twice as long, so that the task makes progress.
const MAX_PAUSE_LOG2: u32 = 10;

impl CpuCaches {
    /// Returns the bytes of the table of pointers, the headers and the caches of all CPUs.
    fn bytes(size: CacheSize) -> usize {
        Self::table_bytes() + Self::stride(size) * nr_cpu_ids() as usize
    }

    /// Returns the bytes of the table of pointers, rounded up to the alignment of the headers.
    fn table_bytes() -> usize {
        let bytes = size_of::<NonNull<Header>>() * nr_cpu_ids() as usize;
        bytes.next_multiple_of(align_of::<Header>())
    }

    /// Returns the bytes of a header and a cache.
    fn stride(size: CacheSize) -> usize {
        size_of::<Header>() + CpuCache::bytes(size)
    }

    /// Returns the bytes that the kernel takes for the caches of all CPUs.
    pub(crate) fn charge(size: CacheSize) -> usize {
        VmallocMemory::charge(Self::bytes(size))
    }

    /// Creates an empty cache for each CPU. `pieces` is a new list, for the metadata that the engine requests.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(size: CacheSize, pieces: Arc<Pieces>) -> Result<Self> {
        let memory = VmallocMemory::zeroed(Self::bytes(size))?;
        let cpus = nr_cpu_ids() as usize;
        let headers = memory.start().cast::<NonNull<Header>>();
        // SAFETY: The memory has `table_bytes` bytes for the table, and the headers follow it.
        let first = unsafe { memory.start().add(Self::table_bytes()) };
        for cpu in 0..cpus {
            // SAFETY: The memory has `stride` bytes for each CPU behind the table.
            let header = unsafe { first.add(cpu * Self::stride(size)) }.cast::<Header>();
            // SAFETY: `new_in` requires `CpuCache::bytes(size)` zeroed, exclusive and aligned bytes. These bytes
            // follow the header. The memory is new, zeroed and page-aligned, and the sizes of the table, headers
            // and caches are multiples of the alignment.
            unsafe { CpuCache::new_in(header.add(1).cast(), size) };
            // SAFETY: The table has room for `cpus` pointers, and is aligned for pointers.
            unsafe { headers.add(cpu).write(header) };
        }
        // INVARIANT: The loop wrote all pointers and caches. A zeroed header is a valid header.
        Ok(Self {
            _memory: memory,
            headers,
            cpus,
            slots: size.slots(),
            pieces,
        })
    }

    /// Returns the header and the cache of a CPU.
    ///
    /// # Safety
    ///
    /// `cpu` is less than `self.cpus`.
    #[inline(always)]
    unsafe fn entry(&self, cpu: usize) -> CacheEntry<'_> {
        // SAFETY: By the type invariant `headers` points to `cpus` pointers, and by this function's contract
        // `cpu` is less than `cpus`.
        let header = unsafe { self.headers.add(cpu).read() };
        // SAFETY: By the type invariant a cache follows the header in the same memory.
        let cache = unsafe { header.add(1) }.cast();
        CacheEntry {
            // SAFETY: By the type invariant the header is valid while `self` is borrowed. All accesses to it are
            // through shared references.
            header: unsafe { header.as_ref() },
            // SAFETY: `from_memory` requires the memory and the size of a call of `new_in`: by the type
            // invariant there is a cache with `slots` slots, which is valid while `self` is borrowed.
            cache: unsafe { CpuCache::from_memory(cache, self.slots) },
        }
    }
}

/// A CPU's cache with its header.
#[derive(Clone, Copy)]
struct CacheEntry<'a> {
    header: &'a Header,
    cache: &'a CpuCache,
}

/// A call that runs on another CPU, with its result.
struct RemoteCall<'a, F, R> {
    entry: CacheEntry<'a>,
    f: Option<F>,
    result: Option<R>,
}

impl<F: FnOnce(&Exclusive<'_, CpuCache>) -> R, R> RemoteCall<'_, F, R> {
    /// Runs the call, unless the CPU's task is using the cache.
    ///
    /// # Safety
    ///
    /// The caller holds the engine's lock. Either the caller runs on the cache's CPU with interrupts disabled,
    /// or that CPU is offline until the call returns.
    unsafe fn make(&mut self) {
        if !self.entry.header.busy.load(Relaxed) {
            // SAFETY: `Exclusive::new` requires that there is no other `Exclusive` for the cache: `busy` is
            // clear, so no task on the CPU has one, and every caller of this function holds the engine's lock.
            let cache = unsafe { Exclusive::new(self.entry.cache) };
            self.result = self.f.take().map(|f| f(&cache));
        }
    }

    /// Runs the call in the interrupt handler of the cache's CPU.
    ///
    /// # Safety
    ///
    /// `call` points to a valid [`RemoteCall`] that nobody else uses during the call.
    unsafe extern "C" fn remote_call_thunk(call: *mut c_void) {
        // SAFETY: By this function's contract the pointer is valid and not aliased.
        let call = unsafe { &mut *call.cast::<Self>() };
        // SAFETY: The handler runs on the cache's CPU with interrupts disabled. The sender holds the engine's
        // lock, as the contract of `PerCpu::with_remote` requires, and waits for the handler.
        unsafe { call.make() };
    }
}

// SAFETY:
// - Closures on the same cache exclude each other. `try_with_local` and `with_local` run a closure on
//   the cache's CPU with preemption disabled, so no other task runs on this CPU meanwhile. Both functions are
//   called in process context only, and closures call neither. `with_remote` runs its closure on the same CPU,
//   in an interrupt handler or with interrupts disabled, and only if `busy` is clear, so that the interrupted
//   task is not in a closure. Two calls of `with_remote` exclude each other by the engine's lock. For an offline
//   CPU the caller runs the closure: an offline CPU runs no task, and it stays offline while a `CpusReadGuard`
//   lives.
// - A closure sees the effects of earlier closures. Closures on the same CPU run in program order; the
//   scheduler orders the accesses of a task that moves to another CPU. `smp_call_function_single` orders
//   the handler after the earlier and before the later accesses of its caller.
// - `pieces` owns the metadata, which is zeroed and aligned to 8.
// - Entries never move. `new` initialises the caches, and the engine that gets the caches owns them.
unsafe impl PerCpu<CpuCache> for CpuCaches {
    fn cpus(&self) -> usize {
        self.cpus
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        // SAFETY: `cpu` is less than `self.cpus`.
        (cpu < self.cpus).then(|| unsafe { self.entry(cpu) }.cache)
    }

    #[inline(always)]
    fn with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        self.try_with_local(f)
    }

    #[inline(always)]
    fn try_with_local<R>(&self, f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R) -> Option<R> {
        Some(pin::with_preempt_disabled(|cpu| {
            // SAFETY: The number of a running CPU is less than `nr_cpu_ids`, which never changes.
            let entry = unsafe { self.entry(cpu) };
            entry.header.busy.store(true, Relaxed);
            // An interrupt handler on this CPU must see `busy` before any effect of `f`.
            compiler_fence(SeqCst);
            // SAFETY: `Exclusive::new` requires that there is no other `Exclusive` for the cache: preemption is
            // disabled, `f` does not call this function, and an interrupt handler that sees `busy` creates none.
            let result = f(&unsafe { Exclusive::new(entry.cache) });
            compiler_fence(SeqCst);
            entry.header.busy.store(false, Relaxed);
            result
        }))
    }

    fn with_remote<R: Send>(
        &self,
        cpu: usize,
        f: impl FnOnce(&Exclusive<'_, CpuCache>) -> R + Send,
    ) -> Option<R> {
        if cpu >= self.cpus {
            return None;
        }
        // SAFETY: By the check above `cpu` is less than `self.cpus`.
        let entry = unsafe { self.entry(cpu) };
        let mut call = RemoteCall {
            entry,
            f: Some(f),
            result: None,
        };
        if interrupt(cpu, &mut call) == RemoteCpu::Offline {
            let _hotplug = CpusReadGuard::try_lock()?;
            if interrupt(cpu, &mut call) == RemoteCpu::Offline {
                // SAFETY: The caller holds the engine's lock, by the contract of `PerCpu::with_remote`. The
                // CPU stays offline while the guard lives.
                unsafe { call.make() };
            }
        }
        call.result
    }

    fn metadata(&self, piece: Piece) -> Option<NonNull<u8>> {
        self.pieces.get(piece)
    }

    fn pause(&self) -> bool {
        pin::pause()
    }
}

/// The state of a CPU, as found by [`interrupt`].
#[derive(PartialEq, Eq)]
enum RemoteCpu {
    Online,
    Offline,
}

/// Interrupts a CPU to run a call. Repeats the interrupt while a task on the CPU is using the cache, up to
/// [`MAX_INTERRUPTS`] times.
fn interrupt<F: FnOnce(&Exclusive<'_, CpuCache>) -> R + Send, R: Send>(
    cpu: usize,
    call: &mut RemoteCall<'_, F, R>,
) -> RemoteCpu {
    for attempt in 0..MAX_INTERRUPTS {
        let argument = ptr::from_mut(call).cast();
        // SAFETY: `remote_call_thunk` requires a pointer to a `RemoteCall` that nobody else uses. `call`
        // is not accessed here until `smp_call_function_single` has returned, which waits for the
        // handler (last argument). The caller is in process context with interrupts enabled.
        let error = unsafe {
            bindings::smp_call_function_single(
                cpu as c_int,
                Some(RemoteCall::<'_, F, R>::remote_call_thunk),
                argument,
                true,
            )
        };
        if error != 0 {
            return RemoteCpu::Offline;
        }
        if call.result.is_some() {
            break;
        }
        for _ in 0..1 << attempt.min(MAX_PAUSE_LOG2) {
            hint::spin_loop();
        }
    }
    RemoteCpu::Online
}

/// A read lock on CPU hotplug: no CPU goes online or offline while the guard lives.
struct CpusReadGuard(());

impl CpusReadGuard {
    /// Takes the lock, or returns `None` while a CPU is going online or offline.
    fn try_lock() -> Option<Self> {
        // SAFETY: `cpus_read_trylock` may be called in process context, and does not sleep.
        let locked = unsafe { bindings::cpus_read_trylock() } != 0;
        // `then_some` would create a guard in both cases, and the drop of a guard releases the lock.
        locked.then(|| Self(()))
    }
}

impl Drop for CpusReadGuard {
    fn drop(&mut self) {
        // SAFETY: `try_lock` took the read lock, and a guard is dropped once.
        unsafe { bindings::cpus_read_unlock() };
    }
}
