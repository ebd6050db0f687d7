// SPDX-License-Identifier: GPL-2.0

//! Tests of `extent`.
//!
//! | folder | the tests in it |
//! |---|---|
//! | `model` | random operations, compared with a model or an oracle |
//! | `unit` | examples of one behaviour each |
//! | `support` | no tests: what the tests share |
//!
//! The tests of several CPUs and threads run on `hybrid` and on `extent`: they are in `hybrid/tests/concurrency`.

mod model;
mod support;
mod unit;
