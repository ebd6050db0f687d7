// SPDX-License-Identifier: GPL-2.0

//! A process that executes its calls until all are done or it is killed.

use std::{
    io::{
        self,
        IoSlice,
        IoSliceMut, //
    },
    mem::MaybeUninit,
    os::fd::{
        AsFd,
        AsRawFd,
        BorrowedFd,
        OwnedFd, //
    },
    ptr,
    time::Instant,
};

use rustix::{
    event::{
        PollFd,
        PollFlags,
        Timespec,
        poll, //
    },
    mm::{
        MapFlags,
        ProtFlags,
        munmap, //
    },
    net::{
        RecvAncillaryBuffer,
        RecvAncillaryMessage,
        RecvFlags,
        SendAncillaryBuffer,
        SendAncillaryMessage,
        SendFlags,
        recvmsg,
        sendmsg, //
    },
    process::{
        Pid,
        Signal,
        Uid,
        WaitOptions,
        getuid,
        kill_process,
        waitpid, //
    },
    thread::set_thread_res_uid,
};

use super::{
    call::{
        FuzzCall,
        FuzzStep,
        HandleField,
        Ioctl,
        Position,
        SLOTS, //
    },
    reply_counts::{
        ProcessEvent,
        ReplyCounts, //
    },
    scratch_memory::{
        ARRAY,
        ArgumentPlace,
        ScratchMemory, //
    },
};
use crate::{
    device::{
        Device,
        Errno,
        position,
        raw_ioctl,
        request, //
    },
    sim::Pool,
    target::Target,
    uapi::{
        self,
        Engine,
        slablab_alloc,
        slablab_operation, //
    },
};

/// The maximum number of handles that are remembered for a session.
const HANDLES: usize = 64;

/// The steps of a forked child.
const CHILD_STEPS: u64 = 40;

/// A user without privilege.
const NOBODY: u32 = 1000;

/// Functions of the C library that the standard library already links.
mod c {
    use std::ffi::{
        c_int,
        c_void, //
    };

    unsafe extern "C" {
        pub(super) fn fork() -> c_int;
        pub(super) fn _exit(status: c_int) -> !;
        pub(super) fn lseek64(file: c_int, offset: i64, whence: c_int) -> i64;
        pub(super) fn pread64(file: c_int, to: *mut c_void, len: usize, position: i64) -> isize;
        pub(super) fn pwrite64(
            file: c_int,
            from: *const c_void,
            len: usize,
            position: i64,
        ) -> isize;
    }
}

/// Converts the result of a function of the C library to an answer.
fn answer(result: i64) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

/// An open file, and the handles of its blocks as far as they are known.
struct FuzzSession {
    file: OwnedFd,
    handles: Vec<u32>,
}

impl FuzzSession {
    /// Opens the session of a slot. Each slot has another combination of engine and kind of pool.
    fn open(slot: usize) -> Result<Self, Errno> {
        const POOL_BYTES: u64 = 1 << 20;
        let device = Device::open()?;
        let private = [0, uapi::SLABLAB_BIND_DEBUG].map(|mode| uapi::SLABLAB_BIND_PRIVATE | mode);
        let pools = Pool::ENGINES
            .into_iter()
            .flat_map(|engine| private.map(|flags| (engine, flags, POOL_BYTES)));
        let mut kinds = [(Engine::Seed, 0, 0), (Engine::Slub, 0, 0)]
            .into_iter()
            .chain(pools);
        // The session of the last slot stays unbound: its calls bind it.
        if let Some((engine, flags, pool_bytes)) = kinds.nth(slot) {
            device.bind(engine.raw(), flags, pool_bytes)?;
        }
        Ok(Self {
            file: device.into(),
            handles: Vec::new(),
        })
    }

    /// Returns one of the known handles. If none is known, returns a number that probably names no block.
    fn handle(&self, pick: usize) -> u32 {
        match pick.checked_rem(self.handles.len()) {
            Some(n) => self.handles[n],
            None => pick as u32,
        }
    }

    fn learn(&mut self, handle: u32) {
        if self.handles.len() == HANDLES {
            self.handles.remove(0);
        }
        self.handles.push(handle);
    }

    fn position(&self, place: Position) -> i64 {
        match place {
            Position::Block(pick, byte) => position(self.handle(pick), byte) as i64,
            Position::Any(position) => position as i64,
        }
    }
}

/// A process that makes calls.
pub(super) struct FuzzWorker {
    seed: u64,
    process: usize,
    counts: ReplyCounts,
    scratch: ScratchMemory,
    sessions: [Option<FuzzSession>; SLOTS],
    is_root: bool,
    children: Vec<Pid>,
}

