// SPDX-License-Identifier: GPL-2.0

//! The request numbers, which the header calls `SLABLAB_INFO` and so on, and the structures of the commands.

use rustix::ioctl::opcode;

use crate::uapi::*;

const TYPE: u8 = SLABLAB_IOC_TYPE as u8;

/// A structure that a command takes and writes back.
///
/// # Safety
///
/// - The type is a structure of the header, and every bit pattern of it is valid.
/// - `REQUEST` is the command of that structure. It reads and writes one such structure, and the memory to
///   which the structure's fields point.
pub(super) unsafe trait Argument: Copy {
    /// The command's request number.
    const REQUEST: u32;
}

/// Declares the request number of each command, and implements [`Argument`] for its structure.
macro_rules! requests {
    ($($request:ident: $number:ident($argument:ident),)*) => {$(
        #[doc = concat!("The request number of `", stringify!($number), "`.")]
        pub const $request: u32 = opcode::read_write::<$argument>(TYPE, $number as u8);

        // SAFETY: The structures consist of integers, so every bit pattern is valid. The header says that the
        // command with this number reads and writes this structure.
        unsafe impl Argument for $argument {
            const REQUEST: u32 = $request;
        }
    )*};
}

requests! {
    INFO: SLABLAB_NR_INFO(slablab_info),
    BIND: SLABLAB_NR_BIND(slablab_bind),
    ALLOC: SLABLAB_NR_ALLOC(slablab_alloc),
    REALLOC: SLABLAB_NR_REALLOC(slablab_realloc),
    STATS: SLABLAB_NR_STATS(slablab_stats),
    CHECK: SLABLAB_NR_CHECK(slablab_check),
    EXTEND: SLABLAB_NR_EXTEND(slablab_extend),
    SHRINK: SLABLAB_NR_SHRINK(slablab_shrink),
    MAP: SLABLAB_NR_MAP(slablab_map),
    SUBMIT: SLABLAB_NR_SUBMIT(slablab_submit),
    BENCH: SLABLAB_NR_BENCH(slablab_bench),
    INJECT: SLABLAB_NR_INJECT(slablab_inject),
    REPORTS: SLABLAB_NR_REPORTS(slablab_reports),
    FAIL: SLABLAB_NR_FAIL(slablab_fail),
    EVENTS: SLABLAB_NR_EVENTS(slablab_events),
    VIOLATION: SLABLAB_NR_VIOLATION(slablab_violation),
}

/// FREE takes a handle by value.
pub const FREE: u32 = opcode::none(TYPE, SLABLAB_NR_FREE as u8);
