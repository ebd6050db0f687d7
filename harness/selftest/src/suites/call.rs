// SPDX-License-Identifier: GPL-2.0

//! Valid calls of each command. Tests then make the argument invalid.

use std::{
    mem::offset_of,
    ops::Range, //
};

use rustix::fs::OFlags;

use crate::{
    device::{
        Device,
        Errno, //
    },
    target::Target,
    uapi::{
        self,
        Engine,
        slablab_alloc,
        slablab_bench,
        slablab_bind,
        slablab_check,
        slablab_event,
        slablab_events,
        slablab_extend,
        slablab_extent,
        slablab_fail,
        slablab_info,
        slablab_inject,
        slablab_map,
        slablab_operation,
        slablab_realloc,
        slablab_report,
        slablab_reports,
        slablab_shrink,
        slablab_stats,
        slablab_submit,
        slablab_violation, //
    },
};

use super::{
    fixture::{
        POOL_BYTES,
        POOL_UNIT,
        filled,
        has_map,
        has_pool,
        intact,
        unchanged, //
    },
    memory::{
        Argument,
        Direction,
        ioc,
        poke, //
    },
    verdict::{
        ErrorContext,
        TestResult,
        check_eq,
        refused, //
    },
};

/// The size in bytes of the block in the session of a [`CommandCall`].
pub(super) const SIZE: u64 = 300;

/// The seed of the pattern in the block of a [`CommandCall`].
pub(super) const SEED: u64 = 1;

/// The capacity of the array for MAP, in extents.
const EXTENTS: usize = 16;

/// The capacity of the array for EVENTS, in events.
const EVENTS: usize = 4;

/// The capacity of the array for REPORTS, in reports.
const REPORTS: usize = 4;

/// A valid call of a command, and a session for it.
pub(super) struct CommandCall {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) device: Device,
    /// The handle of the session's block, or 0 for BIND, whose session has no block.
    handle: u32,
    pub(super) argument: Vec<u8>,
}

/// Returns the commands that take a structure: the name, the number, and whether the engine has the command.
fn commands(engine: Engine) -> Vec<(&'static str, u32, bool)> {
    let (pool, map) = (has_pool(engine), has_map(engine));
    let student = engine == Engine::Student;
    vec![
        ("INFO", uapi::SLABLAB_NR_INFO, true),
        ("BIND", uapi::SLABLAB_NR_BIND, true),
        ("ALLOC", uapi::SLABLAB_NR_ALLOC, true),
        ("REALLOC", uapi::SLABLAB_NR_REALLOC, true),
        ("STATS", uapi::SLABLAB_NR_STATS, true),
        ("CHECK", uapi::SLABLAB_NR_CHECK, pool),
        ("EXTEND", uapi::SLABLAB_NR_EXTEND, pool),
        ("MAP", uapi::SLABLAB_NR_MAP, map),
        ("SHRINK", uapi::SLABLAB_NR_SHRINK, pool),
        ("SUBMIT", uapi::SLABLAB_NR_SUBMIT, true),
        ("BENCH", uapi::SLABLAB_NR_BENCH, true),
        ("INJECT", uapi::SLABLAB_NR_INJECT, pool),
        ("REPORTS", uapi::SLABLAB_NR_REPORTS, pool),
        ("FAIL", uapi::SLABLAB_NR_FAIL, pool),
        ("EVENTS", uapi::SLABLAB_NR_EVENTS, true),
        ("VIOLATION", uapi::SLABLAB_NR_VIOLATION, student),
    ]
}

/// Returns the largest number of a command.
pub(super) fn last_command() -> u32 {
    let numbers = commands(Engine::Hybrid)
        .into_iter()
        .map(|(_, number, _)| number);
    numbers.max().unwrap_or_default()
}

impl CommandCall {
    /// Prepares a call of each command that takes a structure and that the engine supports.
    pub(super) fn all(engine: Engine) -> TestResult<Vec<Self>> {
        Self::all_on(engine, OFlags::RDWR)
    }

    /// Prepares the calls as [`CommandCall::all`] does, on files that are opened with `access`, which
    /// includes writing.
    pub(super) fn all_on(engine: Engine, access: OFlags) -> TestResult<Vec<Self>> {
        commands(engine)
            .into_iter()
            .filter(|(.., has_it)| *has_it)
            .map(|(name, number, _)| Self::new(engine, name, number, access))
            .collect()
    }

