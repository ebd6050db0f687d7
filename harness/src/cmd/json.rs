// SPDX-License-Identifier: GPL-2.0

//! Reading the JSON that a command printed earlier.

use std::path::Path;

use anyhow::anyhow;
use serde::de::DeserializeOwned;

use crate::report::files;

/// Reads the JSON that `command` printed.
///
/// # Errors
///
/// A sentence that names the file and the line from which on the file is not such JSON.
pub(super) fn read<T: DeserializeOwned>(file: &Path, command: &str) -> anyhow::Result<T> {
    let bytes = files::read(file)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let (file, line) = (file.display(), error.line());
        anyhow!("{file}: this is not the output of '{command}': cannot parse line {line}")
    })
}
