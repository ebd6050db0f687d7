// SPDX-License-Identifier: GPL-2.0

//! An array of words in memory that the caller provides.

use core::ptr::NonNull;

/// The bytes of a word.
pub(crate) const WORD: usize = size_of::<u64>();

/// An array of words.
///
/// # Invariants
///
/// `start` is aligned and points to `len` words. While a method reads or writes a word, nobody else accesses the word.
pub(crate) struct Words {
    start: NonNull<u64>,
    len: usize,
}

// SAFETY: By the type invariant nobody else accesses a word while this value accesses it, also on another thread.
unsafe impl Send for Words {}

impl Words {
    /// An array without words.
    // INVARIANT: There are no words, and a dangling pointer is aligned.
    pub(crate) const EMPTY: Self = Self {
        start: NonNull::dangling(),
        len: 0,
    };

    /// Returns the array of `len` words at `start`.
    ///
    /// # Safety
    ///
    /// `start` is aligned to 8 bytes and points to `len` words for as long as the result is used. Nobody else accesses
    /// a word while a method of the result reads or writes it.
    pub(crate) unsafe fn new(start: NonNull<u8>, len: usize) -> Self {
        // INVARIANT: By this function's contract.
        Self {
            start: start.cast(),
            len,
        }
    }

    /// Returns the array of `len` new words, which are never freed.
    #[cfg(test)]
    pub(crate) fn leaked(len: usize) -> Self {
        let words = std::boxed::Box::leak(std::vec![0_u64; len].into_boxed_slice());
        // SAFETY: `new` requires aligned memory for `len` words that nobody else uses: nobody else knows the new words,
        // and they are never freed.
        unsafe { Self::new(NonNull::from(words).cast(), len) }
    }

    /// Returns the number of words.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns a word, if there is one with this index.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<u64> {
        if index >= self.len {
            return None;
        }
        // SAFETY: The index is below `len`, so by the type invariant the word exists, is aligned, and is not written
        // meanwhile.
        Some(unsafe { self.start.add(index).read() })
    }

    /// Writes a word, and returns whether there is one with this index.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, word: u64) -> bool {
        if index >= self.len {
            return false;
        }
        // SAFETY: The index is below `len`, so by the type invariant the word exists, is aligned, and is not accessed
        // meanwhile.
        unsafe { self.start.add(index).write(word) };
        true
    }
}
