// SPDX-License-Identifier: GPL-2.0

//! Engines in this process, behind the same session code as in the module.
//!
//! There are no system calls, no vmalloc'd memory and no kernel locks here. Every figure that does not depend
//! on these is the same as on the device.

mod filled;
mod mapping;
mod peer;
mod platform;
mod pool;
pub mod student;
#[cfg(feature = "test-support")]
pub mod wrong;

use std::sync::{
    Arc,
    PoisonError,
    RwLock, //
};

use slab_heap::{
    Refusal,
    check::{
        self,
        Progress,
        Walk, //
    },
    debug::NotDone,
    engine::Engine as _,
    map::{
        Extent,
        NoMap, //
    },
    violation::Supervise,
};
use slab_host::HostLock;
use slab_session::{
    Event,
    EventKind,
    EventReadError,
    Handle,
    INDEX_MAX,
    Quota,
    RefusalCause,
    SessionError,
    SessionState, //
};
use slablab_peers::PeerKind;

pub use self::pool::Pool;
use self::{
    platform::{
        HostPlatform,
        Session, //
    },
    pool::{
        AnyEngine,
        Guarded,
        PoolRef, //
    },
};
use crate::{
    device::Errno,
    isolation::{
        TargetCall,
        underway, //
    },
    target::{
        Refused,
        Target, //
    },
    uapi::{
        self,
        Engine,
        slablab_alloc,
        slablab_check,
        slablab_event,
        slablab_events,
        slablab_extend,
        slablab_extent,
        slablab_info,
        slablab_map,
        slablab_operation,
        slablab_realloc,
        slablab_report,
        slablab_shrink,
        slablab_stats,
        slablab_submit,
        slablab_violation, //
    },
};

/// The page size of the kernel whose device is simulated, in bytes.
const PAGE_BYTES: u32 = 4096;

/// The quota of bytes of a session: the module's default.
const SESSION_BYTES_MAX: usize = 128 << 20;

/// The quota of handles of a session: the module's default.
const SESSION_HANDLES_MAX: u32 = INDEX_MAX + 1;

/// A session in this process.
pub struct Sim {
    session: Session,
    private: bool,
    /// Held for reading while a block is read, and for writing while a block is written, because two threads
    /// may access the same block.
    copying: RwLock<()>,
}

impl Sim {
    /// Opens a session with a private pool.
    pub fn private(kind: Engine, pool_bytes: u64) -> Result<Self, Errno> {
        Ok(Self::on(
            Arc::new(Pool::new(kind, pool_bytes, false)?),
            true,
        ))
    }

    /// Opens a session with a private pool that a peer manages.
    ///
    /// # Errors
    ///
    /// The errors of [`Pool::with_peer`].
    pub fn peer(kind: &PeerKind, pool_bytes: u64) -> Result<Self, Errno> {
        Ok(Self::on(Arc::new(Pool::with_peer(kind, pool_bytes)?), true))
    }

    /// Opens a session with a private pool in debug mode.
    pub fn debug(kind: Engine, pool_bytes: u64) -> Result<Self, Errno> {
        Ok(Self::on(Arc::new(Pool::new(kind, pool_bytes, true)?), true))
    }

    /// Opens a session on a pool.
    pub fn on(pool: Arc<Pool>, private: bool) -> Self {
        let quota = Quota {
            bytes: SESSION_BYTES_MAX,
            handles: SESSION_HANDLES_MAX,
        };
        let state = HostLock::new(SessionState::new(quota));
        Self {
            session: Session::new(PoolRef(pool), state, HostPlatform, private),
            private,
            copying: RwLock::default(),
        }
    }

    fn pool(&self) -> &Pool {
        &self.session.engine().0
    }

    /// Returns the engine of a pool in debug mode, or `EOPNOTSUPP` for another pool.
    fn guard(&self) -> Result<&Guarded, Errno> {
        match &self.pool().engine {
            AnyEngine::Guarded(guard) => Ok(guard),
            AnyEngine::Plain(_) => Err(Errno::OPNOTSUPP),
        }
    }

    /// Returns the interface of an engine that checks its allocator, or `EOPNOTSUPP` for another engine.
    fn supervised(&self) -> Result<&dyn Supervise, Errno> {
        let engine = self.pool().engine.interfaces().supervise;
        engine.ok_or(Errno::OPNOTSUPP)
    }

