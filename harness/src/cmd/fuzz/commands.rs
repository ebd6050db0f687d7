// SPDX-License-Identifier: GPL-2.0

//! The arguments of each command: their fields, and the meaning of each field.

use std::mem::offset_of;

use crate::uapi::{
    self,
    slablab_alloc,
    slablab_bench,
    slablab_bind,
    slablab_check,
    slablab_events,
    slablab_extend,
    slablab_fail,
    slablab_info,
    slablab_inject,
    slablab_map,
    slablab_operation,
    slablab_realloc,
    slablab_reports,
    slablab_shrink,
    slablab_stats,
    slablab_submit,
    slablab_violation, //
};

/// The meaning of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// The size of a block in bytes.
    Size,
    /// The alignment of a block.
    Align,
    /// The handle of a block.
    Handle,
    /// The size of a pool or a region in bytes.
    Pool,
    /// This constant.
    Is(u64),
    /// A number from 0 to this maximum.
    UpTo(u64),
    /// A number from 1 to this maximum.
    From1(u64),
    /// Mostly 0, else a number up to this maximum.
    Rarely(u64),
    /// The address of an array.
    Array,
}

/// A field of an argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) at: usize,
    pub(super) bytes: usize,
    pub(super) meaning: FieldKind,
}

/// A command that takes a structure. Fields that are not listed are zero in a structured call.
#[derive(Debug)]
pub(super) struct FuzzCommand {
    pub(super) number: u32,
    pub(super) bytes: usize,
    pub(super) fields: &'static [Field],
}

/// Lists fields: `structure: field bytes meaning, …`
macro_rules! fields {
    ($structure:ident: $($field:ident $bytes:literal $meaning:expr),* $(,)?) => {
        &[$(Field {
            at: offset_of!($structure, $field),
            bytes: $bytes,
            meaning: $meaning,
        }),*]
    };
}

/// Describes a command and its fields.
macro_rules! command {
    ($number:ident, $structure:ident: $($fields:tt)*) => {
        FuzzCommand {
            number: uapi::$number,
            bytes: size_of::<$structure>(),
            fields: fields!($structure: $($fields)*),
        }
    };
}

use FieldKind::{
    Align,
    Array,
    From1,
    Handle,
    Is,
    Pool,
    Rarely,
    Size,
    UpTo, //
};

pub(super) const ALLOC: FuzzCommand =
    command!(SLABLAB_NR_ALLOC, slablab_alloc: size 8 Size, align 8 Align);
pub(super) const REALLOC: FuzzCommand =
    command!(SLABLAB_NR_REALLOC, slablab_realloc: handle 4 Handle, size 8 Size);
pub(super) const SUBMIT: FuzzCommand =
    command!(SLABLAB_NR_SUBMIT, slablab_submit: count 4 From1(70), operations 8 Array);

/// The commands that take a structure. FREE is not among them, because it takes a number.
pub(super) static COMMANDS: [FuzzCommand; 18] = [
    ALLOC,
    REALLOC,
    SUBMIT,
    command!(SLABLAB_NR_INFO, slablab_info:),
    command!(SLABLAB_NR_BIND, slablab_bind:
        engine 4 UpTo(6), flags 4 UpTo(3), pool_bytes 8 Pool),
    command!(SLABLAB_NR_STATS, slablab_stats:),
    command!(SLABLAB_NR_EXTEND, slablab_extend: bytes 8 Pool),
    command!(SLABLAB_NR_MAP, slablab_map:
        region 4 Rarely(2), page 4 UpTo(300), count 4 From1(4096), extents 8 Array),
    command!(SLABLAB_NR_REPORTS, slablab_reports: count 4 From1(64), number 8 Rarely(99), reports 8 Array),
    // The last misuse, READ_AFTER_FREE, is left out: KASAN would report it, correctly.
    command!(SLABLAB_NR_INJECT, slablab_inject: misuse 4 UpTo(17), size 8 Size),
    // FAIL mostly turns fault injection off. Otherwise other commands would have too few blocks to work on.
    command!(SLABLAB_NR_FAIL, slablab_fail: every 8 Rarely(9), growth 8 Rarely(9)),
    command!(SLABLAB_NR_EVENTS, slablab_events:
        op 4 Is(uapi::SLABLAB_EVENTS_BEGIN as u64), count 4 From1(200)),
    command!(SLABLAB_NR_EVENTS, slablab_events:
        op 4 Is(uapi::SLABLAB_EVENTS_READ as u64), count 4 From1(70), number 8 Rarely(300),
        events 8 Array),
    command!(SLABLAB_NR_EVENTS, slablab_events: op 4 Is(uapi::SLABLAB_EVENTS_END as u64)),
    command!(SLABLAB_NR_VIOLATION, slablab_violation:),
    // The commands from here on take long.
    command!(SLABLAB_NR_SHRINK, slablab_shrink:),
    command!(SLABLAB_NR_CHECK, slablab_check:),
    command!(SLABLAB_NR_BENCH, slablab_bench:
        subject 4 UpTo(7), pattern 4 UpTo(7), flags 4 Rarely(1), threads 4 From1(1),
        pool_bytes 8 Pool, size 8 From1(4096), size_min 8 Rarely(64), count 8 From1(200),
        seed 8 UpTo(9), slots 4 From1(64)),
];

/// The number of commands at the start of [`COMMANDS`] that do not take long.
pub(super) const QUICK: usize = 15;

