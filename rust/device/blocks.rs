// SPDX-License-Identifier: GPL-2.0

//! ALLOC, FREE, REALLOC, `pread` and `pwrite`: the commands on blocks.

use kernel::{
    bindings,
    fs::Kiocb,
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*,
    types::ForeignOwnable, //
};
use slab_session::{
    EventKind,
    Handle,
    PIECE,
    Pinned,
    SessionError, //
};

use super::{
    OpenFile,
    ensure,
    error, //
};
use crate::{
    argument::IoctlArg,
    session_platform::KernelPlatform,
    signals,
    uapi::{
        self,
        *, //
    }, //
};

impl OpenFile {
    /// Allocates a block, and frees it if the reply cannot be written.
    pub(super) fn alloc(&self, argument: usize, bytes: usize) -> Result {
        // The argument is read in place, because this is the most frequent command.
        let mut alloc = slablab_alloc::default();
        let arg = IoctlArg::read_into(&mut alloc, argument, bytes)?;
        ensure(alloc.flags == 0)?;
        let session = match self.get_or_bind(alloc.size, alloc.align) {
            Ok(session) => session,
            Err(denied) => return refuse(denied, arg, &mut alloc, |alloc| &mut alloc.cost),
        };
        match session.allocate(alloc.size, alloc.align) {
            Ok(reply) => {
                alloc.handle = reply.handle.to_bits();
                alloc.offset = uapi::offset(reply.offset);
                alloc.usable = reply.usable as u64;
                alloc.cost = reply.cost.into();
                arg.reply(&alloc)
                    .inspect_err(|_| session.revoke(reply.handle))
            }
            Err(denied) => refuse(denied, arg, &mut alloc, |alloc| &mut alloc.cost),
        }
    }

    /// Frees a block; the argument is its handle.
    #[inline]
    pub(super) fn free(&self, argument: usize) -> Result {
        self.session()
            .and_then(|session| {
                session.free(session.parse_handle(argument as u64, EventKind::Free, 0)?)
            })
            .map_err(error)?;
        Ok(())
    }

    /// Resizes a block, and rolls the change back if the reply cannot be written.
    pub(super) fn realloc(&self, argument: usize, bytes: usize) -> Result {
        let (mut realloc, arg) = IoctlArg::read::<slablab_realloc>(argument, bytes)?;
        ensure(realloc.flags == 0)?;
        let pending = self.session().and_then(|session| {
            let handle =
                session.parse_handle(realloc.handle.into(), EventKind::Reallocate, realloc.size)?;
            session.reallocate(handle, realloc.size)
        });
        match pending {
            Ok(pending) => {
                let reply = pending.reply();
                realloc.offset = uapi::offset(reply.offset);
                realloc.usable = reply.usable as u64;
                realloc.cost = reply.cost.into();
                arg.reply(&realloc)?;
                pending.commit();
                Ok(())
            }
            Err(denied) => refuse(denied, arg, &mut realloc, |realloc| &mut realloc.cost),
        }
    }

    /// Pins the block that a file position addresses.
    fn pinned(&self, position: i64) -> Result<Pinned<'_, KernelPlatform>> {
        let handle = handle((position >> SLABLAB_POSITION_HANDLE_SHIFT) as usize);
        self.session()
            .and_then(|session| session.pin(handle?))
            .map_err(error)
    }
}

