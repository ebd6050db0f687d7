// SPDX-License-Identifier: GPL-2.0

//! The further metadata of an engine in a process: see [`PerCpu::metadata`](slab_heap::per_cpu::PerCpu::metadata).

use std::{
    ptr::NonNull,
    sync::{
        Mutex,
        PoisonError, //
    },
};

use slab_heap::backing_heap::Piece;

/// The pieces of an engine, by number.
///
/// # Invariants
///
/// Each element is a boxed slice that this value owns. Only the engine accesses it.
#[derive(Debug, Default)]
pub struct HostPieces(Mutex<Vec<NonNull<[u64]>>>);

// SAFETY: By the type invariant the value owns the pieces, which may be freed on any thread.
unsafe impl Send for HostPieces {}

// SAFETY: The mutex protects the list of the pieces, and this value does not access their words.
unsafe impl Sync for HostPieces {}

impl HostPieces {
    /// Returns the memory of a piece, which is allocated at the first call. `None` if an earlier piece is missing.
    pub fn get(&self, piece: Piece) -> Option<NonNull<u8>> {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if piece.number == pieces.len() {
            let words = vec![0_u64; piece.bytes.div_ceil(8)].into_boxed_slice();
            // INVARIANT: The slice was boxed, and nobody else has its address.
            pieces.push(NonNull::from(Box::leak(words)));
        }
        pieces.get(piece.number).map(|words| words.cast())
    }

    /// Returns the bytes of all pieces.
    pub fn bytes(&self) -> usize {
        let pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.iter().map(|words| words.len() * 8).sum()
    }
}

impl Drop for HostPieces {
    fn drop(&mut self) {
        let pieces = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for words in pieces.drain(..) {
            // SAFETY: `from_raw` requires the pointer of a box that is not freed yet: by the type invariant the slice was
            // boxed, and `drain` removes it from the list.
            drop(unsafe { Box::from_raw(words.as_ptr()) });
        }
    }
}