    fn bind_flags(&self) -> u32 {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        flag(self.private, uapi::SLABLAB_BIND_PRIVATE)
            | flag(self.guard().is_ok(), uapi::SLABLAB_BIND_DEBUG)
    }
}

/// Returns the error number of a session error.
fn errno(denied: SessionError) -> Errno {
    Errno::from_raw_os_error(denied.errno())
}

/// Returns the reply to a refused request for memory.
fn refused(denied: SessionError) -> Refused {
    Refused {
        errno: errno(denied),
        cost: uapi::refusal_cost(denied),
    }
}

/// Returns the handle with the number `bits`, which comes from a file position or a command.
fn handle(bits: u32) -> Result<Handle, SessionError> {
    Handle::from_bits(bits).ok_or(SessionError::NoSuchBlock)
}

/// Returns the handle in a file position. A handle that would make the position negative is `EINVAL`, because
/// the kernel refuses negative positions for any file.
fn positioned(bits: u32) -> Result<Handle, Errno> {
    if bits >= 1 << 31 {
        return Err(Errno::INVAL);
    }
    handle(bits).map_err(errno)
}

impl Target for Sim {
    fn info(&self) -> Result<slablab_info, Errno> {
        Ok(slablab_info {
            flags: 0,
            abi_version: uapi::SLABLAB_ABI_VERSION,
            engines: Pool::ENGINES
                .iter()
                .fold(0, |bits, engine| bits | 1 << engine.raw()),
            engine: self.pool().kind.raw(),
            // There is no file that could be mapped.
            capabilities: uapi::capabilities(&self.pool().engine) & !uapi::SLABLAB_CAP_MMAP,
            bind_flags: self.bind_flags(),
            pool_bytes: self.pool().bytes(),
            regions: self.pool().regions(),
            page_bytes: PAGE_BYTES,
            session_bytes_max: SESSION_BYTES_MAX as u64,
            session_handles_max: u64::from(SESSION_HANDLES_MAX),
            private_bytes_max: if self.private { self.pool().bytes() } else { 0 },
            private_bytes_used: if self.private { self.pool().bytes() } else { 0 },
            sessions_max: 1,
            sessions_used: 1,
            pool_charge: if self.private { self.pool().bytes() } else { 0 },
            // The memory of a session is not limited here.
            session_memory_max: 0,
            session_memory_used: 0,
        })
    }

    fn bind(&self, _engine: u32, _flags: u32, _pool_bytes: u64) -> Result<(), Errno> {
        // The session was bound when it was opened.
        Err(Errno::BUSY)
    }

    fn alloc(&self, size: u64, align: u64) -> Result<slablab_alloc, Refused> {
        let reply = self.session.allocate(size, align).map_err(refused)?;
        Ok(slablab_alloc {
            size,
            align,
            flags: 0,
            handle: reply.handle.to_bits(),
            offset: uapi::offset(reply.offset),
            usable: reply.usable as u64,
            cost: reply.cost.into(),
        })
    }

    fn free(&self, bits: u32) -> Result<(), Errno> {
        self.session
            .parse_handle(bits.into(), EventKind::Free, 0)
            .and_then(|handle| self.session.free(handle))
            .map(|_cost| ())
            .map_err(errno)
    }

    fn realloc(&self, bits: u32, size: u64) -> Result<slablab_realloc, Refused> {
        let pending = self
            .session
            .parse_handle(bits.into(), EventKind::Reallocate, size)
            .and_then(|handle| self.session.reallocate(handle, size))
            .map_err(refused)?;
        let reply = pending.reply();
        pending.commit();
        Ok(slablab_realloc {
            handle: bits,
            flags: 0,
            size,
            offset: uapi::offset(reply.offset),
            usable: reply.usable as u64,
            cost: reply.cost.into(),
        })
    }

    fn read(&self, bits: u32, byte: u32, buffer: &mut [u8]) -> Result<usize, Errno> {
        let handle = positioned(bits)?;
        let _copying = self.copying.read().unwrap_or_else(PoisonError::into_inner);
        let pinned = self.session.pin(handle).map_err(errno)?;
        let (start, rest) = pinned.bytes_from(byte as usize).map_err(errno)?;
        let count = rest.min(buffer.len());
        // SAFETY: The block has `rest` bytes from `start` on while it is pinned, and `count` is at most
        // `rest`. No thread writes to them while `copying` is held. `buffer` has at least `count` bytes, and
        // it is not in any pool, so the ranges do not overlap.
        unsafe {
            start
                .as_ptr()
                .copy_to_nonoverlapping(buffer.as_mut_ptr(), count)
        };
        Ok(count)
    }