/// Implements `pread`: reads bytes of the block at the file position.
pub(super) fn read(
    mut kiocb: Kiocb<'_, Pin<KBox<OpenFile>>>,
    iov: &mut IovIterDest<'_>,
) -> Result<usize> {
    let file = kiocb.file();
    let pinned = file.pinned(kiocb.ki_pos())?;
    let (start, bytes) = pinned.bytes_from(byte(kiocb.ki_pos())).map_err(error)?;
    let wanted = bytes.min(iov.len());
    // `IovIterDest::copy_to_iter` cannot be used: it requires a slice, and no slice may exist while another
    // thread can write to the block with `pwrite`.
    let copied = in_pieces(wanted, |done, piece| {
        // SAFETY: `add` requires a result in the same block: the pinned block has `wanted` bytes from `start` on,
        // and `done` is less than `wanted`.
        let from = unsafe { start.add(done) };
        // SAFETY: `_copy_to_iter` requires `piece` readable bytes and a valid iterator: the pinned block has
        // `piece` bytes from `from` on, and the iterator is valid by its type. The function tolerates concurrent
        // writes to the memory that it copies.
        unsafe { bindings::_copy_to_iter(from.as_ptr().cast(), piece, iov.as_raw()) }
    })?;
    transferred(&mut kiocb, wanted, copied)
}

/// Implements `pwrite`: writes bytes of the block at the file position.
pub(super) fn write(
    mut kiocb: Kiocb<'_, Pin<KBox<OpenFile>>>,
    iov: &mut IovIterSource<'_>,
) -> Result<usize> {
    let file = kiocb.file();
    let pinned = file.pinned(kiocb.ki_pos())?;
    let (start, bytes) = pinned.bytes_from(byte(kiocb.ki_pos())).map_err(error)?;
    let wanted = bytes.min(iov.len());
    let copied = in_pieces(wanted, |done, piece| {
        // SAFETY: `add` requires a result in the same block: the pinned block has `wanted` bytes from `start` on,
        // and `done` is less than `wanted`.
        let to = unsafe { start.add(done) };
        // SAFETY: `_copy_from_iter` requires `piece` writable bytes and a valid iterator: the pinned block has
        // `piece` bytes from `to` on, and the iterator is valid by its type. Other users of the memory have no
        // references to it, and only copy it as this function does.
        unsafe { bindings::_copy_from_iter(to.as_ptr().cast(), piece, iov.as_raw()) }
    })?;
    transferred(&mut kiocb, wanted, copied)
}

/// Copies `wanted` bytes in pieces, and checks for a fatal signal before each piece. Returns the number of bytes
/// that were copied.
///
/// `copy` gets the number of bytes copied so far and the size of the next piece, and returns the number of
/// bytes of the piece that it copied.
///
/// # Errors
///
/// [`EINTR`] for a fatal signal before the first piece.
fn in_pieces(wanted: usize, mut copy: impl FnMut(usize, usize) -> usize) -> Result<usize> {
    let mut done = 0;
    while done < wanted {
        if signals::is_fatal_pending() {
            return if done == 0 { Err(EINTR) } else { Ok(done) };
        }
        let piece = PIECE.min(wanted - done);
        let copied = copy(done, piece);
        done += copied;
        if copied < piece {
            break;
        }
    }
    Ok(done)
}

/// Returns the byte within the block that a file position addresses.
fn byte(position: i64) -> usize {
    (position & ((1 << SLABLAB_POSITION_HANDLE_SHIFT) - 1)) as usize
}

/// Completes a transfer that copied `copied` of `wanted` bytes: advances the file position.
///
/// # Errors
///
/// [`EFAULT`] when no byte was copied, but at least one was wanted.
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

/// Returns the handle with the number `bits`, if any handle has this number.
pub(super) fn handle(bits: usize) -> Result<Handle, SessionError> {
    u32::try_from(bits)
        .ok()
        .and_then(Handle::from_bits)
        .ok_or(SessionError::NoSuchBlock)
}

/// Returns the error number of a failed request. If the request was refused for a cause, writes the cause into
/// the reply.
#[cold]
fn refuse<T: Argument>(
    denied: SessionError,
    arg: IoctlArg,
    argument: &mut T,
    cost: impl FnOnce(&mut T) -> &mut slablab_cost,
) -> Result {
    if denied.cause().is_some() {
        *cost(argument) = denied.into();
        arg.reply(argument)?;
    }
    Err(error(denied))
}
