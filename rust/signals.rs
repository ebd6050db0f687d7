// SPDX-License-Identifier: GPL-2.0

//! Fatal signals of the calling program.

use kernel::{
    bindings,
    current,
    prelude::*, //
};

/// The bit of SIGKILL in the first word of a signal set.
const SIGKILL: c_ulong = 1 << (bindings::SIGKILL - 1);

/// Says whether a fatal signal is pending: the thread ends before it returns to user mode.
///
/// This is C's `fatal_signal_pending`, which has no Rust abstraction in Linux 7.3. The kernel makes
/// SIGKILL pending for each thread of a program that a signal ends without a core dump.
pub(crate) fn is_fatal_pending() -> bool {
    let task = current!();
    if !task.signal_pending() {
        return false;
    }
    // SAFETY: The current task is valid, and so are its fields.
    let first = unsafe { &raw const (*task.as_ptr()).pending.signal.sig[0] };
    // SAFETY: `first` points into the current task. Other CPUs may set bits at the same time; the
    // kernel, too, reads the set without a lock.
    unsafe { first.read_volatile() & SIGKILL != 0 }
}
