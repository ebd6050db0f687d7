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
    subject::Subject,
    target::Target,
    uapi::slablab_info,
};

/// The parameters of a replay.
pub(in crate::cmd) struct Plan {
    pub(in crate::cmd) target: TargetKind,
    /// The size of the pool in which answers are checked and operations timed.
    pub(in crate::cmd) pool_bytes: u64,
    /// The fault injection.
    pub(in crate::cmd) faults: FaultArgs,
    /// The number of timed replays.
    pub(in crate::cmd) passes: usize,
    /// Whether to search for the smallest pool.
    pub(in crate::cmd) search: bool,
}

impl Plan {
    /// Opens a session, with a private pool if the engine supports pools.
    pub(in crate::cmd) fn open(
        &self,
        subject: Subject,
        pool_bytes: u64,
    ) -> anyhow::Result<Box<dyn Target>> {
        underway::pool(pool_bytes);
        let target = match subject {
            Subject::Engine(engine) => {
                SessionFactory::private(self.target, pool_bytes).open(engine)?
            }
            Subject::Peer(kind) => SessionFactory::open_peer(kind, pool_bytes)?,
        };
        let target = Watched(target);
        self.faults.order(&target, subject)?;
        Ok(Box::new(target))
    }

    /// Returns the size of the largest private pool that the budget allows.
    pub(super) fn pool_bytes_max(&self, info: &slablab_info) -> u64 {
        match self.target {
            TargetKind::Sim => u64::MAX,
            // The session that returned `info` is closed before the next session is opened: leave out its pool.
            TargetKind::Device => {
                let others = info.private_bytes_used.saturating_sub(info.pool_charge);
                let rest = info.private_bytes_max.saturating_sub(others);
                // A pool is charged for more than its regions. A larger pool is charged at most as much per byte.
                let share = u128::from(info.pool_bytes) * u128::from(rest);
                (share / u128::from(info.pool_charge.max(1))).min(rest.into()) as u64
            }
        }
    }
}
