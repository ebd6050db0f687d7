// SPDX-License-Identifier: GPL-2.0

//! A submission: a learner's file that is graded, and is not trusted.
//!
//! A submission is one file. The file is read once, and later steps use the text that was read, so the text cannot
//! change between the test of the rules and the compiler.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration, //
};

use rustix::{
    fs::OFlags,
    io::Errno, //
};
use slablab_lab::isolation::{
    self,
    Patience, //
};

use crate::{
    failure::FILE,
    source_rules, //
};

/// The largest number of bytes of a submission. The longest model solution has 15 KiB.
pub const BYTES_MAX: u64 = 256 << 10;

/// The time limit for the test of the rules, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest number of broken rules that a reason names.
const REFUSALS_MAX: usize = 20;

/// The text of a submission that obeys the rules for a learner's file.
pub struct Submission(String);

impl Submission {
    /// Reads a submission and tests the rules.
    ///
    /// # Errors
    ///
    /// The outer error is that no process can be created. The inner one is the reason for which the submission is
    /// refused.
    pub fn read(path: &Path) -> anyhow::Result<Result<Self, String>> {
        let text = match text(path) {
            Ok(text) => text,
            Err(reason) => return Ok(Err(reason)),
        };
        // Brackets that are nested a hundred thousand times would use up the stack of this process.
        let refusals = isolation::run(Patience::Limited(PATIENCE), || {
            let refusals = source_rules::refusals(&text);
            let lines = refusals
                .iter()
                .take(REFUSALS_MAX)
                .map(|refusal| format!("{FILE}:{}: {}", refusal.line, refusal.reason));
            lines.collect::<Vec<_>>()
        })?;
        Ok(match refusals {
            Ok(refusals) if refusals.is_empty() => Ok(Self(text)),
            Ok(refusals) => Err(refusals.join("\n")),
            Err(_death) => {
                Err("the rules cannot be tested: the file is nested too deeply".to_owned())
            }
        })
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Reads the text of a submission.
///
/// # Errors
///
/// The reason for which there is no such text.
fn text(path: &Path) -> Result<String, String> {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    // A link could name any file of this machine. A pipe would block without `NONBLOCK`.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path);
    let file = file.map_err(
        |error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => format!("there is no file {name}"),
            Some(Errno::LOOP) => format!("{name} is a symbolic link, and must be a file"),
            Some(Errno::ACCESS) => format!("{name} cannot be read: this user has no permission"),
            _ => format!("{name} cannot be read: {error}"),
        },
    )?;
    let cannot = |error| format!("{name} cannot be read: {error}");
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(format!("{name} is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("{name} is larger than {} KiB", BYTES_MAX >> 10));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not text in UTF-8"))?;
    if text.trim().is_empty() {
        return Err(format!("{name} is empty"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink, //
    };

    use super::*;

    const SOLUTION: &str = include_str!("../02-first-fit/solution.rs");

    // `Submission::read` forks, which a process with the threads of several tests must not do.
    fn refusal(path: &Path) -> String {
        text(path).err().unwrap_or_default()
    }

    #[test]
    fn a_file_that_is_no_submission_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.rs");
        assert_eq!(refusal(&path), "there is no file lib.rs");
        fs::create_dir(&path).unwrap();
        assert_eq!(refusal(&path), "lib.rs is not a file");
        fs::remove_dir(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert_eq!(
            refusal(&path),
            "lib.rs is a symbolic link, and must be a file"
        );
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        assert_eq!(refusal(&path), "lib.rs is not a file");
        fs::remove_file(&path).unwrap();
        let cases: [(&[u8], &str); 5] = [
            (b"", "lib.rs is empty"),
            (b" \n\t\n", "lib.rs is empty"),
            (b"\xff\xfe", "lib.rs is not text in UTF-8"),
            (&[b'/'; 256 * 1024 + 1], "lib.rs is larger than 256 KiB"),
            (SOLUTION.as_bytes(), ""),
        ];
        for (bytes, expected) in cases {
            fs::write(&path, bytes).unwrap();
            assert_eq!(refusal(&path), expected);
        }
    }

    #[test]
    fn a_large_file_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.rs");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(refusal(&path), "lib.rs is larger than 256 KiB");
    }
}
