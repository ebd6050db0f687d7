// SPDX-License-Identifier: GPL-2.0

//! Fault injection: the arguments of the command line.

use std::fmt::Display;

use anyhow::Context;
use clap::{
    Args,
    error::ErrorKind, //
};
use serde::{
    Deserialize,
    Serialize, //
};

use crate::{
    arguments::whole,
    target::Target,
    uapi::Engine, //
};

/// The requests of a session that fault injection refuses.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FaultArgs {
    /// Refuse every P-th request, in a private pool
    #[arg(long, value_name = "P")]
    #[arg(value_parser = whole::<u64>("the interval P", 2..=u64::MAX))]
    pub(crate) fail_every: Option<u64>,

    /// Refuse the N-th request that needs a new slab, in a private pool
    #[arg(long, value_name = "N")]
    #[arg(value_parser = whole::<u64>("the number N", 1..=u64::MAX))]
    pub(crate) fail_growth: Option<u64>,
}

impl FaultArgs {
    /// Returns whether any request is to be refused.
    pub(crate) fn is_any(self) -> bool {
        self != Self::default()
    }

    /// Checks that all `engines` support fault injection.
    ///
    /// # Errors
    ///
    /// When a session has no private pool.
    pub(crate) fn possible(self, shared: bool, engines: &[Engine]) -> Result<(), clap::Error> {
        if self.is_any() && (shared || engines.contains(&Engine::Slub)) {
            let why = "fault injection needs a private pool: remove --shared, and choose an engine \
                       other than slub\n";
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, why));
        }
        Ok(())
    }

    /// Starts fault injection in a session on an engine or a peer.
    pub(crate) fn order(self, target: &dyn Target, subject: impl Display) -> anyhow::Result<()> {
        if !self.is_any() {
            return Ok(());
        }
        let (every, growth) = (self.fail_every, self.fail_growth);
        target
            .fail(every.unwrap_or(0), growth.unwrap_or(0))
            .map(|_refused| ())
            .with_context(|| format!("{subject}: FAIL failed"))
    }

    /// Returns the options that request the same fault injection.
    pub(crate) fn options(self) -> impl Iterator<Item = String> {
        let both = [
            ("--fail-every", self.fail_every),
            ("--fail-growth", self.fail_growth),
        ];
        both.into_iter()
            .filter_map(|(option, number)| Some(format!("{option} {}", number?)))
    }
}
