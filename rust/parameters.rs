// SPDX-License-Identifier: GPL-2.0

//! Module parameters.

use core::ops::RangeInclusive;

use kernel::prelude::*;
use slab_session::INDEX_MAX;

/// The parameters of `insmod`, not yet validated.
mod raw {
    use kernel::ffi::c_uint;

    // Defined in parameters.c.
    unsafe extern "C" {
        pub(super) static slablab_pool_mib: c_uint;
        pub(super) static slablab_session_mib: c_uint;
        pub(super) static slablab_session_handles: c_uint;
        pub(super) static slablab_private_mib_total: c_uint;
        pub(super) static slablab_sessions_max: c_uint;
    }
}

/// The module's parameters, validated.
pub(crate) struct Parameters {
    /// Bytes of each engine's shared pool.
    pub(crate) pool_bytes: usize,
    /// The maximum number of bytes of one session.
    pub(crate) session_bytes: usize,
    /// The maximum number of blocks of one session.
    pub(crate) session_handles: u32,
    /// The maximum number of bytes of all private pools together.
    pub(crate) private_bytes: usize,
    /// The maximum number of sessions at the same time.
    pub(crate) sessions: usize,
}

/// Validates the parameter of a C variable.
macro_rules! within {
    ($variable:ident = $name:literal, $range:expr) => {
        within(
            $name,
            // SAFETY: A read of a static variable requires that it is valid, and that no code writes it at the
            // same time: the kernel writes the variable before it initialises the module, and never again,
            // because the parameters are read-only in sysfs.
            unsafe { raw::$variable },
            $range,
        )
    };
}

impl Parameters {
    /// Reads and validates the parameters of `insmod`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for a value out of range; a line in the kernel log names the parameter and the range.
    pub(crate) fn read() -> Result<Self> {
        let mib = |mib: u32| (mib as usize) << 20;
        Ok(Self {
            pool_bytes: mib(within!(slablab_pool_mib = "pool_mib", 1..=4096)?),
            session_bytes: mib(within!(slablab_session_mib = "session_mib", 1..=4096)?),
            session_handles: within!(
                slablab_session_handles = "session_handles",
                1..=INDEX_MAX + 1
            )?,
            private_bytes: mib(within!(
                slablab_private_mib_total = "private_mib_total",
                0..=65_536
            )?),
            sessions: within!(slablab_sessions_max = "sessions_max", 1..=4096)? as usize,
        })
    }
}

impl kernel::fmt::Display for Parameters {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        write!(
            f,
            "pool_mib={} session_mib={} session_handles={} private_mib_total={} sessions_max={}",
            self.pool_bytes >> 20,
            self.session_bytes >> 20,
            self.session_handles,
            self.private_bytes >> 20,
            self.sessions
        )
    }
}

/// Returns `value` if it is in `range`; otherwise logs the parameter's name and range.
fn within(name: &str, value: u32, range: RangeInclusive<u32>) -> Result<u32> {
    if range.contains(&value) {
        Ok(value)
    } else {
        let (min, max) = (range.start(), range.end());
        pr_err!("{name}={value} is out of range: {min} to {max}\n");
        Err(EINVAL)
    }
}
