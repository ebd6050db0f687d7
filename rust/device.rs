// SPDX-License-Identifier: GPL-2.0

//! `/dev/slablab`.
//!
//! Each method reads its argument, lets the session or the pool do the work, and writes the reply.
//! What is decided here is which session a file has, and which error number a program is told.

// Lock order: `OpenFile::binding` (a mutex) is taken to give a file its session, and nothing is
// taken under it. The locks of sessions and pools are taken by these.

use kernel::{
    bindings,
    fs::{
        File,
        Kiocb, //
    },
    ioctl::{
        _IOC_DIR,
        _IOC_NR,
        _IOC_SIZE,
        _IOC_TYPE, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    new_mutex,
    new_spinlock,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SetOnce, //
    },
    types::ForeignOwnable,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use slab_heap::{
    Engine,
    check::{
        Progress,
        Walk, //
    },
    map::{
        Extent,
        NoMap, //
    },
};
use slab_session::{
    Denied,
    Handle,
    Ledger,
    Pinned,
    validate, //
};

use crate::{
    argument::Exchange,
    bench::Bench,
    budget::Lease,
    lab::{
        DEFAULT_ENGINE,
        Lab, //
    },
    lock::BoxedSpinLock,
    pool::{
        EngineKind,
        Pool,
        PoolRef, //
    },
    tables::{
        Chunk,
        Tables, //
    },
    uapi::{
        self,
        *, //
    },
};

/// The extents that an engine is asked for at once: 4 KiB of them.
const MAP_PART: usize = 256;

/// The lock around a session's books.
type LedgerLock = BoxedSpinLock<Ledger<Chunk>>;

/// A session in the kernel.
type Session = slab_session::Session<PoolRef, LedgerLock, Tables>;

/// A session, and whether its pool is its own.
struct Bound {
    session: Session,
    flags: u32,
}

/// One open file.
#[pin_data]
pub(crate) struct OpenFile {
    bound: SetOnce<Bound>,
    #[pin]
    binding: Mutex<()>,
    #[pin]
    bench: Bench,
    lab: Arc<Lab>,
    _admission: Lease,
}

#[vtable]
impl MiscDevice for OpenFile {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        let lab = Lab::current()?;
        let admission = lab.admit()?;
        KBox::try_pin_init(
            try_pin_init!(Self {
                bound: SetOnce::new(),
                binding <- new_mutex!((), "slablab_binding"),
                bench <- Bench::new(),
                lab,
                _admission: admission,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    fn ioctl(me: Pin<&Self>, _file: &File, command: u32, argument: usize) -> Result<isize> {
        if _IOC_TYPE(command) != SLABLAB_IOC_TYPE {
            return Err(ENOTTY);
        }
        // The size is the program's to choose; number and direction are the command.
        let (number, bytes) = (_IOC_NR(command), _IOC_SIZE(command));
        if number == SLABLAB_NR_FREE && command == SLABLAB_FREE {
            return me.free(argument);
        }
        if _IOC_DIR(command) != _IOC_DIR(SLABLAB_INFO) {
            return Err(ENOTTY);
        }
        match number {
            SLABLAB_NR_ALLOC => me.alloc(argument, bytes)?,
            SLABLAB_NR_REALLOC => me.realloc(argument, bytes)?,
            SLABLAB_NR_INFO => me.info(argument, bytes)?,
            SLABLAB_NR_BIND => me.bind(argument, bytes)?,
            SLABLAB_NR_STATS => me.stats(argument, bytes)?,
            SLABLAB_NR_CHECK => me.check(argument, bytes)?,
            SLABLAB_NR_EXTEND => me.extend(argument, bytes)?,
            SLABLAB_NR_SHRINK => me.shrink(argument, bytes)?,
            SLABLAB_NR_MAP => me.map(argument, bytes)?,
            SLABLAB_NR_BENCH => {
                me.bench
                    .run(me.lab.private_bytes(), is_admin(), argument, bytes)?;
            }
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }

    fn read_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let file = kiocb.file();
        let pinned = file.pinned(kiocb.ki_pos())?;
        let (start, bytes) = pinned.bytes_from(byte(kiocb.ki_pos())).map_err(error)?;
        let wanted = bytes.min(iov.len());
        // `IovIterDest::copy_to_iter` wants a slice, which promises that nobody else writes to it;
        // another thread's `pwrite` may.
        //
        // SAFETY: The block has `wanted` bytes from `start` on while it is pinned, the iterator is
        // valid by its type, and the function copies memory that may change meanwhile.
        let copied =
            unsafe { bindings::_copy_to_iter(start.as_ptr().cast(), wanted, iov.as_raw()) };
        transferred(&mut kiocb, wanted, copied)
    }

    fn write_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let file = kiocb.file();
        let pinned = file.pinned(kiocb.ki_pos())?;
        let (start, bytes) = pinned.bytes_from(byte(kiocb.ki_pos())).map_err(error)?;
        let wanted = bytes.min(iov.len());
        // SAFETY: As in `read_iter`.
        let copied =
            unsafe { bindings::_copy_from_iter(start.as_ptr().cast(), wanted, iov.as_raw()) };
        transferred(&mut kiocb, wanted, copied)
    }
}

impl OpenFile {
    /// Begins a session on `pool`, unless there is one, and says whether it did.
    ///
    /// Afterwards there is one, whoever began it.
    fn begin(&self, pool: PoolRef, flags: u32) -> Result<bool> {
        let ledger = Ledger::new(self.lab.limits());
        let ledger = BoxedSpinLock::new(new_spinlock!(ledger, "slablab_ledger"))?;
        let tables = Tables::new(self.lab.table_entries().clone());
        let private = flags & SLABLAB_BIND_PRIVATE != 0;
        // SAFETY: A `PoolRef` leads to the engine of one pool, which keeps it.
        let session = unsafe { Session::new(pool, ledger, tables, private) };
        // `populate` alone would return while another thread is still at it.
        let binding = self.binding.lock();
        let unused = match self.bound.as_ref() {
            Some(_) => Some(session),
            None => {
                self.bound.populate(Bound { session, flags });
                None
            }
        };
        drop(binding);
        Ok(unused.is_none())
    }

    /// Returns the session, if it has begun.
    #[inline]
    fn session(&self) -> Result<&Session, Denied> {
        // Without a session there are no blocks.
        let bound = self.bound.as_ref().ok_or(Denied::NoSuchBlock)?;
        Ok(&bound.session)
    }

    /// Returns the session for a request for memory, which begins one if it is not a bad request.
    #[inline]
    fn session_for(&self, size: u64, align: u64) -> Result<&Session, Denied> {
        if self.bound.as_ref().is_none() {
            let pool = self.lab.shared(DEFAULT_ENGINE);
            validate(&**pool, size, align)?;
            self.begin(pool.clone(), 0).map_err(|_| Denied::NoTable)?;
        }
        self.session()
    }

    /// Returns the pool that a session has, or will have if it never says.
    fn pool_of<'a>(&'a self, bound: Option<&'a Bound>) -> &'a Pool {
        match bound {
            Some(bound) => bound.session.engine().pool(),
            None => self.lab.shared(DEFAULT_ENGINE).pool(),
        }
    }

    /// Allocates a block, and gives it back if the reply cannot be written.
    fn alloc(&self, argument: usize, bytes: usize) -> Result {
        let (mut alloc, exchange) = Exchange::begin::<slablab_alloc>(argument, bytes)?;
        expect(alloc.flags == 0)?;
        let pending = self
            .session_for(alloc.size, alloc.align)
            .and_then(|session| session.allocate(alloc.size, alloc.align));
        match pending {
            Ok(pending) => {
                let reply = pending.reply();
                alloc.handle = reply.handle.to_bits();
                alloc.offset = uapi::offset(reply.offset);
                alloc.usable = reply.usable as u64;
                alloc.cost = reply.cost.into();
                exchange.reply(&alloc)?;
                pending.publish();
                Ok(())
            }
            Err(denied) => refuse(denied, exchange, alloc, |alloc| &mut alloc.cost),
        }
    }

    /// Frees a block; the argument is its handle.
    fn free(&self, argument: usize) -> Result<isize> {
        self.session()
            .and_then(|session| session.free(handle(argument)?))
            .map_err(error)?;
        Ok(0)
    }

    /// Changes a block's size, and undoes that if the reply cannot be written.
    fn realloc(&self, argument: usize, bytes: usize) -> Result {
        let (mut realloc, exchange) = Exchange::begin::<slablab_realloc>(argument, bytes)?;
        expect(realloc.flags == 0)?;
        let pending = self
            .session()
            .and_then(|session| session.reallocate(handle(realloc.handle as usize)?, realloc.size));
        match pending {
            Ok(pending) => {
                let reply = pending.reply();
                realloc.offset = uapi::offset(reply.offset);
                realloc.usable = reply.usable as u64;
                realloc.cost = reply.cost.into();
                exchange.reply(&realloc)?;
                pending.publish();
                Ok(())
            }
            Err(denied) => refuse(denied, exchange, realloc, |realloc| &mut realloc.cost),
        }
    }

    /// Tells what there is, and what the file has.
    fn info(&self, argument: usize, bytes: usize) -> Result {
        let (info, exchange) = Exchange::begin::<slablab_info>(argument, bytes)?;
        expect(info.flags == 0)?;
        let (bound, limits) = (self.bound.as_ref(), self.lab.limits());
        let pool = self.pool_of(bound);
        exchange.reply(&slablab_info {
            flags: 0,
            abi_version: SLABLAB_ABI_VERSION,
            engines: EngineKind::ALL
                .iter()
                .fold(0, |bits, kind| bits | 1 << number(*kind)),
            engine: number(pool.kind()),
            capabilities: uapi::capabilities(pool.engine().capabilities()),
            bind_flags: bound.map_or(0, |bound| bound.flags),
            pool_bytes: pool.engine().capacity() as u64,
            regions: pool.regions(),
            page_bytes: PAGE_SIZE as u32,
            session_bytes_max: limits.bytes as u64,
            session_handles_max: limits.handles.into(),
            private_bytes_max: self.lab.private_bytes().max() as u64,
            private_bytes_used: self.lab.private_bytes().used() as u64,
            sessions_max: self.lab.sessions().max() as u32,
            sessions_used: self.lab.sessions().used() as u32,
        })
    }

    /// Gives the file a session, if it has none.
    fn bind(&self, argument: usize, bytes: usize) -> Result {
        let (bind, exchange) = Exchange::begin::<slablab_bind>(argument, bytes)?;
        let private = bind.flags & SLABLAB_BIND_PRIVATE != 0;
        expect(bind.flags & !SLABLAB_BIND_PRIVATE == 0 && bind.reserved == [0; 2])?;
        expect(private == (bind.pool_bytes != 0))?;
        let kind = kind(bind.engine)?;
        if self.bound.as_ref().is_some() {
            return Err(EBUSY);
        }
        let shared = self.lab.shared(kind);
        let pool = if private {
            if !shared.capabilities().pool {
                return Err(EOPNOTSUPP);
            }
            let budget = self.lab.private_bytes().clone();
            let bytes = usize::try_from(bind.pool_bytes).map_err(|_| EINVAL)?;
            PoolRef::new(kind, bytes, Some(budget))?
        } else {
            shared.clone()
        };
        exchange.reply(&bind)?;
        if self.begin(pool, bind.flags)? {
            Ok(())
        } else {
            Err(EBUSY)
        }
    }

    /// Tells figures of the pool, and the session's own.
    fn stats(&self, argument: usize, bytes: usize) -> Result {
        // On the heap: it is too large for a small stack.
        let mut stats = KBox::new(slablab_stats::default(), GFP_KERNEL)?;
        let exchange = Exchange::begin_into(&mut *stats, argument, bytes)?;
        expect(stats.flags == 0)?;
        // Nothing of what the program sent goes back to it.
        *stats = slablab_stats::default();
        let bound = self.bound.as_ref();
        let pool = self.pool_of(bound);
        stats.engine = number(pool.kind());
        pool.engine().visit(&mut *stats);
        stats.set_session(&bound.map(|bound| bound.session.tally()).unwrap_or_default());
        exchange.reply(&*stats)
    }

    /// Walks what the pool's engine keeps.
    fn check(&self, argument: usize, bytes: usize) -> Result {
        let (check, exchange) = Exchange::begin::<slablab_check>(argument, bytes)?;
        expect(check.flags == 0 && check.reserved == 0)?;
        let pool = self.pool_of(self.bound.as_ref());
        if !pool.engine().capabilities().pool {
            return Err(EOPNOTSUPP);
        }
        let mut walk = Walk::new();
        let broken = loop {
            match pool.engine().check(&mut walk) {
                Ok(Progress::More) if current!().signal_pending() => return Err(ERESTARTSYS),
                Ok(Progress::More) => {}
                Ok(Progress::Sound) => break None,
                Ok(Progress::Disturbed) => return Err(EAGAIN),
                Err(broken) => break Some(broken),
            }
        };
        exchange.reply(&check_reply(broken, walk.walked()))
    }

    /// Adds a region to the pool.
    fn extend(&self, argument: usize, bytes: usize) -> Result {
        if !is_admin() {
            return Err(EPERM);
        }
        let (mut extend, exchange) = Exchange::begin::<slablab_extend>(argument, bytes)?;
        expect(extend.flags == 0 && extend.reserved == 0)?;
        let bytes = usize::try_from(extend.bytes).map_err(|_| EINVAL)?;
        self.pool_of(self.bound.as_ref())
            .extend(bytes, |region, pool_bytes| {
                extend.region = region;
                extend.pool_bytes = pool_bytes as u64;
                exchange.reply(&extend)
            })
    }

    /// Has the engine give back what it keeps.
    fn shrink(&self, argument: usize, bytes: usize) -> Result {
        let (mut shrink, exchange) = Exchange::begin::<slablab_shrink>(argument, bytes)?;
        expect(shrink.flags == 0 && shrink.reserved == 0)?;
        let engine = self.pool_of(self.bound.as_ref()).engine();
        if !engine.capabilities().pool {
            return Err(EOPNOTSUPP);
        }
        shrink.bytes = engine.drain() as u64;
        shrink.free_bytes = uapi::free_bytes(engine);
        exchange.reply(&shrink)
    }

    /// Tells what the pages of a region are.
    fn map(&self, argument: usize, bytes: usize) -> Result {
        let (mut map, exchange) = Exchange::begin::<slablab_map>(argument, bytes)?;
        expect(map.flags == 0 && map.reserved == 0)?;
        expect((1..=SLABLAB_MAP_EXTENTS_MAX).contains(&map.count))?;
        let bound = self.bound.as_ref();
        let engine = self.pool_of(bound).engine();
        if !engine.capabilities().map {
            return Err(EOPNOTSUPP);
        }
        // In a shared pool, the map tells of others.
        let own = bound.is_some_and(|bound| bound.flags & SLABLAB_BIND_PRIVATE != 0);
        if !own && !is_admin() {
            return Err(EPERM);
        }
        let room = map.count as usize;
        let address = usize::try_from(map.extents).map_err(|_| EFAULT)?;
        let there = UserSlice::new(
            UserPtr::from_addr(address),
            room * size_of::<slablab_extent>(),
        );
        let mut writer = there.writer();
        // What the engine tells under its lock is copied out without it.
        let mut part = KVec::from_elem(Extent::default(), room.min(MAP_PART), GFP_KERNEL)?;
        map.count = 0;
        loop {
            let wanted = part.len().min(room - map.count as usize);
            let told = engine.map(map.region as usize, map.page, &mut part[..wanted]);
            let mapped = told.map_err(no_map)?;
            for extent in &part[..mapped.extents] {
                writer.write(&slablab_extent::from(*extent))?;
            }
            map.page = mapped.next;
            map.count += mapped.extents as u32;
            if mapped.next == mapped.end || map.count as usize == room {
                break;
            }
            if current!().signal_pending() {
                return Err(ERESTARTSYS);
            }
        }
        exchange.reply(&map)
    }

    /// Pins the block that a file position is in.
    fn pinned(&self, position: i64) -> Result<Pinned<'_, PoolRef, LedgerLock, Tables>> {
        let handle = handle((position >> SLABLAB_POSITION_HANDLE_SHIFT) as usize);
        self.session()
            .and_then(|session| session.pin(handle?))
            .map_err(error)
    }
}

/// Says whether the caller may administer the machine.
fn is_admin() -> bool {
    #[cfg(CONFIG_MULTIUSER)]
    // SAFETY: The function asks about the current task, and may be asked for any capability.
    return unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as c_int) };

    // Without users everybody may do everything, and the function is not there to be asked.
    #[cfg(not(CONFIG_MULTIUSER))]
    true
}

