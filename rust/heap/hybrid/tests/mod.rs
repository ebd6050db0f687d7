// SPDX-License-Identifier: GPL-2.0

//! Tests of `hybrid`.
//!
//! | folder | the tests in it |
//! |---|---|
//! | `unit` | examples of one component: pages, buddy system, slabs, heap, magazines |
//! | `model` | random operations, compared with a model or an oracle |
//! | `concurrency` | several CPUs and threads: model checker, threads of the host, counts of locks, memory pressure |
//! | `corruption` | damaged metadata, for which `check` must name the broken rule, and bad frees |
//! | `support` | no tests: engines, machines and checks that the tests share |

mod concurrency;
mod corruption;
mod model;
mod support;
mod unit;