    fn new(engine: Engine, name: &'static str, number: u32, access: OFlags) -> TestResult<Self> {
        let bound = number != uapi::SLABLAB_NR_BIND;
        let device = Device::open_for(access)?;
        let (private, debug) = (uapi::SLABLAB_BIND_PRIVATE, uapi::SLABLAB_BIND_DEBUG);
        match number {
            uapi::SLABLAB_NR_BIND => {}
            uapi::SLABLAB_NR_INJECT | uapi::SLABLAB_NR_REPORTS => {
                device.bind(engine.raw(), private | debug, POOL_BYTES)?;
            }
            _ if has_pool(engine) => device.bind(engine.raw(), private, POOL_BYTES)?,
            _ => device.bind(engine.raw(), 0, 0)?,
        }
        if number == uapi::SLABLAB_NR_EVENTS {
            device.record(EVENTS as u32)?;
        }
        let handle = if bound {
            filled(&device, SIZE, SEED)?
        } else {
            0
        };
        let argument = match number {
            uapi::SLABLAB_NR_INFO => slablab_info::default().bytes(),
            uapi::SLABLAB_NR_BIND => slablab_bind {
                engine: engine.raw(),
                ..Default::default()
            }
            .bytes(),
            uapi::SLABLAB_NR_ALLOC => slablab_alloc {
                size: 64,
                align: 8,
                ..Default::default()
            }
            .bytes(),
            uapi::SLABLAB_NR_REALLOC => slablab_realloc {
                handle,
                size: 9000,
                ..Default::default()
            }
            .bytes(),
            uapi::SLABLAB_NR_STATS => slablab_stats::default().bytes(),
            uapi::SLABLAB_NR_CHECK => slablab_check::default().bytes(),
            uapi::SLABLAB_NR_SHRINK => slablab_shrink::default().bytes(),
            uapi::SLABLAB_NR_VIOLATION => slablab_violation::default().bytes(),
            uapi::SLABLAB_NR_BENCH => slablab_bench {
                subject: uapi::SLABLAB_BENCH_HYBRID,
                threads: 1,
                pool_bytes: POOL_UNIT,
                size: 64,
                count: 1,
                ..Default::default()
            }
            .bytes(),
            uapi::SLABLAB_NR_INJECT => slablab_inject {
                misuse: uapi::SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW,
                size: 100,
                ..Default::default()
            }
            .bytes(),
            uapi::SLABLAB_NR_REPORTS => {
                // The kernel may write to the array at any time, so the array is never freed.
                let reports = Box::leak(Box::new([slablab_report::default(); REPORTS]));
                slablab_reports {
                    count: REPORTS as u32,
                    reports: reports.as_mut_ptr().expose_provenance() as u64,
                    ..Default::default()
                }
                .bytes()
            }
            uapi::SLABLAB_NR_FAIL => slablab_fail::default().bytes(),
            uapi::SLABLAB_NR_EVENTS => {
                // The kernel may write to the array at any time, so the array is never freed.
                let events = Box::leak(Box::new([slablab_event::default(); EVENTS]));
                slablab_events {
                    op: uapi::SLABLAB_EVENTS_READ,
                    count: EVENTS as u32,
                    events: events.as_mut_ptr().expose_provenance() as u64,
                    ..Default::default()
                }
                .bytes()
            }
            uapi::SLABLAB_NR_MAP => {
                // The kernel may write to the array at any time, so the array is never freed.
                let extents = Box::leak(Box::new([slablab_extent::default(); EXTENTS]));
                slablab_map {
                    count: EXTENTS as u32,
                    extents: extents.as_mut_ptr().expose_provenance() as u64,
                    ..Default::default()
                }
                .bytes()
            }
            uapi::SLABLAB_NR_SUBMIT => {
                // The kernel may write to the array at any time, so the array is never freed.
                let operations = Box::leak(Box::new([slablab_operation {
                    kind: uapi::SLABLAB_OP_ALLOC as u8,
                    bytes: 64,
                    ..Default::default()
                }]));
                slablab_submit {
                    count: 1,
                    operations: operations.as_mut_ptr().expose_provenance() as u64,
                    ..Default::default()
                }
                .bytes()
            }
            _ => slablab_extend {
                bytes: POOL_UNIT,
                ..Default::default()
            }
            .bytes(),
        };
        Ok(Self {
            name,
            number,
            device,
            handle,
            argument,
        })
    }

