// SPDX-License-Identifier: GPL-2.0

//! `mmap`: pages of blocks in the memory of programs.
//!
//! Pages are mapped by their frame numbers (`remap_pfn_range`), as a device's memory is: nobody gets a
//! reference to such a page out of the mapping, which `vmsplice` would keep until the page is somebody
//! else's. The mapping itself has a reference to the file, and so have its parts and the copies that
//! children inherit.
//!
//! Each area of a program's memory that maps pages of a block has a pin of that block. The kernel says
//! when an area is copied (fork), cut in two (munmap of a part, mprotect) or moved (mremap), and when
//! one is gone; by then no processor can reach its pages any more. So a block whose last area is gone
//! can be freed and moved again. The area keeps the block's handle, not its position in the file, which
//! is another one for the second half of an area that was cut.

use core::ptr;

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
    prelude::*,
    types::ForeignOwnable, //
};
use slab_heap::Engine;
use slab_session::{
    HANDLE_BITS,
    Handle,
    INDEX_MAX, //
};

use super::{
    OpenFile,
    Session,
    blocks::handle,
    ensure, //
    error,
};
use crate::uapi::{
    SLABLAB_MMAP_BASE,
    SLABLAB_MMAP_HANDLE_SHIFT,
    SLABLAB_POSITION_HANDLE_SHIFT, //
};

/// Bits of a page offset that are the page's number in the block.
const PAGE_BITS: usize = SLABLAB_POSITION_HANDLE_SHIFT as usize - PAGE_SHIFT;

/// Pages that are mapped between two looks for signals: 16 MiB.
const PART: usize = 4096;

// The page offset of SLABLAB_MMAP_POSITION is the handle below one bit, in 32 bits. This is less than
// the page offset of any SLABLAB_POSITION, as handles are larger than the largest index.
const _: () = {
    assert!(SLABLAB_MMAP_HANDLE_SHIFT as usize == PAGE_SHIFT);
    assert!(SLABLAB_MMAP_BASE as usize >> PAGE_SHIFT == 1 << HANDLE_BITS);
    assert!(HANDLE_BITS < u32::BITS);
    assert!((INDEX_MAX as usize + 1) << PAGE_BITS > u32::MAX as usize);
};

/// What the kernel calls when it copies an area that maps pages of a block, and when one is gone.
static AREA_OPERATIONS: bindings::vm_operations_struct = bindings::vm_operations_struct {
    open: Some(area_copied),
    close: Some(area_gone),
    // SAFETY: All that there is in it may be null: the functions are optional.
    ..unsafe { core::mem::zeroed() }
};

impl OpenFile {
    /// Maps pages of a block.
    pub(super) fn mmap(&self, area: &VmaNew) -> Result {
        let session = self.session().map_err(error)?;
        if !session.engine().capabilities().mmap {
            return Err(ENODEV);
        }
        // A private mapping has copies. `VM_SHARED` does not tell: a shared mapping of a file that is
        // not open for writing is without it.
        ensure(area.flags() & flags::MAYSHARE != 0)?;
        // This holds for mprotect, too.
        area.try_clear_mayexec().map_err(|_| EPERM)?;

        // SAFETY: The area is being set up, by the type of `area`: nobody else writes to it.
        let offset = unsafe { (*area.as_ptr()).vm_pgoff };
        let (number, first) = named(offset);
        let handle = handle(number).map_err(error)?;
        let pinned = session.pin(handle).map_err(error)?;
        let bytes = area.end() - area.start();
        let pages = bytes >> PAGE_SHIFT;
        let start = pinned.pages(first, pages).map_err(error)?.as_ptr();

        let mapped = (0..pages).try_for_each(|page| {
            if page % PART == PART - 1 && current!().signal_pending() {
                return Err(ERESTARTSYS);
            }
            map_page(area, page * PAGE_SIZE, start.wrapping_add(page * PAGE_SIZE))
        });
        match mapped {
            Ok(()) => {
                mark(area, handle);
                pinned.keep();
            }
            // The caller unmaps what there is, but only after the block is let go.
            Err(_) => area.zap_vma_range(area.start(), bytes),
        }
        mapped
    }
}

/// Returns the number that a page offset has in place of a handle, and the page in the block.
fn named(offset: usize) -> (usize, usize) {
    if offset >> HANDLE_BITS == 1 {
        // SLABLAB_MMAP_POSITION
        (offset & ((1 << HANDLE_BITS) - 1), 0)
    } else {
        // SLABLAB_POSITION
        (offset >> PAGE_BITS, offset & ((1 << PAGE_BITS) - 1))
    }
}

/// Has an area say when it is copied and when it is gone, and remember the block that it maps.
fn mark(area: &VmaNew, handle: Handle) {
    let number = ptr::without_provenance_mut(handle.to_bits() as usize);
    // SAFETY: The area is being set up, by the type of `area`: nobody else writes to it. Both fields
    // are for the file's driver.
    unsafe { (*area.as_ptr()).vm_private_data = number };
    // SAFETY: As above; the functions stay as long as the module does, which the file keeps.
    unsafe { (*area.as_ptr()).vm_ops = &AREA_OPERATIONS };
}

/// Pins the block of an area once more: the area is a copy of another one, or a part.
///
/// # Safety
///
/// As for [`with_block`].
unsafe extern "C" fn area_copied(area: *mut bindings::vm_area_struct) {
    // SAFETY: By this function's contract.
    unsafe { with_block(area, |session, handle| session.pin_again(handle)) };
}

/// Takes the pin of an area back: nothing is mapped there any more.
///
/// # Safety
///
/// As for [`with_block`].
unsafe extern "C" fn area_gone(area: *mut bindings::vm_area_struct) {
    // SAFETY: By this function's contract.
    unsafe { with_block(area, |session, handle| session.unpin(handle)) };
}

/// Does something with the block that an area maps.
///
/// # Safety
///
/// The area has [`AREA_OPERATIONS`], which [`mark`] alone gives, and the kernel calls one of them.
unsafe fn with_block(area: *mut bindings::vm_area_struct, act: impl FnOnce(&Session, Handle)) {
    // SAFETY: The kernel passes an area that nobody changes during the call.
    let (file, number) = unsafe { ((*area).vm_file, (*area).vm_private_data) };
    // SAFETY: The area has a reference to its file until after the call, and so the file's data is
    // there: it is what `open` returned, and is taken back when the file is released.
    let open: Pin<&OpenFile> =
        unsafe { <Pin<KBox<OpenFile>> as ForeignOwnable>::borrow((*file).private_data) };
    let Ok(handle) = handle(number.addr()) else {
        return;
    };
    if let Ok(session) = open.session() {
        act(session, handle);
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
