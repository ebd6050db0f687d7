// SPDX-License-Identifier: GPL-2.0

//! FAIL: fault injection into a session's allocation requests.

use kernel::prelude::*;
use slab_session::RefusalCause;

use super::{
    OpenFile,
    ensure, //
};
use crate::{
    argument::IoctlArg,
    uapi::*, //
};

impl OpenFile {
    /// Configures fault injection in the session's private pool, and replies with the number of faults
    /// injected so far.
    pub(super) fn fail(&self, argument: usize, bytes: usize) -> Result {
        let (mut fail, arg) = IoctlArg::read::<slablab_fail>(argument, bytes)?;
        ensure(fail.flags == 0 && fail.reserved == 0)?;
        let bound = self.bound.as_ref().ok_or(EOPNOTSUPP)?;
        if bound.flags & SLABLAB_BIND_PRIVATE == 0 {
            return Err(EOPNOTSUPP);
        }
        fail.injected = bound.session.stats().refusals[RefusalCause::Injected as usize];
        // The reply is written before the change, so that a bad address of the argument changes nothing.
        arg.reply(&fail)?;
        bound.session.inject_faults(fail.every, fail.growth);
        Ok(())
    }
}