/// Returns the byte of a block that a file position means.
fn byte(position: i64) -> usize {
    (position & ((1 << SLABLAB_POSITION_HANDLE_SHIFT) - 1)) as usize
}

/// Ends a transfer of `copied` bytes of the `wanted`.
fn transferred<T: ForeignOwnable>(
    kiocb: &mut Kiocb<'_, T>,
    wanted: usize,
    copied: usize,
) -> Result<usize> {
    if copied == 0 && wanted != 0 {
        return Err(EFAULT);
    }
    *kiocb.ki_pos_mut() += copied as i64;
    Ok(copied)
}

/// Returns [`EINVAL`] unless what is expected of an argument is so.
fn expect(so: bool) -> Result {
    if so { Ok(()) } else { Err(EINVAL) }
}

/// Returns the handle that a number from a program stands for.
fn handle(bits: usize) -> Result<Handle, Denied> {
    u32::try_from(bits)
        .ok()
        .and_then(Handle::from_bits)
        .ok_or(Denied::NoSuchBlock)
}

/// Returns the error number for what a session denies.
fn error(denied: Denied) -> Error {
    Error::from_errno(-denied.errno())
}

/// Returns the error number for a map that there is not.
fn no_map(why: NoMap) -> Error {
    match why {
        NoMap::Unsupported => EOPNOTSUPP,
        NoMap::NoSuchRegion => ENXIO,
    }
}

