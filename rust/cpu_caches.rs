// SPDX-License-Identifier: GPL-2.0

//! The caches of an engine's CPUs, in the kernel.
//!
//! The caches are ordinary memory, one after the other, and not from the per-CPU allocator: that one
//! is charged to nobody and, short of memory, tries again for ever with a global mutex held. They
//! all are on the memory node of the CPU that makes the pool.

// Lock order: the engine's lock, then nothing. Reaching another CPU spins until that CPU has run an
// interrupt handler, with interrupts enabled, as a TLB flush under a page-table lock does. The CPU
// may wait for the engine's lock meanwhile, as nobody takes that one with interrupts disabled.

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
    prelude::*, //
};
use slab_heap::{
    hybrid::{
        CacheSize,
        CpuCache, //
    },
    per_cpu::PerCpu, //
};

use crate::{
    pin, //
    vmalloc::VmallocMemory,
};

/// What stands in front of a CPU's cache.
///
/// `busy` is set while the owner uses the cache. Only the owner's CPU writes and reads it, in the
/// task or in an interrupt handler, so plain loads and stores suffice.
#[repr(C, align(64))]
struct Header {
    busy: AtomicBool,
}

const _: () = assert!(CpuCache::ALIGN <= align_of::<Header>());

/// A cache for each CPU.
///
/// # Invariants
///
/// `entries` points into `_memory`, to `cpus` pointers. Each points to a [`Header`] in `_memory`, with
/// a [`CpuCache`] behind it.
pub(crate) struct CpuCaches {
    _memory: VmallocMemory,
    entries: NonNull<NonNull<Header>>,
    cpus: usize,
}

// SAFETY: The caches may be used from any thread, as `PerCpu` says.
unsafe impl Send for CpuCaches {}

// SAFETY: As above; `Header` and `CpuCache` are `Sync`.
unsafe impl Sync for CpuCaches {}

/// How often a CPU is interrupted, at most, that is using its cache whenever it is. It does so for
/// some hundred instructions, without being preempted.
const MAX_INTERRUPTS: usize = 1000;

impl CpuCaches {
    /// Returns the bytes of memory that the caches of all CPUs take.
    fn bytes(size: CacheSize) -> usize {
        Self::table_bytes() + Self::entry_bytes(size) * nr_cpu_ids() as usize
    }

    /// Returns what the caches of all CPUs are charged for.
    pub(crate) fn charge(size: CacheSize) -> usize {
        VmallocMemory::charge(Self::bytes(size))
    }

    /// The bytes of the table of pointers, as a multiple of the entries' alignment.
    fn table_bytes() -> usize {
        let bytes = size_of::<NonNull<Header>>() * nr_cpu_ids() as usize;
        bytes.next_multiple_of(align_of::<Header>())
    }

    fn entry_bytes(size: CacheSize) -> usize {
        size_of::<Header>() + CpuCache::bytes(size)
    }

    /// Makes an empty cache for each CPU.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new(size: CacheSize) -> Result<Self> {
        let memory = VmallocMemory::zeroed(Self::bytes(size))?;
        let cpus = nr_cpu_ids() as usize;
        let entries = memory.start().cast::<NonNull<Header>>();
        // SAFETY: The memory has room for the table and the entries behind it.
        let first = unsafe { memory.start().add(Self::table_bytes()) };
        for cpu in 0..cpus {
            // SAFETY: There are so many entries.
            let entry = unsafe { first.add(cpu * Self::entry_bytes(size)) }.cast::<Header>();
            // SAFETY: The cache is behind the entry's header.
            let cache = unsafe { entry.add(1) }.cast::<u8>();
            // SAFETY: An entry has room for a header and a cache of this size. The memory is new, so
            // nobody else uses it, and zeros. It begins at a page, and the sizes of the table and of
            // entries are multiples of the alignment.
            let _ = unsafe { CpuCache::new_in(cache, size) };
            // SAFETY: The table has room for so many.
            unsafe { entries.add(cpu).write(entry) };
        }
        // INVARIANT: Made just above; zeros are a header.
        Ok(Self {
            _memory: memory,
            entries,
            cpus,
        })
    }

    /// Returns what a CPU has.
    ///
    /// # Safety
    ///
    /// `cpu` is less than `self.cpus`.
    #[inline(always)]
    unsafe fn entry(&self, cpu: usize) -> (&Header, &CpuCache) {
        // SAFETY: By the type invariant and this function's contract.
        let header = unsafe { self.entries.add(cpu).read() };
        // SAFETY: By the type invariant the cache is behind the header.
        let cache = unsafe { header.add(1) }.cast::<CpuCache>();
        // SAFETY: By the type invariant, for as long as `self` is borrowed; both are changed through
        // shared references only.
        unsafe { (header.as_ref(), cache.as_ref()) }
    }
}

