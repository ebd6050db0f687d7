// SPDX-License-Identifier: GPL-2.0

//! Fatal signals of the calling program.

use kernel::{
    bindings,
    current,
    prelude::*, //
};

/// The bit of SIGKILL in the first word of a signal set.
const SIGKILL: c_ulong = 1 << (bindings::SIGKILL - 1);

/// Returns whether a fatal signal is pending, so that the thread ends before it returns to user mode.
///
/// The function corresponds to `fatal_signal_pending` in C, which has no Rust abstraction in Linux 7.3. If a
/// signal ends a program without a core dump, the kernel makes SIGKILL pending for each of its threads.
pub(crate) fn is_fatal_pending() -> bool {
    let task = current!();
    if !task.signal_pending() {
        return false;
    }
    // SAFETY: The current task is valid, so its fields are valid, too.
    let first = unsafe { &raw const (*task.as_ptr()).pending.signal.sig[0] };
    // SAFETY: `first` points into the current task, so it is valid for reads and aligned. Other CPUs may set
    // bits during the volatile read; the kernel also reads the set without a lock.
    unsafe { first.read_volatile() & SIGKILL != 0 }
}
