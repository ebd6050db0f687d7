// SPDX-License-Identifier: GPL-2.0

//! Each command, ready to be spoilt: an argument that would be served, and a session for it.

use std::{
    mem::offset_of,
    ops::Range, //
};

use crate::{
    device::{
        Device,
        Errno, //
    },
    uapi::{
        self,
        Engine,
        slablab_alloc,
        slablab_bind,
        slablab_check,
        slablab_extend,
        slablab_info,
        slablab_realloc,
        slablab_shrink,
        slablab_stats, //
    },
};

use super::{
    fixture::{
        POOL_UNIT,
        filled,
        has_pool,
        intact,
        session,
        unchanged, //
    },
    memory::{
        Argument,
        Direction,
        ioc,
        poke, //
    },
    verdict::{
        About,
        Outcome,
        equal,
        refused, //
    },
};

/// Bytes of the block that [`Call`] has.
pub(super) const SIZE: u64 = 300;

/// The pattern in that block.
pub(super) const SEED: u64 = 1;

/// A command that would be served, and a session for it.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) device: Device,
    /// The session's block, if the command leaves it one.
    handle: u32,
    pub(super) argument: Vec<u8>,
}

impl Call {
    /// Prepares each command that takes a structure and that the engine has.
    pub(super) fn all(engine: Engine) -> Outcome<Vec<Self>> {
        const COMMANDS: [(&str, u32, bool); 8] = [
            ("INFO", uapi::SLABLAB_NR_INFO, false),
            ("BIND", uapi::SLABLAB_NR_BIND, false),
            ("ALLOC", uapi::SLABLAB_NR_ALLOC, false),
            ("REALLOC", uapi::SLABLAB_NR_REALLOC, false),
            ("STATS", uapi::SLABLAB_NR_STATS, false),
            ("CHECK", uapi::SLABLAB_NR_CHECK, true),
            ("EXTEND", uapi::SLABLAB_NR_EXTEND, true),
            ("SHRINK", uapi::SLABLAB_NR_SHRINK, true),
        ];
        COMMANDS
            .into_iter()
            .filter(|(.., needs_pool)| has_pool(engine) || !needs_pool)
            .map(|(name, number, _)| Self::new(engine, name, number))
            .collect()
    }

    fn new(engine: Engine, name: &'static str, number: u32) -> Outcome<Self> {
        let bound = number != uapi::SLABLAB_NR_BIND;
        let device = if bound {
            session(engine)?
        } else {
            Device::open()?
        };
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

    /// Makes the request with `bytes` bytes at `address`.
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

    /// Checks that the request is refused, and that nothing has changed.
    #[track_caller]
    pub(super) fn is_refused(&self, bytes: usize, address: usize, errno: Errno) -> Outcome {
        unchanged(&self.device, || refused(self.send(bytes, address), errno))
            .and_then(|()| self.is_as_before())
            .about(self.name)
    }

    /// Checks that the session's block, or its freedom to bind, is as before.
    #[track_caller]
    pub(super) fn is_as_before(&self) -> Outcome {
        if self.handle != 0 {
            return intact(&self.device, self.handle, SIZE, SEED);
        }
        let before = self.device.info()?;
        equal("engine", before.engine, Device::open()?.info()?.engine)
    }

    /// Returns the fields that have unknown bits, and where in the argument these are.
    pub(super) fn unknown_bits(&self) -> Vec<(&'static str, Range<usize>)> {
        let flags = |byte| ("flags", 8 * byte..8 * byte + 32);
        let reserved = |byte, bits| ("reserved", 8 * byte..8 * byte + bits);
        match self.number {
            uapi::SLABLAB_NR_INFO => vec![flags(offset_of!(slablab_info, flags))],
            uapi::SLABLAB_NR_BIND => {
                // Bit 0 is known: a private pool.
                let byte = offset_of!(slablab_bind, flags);
                vec![
                    ("flags", 8 * byte + 1..8 * byte + 32),
                    reserved(offset_of!(slablab_bind, reserved), 128),
                ]
            }
            uapi::SLABLAB_NR_ALLOC => vec![flags(offset_of!(slablab_alloc, flags))],
            uapi::SLABLAB_NR_REALLOC => vec![flags(offset_of!(slablab_realloc, flags))],
            uapi::SLABLAB_NR_STATS => vec![flags(offset_of!(slablab_stats, flags))],
            uapi::SLABLAB_NR_CHECK => vec![
                flags(offset_of!(slablab_check, flags)),
                reserved(offset_of!(slablab_check, reserved), 32),
            ],
            uapi::SLABLAB_NR_SHRINK => vec![
                flags(offset_of!(slablab_shrink, flags)),
                reserved(offset_of!(slablab_shrink, reserved), 32),
            ],
            _ => vec![
                flags(offset_of!(slablab_extend, flags)),
                reserved(offset_of!(slablab_extend, reserved), 64),
            ],
        }
    }
}
