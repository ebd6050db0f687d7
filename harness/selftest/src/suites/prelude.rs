// SPDX-License-Identifier: GPL-2.0

//! The common imports of the files of tests.

pub(in crate::suites) use super::{
    suite,
    verdict::{
        ErrorContext,
        TestError,
        TestResult,
        check,
        check_eq,
        refused,
        refused_because, //
    },
};
pub(in crate::suites) use crate::target::Target;
