// SPDX-License-Identifier: GPL-2.0

//! Module parameters.

use kernel::prelude::*;
use slab_session::INDEX_MAX;

use crate::module_parameters;

/// The module's parameters, each in its range.
pub(crate) struct Parameters {
    /// Bytes of each engine's shared pool.
    pub(crate) pool_bytes: usize,
    /// Bytes that one session may hold.
    pub(crate) session_bytes: usize,
    /// Blocks that one session may hold.
    pub(crate) session_handles: u32,
    /// Bytes of all private pools together.
    pub(crate) private_bytes: usize,
    /// Sessions at once.
    pub(crate) sessions: usize,
}

impl Parameters {
    /// Reads what `insmod` was given.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] for a value out of range, and one line in the log that says which.
    pub(crate) fn read() -> Result<Self> {
        let mib = |mib: u32| (mib as usize) << 20;
        Ok(Self {
            pool_bytes: mib(within(
                "pool_mib",
                module_parameters::pool_mib.value(),
                1,
                4096,
            )?),
            session_bytes: mib(within(
                "session_mib",
                module_parameters::session_mib.value(),
                1,
                4096,
            )?),
            session_handles: within(
                "session_handles",
                module_parameters::session_handles.value(),
                1,
                INDEX_MAX + 1,
            )?,
            private_bytes: mib(within(
                "private_mib_total",
                module_parameters::private_mib_total.value(),
                0,
                65_536,
            )?),
            sessions: within(
                "sessions_max",
                module_parameters::sessions_max.value(),
                1,
                4096,
            )? as usize,
        })
    }
}

/// Returns `value` if it is in its range.
fn within(name: &str, value: u32, min: u32, max: u32) -> Result<u32> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        pr_err!("{name}={value} is not in {min} to {max}\n");
        Err(EINVAL)
    }
}
