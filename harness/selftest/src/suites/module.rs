// SPDX-License-Identifier: GPL-2.0

//! The module's file, which tests load and unload.

use std::{
    ffi::{
        CStr,
        CString, //
    },
    fs::File,
    path::{
        Path,
        PathBuf, //
    },
};

use rustix::system::{
    delete_module,
    finit_module,
    init_module, //
};

use crate::device::Errno;

use super::verdict::{
    ErrorContext,
    TestError,
    TestResult, //
};

/// `O_NONBLOCK`, as in `rmmod`: fail if the module is in use instead of waiting.
const NO_WAITING: i32 = 0o4000;

/// The module's file.
pub(super) struct Module {
    file: PathBuf,
}

impl Module {
    /// Returns a module with the file `file`, and does not open the file.
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// Returns the path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.file
    }

    /// Loads the module.
    pub(super) fn load(&self, parameters: &str) -> Result<(), Errno> {
        let file = File::open(&self.file)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOENT))?;
        let parameters = CString::new(parameters).map_err(|_| Errno::INVAL)?;
        finit_module(&file, &parameters, 0)
    }

    /// Loads the module from its file's content.
    pub(super) fn load_image(image: &[u8], parameters: &CStr) -> Result<(), Errno> {
        init_module(image, parameters)
    }

    /// Unloads the module if it is not in use.
    pub(super) fn unload(&self) -> Result<(), Errno> {
        delete_module(c"slablab", NO_WAITING)
    }

    /// Unloads the module, runs `act`, and loads the module again.
    pub(super) fn without(&self, act: impl FnOnce() -> TestResult) -> TestResult {
        self.unload()
            .map_err(TestError::from)
            .about("unloading the module")?;
        let outcome = act();
        let again = match self.unload() {
            Ok(()) | Err(Errno::NOENT) => self.load(""),
            Err(errno) => Err(errno),
        };
        outcome?;
        again
            .map_err(TestError::from)
            .about("loading the module again")
    }

    /// Loads the module with `parameters`, runs `act`, and loads the module again without parameters.
    pub(super) fn with(&self, parameters: &str, act: impl FnOnce() -> TestResult) -> TestResult {
        self.without(|| {
            self.load(parameters)
                .map_err(TestError::from)
                .about(parameters)?;
            act().about(parameters)
        })
    }
}
