// SPDX-License-Identifier: GPL-2.0

//! The ABI, and the structures that programs pass to commands.
//!
//! [`replies`] translates the replies of engines and sessions into the ABI. The command shares that file.

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
    reason = "bindgen generates the whole ABI, and the module needs a part of it; slablab.h documents it"
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
    violation_reply,
};

/// A structure of the ABI that programs pass to a command.
pub(crate) trait Argument: FromBytes + AsBytes + Default {
    /// The structure's size in the first version of the ABI, which is the least size of an argument.
    const SIZE_VER1: usize;
    /// The offset of the first byte that a reply writes.
    const OUTPUT_START: usize = 0;
}

/// Declares the structures that are arguments, and their sizes in the first version.
macro_rules! arguments {
    ($($name:ident: $size:ident $(, out $output:literal..)?;)+) => {$(
        // The ABI has one version so far. A structure that grows will have to distinguish versions.
        const _: () = assert!(size_of::<$name>() == $size as usize);

        // SAFETY: `FromBytes` requires that all bit patterns are valid: all fields are integers, or
        // structures and arrays of integers.
        unsafe impl FromBytes for $name {}

        // SAFETY: `AsBytes` requires that all bytes are initialised: all fields are integers, and padding
        // is explicit fields, too (bindgen's `--explicit-padding`).
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
    slablab_violation: SLABLAB_VIOLATION_SIZE_VER1;
}

// The reply of the most frequent command starts after size and alignment.
const _: () = assert!(offset_of!(slablab_alloc, flags) == slablab_alloc::OUTPUT_START);

const _: () = assert!(size_of::<slablab_extent>() == SLABLAB_EXTENT_SIZE_VER1 as usize);

// SAFETY: All bytes are initialised: the fields are integers without implicit padding.
unsafe impl AsBytes for slablab_extent {}

const _: () = assert!(size_of::<slablab_operation>() == SLABLAB_OPERATION_SIZE_VER1 as usize);

// SAFETY: All bit patterns are valid: the fields are integers.
unsafe impl FromBytes for slablab_operation {}

// SAFETY: All bytes are initialised: the fields are integers without implicit padding.
unsafe impl AsBytes for slablab_operation {}

const _: () = assert!(size_of::<slablab_owner>() == SLABLAB_OWNER_SIZE_VER1 as usize);
const _: () = assert!(size_of::<slablab_report>() == SLABLAB_REPORT_SIZE_VER1 as usize);

// SAFETY: All bytes are initialised: the fields are integers without implicit padding.
unsafe impl AsBytes for slablab_report {}

const _: () = assert!(size_of::<slablab_event>() == SLABLAB_EVENT_SIZE_VER1 as usize);

// SAFETY: All bytes are initialised: the fields are integers without implicit padding.
unsafe impl AsBytes for slablab_event {}

// `slab_session` has error numbers of its own, which must be the kernel's.
const _: () = {
    assert!(errno::ENOENT == bindings::ENOENT as i32);
    assert!(errno::EINTR == bindings::EINTR as i32);
    assert!(errno::EIO == bindings::EIO as i32);
    assert!(errno::ENXIO == bindings::ENXIO as i32);
    assert!(errno::ENOMEM == bindings::ENOMEM as i32);
    assert!(errno::EFAULT == bindings::EFAULT as i32);
    assert!(errno::EBUSY == bindings::EBUSY as i32);
    assert!(errno::EINVAL == bindings::EINVAL as i32);
    assert!(errno::EOPNOTSUPP == bindings::EOPNOTSUPP as i32);
    assert!(errno::EDQUOT == bindings::EDQUOT as i32);
};
