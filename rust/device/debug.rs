// SPDX-License-Identifier: GPL-2.0

//! INJECT and REPORTS: deliberate misuse of a pool in debug mode, and the reports of debug mode.

use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use slab_heap::{
    Refusal,
    debug::NotDone, //
};

use super::{
    OpenFile,
    ensure,
    is_admin, //
};
use crate::{
    argument::IoctlArg,
    engines::DebugModeEngine,
    uapi::{
        self,
        *, //
    }, //
};

impl OpenFile {
    /// Returns the debug mode of the session's pool.
    fn debug(&self) -> Result<&DebugModeEngine> {
        // Only a private pool can be in debug mode.
        self.pool_of(self.bound.as_ref())
            .engine()
            .debug()
            .ok_or(EOPNOTSUPP)
    }

    /// Misuses the pool in one way, and replies with the report of debug mode.
    pub(super) fn inject(&self, argument: usize, bytes: usize) -> Result {
        if !is_admin() {
            return Err(EPERM);
        }
        let (mut inject, arg) = IoctlArg::read::<slablab_inject>(argument, bytes)?;
        let misuse = uapi::misuse(inject.misuse).ok_or(EINVAL)?;
        ensure(inject.flags == 0 && inject.size > 0)?;
        let size = usize::try_from(inject.size).map_err(|_| ENOMEM)?;
        let guard = self.debug()?;
        inject.report = slablab_report::default();
        // The misuse cannot be undone, so a bad address of the argument must fail before it.
        arg.write_early(&inject)?;
        let report = guard.inject(misuse, size).map_err(not_done)?;
        inject.report = report.map_or_else(slablab_report::default, Into::into);
        arg.reply(&inject)
    }

    /// Copies the reports from a given number on to the program, and replies with their count.
    pub(super) fn reports(&self, argument: usize, bytes: usize) -> Result {
        let (mut reports, arg) = IoctlArg::read::<slablab_reports>(argument, bytes)?;
        ensure(reports.flags == 0 && reports.reserved == 0)?;
        ensure((1..=SLABLAB_REPORTS_KEPT).contains(&reports.count))?;
        let guard = self.debug()?;
        let address = usize::try_from(reports.reports).map_err(|_| EFAULT)?;
        let room = reports.count;
        let array = UserSlice::new(
            UserPtr::from_addr(address),
            room as usize * size_of::<slablab_report>(),
        );
        let mut writer = array.writer();
        reports.count = 0;
        while reports.count < room {
            let Some(report) = guard.report(reports.number) else {
                break;
            };
            writer.write(&slablab_report::from(report))?;
            reports.number = report.number + 1;
            reports.count += 1;
        }
        arg.reply(&reports)
    }
}

/// Returns the error number for a misuse that was not injected.
fn not_done(why: NotDone) -> Error {
    match why {
        NotDone::Refused(Refusal::Unsupported) => EOPNOTSUPP,
        NotDone::Refused(_) => ENOMEM,
        NotDone::Elsewhere => EAGAIN,
    }
}
