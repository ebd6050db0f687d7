// SPDX-License-Identifier: GPL-2.0

//! `/dev/slablab`.
//!
//! An ioctl has a method, in the file of its concern, that reads the argument, lets the session or
//! the pool do the work, and writes the reply. What is decided in these files is which session a
//! file has, and which error number a program is told.

// Lock order: `OpenFile::bind_lock` (a mutex) is taken to give a file its session, and nothing is
// taken under it. The locks of sessions and pools are taken by these. The mmap hook runs under the
// program's `mmap_lock` and takes the session's lock, a spinlock, and nothing else; user memory is
// touched under neither of these two.

mod blocks;
mod debug;
mod events;
mod fail;
mod inspection;
mod mapping;
mod pools;
mod submit;

use kernel::{
    bindings,
    fs::{
        File,
        Kiocb,
        file::flags, //
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
    mm::virt::VmaNew,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SetOnce,
        SpinLock, //
    }, //
};
use slab_session::{
    Denied,
    Ledger,
    validate, //
};

use crate::{
    bench::Bench,
    budget::Lease,
    lock::BoxedSpinLock,
    pool::{
        Pool,
        PoolRef, //
    },
    session_memory::SessionMemory,
    shared::{
        DEFAULT_ENGINE,
        Shared, //
    },
    uapi::*, //
};

/// The lock around a session's books.
type LedgerLock = BoxedSpinLock<Ledger<SessionMemory>>;

/// A session in the kernel.
type Session = slab_session::Session<PoolRef, LedgerLock, SessionMemory>;

/// A session, and whether its pool is its own.
struct BoundSession {
    session: Session,
    flags: u32,
}

/// The bytes that an open file takes beside its tables and events, in the sizes of the kernel's slabs.
const SESSION_BYTES: usize = size_of::<OpenFile>().next_power_of_two()
    + size_of::<SpinLock<Ledger<SessionMemory>>>().next_power_of_two();

/// One open file.
#[pin_data]
pub(crate) struct OpenFile {
    bound: SetOnce<BoundSession>,
    #[pin]
    bind_lock: Mutex<()>,
    #[pin]
    bench: Bench,
    shared: Arc<Shared>,
    _registration: Lease,
}

#[vtable]
impl MiscDevice for OpenFile {
    type Ptr = Pin<KBox<Self>>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        let shared = Shared::current()?;
        let registration = shared.register_session()?;
        KBox::try_pin_init(
            try_pin_init!(Self {
                bound: SetOnce::new(),
                bind_lock <- new_mutex!((), "slablab_binding"),
                bench <- Bench::new(),
                shared,
                _registration: registration,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    // In its caller, which is a function for just this; what is called most is looked for first.
    #[inline(always)]
    fn ioctl(me: Pin<&Self>, file: &File, command: u32, argument: usize) -> Result<isize> {
        let may_change = is_open_for_writing(file);
        let done = match command {
            SLABLAB_FREE if may_change => me.free(argument),
            SLABLAB_ALLOC if may_change => me.alloc(argument, size_of::<slablab_alloc>()),
            SLABLAB_FREE => Err(EBADF),
            _ => me.dispatch(command, argument, may_change),
        };
        done.map(|()| 0)
    }

    fn read_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        blocks::read(kiocb, iov)
    }

    fn write_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        blocks::write(kiocb, iov)
    }

    fn mmap(me: Pin<&Self>, _file: &File, area: &VmaNew) -> Result {
        me.mmap(area)
    }
}

impl OpenFile {
    /// Carries out any command; `may_change` says whether the file is open for writing.
    #[inline(never)]
    fn dispatch(&self, command: u32, argument: usize, may_change: bool) -> Result {
        // The size is the program's to choose; type, direction and number are the command.
        let direction = _IOC_DIR(SLABLAB_INFO);
        if _IOC_TYPE(command) != SLABLAB_IOC_TYPE || _IOC_DIR(command) != direction {
            return Err(ENOTTY);
        }
        let bytes = _IOC_SIZE(command);
        let number = _IOC_NR(command);
        if changes(number) && !may_change {
            return Err(EBADF);
        }
        match number {
            SLABLAB_NR_ALLOC => self.alloc(argument, bytes),
            SLABLAB_NR_REALLOC => self.realloc(argument, bytes),
            SLABLAB_NR_INFO => self.info(argument, bytes),
            SLABLAB_NR_BIND => self.bind(argument, bytes),
            SLABLAB_NR_STATS => self.stats(argument, bytes),
            SLABLAB_NR_CHECK => self.check(argument, bytes),
            SLABLAB_NR_EXTEND => self.extend(argument, bytes),
            SLABLAB_NR_SHRINK => self.shrink(argument, bytes),
            SLABLAB_NR_MAP => self.map(argument, bytes),
            SLABLAB_NR_SUBMIT => self.submit(argument, bytes),
            SLABLAB_NR_BENCH => {
                let pools = self.shared.private_bytes();
                self.bench.run(pools, is_admin(), argument, bytes)
            }
            SLABLAB_NR_INJECT => self.inject(argument, bytes),
            SLABLAB_NR_REPORTS => self.reports(argument, bytes),
            SLABLAB_NR_FAIL => self.fail(argument, bytes),
            SLABLAB_NR_EVENTS => self.events(argument, bytes, may_change),
            _ => Err(ENOTTY),
        }
    }

