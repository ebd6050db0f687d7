// SPDX-License-Identifier: GPL-2.0

//! The subcommands.

pub(crate) mod bench;
pub(crate) mod fuzz;
pub(crate) mod info;
pub(crate) mod inject;
pub(crate) mod map;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod selftest;
pub(crate) mod shell;
pub(crate) mod stats;
pub(crate) mod stress;
pub(crate) mod trace;

use std::{
    fs::File,
    path::Path, //
};

use anyhow::Context;

/// Fails unless a file can be written, before minutes go into what is to be in it. What is in it
/// now stays.
fn ensure_writable(path: &Path) -> anyhow::Result<()> {
    let mut file = File::options();
    file.write(true).create(true).truncate(false);
    file.open(path)
        .with_context(|| path.display().to_string())?;
    Ok(())
}
