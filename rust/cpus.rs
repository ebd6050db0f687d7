// SPDX-License-Identifier: GPL-2.0

//! The kernel's CPUs, as `slab_heap` wants a machine, and what they keep.

// Lock order: `cpu_hotplug_lock` is taken to reach another CPU, then whatever the work there takes,
// which is an engine's lock.

use core::{
    arch::asm,
    ffi::{
        c_int,
        c_void, //
    },
    ptr::NonNull, //
};

use kernel::{
    bindings,
    cpu::nr_cpu_ids,
    page::PAGE_SIZE,
    prelude::*, //
};
use slab_heap::{
    hybrid::Cache,
    platform::{
        Pinning,
        Platform, //
    }, //
};

use crate::memory::QUIET;

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
        // SAFETY: As above; the count was raised. The thunk is made to be called so: it keeps all
        // registers and wants no alignment of the stack, of which the kernel uses nothing below its
        // pointer.
        unsafe {
            asm!(
                "dec qword ptr gs:[rip + {count}]",
                "jne 2f",
                "call {schedule}",
                "2:",
                count = sym bindings::__preempt_count,
                schedule = sym bindings::preempt_schedule_thunk,
                options(nostack),
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

/// The machine's CPUs, and a `T` for each of them in memory close to it.
///
/// # Invariants
///
/// `first` is a per-CPU allocation of `T`, in the kernel's own form: the address that a CPU has its
/// `T` at is `first` and the CPU's offset.
pub(crate) struct Cpus<T> {
    first: NonNull<T>,
}

/// A type of which zeros are a value.
///
/// # Safety
///
/// They are.
pub(crate) unsafe trait Zeros {}

// SAFETY: It says so, and has atomic integers and pointers only.
unsafe impl Zeros for Cache {}

// SAFETY: It owns its `T`s, which are given out as shared references to whoever runs on a CPU.
unsafe impl<T: Send + Sync> Send for Cpus<T> {}

// SAFETY: As above.
unsafe impl<T: Sync> Sync for Cpus<T> {}

impl<T: Zeros> Cpus<T> {
    /// Makes zeros for each CPU.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub(crate) fn new() -> Result<Self> {
        const { assert!(size_of::<T>() <= PERCPU_BYTES_MAX && align_of::<T>() <= PAGE_SIZE) };
        // SAFETY: It may be called where its flags allow to sleep, as our callers do.
        let first =
            unsafe { bindings::pcpu_alloc_noprof(size_of::<T>(), align_of::<T>(), false, QUIET) };
        // INVARIANT: Allocated just above; per-CPU memory is zeros.
        Ok(Self {
            first: NonNull::new(first.cast()).ok_or(ENOMEM)?,
        })
    }
}

impl<T> Drop for Cpus<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, and nobody uses it any more.
        unsafe { bindings::free_percpu(self.first.as_ptr().cast()) };
    }
}

/// What one per-CPU allocation may have at most: `PCPU_MIN_UNIT_SIZE` in `include/linux/percpu.h`.
const PERCPU_BYTES_MAX: usize = 32 << 10;

/// What a CPU is sent to do.
type Work<'a, T> = &'a mut (dyn FnMut(Pinning<'_, T>) + Send);

/// Work on its way, and what its CPU has.
struct Sent<'a, T> {
    work: Work<'a, T>,
    own: &'a T,
}

/// Does the work that `sent` points to, on the CPU that it was sent to.
///
/// # Safety
///
/// `sent` points to a [`Sent`] that nobody else uses. The caller stays on the CPU that `own` is of.
unsafe extern "C" fn arrived<T>(sent: *mut c_void) -> c_int {
    // SAFETY: By this function's contract.
    let Sent { work, own } = unsafe { &mut *sent.cast::<Sent<'_, T>>() };
    work(&|f| unpreempted(|| f(own)));
    0
}

// SAFETY: A CPU that is not preempted runs one closure at a time: engines are called in process
// context only. In the order of the CPU's own instructions one sees what the last one did, and
// tasks change CPUs through the scheduler, which orders them. While hot-plugging is locked out, a
// CPU that is not online runs no closure, and what it did was seen by the CPU that took it down;
// nobody else comes here for it at the same time, as the caller is alone with the lock of `ABSENT`.
unsafe impl<T: Sync> Platform<T> for Cpus<T> {
    #[inline]
    fn cpus(&self) -> usize {
        nr_cpu_ids() as usize
    }

    fn of(&self, cpu: usize) -> Option<&T> {
        if cpu >= nr_cpu_ids() as usize {
            return None;
        }
        // SAFETY: The kernel has an offset for each of so many CPUs, which never changes.
        let offset = unsafe {
            (&raw const bindings::__per_cpu_offset)
                .cast::<usize>()
                .add(cpu)
                .read()
        };
        // SAFETY: By the type invariant; the memory is there as long as `self`, and is changed
        // through shared references only.
        Some(unsafe { &*self.first.as_ptr().wrapping_byte_add(offset) })
    }

    #[inline(always)]
    fn pinned<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        Some(unpreempted(|| {
            let mut own = self.first.as_ptr();
            // SAFETY: The variable is the running CPU's, which stays it, and never changes.
            unsafe {
                asm!(
                    "add {own}, qword ptr gs:[rip + {offset}]",
                    own = inout(reg) own,
                    offset = sym bindings::this_cpu_off,
                    options(nostack, readonly, pure),
                );
            }
            // SAFETY: As in `of`.
            f(unsafe { &*own })
        }))
    }

    fn on(&self, cpu: usize, work: Work<'_, T>) {
        let Some(own) = self.of(cpu) else { return };
        let _online = Online::lock();
        let mut sent = Sent { work, own };
        let argument = (&raw mut sent).cast();
        // SAFETY: The argument is what `arrived` wants, and is not used here until it has returned.
        // The work runs in a kernel thread that is bound to the CPU, which stays online.
        let missing =
            unsafe { bindings::smp_call_on_cpu(cpu as u32, Some(arrived::<T>), argument, false) };
        if missing != 0 {
            let _alone = ABSENT.lock();
            (sent.work)(&|f| f(own));
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