    /// Begins a session on `pool`, unless there is one, and says whether it did.
    ///
    /// Afterwards there is one, whoever began it.
    fn bind_pool(&self, pool: PoolRef, flags: u32) -> Result<bool> {
        let ledger = Ledger::new(self.shared.limits());
        let ledger = BoxedSpinLock::new(new_spinlock!(ledger, "slablab_ledger"))?;
        let tables = SessionMemory::new(self.shared.tables().clone());
        let private = flags & SLABLAB_BIND_PRIVATE != 0;
        // SAFETY: A `PoolRef` leads to the engine of one pool, which keeps it.
        let session = unsafe { Session::new(pool, ledger, tables, private) };
        // `populate` alone would return while another thread is still at it.
        let guard = self.bind_lock.lock();
        let unused = match self.bound.as_ref() {
            Some(_) => Some(session),
            None => {
                self.bound.populate(BoundSession { session, flags });
                None
            }
        };
        drop(guard);
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
    fn get_or_bind(&self, size: u64, align: u64) -> Result<&Session, Denied> {
        match self.bound.as_ref() {
            Some(bound) => Ok(&bound.session),
            None => self.bind_default_and_get(size, align),
        }
    }

    /// Begins a session on the default engine's shared pool.
    #[cold]
    fn bind_default_and_get(&self, size: u64, align: u64) -> Result<&Session, Denied> {
        let pool = self.shared.pool(DEFAULT_ENGINE);
        validate(&**pool, size, align)?;
        self.bind_default().map_err(|_| Denied::NoTable)?;
        self.session()
    }

    /// Begins a session on the default engine's shared pool, unless there is one.
    fn bind_default(&self) -> Result {
        let pool = self.shared.pool(DEFAULT_ENGINE);
        self.bind_pool(pool.clone(), 0).map(|_began| ())
    }

    /// Returns [`EPERM`] unless the caller may look into the pool of the session, and hold up who
    /// else uses it: everybody may in a pool of his own.
    fn ensure_own_pool_or_admin(&self) -> Result {
        let is_own = |bound: &BoundSession| bound.flags & SLABLAB_BIND_PRIVATE != 0;
        if self.bound.as_ref().is_some_and(is_own) || is_admin() {
            Ok(())
        } else {
            Err(EPERM)
        }
    }

    /// Returns the pool that a session has, or will have if it never says.
    fn pool_of<'a>(&'a self, bound: Option<&'a BoundSession>) -> &'a Pool {
        match bound {
            Some(bound) => bound.session.engine().pool(),
            None => self.shared.pool(DEFAULT_ENGINE).pool(),
        }
    }
}

/// Says whether a file is open for writing, which what changes a session or a pool needs.
#[inline(always)]
fn is_open_for_writing(file: &File) -> bool {
    // A file with both bits (access mode 3 of open(2)) can be neither read nor written.
    matches!(
        file.flags() & flags::O_ACCMODE,
        flags::O_WRONLY | flags::O_RDWR
    )
}

/// Says whether the command with a number always changes a session or a pool.
fn changes(number: u32) -> bool {
    matches!(
        number,
        SLABLAB_NR_BIND
            | SLABLAB_NR_ALLOC
            | SLABLAB_NR_FREE
            | SLABLAB_NR_REALLOC
            | SLABLAB_NR_EXTEND
            | SLABLAB_NR_SHRINK
            | SLABLAB_NR_SUBMIT
            | SLABLAB_NR_BENCH
            | SLABLAB_NR_INJECT
            | SLABLAB_NR_FAIL
    )
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

/// Returns [`EINVAL`] unless what is expected of an argument is so.
fn ensure(so: bool) -> Result {
    if so { Ok(()) } else { Err(EINVAL) }
}

/// Returns the error number for what a session denies.
fn error(denied: Denied) -> Error {
    Error::from_errno(-denied.errno())
}
