// SPDX-License-Identifier: GPL-2.0

//! The names of error numbers.

use std::{
    fmt,
    io, //
};

use crate::device::Errno;

/// The error numbers that the device returns, and those of opening the device.
const NAMES: [(Errno, &str); 27] = [
    (Errno::PERM, "EPERM"),
    (Errno::NOENT, "ENOENT"),
    (Errno::INTR, "EINTR"),
    (Errno::IO, "EIO"),
    (Errno::NXIO, "ENXIO"),
    (Errno::TOOBIG, "E2BIG"),
    (Errno::BADF, "EBADF"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::ACCESS, "EACCES"),
    (Errno::FAULT, "EFAULT"),
    (Errno::BUSY, "EBUSY"),
    (Errno::EXIST, "EEXIST"),
    (Errno::NODEV, "ENODEV"),
    (Errno::INVAL, "EINVAL"),
    (Errno::NFILE, "ENFILE"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NOTTY, "ENOTTY"),
    (Errno::FBIG, "EFBIG"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::SPIPE, "ESPIPE"),
    (Errno::RANGE, "ERANGE"),
    (Errno::NOSYS, "ENOSYS"),
    (Errno::OVERFLOW, "EOVERFLOW"),
    (Errno::USERS, "EUSERS"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::DQUOT, "EDQUOT"),
];

/// An error number that is displayed as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(pub Errno);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(errno, _)| *errno == self.0) {
            Some((_, name)) => f.pad(name),
            None => write!(f, "errno {}", self.0.raw_os_error()),
        }
    }
}

/// Returns an error with its causes as text. An error number is written as its name.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let number = match cause.downcast_ref::<io::Error>() {
            Some(error) => error.raw_os_error().map(Errno::from_raw_os_error),
            None => cause.downcast_ref::<Errno>().copied(),
        };
        text += &match number {
            Some(errno) if text.is_empty() && cause.is::<io::Error>() => {
                format!("input or output failed ({})", Name(errno))
            }
            Some(errno) if text.is_empty() => Name(errno).to_string(),
            Some(errno) => format!(" ({})", Name(errno)),
            None if text.is_empty() => cause.to_string(),
            None => format!(": {cause}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn known_numbers_have_names_and_others_stay_numbers() {
        assert_eq!(Name(Errno::DQUOT).to_string(), "EDQUOT");
        assert_eq!(
            Name(Errno::from_raw_os_error(4000)).to_string(),
            "errno 4000"
        );
    }

    #[test]
    fn an_error_number_is_written_as_its_name() {
        let failed: Result<(), _> = Err(Errno::NOENT);
        let error = failed
            .context("INFO failed")
            .context("the device")
            .unwrap_err();
        assert_eq!(sentence(&error), "the device: INFO failed (ENOENT)");
        let error = anyhow::Error::from(Errno::PERM);
        assert_eq!(sentence(&error), "EPERM");
        let error = anyhow::Error::from(io::Error::from_raw_os_error(28));
        assert_eq!(sentence(&error), "input or output failed (ENOSPC)");
        let failed: Result<(), _> = Err(io::Error::from_raw_os_error(28));
        let error = failed.context("the file").unwrap_err();
        assert_eq!(sentence(&error), "the file (ENOSPC)");
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(sentence(&error), "outer: inner");
    }
}
