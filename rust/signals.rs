// SPDX-License-Identifier: GPL-2.0

//! Signals that end the calling program.

use kernel::{
    bindings,
    current,
    prelude::*, //
};

/// The bit of SIGKILL in the first word of a set of signals.
const SIGKILL: c_ulong = 1 << (bindings::SIGKILL - 1);

/// Says whether the calling thread ends as soon as it is back from the kernel.
///
/// This is `fatal_signal_pending`, which has no abstraction and no helper in 7.3. Every signal that
/// ends a program without a core dump makes SIGKILL pending for each of its threads.
pub(crate) fn is_fatal_pending() -> bool {
    let task = current!();
    if !task.signal_pending() {
        return false;
    }
    // SAFETY: The task is the current one, and has the field as long as it runs.
    let first = unsafe { &raw const (*task.as_ptr()).pending.signal.sig[0] };
    // SAFETY: As above. Others may set bits meanwhile; the kernel, too, reads the set without a lock.
    unsafe { first.read_volatile() & SIGKILL != 0 }
}