    fn write(&self, bits: u32, byte: u32, bytes: &[u8]) -> Result<usize, Errno> {
        let handle = positioned(bits)?;
        let _copying = self.copying.write().unwrap_or_else(PoisonError::into_inner);
        let pinned = self.session.pin(handle).map_err(errno)?;
        let (start, rest) = pinned.bytes_from(byte as usize).map_err(errno)?;
        let count = rest.min(bytes.len());
        // SAFETY: The block has `rest` bytes from `start` on while it is pinned, and `count` is at most
        // `rest`. No other thread reads or writes them while `copying` is held for writing. `bytes` has at
        // least `count` bytes, and it is not in any pool, so the ranges do not overlap.
        unsafe {
            start
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), count)
        };
        Ok(count)
    }

    fn stats(&self) -> Result<Box<slablab_stats>, Errno> {
        let mut stats = Box::<slablab_stats>::default();
        let statistics = self.pool().engine.interfaces().statistics;
        statistics.visit(&mut *stats);
        stats.engine = self.pool().kind.raw();
        stats.set_session(&self.session.stats());
        Ok(stats)
    }

    fn check(&self) -> Result<slablab_check, Errno> {
        let engine = self.pool().engine.interfaces().check;
        let engine = engine.ok_or(Errno::OPNOTSUPP)?;
        let mut walk = Walk::new();
        match check::run(&mut walk, |walk| engine.check(walk)) {
            Ok(Progress::Disturbed) => Err(Errno::AGAIN),
            result => Ok(uapi::check_reply(result.err(), walk.walked())),
        }
    }

    fn violation(&self) -> Result<slablab_violation, Errno> {
        Ok(uapi::violation_reply(self.supervised()?))
    }

    fn extend(&self, bytes: u64) -> Result<slablab_extend, Errno> {
        let region = self.pool().extend(bytes)?;
        Ok(slablab_extend {
            bytes,
            region: u32::from(region),
            pool_bytes: self.pool().bytes(),
            ..Default::default()
        })
    }

    fn shrink(&self) -> Result<slablab_shrink, Errno> {
        let engine = &self.pool().engine;
        let shrink = engine.interfaces().shrink;
        let shrunk = shrink.map_or(0, |engine| engine.shrink());
        Ok(slablab_shrink {
            bytes: shrunk as u64,
            free_bytes: uapi::free_bytes(engine),
            ..Default::default()
        })
    }

    fn map(
        &self,
        region: u32,
        page: u32,
        extents: &mut [slablab_extent],
    ) -> Result<slablab_map, Errno> {
        let room = extents.len().min(uapi::SLABLAB_MAP_EXTENTS_MAX as usize);
        if room == 0 {
            return Err(Errno::INVAL);
        }
        let engine = self.pool().engine.interfaces().map;
        let engine = engine.ok_or(Errno::OPNOTSUPP)?;
        let mut part = vec![Extent::default(); room];
        let (mut page, mut count) = (page, 0);
        loop {
            let mapped = engine.map(region as usize, page, &mut part[count..]);
            let mapped = mapped.map_err(|NoMap| Errno::NXIO)?;
            page = mapped.next;
            count += mapped.extents;
            if mapped.next == mapped.end || count == room {
                break;
            }
        }
        for (reply, extent) in extents.iter_mut().zip(&part[..count]) {
            *reply = slablab_extent::from(*extent);
        }
        Ok(slablab_map {
            region,
            page,
            count: count as u32,
            ..Default::default()
        })
    }

    fn submit(&self, operations: &mut [slablab_operation]) -> Result<slablab_submit, Errno> {
        let count = u32::try_from(operations.len()).map_err(|_| Errno::INVAL)?;
        if !(1..=uapi::SLABLAB_OPERATIONS_MAX).contains(&count) {
            return Err(Errno::INVAL);
        }
        let (mut done, mut denied) = (0, None);
        while done < operations.len() && denied.is_none() {
            // In a watched process each operation is recorded before it is executed, so that the parent
            // process can report the operation in which this process ended.
            let end = if underway::is_watched() {
                let slablab_operation { bytes, handle, .. } = operations[done];
                let align = 1_u64.checked_shl(operations[done].align_log2.into());
                let (call, arguments) = match u32::from(operations[done].kind) {
                    uapi::SLABLAB_OP_ALLOC => (TargetCall::Alloc, [bytes, align.unwrap_or(0), 0]),
                    uapi::SLABLAB_OP_REALLOC => (TargetCall::Realloc, [handle.into(), bytes, 0]),
                    uapi::SLABLAB_OP_FREE => (TargetCall::Free, [handle.into(), 0, 0]),
                    _ => (TargetCall::Other, [0; 3]),
                };
                underway::position(done, call, arguments);
                done + 1
            } else {
                operations.len()
            };
            let mut segment = self.session.segment(&mut operations[..end], 0, done);
            segment.execute();
            done += segment.done().len();
            denied = segment.failed().map(|(_, error)| error);
            segment.commit();
        }
        Ok(slablab_submit {
            count,
            done: done as u32,
            error: denied.map_or(0, |denied| denied.errno() as u32),
            ..Default::default()
        })
    }

    fn record(&self, events: u32) -> Result<(), Errno> {
        if !(1..=uapi::SLABLAB_EVENTS_MAX).contains(&events) {
            return Err(Errno::INVAL);
        }
        match self
            .session
            .begin_events(vec![Event::VACANT; events as usize])
        {
            None => Ok(()),
            Some(_surplus) => Err(Errno::BUSY),
        }
    }

    fn events(&self, number: u64, events: &mut [slablab_event]) -> Result<slablab_events, Errno> {
        let room = events.len().min(uapi::SLABLAB_EVENTS_MAX as usize);
        if room == 0 {
            return Err(Errno::INVAL);
        }
        let mut part = vec![Event::VACANT; room];
        let read = (self.session.events(number, &mut part)).map_err(|why| match why {
            EventReadError::Off => Errno::NXIO,
            EventReadError::BeyondEnd => Errno::INVAL,
        })?;
        let numbered = (read.first..).zip(&part[..read.count]);
        for (reply, (number, event)) in events.iter_mut().zip(numbered) {
            *reply = uapi::event(number, event);
        }
        Ok(slablab_events {
            op: uapi::SLABLAB_EVENTS_READ,
            count: read.count as u32,
            number: read.first + read.count as u64,
            lost: read.lost,
            ..Default::default()
        })
    }

    fn end_record(&self) -> Result<(), Errno> {
        self.session.end_events().map(drop).ok_or(Errno::NXIO)
    }

    fn inject(&self, misuse: u32, size: u64) -> Result<slablab_report, Errno> {
        let misuse = uapi::misuse(misuse).ok_or(Errno::INVAL)?;
        let size = usize::try_from(size).map_err(|_| Errno::NOMEM)?;
        if size == 0 {
            return Err(Errno::INVAL);
        }
        match self.guard()?.inject(misuse, size) {
            Ok(report) => Ok(report.map(Into::into).unwrap_or_default()),
            Err(NotDone::Refused(Refusal::Unsupported)) => Err(Errno::OPNOTSUPP),
            Err(NotDone::Refused(_)) => Err(Errno::NOMEM),
            Err(NotDone::Elsewhere) => Err(Errno::AGAIN),
        }
    }

    fn read_free(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        let engine = self.supervised()?;
        for (byte, offset) in buffer.iter_mut().zip(offset..) {
            *byte = engine.free_byte(offset).ok_or(Errno::FAULT)?;
        }
        Ok(())
    }

    fn stray_write(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let engine = self.supervised()?;
        for (byte, offset) in bytes.iter().zip(offset..) {
            if !engine.stray_write(offset, *byte) {
                return Err(Errno::FAULT);
            }
        }
        Ok(())
    }

    fn run_on(&self, cpu: usize) -> Result<(), Errno> {
        slab_host::run_on(cpu);
        Ok(())
    }

    fn fail(&self, every: u64, growth: u64) -> Result<u64, Errno> {
        if !self.private {
            return Err(Errno::OPNOTSUPP);
        }
        let injected = self.session.stats().refusals[RefusalCause::Injected as usize];
        self.session.inject_faults(every, growth);
        Ok(injected)
    }
}
