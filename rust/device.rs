// SPDX-License-Identifier: GPL-2.0

//! `/dev/slablab`.
//!
//! Each ioctl except BENCH is a method of [`OpenFile`] in one of the files of `device/`. The method reads the
//! argument, calls the session or the pool, and writes the reply. These files make two decisions: which
//! session a file has, and which error number a call returns.

// Locks: `OpenFile::bind_lock` (a mutex) serialises the binding of a file to its session. No other lock is
// taken under `bind_lock`. Sessions and pools take their own locks. The mmap hook runs under the program's
// `mmap_lock`, and takes only the session's spinlock. User memory is touched under none of these locks.

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
    SessionError,
    SessionState,
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
    session_platform::{
        KernelPlatform,
        Session, //
    },
    shared::{
        DEFAULT_ENGINE,
        Shared, //
    },
    uapi::*, //
};

/// A session, and the flags of SLABLAB_BIND: whether its pool is private and in debug mode.
struct BoundSession {
    session: Session,
    flags: u32,
}

/// The bytes of an open file without its handle table and events, rounded up to kmalloc sizes.
const SESSION_BYTES: usize = size_of::<OpenFile>().next_power_of_two()
    + size_of::<SpinLock<SessionState<KernelPlatform>>>().next_power_of_two();

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

    // This function is inlined into its only caller, a function of the vtable, and tests the most frequent
    // commands first.
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
    /// Dispatches any command. `may_change` is true if the file is open for writing.
    #[inline(never)]
    fn dispatch(&self, command: u32, argument: usize, may_change: bool) -> Result {
        // Type, direction and number identify the command. The program chooses the size.
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
            SLABLAB_NR_VIOLATION => self.violation(argument, bytes),
            _ => Err(ENOTTY),
        }
    }

    /// Binds the file to a new session on `pool` and returns true, or returns false if the file already has a
    /// session.
    ///
    /// The file has a session afterwards, unless an error is returned.
    fn bind_pool(&self, pool: PoolRef, flags: u32) -> Result<bool> {
        let state = SessionState::new(self.shared.quota());
        let state = BoxedSpinLock::new(new_spinlock!(state, "slablab_session"))?;
        let platform = KernelPlatform::new(self.shared.tables().clone());
        let private = flags & SLABLAB_BIND_PRIVATE != 0;
        let session = Session::new(pool, state, platform, private);
        // The lock makes a second thread wait until `populate` has finished.
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

    /// Returns the session.
    #[inline]
    fn session(&self) -> Result<&Session, SessionError> {
        // A file without a session has no blocks.
        let bound = self.bound.as_ref().ok_or(SessionError::NoSuchBlock)?;
        Ok(&bound.session)
    }

    /// Returns the session for an allocation request. Binds a default session if there is none and the
    /// request is valid.
    #[inline]
    fn get_or_bind(&self, size: u64, align: u64) -> Result<&Session, SessionError> {
        match self.bound.as_ref() {
            Some(bound) => Ok(&bound.session),
            None => self.bind_default_and_get(size, align),
        }
    }

    /// Validates a request, binds a default session and returns it.
    #[cold]
    fn bind_default_and_get(&self, size: u64, align: u64) -> Result<&Session, SessionError> {
        let pool = self.shared.pool(DEFAULT_ENGINE);
        validate(&**pool, size, align)?;
        self.bind_default().map_err(|_| SessionError::NoTable)?;
        self.session()
    }

    /// Binds the file to the default engine's shared pool, unless the file has a session.
    fn bind_default(&self) -> Result {
        let pool = self.shared.pool(DEFAULT_ENGINE);
        self.bind_pool(pool.clone(), 0).map(|_began| ())
    }

    /// Returns [`EPERM`] unless the pool is private to this file or the caller is an administrator:
    /// commands that inspect a shared pool reveal other users' data and delay their requests.
    fn ensure_own_pool_or_admin(&self) -> Result {
        let is_own = |bound: &BoundSession| bound.flags & SLABLAB_BIND_PRIVATE != 0;
        if self.bound.as_ref().is_some_and(is_own) || is_admin() {
            Ok(())
        } else {
            Err(EPERM)
        }
    }

    /// Returns the pool of the session, or the pool that a default session would have.
    fn pool_of<'a>(&'a self, bound: Option<&'a BoundSession>) -> &'a Pool {
        match bound {
            Some(bound) => bound.session.engine().pool(),
            None => self.shared.pool(DEFAULT_ENGINE).pool(),
        }
    }
}

/// Returns whether a file is open for writing, which all commands that change anything require.
#[inline(always)]
fn is_open_for_writing(file: &File) -> bool {
    // A file with both bits (access mode 3 of open(2)) can be neither read nor written.
    matches!(
        file.flags() & flags::O_ACCMODE,
        flags::O_WRONLY | flags::O_RDWR
    )
}

/// Returns whether a command always changes a session or a pool. EVENTS, which reads with one of its
/// operations, is not among these commands.
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

/// Returns whether the caller has CAP_SYS_ADMIN.
fn is_admin() -> bool {
    #[cfg(CONFIG_MULTIUSER)]
    // SAFETY: `capable` may be called in process context, with any valid capability.
    return unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as c_int) };

    // Without CONFIG_MULTIUSER every task has all capabilities, and `capable` does not exist.
    #[cfg(not(CONFIG_MULTIUSER))]
    true
}

/// Returns [`EINVAL`] if a condition on an argument is false.
fn ensure(so: bool) -> Result {
    if so { Ok(()) } else { Err(EINVAL) }
}

/// Returns the error number of a failed session call.
fn error(denied: SessionError) -> Error {
    Error::from_errno(-denied.errno())
}
