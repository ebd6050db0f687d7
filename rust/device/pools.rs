// SPDX-License-Identifier: GPL-2.0

//! INFO, BIND, EXTEND and SHRINK: the pool of a file, and its size.

use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};
use slab_heap::Engine;

use super::{
    OpenFile,
    SESSION_BYTES,
    ensure,
    is_admin, //
};
use crate::{
    argument::IoctlArg,
    engines::EngineKind,
    pool::PoolRef,
    shared::DEFAULT_ENGINE,
    uapi::{
        self,
        *, //
    }, //
};

impl OpenFile {
    /// Replies with the limits of the module and the properties of the file's pool.
    pub(super) fn info(&self, argument: usize, bytes: usize) -> Result {
        let (info, arg) = IoctlArg::read::<slablab_info>(argument, bytes)?;
        ensure(info.flags == 0)?;
        let (bound, quota) = (self.bound.as_ref(), self.shared.quota());
        let pool = self.pool_of(bound);
        arg.reply(&slablab_info {
            flags: 0,
            abi_version: SLABLAB_ABI_VERSION,
            engines: EngineKind::ALL
                .iter()
                .fold(0, |bits, kind| bits | 1 << kind.number()),
            engine: pool.kind().number(),
            capabilities: uapi::capabilities(pool.engine()),
            bind_flags: bound.map_or(0, |bound| bound.flags),
            pool_bytes: pool.engine().capacity() as u64,
            regions: pool.regions(),
            page_bytes: PAGE_SIZE as u32,
            session_bytes_max: quota.bytes as u64,
            session_handles_max: quota.handles.into(),
            private_bytes_max: self.shared.private_bytes().max() as u64,
            private_bytes_used: self.shared.private_bytes().used() as u64,
            sessions_max: self.shared.sessions().max() as u32,
            sessions_used: self.shared.sessions().used() as u32,
            pool_charge: pool.charge() as u64,
            session_memory_max: session_memory(self.shared.session_memory_max()),
            session_memory_used: session_memory(self.shared.session_memory_used()),
        })
    }

    /// Binds the file to a session.
    pub(super) fn bind(&self, argument: usize, bytes: usize) -> Result {
        let (bind, arg) = IoctlArg::read::<slablab_bind>(argument, bytes)?;
        let private = bind.flags & SLABLAB_BIND_PRIVATE != 0;
        let debug = bind.flags & SLABLAB_BIND_DEBUG != 0;
        let unknown = bind.flags & !(SLABLAB_BIND_PRIVATE | SLABLAB_BIND_DEBUG);
        ensure(unknown == 0 && bind.reserved == [0; 2])?;
        ensure(private == (bind.pool_bytes != 0) && (private || !debug))?;
        let kind = kind(bind.engine)?;
        if self.bound.as_ref().is_some() {
            return Err(EBUSY);
        }
        let shared = self.shared.pool(kind);
        let pool = if private {
            if shared.interfaces().add_region.is_none() {
                return Err(EOPNOTSUPP);
            }
            let bytes = usize::try_from(bind.pool_bytes).map_err(|_| EINVAL)?;
            PoolRef::new(kind, bytes, Some(self.shared.private_bytes()), debug)?
        } else {
            shared.clone()
        };
        arg.reply(&bind)?;
        if self.bind_pool(pool, bind.flags)? {
            Ok(())
        } else {
            Err(EBUSY)
        }
    }

    /// Adds a region to the pool.
    pub(super) fn extend(&self, argument: usize, bytes: usize) -> Result {
        if !is_admin() {
            return Err(EPERM);
        }
        let (mut extend, arg) = IoctlArg::read::<slablab_extend>(argument, bytes)?;
        ensure(extend.flags == 0 && extend.reserved == 0)?;
        let bytes = usize::try_from(extend.bytes).map_err(|_| EINVAL)?;
        self.pool_of(self.bound.as_ref()).extend(
            bytes,
            Some(self.shared.private_bytes()),
            |region, pool_bytes| {
                extend.region = region;
                extend.pool_bytes = pool_bytes as u64;
                arg.write_early(&extend)
            },
        )
    }

    /// Returns cached memory of the engine to its page allocator.
    pub(super) fn shrink(&self, argument: usize, bytes: usize) -> Result {
        let (mut shrink, arg) = IoctlArg::read::<slablab_shrink>(argument, bytes)?;
        ensure(shrink.flags == 0 && shrink.reserved == 0)?;
        let engine = self.pool_of(self.bound.as_ref()).engine();
        if engine.interfaces().add_region.is_none() {
            return Err(EOPNOTSUPP);
        }
        // Shrinking flushes all magazines, which delays other users of the pool.
        self.ensure_own_pool_or_admin()?;
        let shrunk = engine
            .interfaces()
            .shrink
            .map_or(0, |engine| engine.shrink());
        shrink.bytes = shrunk as u64;
        shrink.free_bytes = uapi::free_bytes(engine);
        arg.reply(&shrink)
    }
}

/// Returns the bytes of `sessions` sessions whose tables and events take `bytes` bytes.
fn session_memory((sessions, bytes): (usize, usize)) -> u64 {
    (sessions * SESSION_BYTES + bytes) as u64
}

/// Returns the kind of engine with this number in the ABI.
fn kind(number: u32) -> Result<EngineKind> {
    if number == SLABLAB_ENGINE_DEFAULT {
        return Ok(DEFAULT_ENGINE);
    }
    let mut kinds = EngineKind::ALL.iter().copied();
    kinds.find(|kind| kind.number() == number).ok_or(EINVAL)
}
