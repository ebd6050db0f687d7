// SPDX-License-Identifier: GPL-2.0

//! The parameters of a replay.

use crate::{
    fault_injection::FaultArgs,
    isolation::{
        Watched,
        underway, //
    },
    session_factory::{
        SessionFactory,
        TargetKind, //
    },
    target::Target,
    uapi::{
        Engine,
        slablab_info, //
    },
};

/// The parameters of a replay.
pub(in crate::cmd) struct Plan {
    pub(in crate::cmd) target: TargetKind,
    /// The pool in which answers are checked and operations timed.
    pub(in crate::cmd) pool_bytes: u64,
    /// The fault injection.
    pub(in crate::cmd) faults: FaultArgs,
    /// How often times are taken.
    pub(in crate::cmd) passes: usize,
    /// Whether the smallest pool is looked for.
    pub(in crate::cmd) search: bool,
}

impl Plan {
    /// Opens a session with a pool of its own, where the engine has pools.
    pub(in crate::cmd) fn open(
        &self,
        engine: Engine,
        pool_bytes: u64,
    ) -> anyhow::Result<Box<dyn Target>> {
        underway::pool(pool_bytes);
        let target = SessionFactory::private(self.target, pool_bytes).open(engine)?;
        let target = Watched(target);
        self.faults.order(&target, engine)?;
        Ok(Box::new(target))
    }

    /// Returns the largest pool that there may be.
    pub(super) fn pool_bytes_max(&self, info: &slablab_info) -> u64 {
        match self.target {
            TargetKind::Sim => u64::MAX,
            // The pool of the session that was asked is gone when there is another one.
            TargetKind::Device => {
                let others = info.private_bytes_used.saturating_sub(info.pool_charge);
                let rest = info.private_bytes_max.saturating_sub(others);
                // A pool takes more than its regions: of a larger pool, at most as much for each byte.
                let share = u128::from(info.pool_bytes) * u128::from(rest);
                (share / u128::from(info.pool_charge.max(1))).min(rest.into()) as u64
            }
        }
    }
}
