// SPDX-License-Identifier: GPL-2.0

//! `mmap`: pages of blocks in the memory of programs.
//!
//! Pages are mapped by their frame numbers (`remap_pfn_range`), as a device's memory is: nobody gets a
//! reference to such a page out of the mapping, which `vmsplice` would keep until the page is somebody
//! else's. The mapping itself has a reference to the file, and so have its parts and the copies that
//! children inherit. Thus a block that stays until the session ends stays long enough, and a pin that
//! is never taken back is all that it takes.

use kernel::{
    bindings,
    current,
    error::to_result,
    mm::virt::{
        VmaNew,
        flags, //
    },
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*, //
};
use slab_heap::Engine;

use super::{
    OpenFile,
    blocks::handle,
    error,
    expect, //
};
use crate::uapi::SLABLAB_POSITION_HANDLE_SHIFT;

/// Bits of a page offset that are the page's number in the block.
const PAGE_BITS: usize = SLABLAB_POSITION_HANDLE_SHIFT as usize - PAGE_SHIFT;

/// Pages that are mapped between two looks for signals: 16 MiB.
const PART: usize = 4096;

impl OpenFile {
    /// Maps pages of a block.
    pub(super) fn mmap(&self, area: &VmaNew) -> Result {
        let session = self.session().map_err(error)?;
        if !session.engine().capabilities().mmap {
            return Err(ENODEV);
        }
        // A private mapping has copies. `VM_SHARED` does not tell: a shared mapping of a file that is
        // not open for writing is without it.
        expect(area.flags() & flags::MAYSHARE != 0)?;
        // This holds for mprotect, too.
        area.try_clear_mayexec().map_err(|_| EPERM)?;

        // SAFETY: The area is being set up, by the type of `area`: nobody else writes to it.
        let offset = unsafe { (*area.as_ptr()).vm_pgoff };
        let pinned = handle(offset >> PAGE_BITS)
            .and_then(|handle| session.pin(handle))
            .map_err(error)?;
        let bytes = area.end() - area.start();
        let pages = bytes >> PAGE_SHIFT;
        let first = offset & ((1 << PAGE_BITS) - 1);
        let start = pinned.pages(first, pages).map_err(error)?.as_ptr();

        let mapped = (0..pages).try_for_each(|page| {
            if page % PART == PART - 1 && current!().signal_pending() {
                return Err(ERESTARTSYS);
            }
            map_page(area, page * PAGE_SIZE, start.wrapping_add(page * PAGE_SIZE))
        });
        match mapped {
            Ok(()) => pinned.keep(),
            // The caller unmaps what there is, but only after the block is let go.
            Err(_) => area.zap_vma_range(area.start(), bytes),
        }
        mapped
    }
}

/// Maps the page of a pool that begins at `memory`, `byte` bytes behind the beginning of `area`.
fn map_page(area: &VmaNew, byte: usize, memory: *const u8) -> Result {
    // SAFETY: The memory is a pool's, all of which is from vmalloc.
    let frame = unsafe { bindings::vmalloc_to_pfn(memory.cast()) };
    // SAFETY: As for the offset in `OpenFile::mmap`.
    let protection = unsafe { (*area.as_ptr()).vm_page_prot };
    // This is also what makes the area one that is neither extended, merged nor dumped (`VM_IO`,
    // `VM_PFNMAP`, `VM_DONTEXPAND`, `VM_DONTDUMP`).
    //
    // SAFETY: The area is being set up, with the lock on the program's memory held, and has a page
    // there, which nothing is mapped to. The pool's page is in a block that is pinned.
    to_result(unsafe {
        bindings::remap_pfn_range(
            area.as_ptr(),
            area.start() + byte,
            frame,
            PAGE_SIZE,
            protection,
        )
    })
}
