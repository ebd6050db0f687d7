// SPDX-License-Identifier: GPL-2.0

//! The request numbers, as `SLABLAB_INFO` and its like in the header, and what they are about.

use rustix::ioctl::opcode;

use crate::uapi::*;

const TYPE: u8 = SLABLAB_IOC_TYPE as u8;

/// A structure that a command takes and writes back.
///
/// # Safety
///
/// The type is one of the header's, and `REQUEST` is the command that it belongs to.
pub(super) unsafe trait Argument: Copy {
    /// The command's request number.
    const REQUEST: u32;
}

/// Names each command's request, and gives it to the structure that it is about.
macro_rules! requests {
    ($($request:ident: $number:ident($argument:ident),)*) => {$(
        #[doc = concat!("The request number of `", stringify!($number), "`.")]
        pub const $request: u32 = opcode::read_write::<$argument>(TYPE, $number as u8);

        // SAFETY: As the header says. What else the command writes to, its caller answers for.
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
}

/// FREE takes a handle by value.
pub const FREE: u32 = opcode::none(TYPE, SLABLAB_NR_FREE as u8);
