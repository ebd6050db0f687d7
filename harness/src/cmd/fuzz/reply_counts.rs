// SPDX-License-Identifier: GPL-2.0

//! Counts of calls and answers, in memory that all processes share.
//!
//! The shared memory keeps the counts of a killed process.

use std::{
    fs::File,
    os::fd::AsFd,
    ptr, slice,
    sync::atomic::{
        AtomicU64,
        Ordering, //
    },
    time::Duration,
};

use rustix::{
    io,
    mm::{
        MapFlags,
        ProtFlags,
        mmap, //
    },
};

use super::call::{
    ArgumentSource,
    KINDS, //
};
use crate::device::Errno;

/// The maximum number of processes.
pub(super) const PROCESSES_MAX: usize = 64;

/// The number of different answers: error numbers, and 0 for success. Larger error numbers count as the last.
pub(super) const ANSWERS: usize = 256;

/// The number of variants of [`ArgumentSource`].
const WAYS: usize = 3;

const CELLS: usize = KINDS.len() * WAYS * ANSWERS;

/// Events that are counted besides the answers.
#[derive(Clone, Copy)]
pub(super) enum ProcessEvent {
    /// A process was forked and shares its open files with the child.
    Fork,
    /// A file was received from another process.
    Received,
    /// A process was killed.
    Kill,
    /// A call was begun. The calls of killed processes may have begun without being answered.
    Begun,
}
const EVENTS: usize = 4;

/// The counts of all processes.
#[derive(Clone, Copy)]
pub(super) struct ReplyCounts {
    cells: &'static [AtomicU64],
}

impl ReplyCounts {
    /// The size in bytes of the file that contains the counts.
    pub(super) const BYTES: usize =
        (CELLS + EVENTS + KINDS.len() + PROCESSES_MAX) * size_of::<AtomicU64>();

    /// Maps the counts in `file`, which must have [`ReplyCounts::BYTES`] bytes.
    pub(super) fn map(file: &File) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: The hint is null, so the kernel chooses the address, and the mapping replaces no other memory.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                Self::BYTES,
                access,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )
        }?;
        // SAFETY: `start` is page-aligned, and the file has as many bytes as the mapping, which is never
        // unmapped. Every bit pattern is a valid `AtomicU64`. Every process accesses the memory with atomic
        // operations only.
        let cells = unsafe { slice::from_raw_parts(start.cast(), Self::BYTES / 8) };
        Ok(Self { cells })
    }

    fn add(&self, cell: usize, number: u64) {
        self.cells[cell].fetch_add(number, Ordering::Relaxed);
    }

    fn cell(kind: usize, way: usize, answer: usize) -> usize {
        (kind * WAYS + way) * ANSWERS + answer
    }

    /// Counts an answer, and adds the time of its call.
    pub(super) fn answered(
        &self,
        kind: usize,
        made: ArgumentSource,
        answer: Result<(), Errno>,
        took: Duration,
    ) {
        let number = answer.map_or_else(Errno::raw_os_error, |()| 0);
        let answer = usize::try_from(number).map_or(ANSWERS - 1, |n| n.min(ANSWERS - 1));
        self.add(Self::cell(kind, made as usize, answer), 1);
        self.add(CELLS + EVENTS + kind, took.as_nanos() as u64);
    }

    /// Counts an event.
    pub(super) fn happened(&self, event: ProcessEvent) {
        self.add(CELLS + event as usize, 1);
    }

    /// Returns how often an event happened.
    pub(super) fn events(&self, event: ProcessEvent) -> u64 {
        self.cells[CELLS + event as usize].load(Ordering::Relaxed)
    }

    /// Returns the number of a process's next step, and advances it.
    pub(super) fn next_step(&self, process: usize) -> u64 {
        self.cells[CELLS + EVENTS + KINDS.len() + process].fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the total time of the calls of a kind.
    pub(super) fn time(&self, kind: usize) -> Duration {
        Duration::from_nanos(self.cells[CELLS + EVENTS + kind].load(Ordering::Relaxed))
    }

    /// Returns the answers to calls of a kind, by error number.
    pub(super) fn answers(&self, kind: usize) -> Vec<(i32, u64)> {
        let sum = |answer| {
            let ways = (0..WAYS).map(|way| Self::cell(kind, way, answer));
            ways.map(|cell| self.cells[cell].load(Ordering::Relaxed))
                .sum()
        };
        let answers = (0..ANSWERS).map(|answer| (answer as i32, sum(answer)));
        answers.filter(|(_, count)| *count > 0).collect()
    }

    /// Returns the number of calls whose arguments came from this source, and how many of the calls succeeded.
    pub(super) fn calls(&self, made: ArgumentSource) -> (u64, u64) {
        let sum = |answers: std::ops::Range<usize>| {
            let cells =
                (0..KINDS.len()).flat_map(|kind| answers.clone().map(move |answer| (kind, answer)));
            cells
                .map(|(kind, answer)| Self::cell(kind, made as usize, answer))
                .map(|cell| self.cells[cell].load(Ordering::Relaxed))
                .sum()
        };
        (sum(0..ANSWERS), sum(0..1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{
        MemfdFlags,
        ftruncate,
        memfd_create, //
    };

    #[test]
    fn counts_are_visible_to_every_process_that_maps_the_file() {
        let file = File::from(memfd_create("counts", MemfdFlags::CLOEXEC).unwrap());
        ftruncate(&file, ReplyCounts::BYTES as u64).unwrap();
        let (one, other) = (
            ReplyCounts::map(&file).unwrap(),
            ReplyCounts::map(&file).unwrap(),
        );
        one.answered(
            2,
            ArgumentSource::Mutated,
            Err(Errno::INVAL),
            Duration::from_nanos(3),
        );
        one.answered(2, ArgumentSource::Random, Ok(()), Duration::from_nanos(4));
        one.answered(
            KINDS.len() - 1,
            ArgumentSource::Random,
            Err(Errno::from_raw_os_error(4000)),
            Duration::ZERO,
        );
        one.happened(ProcessEvent::Kill);
        assert_eq!(other.time(2), Duration::from_nanos(7));
        assert_eq!((one.next_step(7), other.next_step(7)), (0, 1));
        assert_eq!(other.answers(2), [(0, 1), (22, 1)]);
        assert_eq!(other.answers(KINDS.len() - 1), [(255, 1)]);
        assert_eq!(other.calls(ArgumentSource::Random), (2, 1));
        assert_eq!(
            (
                other.events(ProcessEvent::Kill),
                other.events(ProcessEvent::Fork)
            ),
            (1, 0)
        );
    }
}
