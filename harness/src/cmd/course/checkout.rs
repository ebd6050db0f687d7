// SPDX-License-Identifier: GPL-2.0

//! The checkout of slablab in which a learner works.

use std::{
    env, fs, io,
    path::{
        Path,
        PathBuf, //
    },
    process::Command,
};

use anyhow::{
    Context,
    bail, //
};

/// The learner's file, from the top of the checkout.
pub(super) const STUDENT: &str = "rust/student/lib.rs";

/// A checkout of slablab.
pub(super) struct Checkout(PathBuf);

impl Checkout {
    /// Finds the checkout that contains the working directory.
    pub(super) fn find() -> anyhow::Result<Self> {
        let here = env::current_dir().context("cannot read the working directory")?;
        let mut folders = here.ancestors();
        let top = folders.find(|folder| folder.join("harness/course").is_dir());
        match top {
            Some(top) => Ok(Self(top.to_owned())),
            None => bail!(
                "no folder above {} is a checkout of slablab",
                here.display()
            ),
        }
    }

    /// Returns the top folder.
    pub(super) fn top(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the learner's file.
    pub(super) fn student(&self) -> PathBuf {
        self.0.join(STUDENT)
    }

    /// Reads the learner's file. The result is `None` if there is no such file.
    pub(super) fn read_student(&self) -> anyhow::Result<Option<String>> {
        match fs::read_to_string(self.student()) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(format!("cannot read {STUDENT}")),
        }
    }

    /// Returns the folder of the course's own files: the progress, and the files that were replaced.
    pub(super) fn state(&self) -> PathBuf {
        self.0.join(".course")
    }

    /// Builds the program with the learner's allocator, and returns its path. The result is `None` if the compiler
    /// reported errors.
    pub(super) fn build(&self) -> anyhow::Result<Option<PathBuf>> {
        let status = Command::new("cargo")
            .args(["build", "--quiet", "--release", "--locked", "-p", "slablab"])
            .current_dir(&self.0)
            .status()
            .context("cannot run cargo")?;
        let program = self.0.join("build/target/release/slablab");
        Ok(status.success().then_some(program))
    }
}
