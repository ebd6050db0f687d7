// SPDX-License-Identifier: GPL-2.0

//! The ABI, and what programs pass of it to commands.
//!
//! [`replies`] is what engines and sessions say, in the ABI's words; the command has it too.

use core::mem::offset_of;

use kernel::{
    bindings,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};
use slab_session::errno;

#[expect(
    dead_code,
    non_camel_case_types,
    unreachable_pub,
    clippy::undocumented_unsafe_blocks,
    reason = "made by bindgen: the whole ABI, of which the module needs a part; it is documented in slablab.h"
)]
mod generated {
    include!("uapi/slablab.rs");
}

#[forbid(unsafe_code)]
mod replies;

pub(crate) use generated::*;
pub(crate) use replies::{
    capabilities,
    check_reply,
    event,
    free_bytes,
    misuse,
    offset, //
};

/// A structure of the ABI that programs pass to a command.
pub(crate) trait Argument: FromBytes + AsBytes + Default {
    /// Its size in the first version of the ABI: no caller's is shorter.
    const SIZE_VER1: usize;
    /// The bytes at its beginning that a reply leaves as they are.
    const OUTPUT_START: usize = 0;
}

/// Declares which structures are arguments, and since which size.
macro_rules! arguments {
    ($($name:ident: $size:ident $(, out $output:literal..)?;)+) => {$(
        // What follows may grow, and will have to tell its versions apart then.
        const _: () = assert!(size_of::<$name>() == $size as usize);

        // SAFETY: All fields are integers, or structures and arrays of these, for which
        // any bits will do.
        unsafe impl FromBytes for $name {}

        // SAFETY: As above. There is no padding: bindgen makes fields of it (`--explicit-padding`).
        unsafe impl AsBytes for $name {}

        impl Argument for $name {
            const SIZE_VER1: usize = $size as usize;
            $(const OUTPUT_START: usize = $output;)?
        }
    )+};
}

arguments! {
    slablab_info: SLABLAB_INFO_SIZE_VER1;
    slablab_bind: SLABLAB_BIND_SIZE_VER1;
    slablab_alloc: SLABLAB_ALLOC_SIZE_VER1, out 16..;
    slablab_realloc: SLABLAB_REALLOC_SIZE_VER1;
    slablab_stats: SLABLAB_STATS_SIZE_VER1;
    slablab_check: SLABLAB_CHECK_SIZE_VER1;
    slablab_extend: SLABLAB_EXTEND_SIZE_VER1;
    slablab_shrink: SLABLAB_SHRINK_SIZE_VER1;
    slablab_map: SLABLAB_MAP_SIZE_VER1;
    slablab_submit: SLABLAB_SUBMIT_SIZE_VER1;
    slablab_bench: SLABLAB_BENCH_SIZE_VER1;
    slablab_inject: SLABLAB_INJECT_SIZE_VER1;
    slablab_reports: SLABLAB_REPORTS_SIZE_VER1;
    slablab_fail: SLABLAB_FAIL_SIZE_VER1;
    slablab_events: SLABLAB_EVENTS_SIZE_VER1;
}

// Behind size and alignment, in the argument that is copied most.
const _: () = assert!(offset_of!(slablab_alloc, flags) == slablab_alloc::OUTPUT_START);

const _: () = assert!(size_of::<slablab_extent>() == SLABLAB_EXTENT_SIZE_VER1 as usize);

// SAFETY: As for the arguments.
unsafe impl AsBytes for slablab_extent {}

const _: () = assert!(size_of::<slablab_operation>() == SLABLAB_OPERATION_SIZE_VER1 as usize);

// SAFETY: As for the arguments.
unsafe impl FromBytes for slablab_operation {}

// SAFETY: As for the arguments.
unsafe impl AsBytes for slablab_operation {}

const _: () = assert!(size_of::<slablab_owner>() == SLABLAB_OWNER_SIZE_VER1 as usize);
const _: () = assert!(size_of::<slablab_report>() == SLABLAB_REPORT_SIZE_VER1 as usize);

// SAFETY: As for the arguments.
unsafe impl AsBytes for slablab_report {}

const _: () = assert!(size_of::<slablab_event>() == SLABLAB_EVENT_SIZE_VER1 as usize);

// SAFETY: As for the arguments.
unsafe impl AsBytes for slablab_event {}

// The error numbers of `slab_session` are the kernel's.
const _: () = {
    assert!(errno::ENOENT == bindings::ENOENT as i32);
    assert!(errno::EINTR == bindings::EINTR as i32);
    assert!(errno::ENXIO == bindings::ENXIO as i32);
    assert!(errno::ENOMEM == bindings::ENOMEM as i32);
    assert!(errno::EFAULT == bindings::EFAULT as i32);
    assert!(errno::EBUSY == bindings::EBUSY as i32);
    assert!(errno::EINVAL == bindings::EINVAL as i32);
    assert!(errno::EOPNOTSUPP == bindings::EOPNOTSUPP as i32);
    assert!(errno::EDQUOT == bindings::EDQUOT as i32);
};
