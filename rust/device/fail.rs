// SPDX-License-Identifier: GPL-2.0

//! FAIL: requests for memory that fail to order.

use kernel::prelude::*;
use slab_session::RefusalCause;

use super::{
    OpenFile,
    expect, //
};
use crate::{
    argument::Exchange,
    uapi::*, //
};

impl OpenFile {
    /// Has requests fail in the session's own pool, and tells how many did until now.
    pub(super) fn fail(&self, argument: usize, bytes: usize) -> Result {
        let (mut fail, exchange) = Exchange::begin::<slablab_fail>(argument, bytes)?;
        expect(fail.flags == 0 && fail.reserved == 0)?;
        let bound = self.bound.as_ref().ok_or(EOPNOTSUPP)?;
        if bound.flags & SLABLAB_BIND_PRIVATE == 0 {
            return Err(EOPNOTSUPP);
        }
        fail.injected = bound.session.stats().refusals[RefusalCause::Injected as usize];
        // Who cannot be told goes on as before.
        exchange.reply(&fail)?;
        bound.session.inject_faults(fail.every, fail.growth);
        Ok(())
    }
}
