// SPDX-License-Identifier: GPL-2.0

//! The subcommands.

pub(crate) mod bench;
pub(crate) mod course;
pub(crate) mod fuzz;
pub(crate) mod generate;
pub(crate) mod hunt;
pub(crate) mod info;
pub(crate) mod inject;
mod json;
pub(crate) mod map;
pub(crate) mod quiz;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod shell;
pub(crate) mod stats;
pub(crate) mod stress;
pub(crate) mod trace;