/// The fields of an operation of SUBMIT.
pub(super) const OPERATION: &[Field] = fields!(slablab_operation:
    kind 1 From1(4), align_log2 1 Rarely(12), flags 2 Rarely(1), handle 4 Handle, bytes 8 Size);

/// Upper bounds of fields: the command, the field, the bound, and the largest value that the command
/// accepts. A call with a value above the bound could keep the machine busy or take the whole memory
/// budget. A value that is too large to be accepted is not bounded: its refusal is the test.
const BOUNDS: [(u32, Field, u64, u64); 7] = {
    const fn at(at: usize, bytes: usize) -> Field {
        Field {
            at,
            bytes,
            meaning: FieldKind::UpTo(0),
        }
    }
    [
        // BENCH with several threads waits until as many threads have called it.
        (
            uapi::SLABLAB_NR_BENCH,
            at(offset_of!(slablab_bench, threads), 4),
            1,
            uapi::SLABLAB_BENCH_THREADS_MAX as u64,
        ),
        (
            uapi::SLABLAB_NR_BENCH,
            at(offset_of!(slablab_bench, count), 8),
            2_000,
            uapi::SLABLAB_BENCH_COUNT_MAX as u64,
        ),
        (
            uapi::SLABLAB_NR_BENCH,
            at(offset_of!(slablab_bench, slots), 4),
            256,
            uapi::SLABLAB_BENCH_SLOTS_MAX as u64,
        ),
        (
            uapi::SLABLAB_NR_BENCH,
            at(offset_of!(slablab_bench, pool_bytes), 8),
            1 << 20,
            1 << 32,
        ),
        (
            uapi::SLABLAB_NR_BIND,
            at(offset_of!(slablab_bind, pool_bytes), 8),
            8 << 20,
            1 << 32,
        ),
        (
            uapi::SLABLAB_NR_EVENTS,
            at(offset_of!(slablab_events, count), 4),
            1 << 12,
            uapi::SLABLAB_EVENTS_MAX as u64,
        ),
        (
            uapi::SLABLAB_NR_EXTEND,
            at(offset_of!(slablab_extend, bytes), 8),
            1 << 20,
            1 << 32,
        ),
    ]
};

/// Reduces the fields of an argument to their [`BOUNDS`], so that the call takes a bounded time.
pub(super) fn bound(number: u32, argument: &mut [u8]) {
    for (of, field, bound, most) in BOUNDS {
        if number == of {
            if let Some(value) = field.read(argument) {
                if (bound + 1..=most).contains(&value) {
                    field.write(argument, bound);
                }
            }
        }
    }
}

impl Field {
    /// Returns the value of the field, or `None` if the argument ends before the end of the field.
    fn read(&self, argument: &[u8]) -> Option<u64> {
        let mut value = [0; 8];
        value[..self.bytes].copy_from_slice(argument.get(self.at..self.at + self.bytes)?);
        Some(u64::from_le_bytes(value))
    }

    /// Sets the field to the low bytes of `value`. Does nothing if the argument ends before the end of the field.
    pub(super) fn write(&self, argument: &mut [u8], value: u64) {
        if let Some(field) = argument.get_mut(self.at..self.at + self.bytes) {
            field.copy_from_slice(&value.to_le_bytes()[..self.bytes]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::{
        BenchPattern,
        BenchSubject,
        Engine, //
    };

    #[test]
    fn long_calls_are_shortened_and_refused_calls_are_unchanged() {
        let bench = COMMANDS.last().unwrap();
        let threads = Field {
            at: offset_of!(slablab_bench, threads),
            bytes: 4,
            meaning: UpTo(0),
        };
        for (asked, left) in [
            (0, 0),
            (1, 1),
            (8, 1),
            (9, 9),
            (u64::from(u32::MAX), 0xffff_ffff),
        ] {
            let mut argument = vec![0; bench.bytes];
            threads.write(&mut argument, asked);
            bound(bench.number, &mut argument);
            assert_eq!(threads.read(&argument), Some(left));
        }
        bound(bench.number, &mut [0; 3]);
    }

    /// Panics unless structured calls of a command have each of these values in a field, and one value more.
    #[track_caller]
    fn covers(command: u32, at: usize, values: impl Iterator<Item = u32>) {
        let command = COMMANDS.iter().find(|other| other.number == command);
        let field = command.unwrap().fields.iter().find(|field| field.at == at);
        let most = u64::from(values.max().unwrap()) + 1;
        assert_eq!(field.unwrap().meaning, UpTo(most));
    }

    #[test]
    fn calls_name_every_engine_subject_and_pattern_and_one_that_does_not_exist() {
        let engines = Engine::ALL.iter().map(|engine| engine.raw());
        covers(
            uapi::SLABLAB_NR_BIND,
            offset_of!(slablab_bind, engine),
            engines,
        );
        let subjects = BenchSubject::ALL.iter().map(|subject| subject.raw());
        covers(
            uapi::SLABLAB_NR_BENCH,
            offset_of!(slablab_bench, subject),
            subjects,
        );
        let patterns = BenchPattern::ALL.iter().map(|pattern| pattern.raw());
        covers(
            uapi::SLABLAB_NR_BENCH,
            offset_of!(slablab_bench, pattern),
            patterns,
        );
    }

    #[test]
    fn fields_lie_in_their_arguments() {
        for command in &COMMANDS {
            for field in command.fields {
                assert!(field.at + field.bytes <= command.bytes, "{command:?}");
            }
        }
    }
}
