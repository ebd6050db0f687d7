// SPDX-License-Identifier: GPL-2.0

//! Zeroing and copying the bytes of blocks.
//!
//! Small blocks are zeroed word by word, without a call of `memset`. Large blocks are zeroed and copied
//! in pieces of [`PIECE`] bytes: between two pieces a pending fatal signal ends the work.

use core::ptr::NonNull;

use crate::{
    error::SessionError,
    state::Platform, //
};

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// The largest block in bytes that is zeroed word by word.
const SMALL: usize = 64;

/// The bytes that are zeroed or copied between two checks for a fatal signal: 16 MiB.
pub const PIECE: usize = 16 << 20;

/// Zeroes `bytes` bytes of a block.
///
/// # Safety
///
/// - The `bytes` bytes at `start` are inside one live block.
/// - Nothing else accesses these bytes during the call.
#[inline(always)]
pub(crate) unsafe fn zero(start: NonNull<u8>, bytes: usize) {
    let words = start.cast::<u64>();
    let is_aligned = words.is_aligned();
    // The writes are volatile so that the compiler does not replace the loop by a call of memset, which
    // costs more than a few writes.
    //
    // SAFETY: `add` requires that the word is inside the same allocation, and `write_volatile` that it is
    // valid for writes and aligned. The loops below pass an index below `bytes / WORD`, the block is live
    // and nothing else accesses it by this function's contract, and `is_aligned` is true.
    let zero = |word| unsafe { words.add(word).write_volatile(0) };
    match bytes {
        // The constant bound lets the compiler unroll the loop for the most frequent size.
        SMALL if is_aligned => (0..SMALL / WORD).for_each(zero),
        0..SMALL if is_aligned && bytes % WORD == 0 => (0..bytes / WORD).for_each(zero),
        // SAFETY: `write_bytes` requires that the range is valid for writes. By this function's
        // contract it is inside a live block, and nothing else accesses it.
        _ => unsafe { start.write_bytes(0, bytes) },
    }
}

/// Calls `act` with the first byte and the length of each piece of `bytes` bytes.
///
/// # Errors
///
/// [`SessionError::Interrupted`], before a piece.
fn for_each_piece<P: Platform>(
    bytes: usize,
    mut act: impl FnMut(usize, usize),
) -> Result<(), SessionError> {
    let mut done = 0;
    while done < bytes {
        if P::interrupted() {
            return Err(SessionError::Interrupted);
        }
        let piece = PIECE.min(bytes - done);
        act(done, piece);
        done += piece;
    }
    Ok(())
}

/// Zeroes `bytes` bytes of a block, in O(`bytes`), unless a fatal signal is pending.
///
/// # Errors
///
/// [`SessionError::Interrupted`]. Some of the bytes may then be zeroed.
///
/// # Safety
///
/// The contract of [`zero`] holds.
pub(crate) unsafe fn zero_in_pieces<P: Platform>(
    start: NonNull<u8>,
    bytes: usize,
) -> Result<(), SessionError> {
    for_each_piece::<P>(bytes, |first, piece| {
        // SAFETY: `add` requires that the result is inside the same allocation: `first` is below
        // `bytes`, and the block has `bytes` bytes at `start` by this function's contract.
        let start = unsafe { start.add(first) };
        // SAFETY: `zero` requires that the range is inside a live block: `first + piece` is at most
        // `bytes`. Nothing else accesses the range, by this function's contract.
        unsafe { zero(start, piece) };
    })
}

/// Copies `bytes` bytes from one block to another, in O(`bytes`), unless a fatal signal is pending.
///
/// # Errors
///
/// [`SessionError::Interrupted`]. Some of the bytes may then be copied.
///
/// # Safety
///
/// - The `bytes` bytes at `from` are inside one live block, and those at `to` inside another one.
/// - Nothing else accesses either range during the call.
pub(crate) unsafe fn copy_in_pieces<P: Platform>(
    from: NonNull<u8>,
    to: NonNull<u8>,
    bytes: usize,
) -> Result<(), SessionError> {
    for_each_piece::<P>(bytes, |first, piece| {
        // SAFETY: `add` requires that the result is inside the same allocation: `first` is below
        // `bytes`, and the block has `bytes` bytes at `from` by this function's contract.
        let from = unsafe { from.add(first) };
        // SAFETY: `add` requires that the result is inside the same allocation: `first` is below
        // `bytes`, and the block has `bytes` bytes at `to` by this function's contract.
        let to = unsafe { to.add(first) };
        // SAFETY: `copy_from_nonoverlapping` requires that both ranges are valid and do not overlap:
        // `first + piece` is at most `bytes`, two live blocks share no byte, and nothing else accesses
        // the ranges, by this function's contract.
        unsafe { to.copy_from_nonoverlapping(from, piece) };
    })
}
