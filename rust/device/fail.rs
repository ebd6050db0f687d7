// SPDX-License-Identifier: GPL-2.0

//! FAIL: requests for memory that fail to order.

use kernel::prelude::*;
use slab_session::Cause;

use super::{
    OpenFile,
    ensure, //
};
use crate::{
    argument::IoctlArg,
    uapi::*, //
};

impl OpenFile {
    /// Has requests fail in the session's own pool, and tells how many did until now.
    pub(super) fn fail(&self, argument: usize, bytes: usize) -> Result {
        let (mut fail, arg) = IoctlArg::read::<slablab_fail>(argument, bytes)?;
        ensure(fail.flags == 0 && fail.reserved == 0)?;
        let bound = self.bound.as_ref().ok_or(EOPNOTSUPP)?;
        if bound.flags & SLABLAB_BIND_PRIVATE == 0 {
            return Err(EOPNOTSUPP);
        }
        fail.injected = bound.session.tally().refusals[Cause::Injected as usize];
        // Who cannot be told goes on as before.
        arg.reply(&fail)?;
        bound.session.fail(fail.every, fail.growth);
        Ok(())
    }
}