/// Tells the program the cause of a refusal, if there is one, and returns the error number.
fn refuse<T: Argument>(
    denied: Denied,
    exchange: Exchange,
    mut argument: T,
    cost: impl FnOnce(&mut T) -> &mut slablab_cost,
) -> Result {
    if let Some(cause) = denied.cause() {
        *cost(&mut argument) = cause.into();
        exchange.reply(&argument)?;
    }
    Err(error(denied))
}

/// Returns an engine's number in the ABI.
fn number(kind: EngineKind) -> u32 {
    match kind {
        EngineKind::Seed => SLABLAB_ENGINE_SEED,
        EngineKind::Hybrid => SLABLAB_ENGINE_HYBRID,
        EngineKind::Slub => SLABLAB_ENGINE_SLUB,
    }
}

/// Returns the engine with a number.
fn kind(number: u32) -> Result<EngineKind> {
    match number {
        SLABLAB_ENGINE_DEFAULT => Ok(DEFAULT_ENGINE),
        SLABLAB_ENGINE_SEED => Ok(EngineKind::Seed),
        SLABLAB_ENGINE_HYBRID => Ok(EngineKind::Hybrid),
        SLABLAB_ENGINE_SLUB => Ok(EngineKind::Slub),
        _ => Err(EINVAL),
    }
}