impl FuzzWorker {
    /// Prepares to make the calls of a process. Standard input and standard output must be the two ends of
    /// a socket that all processes share.
    pub(super) fn new(seed: u64, process: usize, counts: ReplyCounts) -> io::Result<Self> {
        Ok(Self {
            seed,
            process,
            counts,
            scratch: ScratchMemory::map()?,
            sessions: [const { None }; SLOTS],
            is_root: getuid().is_root(),
            children: Vec::new(),
        })
    }

    /// Makes the calls of the remaining steps below `end`.
    pub(super) fn work(&mut self, end: u64) -> io::Result<()> {
        loop {
            let n = self.counts.next_step(self.process);
            if n >= end {
                break;
            }
            let step = FuzzStep::new(self.seed, self.process as u64, n);
            if step.forked {
                self.fork(n)?;
            }
            self.step(step)?;
        }
        for child in self.children.drain(..) {
            waitpid(Some(child), WaitOptions::empty())?;
        }
        Ok(())
    }

    /// Forks a child that uses the same open files. Waits for the previous child first, and kills it if `n` is even.
    fn fork(&mut self, n: u64) -> io::Result<()> {
        if let Some(child) = self.children.pop() {
            if n % 2 == 0 {
                kill_process(child, Signal::KILL)?;
                self.counts.happened(ProcessEvent::Kill);
            }
            waitpid(Some(child), WaitOptions::empty())?;
        }
        // SAFETY: The process has one thread, so no lock is held by another thread at the fork, and the
        // child may call any function.
        match unsafe { c::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {
                self.children.clear();
                let seed = self.seed ^ n;
                let steps = (0..CHILD_STEPS).map(|k| FuzzStep::new(seed, !0, k));
                let done = steps
                    .filter(|step| step.call != FuzzCall::Pass)
                    .try_for_each(|step| self.step(step));
                // SAFETY: `_exit` has no requirements. No destructor of the child has to run: the kernel
                // closes its files and frees its memory.
                unsafe { c::_exit(i32::from(done.is_err())) };
            }
            child => self.children.extend(Pid::from_raw(child)),
        }
        self.counts.happened(ProcessEvent::Fork);
        Ok(())
    }

    /// Makes a call and counts the answer.
    fn step(&mut self, step: FuzzStep) -> io::Result<()> {
        self.counts.happened(ProcessEvent::Begun);
        let kind = step.call.kind();
        let as_nobody = step.as_nobody && self.is_root && step.call != FuzzCall::Open;
        if as_nobody {
            let user = Uid::from_raw(NOBODY);
            set_thread_res_uid(Uid::ROOT, user, Uid::ROOT)?;
        }
        let begin = Instant::now();
        let answer = self.call(step.slot, step.call);
        let took = begin.elapsed();
        if as_nobody {
            set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
        }
        self.counts.answered(kind, step.made, answer, took);
        Ok(())
    }

    fn call(&mut self, slot: usize, call: FuzzCall) -> Result<(), Errno> {
        match call {
            FuzzCall::Open => {
                self.sessions[slot] = Some(FuzzSession::open(slot)?);
                return Ok(());
            }
            FuzzCall::Close => {
                self.sessions[slot] = None;
                return Ok(());
            }
            FuzzCall::Pass => return self.pass(slot),
            _ => {}
        }
        if self.sessions[slot].is_none() {
            self.sessions[slot] = Some(FuzzSession::open(slot)?);
        }
        let Some(session) = &mut self.sessions[slot] else {
            return Err(Errno::BADF);
        };
        match call {
            FuzzCall::Ioctl(ioctl) => send(session, &mut self.scratch, ioctl),
            FuzzCall::Free(pick) => {
                let handle = session.handle(pick);
                session.handles.retain(|other| *other != handle);
                // SAFETY: FREE takes its argument by value, for which any value is allowed.
                unsafe { raw_ioctl(session.file.as_fd(), request::FREE, handle as usize) }.map(drop)
            }
            FuzzCall::Read(at, len, place) => {
                let to = self.scratch.put(&[], place);
                let (file, at) = (session.file.as_raw_fd(), session.position(at));
                // SAFETY: `to` is an address in the scratch memory or an address without memory. The kernel
                // writes from `to` on, up to the first inaccessible page, and each part of the scratch
                // memory ends at such a page. No reference points into the scratch memory.
                answer(
                    unsafe { c::pread64(file, ptr::with_exposed_provenance_mut(to), len, at) }
                        as i64,
                )
            }
            FuzzCall::Write(at, bytes, place) => {
                let from = self.scratch.put(&bytes, place);
                let (file, at) = (session.file.as_raw_fd(), session.position(at));
                let from = ptr::with_exposed_provenance(from);
                // SAFETY: `pwrite64` only reads memory of the process. From an address without memory, the
                // call fails with EFAULT.
                answer(unsafe { c::pwrite64(file, from, bytes.len(), at) } as i64)
            }
            FuzzCall::Seek(whence, offset) => {
                // SAFETY: `lseek64` accesses no memory of the process.
                answer(unsafe { c::lseek64(session.file.as_raw_fd(), offset, whence.into()) })
            }
            FuzzCall::Poll(events) => {
                let events = PollFlags::from_bits_retain(events);
                let mut files = [PollFd::new(&session.file, events)];
                poll(&mut files, Some(&Timespec::default())).map(drop)
            }
            FuzzCall::Map(at, len, access) => {
                let at = session.position(at) as u64;
                map(session.file.as_fd(), at, len, access)
            }
            FuzzCall::Open | FuzzCall::Close | FuzzCall::Pass => Ok(()),
        }
    }

