// SPDX-License-Identifier: GPL-2.0

//! What every file of tests begins with: a theme, and what its tests say.

pub(in crate::selftest) use super::{
    theme,
    verdict::{
        About,
        Outcome,
        Verdict,
        equal,
        holds,
        refused,
        refused_because, //
    },
};
pub(in crate::selftest) use crate::target::Target;
