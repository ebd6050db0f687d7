// SPDX-License-Identifier: GPL-2.0

//! A CPU's cache on the host: in memory from the host's allocator.

extern crate alloc;

use alloc::alloc::{
    alloc_zeroed,
    dealloc,
    handle_alloc_error, //
};
use core::{
    alloc::Layout,
    ops::Deref,
    ptr::NonNull, //
};

use super::{
    cpu_cache::CpuCache,
    magazine::CacheSize, //
};

/// A [`CpuCache`] that owns its memory.
///
/// # Invariants
///
/// `cache` is a cache in memory that was allocated with `layout`, and that nobody else uses.
pub struct HostCpuCache {
    cache: NonNull<CpuCache>,
    layout: Layout,
}

// SAFETY: It owns the cache.
unsafe impl Send for HostCpuCache {}

// SAFETY: A `CpuCache` may be shared.
unsafe impl Sync for HostCpuCache {}

impl HostCpuCache {
    /// Makes an empty cache.
    ///
    /// # Panics
    ///
    /// When the host has no memory.
    #[must_use]
    pub fn new(size: CacheSize) -> Self {
        let layout = Layout::from_size_align(CpuCache::bytes(size), CpuCache::ALIGN);
        let layout = layout.expect("a cache has a few pages");
        // SAFETY: The size is not 0.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) });
        let memory = memory.unwrap_or_else(|| handle_alloc_error(layout));
        // INVARIANT: Allocated just above.
        Self {
            // SAFETY: The memory is zeros, as large and as aligned as the cache needs it, and kept as
            // long as the cache.
            cache: unsafe { CpuCache::new_in(memory, size) },
            layout,
        }
    }
}

impl Default for HostCpuCache {
    fn default() -> Self {
        Self::new(CacheSize::FULL)
    }
}

impl Deref for HostCpuCache {
    type Target = CpuCache;

    #[inline(always)]
    fn deref(&self) -> &CpuCache {
        // SAFETY: By the type invariant, for as long as `self` is borrowed.
        unsafe { self.cache.as_ref() }
    }
}

impl Drop for HostCpuCache {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { dealloc(self.cache.as_ptr().cast(), self.layout) };
    }
}