/// A call on its way to another CPU.
struct RemoteCall<'a, F, R> {
    header: &'a Header,
    cache: &'a CpuCache,
    f: Option<F>,
    result: Option<R>,
}

impl<F: FnOnce(&CpuCache) -> R, R> RemoteCall<'_, F, R> {
    /// Makes the call, unless the CPU's task is using the cache.
    fn make(&mut self) {
        if !self.header.busy.load(Relaxed) {
            self.result = self.f.take().map(|f| f(self.cache));
        }
    }

    /// Makes the call in the interrupt handler of the CPU that has the cache.
    ///
    /// # Safety
    ///
    /// `call` points to a [`Call`] that nobody else uses.
    unsafe extern "C" fn remote_call_thunk(call: *mut c_void) {
        // SAFETY: By this function's contract.
        unsafe { &mut *call.cast::<Self>() }.make();
    }
}

// SAFETY:
// - `try_with_local` and `with_local` run a closure with preemption disabled on the cache's CPU, so
//   no other task runs there; they are called in process context only, and the closure calls
//   neither. `with_remote` runs its closure on the same CPU in an interrupt handler, or with
//   interrupts disabled, and only if `busy` is clear: then the task that was interrupted is not in a
//   closure. Two calls of `with_remote` exclude each other by the engine's lock. A CPU that is
//   offline runs no task, and stays offline while `CpusReadGuard` is locked out.
// - Closures on the same CPU see each other's effects in program order, as do tasks that move to
//   another CPU, through the scheduler. `smp_call_function_single` orders the handler after what
//   its caller did and before what its caller does next.
// - An entry never moves.
unsafe impl PerCpu<CpuCache> for CpuCaches {
    fn cpus(&self) -> usize {
        self.cpus
    }

    fn get(&self, cpu: usize) -> Option<&CpuCache> {
        // SAFETY: Compared just here.
        (cpu < self.cpus).then(|| unsafe { self.entry(cpu) }.1)
    }

    #[inline(always)]
    fn with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        self.try_with_local(f)
    }

    #[inline(always)]
    fn try_with_local<R>(&self, f: impl FnOnce(&CpuCache) -> R) -> Option<R> {
        Some(pin::with_preempt_disabled(|cpu| {
            // SAFETY: The numbers of CPUs are less than `nr_cpu_ids`, which never changes.
            let (header, cache) = unsafe { self.entry(cpu) };
            header.busy.store(true, Relaxed);
            // Orders the stores for an interrupt handler on this CPU.
            compiler_fence(SeqCst);
            let result = f(cache);
            compiler_fence(SeqCst);
            header.busy.store(false, Relaxed);
            result
        }))
    }

    fn with_remote<R: Send>(&self, cpu: usize, f: impl FnOnce(&CpuCache) -> R + Send) -> Option<R> {
        if cpu >= self.cpus {
            return None;
        }
        // SAFETY: Compared just above.
        let (header, cache) = unsafe { self.entry(cpu) };
        let mut call = RemoteCall {
            header,
            cache,
            f: Some(f),
            result: None,
        };
        if interrupt(cpu, &mut call) == RemoteCpu::Offline {
            let _hotplug = CpusReadGuard::try_lock()?;
            if interrupt(cpu, &mut call) == RemoteCpu::Offline {
                // The CPU stays offline while hot-plugging is locked out.
                call.make();
            }
        }
        call.result
    }

    fn pause(&self) -> bool {
        pin::pause()
    }
}

/// Whether a CPU could be interrupted.
#[derive(PartialEq, Eq)]
enum RemoteCpu {
    Online,
    Offline,
}

/// Interrupts a CPU to make a call, again as long as its task is using the cache.
fn interrupt<F: FnOnce(&CpuCache) -> R + Send, R: Send>(
    cpu: usize,
    call: &mut RemoteCall<'_, F, R>,
) -> RemoteCpu {
    for _ in 0..MAX_INTERRUPTS {
        let argument = ptr::from_mut(call).cast();
        // SAFETY: `arrive` gets what it needs: `call` is not used here until the handler has
        // returned, as `wait` says. The caller has interrupts enabled, and is in process context.
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
        hint::spin_loop();
    }
    RemoteCpu::Online
}

/// No CPU goes on- or offline while this lives.
struct CpusReadGuard(());

impl CpusReadGuard {
    /// Locks hot-plugging out, unless a CPU is just going on- or offline.
    fn try_lock() -> Option<Self> {
        // SAFETY: It may be called in any context but interrupts.
        let locked = unsafe { bindings::cpus_read_trylock() } != 0;
        locked.then_some(Self(()))
    }
}

impl Drop for CpusReadGuard {
    fn drop(&mut self) {
        // SAFETY: Locked in `try_lock`.
        unsafe { bindings::cpus_read_unlock() };
    }
}
