// SPDX-License-Identifier: GPL-2.0

//! The kernel's CPUs, as `slab_heap` wants a machine, and what they keep.

// Lock order: `cpu_hotplug_lock` is taken to reach another CPU, then whatever the work there takes,
// which is an engine's lock.

use core::{
    ffi::{
        c_int,
        c_void, //
    },
    ops::Deref,
    slice, //
};

use kernel::{
    bindings,
    cpu::{
        CpuId,
        nr_cpu_ids, //
    },
    prelude::*, //
};
use slab_heap::{
    hybrid::Cache,
    platform::{
        Pinning,
        Platform, //
    }, //
};

use crate::memory::Memory;

/// This kernel's way to disable preemption is to add 1 to a counter of the CPU, and to enable it
/// is to subtract 1 and to look whether that was all (`arch/x86/include/asm/preempt.h`).
///
/// A function call for that would cost more than what it protects.
#[cfg(all(
    CONFIG_SMP,
    CONFIG_PREEMPTION,
    CONFIG_HAS_SEPARATE_PREEMPT_RESCHED_BITS,
    not(CONFIG_PREEMPT_DYNAMIC),
    not(CONFIG_DEBUG_PREEMPT),
    not(CONFIG_TRACE_PREEMPT_TOGGLE),
    not(CONFIG_PREEMPT_TRACER)
))]
mod preemption {
    use core::arch::asm;

    use kernel::bindings;

    #[inline(always)]
    pub(super) fn disable() {
        // SAFETY: The counter is the running CPU's, whichever that is. Without `nomem`, nothing
        // moves across.
        unsafe {
            asm!(
                "inc qword ptr gs:[rip + {count}]",
                count = sym bindings::__preempt_count,
                options(nostack),
            );
        }
    }

    /// # Safety
    ///
    /// Preemption was disabled by [`disable`].
    #[inline(always)]
    pub(super) unsafe fn enable() {
        // SAFETY: As above; the count was raised. The thunk is made to be called so, and keeps all
        // registers.
        unsafe {
            asm!(
                "dec qword ptr gs:[rip + {count}]",
                "jne 2f",
                "call {schedule}",
                "2:",
                count = sym bindings::__preempt_count,
                schedule = sym bindings::preempt_schedule_thunk,
            );
        }
    }
}

#[cfg(not(all(
    CONFIG_SMP,
    CONFIG_PREEMPTION,
    CONFIG_HAS_SEPARATE_PREEMPT_RESCHED_BITS,
    not(CONFIG_PREEMPT_DYNAMIC),
    not(CONFIG_DEBUG_PREEMPT),
    not(CONFIG_TRACE_PREEMPT_TOGGLE),
    not(CONFIG_PREEMPT_TRACER)
)))]
mod preemption {
    // Defined in preempt.c.
    unsafe extern "C" {
        fn slablab_preempt_disable();
        fn slablab_preempt_enable();
    }

    #[inline(always)]
    pub(super) fn disable() {
        // SAFETY: It may be called anywhere.
        unsafe { slablab_preempt_disable() };
    }

    /// # Safety
    ///
    /// Preemption was disabled by [`disable`].
    #[inline(always)]
    pub(super) unsafe fn enable() {
        // SAFETY: By this function's contract.
        unsafe { slablab_preempt_enable() };
    }
}

/// Runs `f` without being preempted.
#[inline(always)]
fn unpreempted<R>(f: impl FnOnce() -> R) -> R {
    preemption::disable();
    let result = f();
    // SAFETY: Disabled just above.
    unsafe { preemption::enable() };
    result
}

/// The machine's CPUs.
pub(crate) struct Cpus;

/// What a CPU is sent to do.
type Work<'a> = &'a mut (dyn FnMut(Pinning<'_>) + Send);

/// Does the work that `work` points to, on the CPU that it was sent to.
///
/// # Safety
///
/// `work` points to a [`Work`] that nobody else uses. The caller stays on one CPU.
unsafe extern "C" fn arrived(work: *mut c_void) -> c_int {
    // SAFETY: By this function's contract.
    let work = unsafe { &mut *work.cast::<Work<'_>>() };
    work(&|f| unpreempted(f));
    0
}

// SAFETY: A CPU that is not preempted runs one closure at a time: engines are called in process
// context only. In the order of the CPU's own instructions one sees what the last one did, and
// tasks change CPUs through the scheduler, which orders them. While hot-plugging is locked out, a
// CPU that is not online runs no closure, and what it did was seen by the CPU that took it down;
// nobody else comes here for it at the same time, as the caller is alone with the lock of `ABSENT`.
unsafe impl Platform for Cpus {
    #[inline]
    fn cpus(&self) -> usize {
        nr_cpu_ids() as usize
    }

    #[inline(always)]
    fn pinned<R>(&self, f: impl FnOnce(usize) -> R) -> R {
        unpreempted(|| f(CpuId::current().as_u32() as usize))
    }

    fn on(&self, cpu: usize, mut work: Work<'_>) {
        let _online = Online::lock();
        let argument = (&raw mut work).cast();
        // SAFETY: The argument is what `arrived` wants, and is not used here until it has returned.
        // The work runs in a kernel thread that is bound to the CPU, which stays online.
        let missing =
            unsafe { bindings::smp_call_on_cpu(cpu as u32, Some(arrived), argument, false) };
        if missing != 0 {
            let _alone = ABSENT.lock();
            work(&|f| f());
        }
    }
}

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, which the module calls before anything else.
    unsafe(uninit) static ABSENT: Mutex<()> = ();
}

/// Makes the global lock ready.
///
/// # Safety
///
/// Called once, before anything else in this file.
pub(crate) unsafe fn init() {
    // SAFETY: By this function's contract.
    unsafe { ABSENT.init() };
}

/// No CPU comes or goes while this lives.
struct Online(());

impl Online {
    fn lock() -> Self {
        #[cfg(CONFIG_HOTPLUG_CPU)]
        // SAFETY: The caller may sleep, and does not have the lock.
        unsafe {
            bindings::cpus_read_lock()
        };
        Self(())
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        #[cfg(CONFIG_HOTPLUG_CPU)]
        // SAFETY: Taken in `lock`.
        unsafe {
            bindings::cpus_read_unlock()
        };
    }
}

/// What all CPUs keep of one pool.
///
/// # Invariants
///
/// The memory has `count` caches.
pub(crate) struct Caches {
    memory: Memory,
    count: usize,
}

// SAFETY: Shared access gives `&[Cache]` only, which is `Sync`.
unsafe impl Sync for Caches {}

impl Caches {
    /// Makes caches that are empty.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<Self> {
        let count = nr_cpu_ids() as usize;
        // INVARIANT: Zeros are caches, and pages are aligned for them.
        Ok(Self {
            memory: Memory::zeroed(count * size_of::<Cache>())?,
            count,
        })
    }
}

impl Deref for Caches {
    type Target = [Cache];

    #[inline]
    fn deref(&self) -> &[Cache] {
        let first = self.memory.start().cast::<Cache>();
        // SAFETY: By the type invariant; borrowed for as long as the caches are.
        unsafe { slice::from_raw_parts(first.as_ptr(), self.count) }
    }
}