    /// Sends the command with an argument of `bytes` bytes at `address`.
    pub(super) fn send(&self, bytes: usize, address: usize) -> Result<i32, Errno> {
        self.send_as(Direction::Both, bytes, address)
    }

    pub(super) fn send_as(
        &self,
        direction: Direction,
        bytes: usize,
        address: usize,
    ) -> Result<i32, Errno> {
        poke(
            &self.device,
            ioc(direction, uapi::SLABLAB_IOC_TYPE, self.number, bytes),
            address,
        )
    }

    /// Checks that the call is refused with `errno` and changes nothing.
    #[track_caller]
    pub(super) fn is_refused(&self, bytes: usize, address: usize, errno: Errno) -> TestResult {
        unchanged(&self.device, || refused(self.send(bytes, address), errno))
            .and_then(|()| self.is_as_before())
            .about(self.name)
    }

    /// Checks that the session's block is intact or, for BIND, that the session still has the default engine.
    #[track_caller]
    pub(super) fn is_as_before(&self) -> TestResult {
        if self.handle != 0 {
            return intact(&self.device, self.handle, SIZE, SEED);
        }
        let before = self.device.info()?;
        check_eq("engine", before.engine, Device::open()?.info()?.engine)
    }

    /// Returns the fields that have undefined bits, each with the range of these bits in the argument.
    pub(super) fn unknown_bits(&self) -> Vec<(&'static str, Range<usize>)> {
        let flags = |byte| ("flags", 8 * byte..8 * byte + 32);
        let reserved = |byte, bits| ("reserved", 8 * byte..8 * byte + bits);
        match self.number {
            uapi::SLABLAB_NR_INFO => vec![flags(offset_of!(slablab_info, flags))],
            uapi::SLABLAB_NR_BIND => {
                // Bit 0, `SLABLAB_BIND_PRIVATE`, is defined. Bit 1, `SLABLAB_BIND_DEBUG`, is refused without
                // bit 0.
                let byte = offset_of!(slablab_bind, flags);
                vec![
                    ("flags", 8 * byte + 1..8 * byte + 32),
                    reserved(offset_of!(slablab_bind, reserved), 128),
                ]
            }
            uapi::SLABLAB_NR_ALLOC => vec![flags(offset_of!(slablab_alloc, flags))],
            uapi::SLABLAB_NR_REALLOC => vec![flags(offset_of!(slablab_realloc, flags))],
            uapi::SLABLAB_NR_SUBMIT => vec![flags(offset_of!(slablab_submit, flags))],
            uapi::SLABLAB_NR_STATS => vec![flags(offset_of!(slablab_stats, flags))],
            uapi::SLABLAB_NR_CHECK => vec![
                flags(offset_of!(slablab_check, flags)),
                reserved(offset_of!(slablab_check, reserved), 32),
            ],
            uapi::SLABLAB_NR_VIOLATION => vec![flags(offset_of!(slablab_violation, flags))],
            uapi::SLABLAB_NR_SHRINK => vec![
                flags(offset_of!(slablab_shrink, flags)),
                reserved(offset_of!(slablab_shrink, reserved), 32),
            ],
            uapi::SLABLAB_NR_BENCH => {
                // Bit 0, `SLABLAB_BENCH_SINGLY`, is defined.
                let byte = offset_of!(slablab_bench, flags);
                vec![
                    ("flags", 8 * byte + 1..8 * byte + 32),
                    reserved(offset_of!(slablab_bench, reserved), 32),
                ]
            }
            uapi::SLABLAB_NR_INJECT => vec![flags(offset_of!(slablab_inject, flags))],
            uapi::SLABLAB_NR_REPORTS => vec![
                flags(offset_of!(slablab_reports, flags)),
                reserved(offset_of!(slablab_reports, reserved), 64),
            ],
            uapi::SLABLAB_NR_FAIL => vec![
                flags(offset_of!(slablab_fail, flags)),
                reserved(offset_of!(slablab_fail, reserved), 32),
            ],
            uapi::SLABLAB_NR_EVENTS => vec![
                flags(offset_of!(slablab_events, flags)),
                reserved(offset_of!(slablab_events, reserved), 32),
            ],
            uapi::SLABLAB_NR_MAP => vec![
                flags(offset_of!(slablab_map, flags)),
                reserved(offset_of!(slablab_map, reserved), 64),
            ],
            _ => vec![
                flags(offset_of!(slablab_extend, flags)),
                reserved(offset_of!(slablab_extend, reserved), 64),
            ],
        }
    }
}