    /// Receives an open file from the socket, if one was sent, and sends the file of `slot`.
    fn pass(&mut self, slot: usize) -> Result<(), Errno> {
        if let Some(session) = receive(io::stdin().as_fd())? {
            self.counts.happened(ProcessEvent::Received);
            self.sessions[(slot + 1) % SLOTS] = Some(session);
        }
        let Some(session) = &self.sessions[slot] else {
            return Ok(());
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        let files = [session.file.as_fd()];
        message.push(SendAncillaryMessage::ScmRights(&files));
        let handles: Vec<u8> = session
            .handles
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let content = [IoSlice::new(b"!"), IoSlice::new(&handles)];
        sendmsg(io::stdout(), &content, &mut message, SendFlags::DONTWAIT).map(drop)
    }
}

/// Receives an open file from a socket. Returns `None` if none was sent.
fn receive(socket: BorrowedFd<'_>) -> Result<Option<FuzzSession>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 1 + 4 * HANDLES];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let len = match recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut message,
        flags,
    ) {
        Err(Errno::AGAIN) => return Ok(None),
        received => received?.bytes,
    };
    let mut files = message.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    let handles = bytes[..len].get(1..).unwrap_or_default().chunks_exact(4);
    let handle = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(files.next().map(|file| FuzzSession {
        file,
        handles: handles.map(handle).collect(),
    }))
}

/// Sends a request, and remembers the handles in the reply.
fn send(
    session: &mut FuzzSession,
    scratch: &mut ScratchMemory,
    mut ioctl: Ioctl,
) -> Result<(), Errno> {
    let name = |bytes: &mut [u8], handles: &[HandleField]| {
        for field in handles {
            let handle = session.handle(field.pick).to_le_bytes();
            bytes[field.at..field.at + 4].copy_from_slice(&handle);
        }
    };
    name(&mut ioctl.argument, &ioctl.handles);
    name(&mut ioctl.array, &ioctl.array_handles);
    scratch.put_array(&ioctl.array);
    let address = scratch.put(&ioctl.argument, ioctl.place);
    // SAFETY: `address`, and the address of the array in the argument, are exposed addresses of the scratch
    // memory, which the kernel may read and write: no reference points into it. Every other address that is
    // chosen is one without memory, and random bits cannot be expected to name memory of the process.
    unsafe { raw_ioctl(session.file.as_fd(), ioctl.request, address) }?;
    if ioctl.place == ArgumentPlace::Whole {
        let handles = match ioctl.request {
            request::ALLOC => vec![address + std::mem::offset_of!(slablab_alloc, handle)],
            request::SUBMIT => (ARRAY..ARRAY + ioctl.array.len())
                .step_by(size_of::<slablab_operation>())
                .map(|operation| operation + std::mem::offset_of!(slablab_operation, handle))
                .collect(),
            _ => Vec::new(),
        };
        for handle in handles
            .into_iter()
            .filter_map(|address| scratch.load(address))
        {
            session.learn(handle);
        }
    }
    Ok(())
}

/// Maps a part of the file, and unmaps it.
fn map(file: BorrowedFd<'_>, at: u64, len: usize, access: u8) -> Result<(), Errno> {
    let protection = ProtFlags::from_bits_retain(u32::from(access) & 7);
    let flags = if access & 8 == 0 {
        MapFlags::SHARED
    } else {
        MapFlags::PRIVATE
    };
    // SAFETY: The kernel chooses the address, so the mapping replaces no other; nothing accesses it.
    let start = unsafe { rustix::mm::mmap(ptr::null_mut(), len, protection, flags, file, at) }?;
    // SAFETY: `start` and `len` are the mapping above, and no reference into it exists.
    unsafe { munmap(start, len) }
}
