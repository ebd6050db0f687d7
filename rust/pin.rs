// SPDX-License-Identifier: GPL-2.0

//! Disables preemption while a closure runs.
//!
//! Linux 7.3 has no Rust abstraction for disabling preemption. The C functions in `pin.c` work on every kernel and
//! architecture. The inline assembly is for the most common configuration of x86-64 and is faster: a pair of an allocation
//! and a free, which disables preemption twice, takes 43 instructions fewer with the assembly than with the C
//! functions (64 B, `make bench`).

/// Inline assembly for kernels that count preemption in a per-CPU variable: disabling adds 1; enabling
/// subtracts 1 and calls the scheduler if the result is 0 (`arch/x86/include/asm/preempt.h`).
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
        // SAFETY: Both variables are per-CPU variables of the kernel, addressed by GS. After the first
        // instruction the task cannot move to another CPU. Without `nomem` the compiler moves no memory
        // access across the assembly.
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
    /// [`pin`] disabled preemption on this CPU, and each call of `pin` is matched by one call.
    #[inline(always)]
    pub(super) unsafe fn unpin() {
        // SAFETY: By this function's contract the counter is at least 1. `preempt_schedule_thunk`
        // preserves all registers but the flags. Without `nostack` the compiler aligns the stack for the
        // call and puts nothing below the stack pointer.
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
        // SAFETY: `preempt_disable` may be called in any context.
        unsafe { slablab_pin() as usize }
    }

    /// Enables preemption.
    ///
    /// # Safety
    ///
    /// [`pin`] disabled preemption on this CPU, and each call of `pin` is matched by one call.
    #[inline(always)]
    pub(super) unsafe fn unpin() {
        // SAFETY: By this function's contract preemption is disabled by a matching call.
        unsafe { slablab_unpin() };
    }
}

/// Runs `f` with preemption disabled; its argument is the number of the current CPU.
#[inline(always)]
pub(crate) fn with_preempt_disabled<R>(f: impl FnOnce(usize) -> R) -> R {
    let result = f(arch::pin());
    // SAFETY: `arch::pin` above is the matching call.
    unsafe { arch::unpin() };
    result
}

/// Sleeps for up to a millisecond; returns false if a fatal signal is pending.
pub(crate) fn pause() -> bool {
    // Defined in pin.c.
    unsafe extern "C" {
        fn slablab_pause() -> bool;
    }
    // SAFETY: `usleep_range_state` requires a context that may sleep, which callers of `pause` have.
    unsafe { slablab_pause() }
}
