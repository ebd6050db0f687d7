// SPDX-License-Identifier: GPL-2.0

//! The kernel's log: warnings, errors, and messages of the module.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{
        Mode,
        OFlags,
        SeekFrom,
        seek, //
    },
    io::read, //
};

use crate::device::Errno;

use super::verdict::TestResult;

/// A reader of the messages that are logged after it was created.
pub(super) struct KernelLog {
    file: OwnedFd,
}

/// One entry of the log.
struct KernelLogEntry {
    /// The severity, from 0 (the system is unusable) to 7 (messages for debugging).
    severity: u32,
    text: String,
}

impl KernelLogEntry {
    /// Parses a record of `/dev/kmsg`: `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT`.
    fn parse(record: &str) -> Option<Self> {
        let (head, text) = record.split_once(';')?;
        let priority: u32 = head.split(',').next()?.parse().ok()?;
        Some(Self {
            severity: priority & 7,
            text: text.lines().next()?.to_owned(),
        })
    }

    /// Returns whether the entry is a warning, an error, or a message of the module.
    ///
    /// A message about a failed allocation of kmemleak itself is ignored, because fault injection may hit
    /// kmemleak.
    fn is_complaint(&self) -> bool {
        (self.severity <= 4 || self.text.contains("slablab"))
            && !self.text.contains("kmemleak: Cannot allocate a scan area")
    }
}

impl KernelLog {
    /// Returns a reader that begins at the end of the log.
    pub(super) fn follow() -> TestResult<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open("/dev/kmsg", flags, Mode::empty())?;
        seek(&file, SeekFrom::End(0))?;
        Ok(Self { file })
    }

    /// Returns what was logged since the last call.
    fn entries(&mut self) -> TestResult<Vec<KernelLogEntry>> {
        let mut entries = Vec::new();
        let mut record = [0; 8192];
        loop {
            match read(&self.file, &mut record) {
                Ok(len) => entries.extend(KernelLogEntry::parse(&String::from_utf8_lossy(
                    &record[..len],
                ))),
                Err(Errno::AGAIN) => return Ok(entries),
                // The kernel overwrote records before they were read. The next read returns the oldest record
                // that is left.
                Err(Errno::PIPE) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Returns the warnings, errors and messages of the module that were logged since the last call.
    pub(super) fn complaints(&mut self) -> TestResult<Vec<String>> {
        let complaints = self
            .entries()?
            .into_iter()
            .filter(KernelLogEntry::is_complaint);
        Ok(complaints.map(|entry| entry.text).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_parsed() {
        let entry =
            KernelLogEntry::parse("6,339,5140900,-;slablab: loaded\n SUBSYSTEM=misc\n").unwrap();
        assert_eq!(
            (entry.severity, entry.text.as_str()),
            (6, "slablab: loaded")
        );
        assert!(entry.is_complaint());
        assert!(
            !KernelLogEntry::parse("30,1,1,-;init: hello")
                .unwrap()
                .is_complaint()
        );
        assert!(
            KernelLogEntry::parse("4,1,1,-;something is wrong")
                .unwrap()
                .is_complaint()
        );
        assert!(KernelLogEntry::parse("no record").is_none());
    }
}
