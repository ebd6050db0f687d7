// SPDX-License-Identifier: GPL-2.0

//! Staying on a CPU: preemption is disabled while a closure runs.
//!
//! Rust has no abstraction for that in Linux 7.3. The C functions in `pin.c` work on every kernel.
//! The inline assembly here does the same on the most common kind of x86-64 kernel, because a pair of
//! allocation and free, which disables preemption twice, takes 74 instructions with it and 117 with
//! the C functions (64 B, `make bench`).

/// A kernel on which disabling preemption is to add 1 to a counter of the CPU, and enabling it is to
/// subtract 1 and to call the scheduler if nothing is left (`arch/x86/include/asm/preempt.h`).
#[cfg(all(
    CONFIG_X86_64,
    CONFIG_SMP,
    CONFIG_PREEMPTION,
    CONFIG_HAS_SEPARATE_PREEMPT_RESCHED_BITS,
    not(CONFIG_PREEMPT_DYNAMIC),
    not(CONFIG_DEBUG_PREEMPT),
    not(CONFIG_TRACE_PREEMPT_TOGGLE),
    not(CONFIG_PREEMPT_TRACER)
))]
mod arch {
    use core::arch::asm;

    use kernel::bindings;

    /// Disables preemption and returns the number of the current CPU.
    #[inline(always)]
    pub(super) fn pin() -> usize {
        let cpu: usize;
        // SAFETY: Both variables are the current CPU's, whichever that is when the first instruction
        // has run. Without `nomem` the compiler moves no access across.
        unsafe {
            asm!(
                "inc qword ptr gs:[rip + {count}]",
                "mov {cpu:e}, dword ptr gs:[rip + {number}]",
                cpu = out(reg) cpu,
                count = sym bindings::__preempt_count,
                number = sym bindings::cpu_number,
                options(nostack),
            );
        }
        cpu
    }

    /// Enables preemption.
    ///
    /// # Safety
    ///
    /// Preemption was disabled by [`pin`].
    #[inline(always)]
    pub(super) unsafe fn unpin() {
        // SAFETY: By this function's contract the counter is at least 1. The thunk preserves all
        // registers but the flags. Without `nostack` the stack is as a call needs it.
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
    CONFIG_X86_64,
    CONFIG_SMP,
    CONFIG_PREEMPTION,
    CONFIG_HAS_SEPARATE_PREEMPT_RESCHED_BITS,
    not(CONFIG_PREEMPT_DYNAMIC),
    not(CONFIG_DEBUG_PREEMPT),
    not(CONFIG_TRACE_PREEMPT_TOGGLE),
    not(CONFIG_PREEMPT_TRACER)
)))]
mod arch {
    // Defined in pin.c.
    unsafe extern "C" {
        fn slablab_pin() -> core::ffi::c_uint;
        fn slablab_unpin();
    }

    /// Disables preemption and returns the number of the current CPU.
    #[inline(always)]
    pub(super) fn pin() -> usize {
        // SAFETY: It may be called in any context.
        unsafe { slablab_pin() as usize }
    }

    /// Enables preemption.
    ///
    /// # Safety
    ///
    /// Preemption was disabled by [`pin`].
    #[inline(always)]
    pub(super) unsafe fn unpin() {
        // SAFETY: By this function's contract.
        unsafe { slablab_unpin() };
    }
}

/// Runs `f` with the number of the current CPU, without being preempted.
#[inline(always)]
pub(crate) fn with_preempt_disabled<R>(f: impl FnOnce(usize) -> R) -> R {
    let result = f(arch::pin());
    // SAFETY: Disabled just above.
    unsafe { arch::unpin() };
    result
}

/// Sleeps for up to a millisecond, and returns whether the task was not killed.
pub(crate) fn pause() -> bool {
    // Defined in pin.c.
    unsafe extern "C" {
        fn slablab_pause() -> bool;
    }
    // SAFETY: The caller may sleep.
    unsafe { slablab_pause() }
}
