// SPDX-License-Identifier: GPL-2.0

//! `mmap`: maps pages of blocks into the memory of programs.
//!
//! Pages are mapped by frame number (`remap_pfn_range`), like the memory of a device, so nobody can take a
//! reference to a page from the mapping. With such a reference `vmsplice` could use the page after it was freed
//! and allocated again. A mapping, its parts and the copies that children inherit hold references to the file.
//!
//! Each area of a program's memory that maps pages of a block has a pin of that block. The kernel calls
//! [`area_copied`] when an area is copied (fork), split (munmap of a part, mprotect) or moved (mremap), and
//! [`area_gone`] when an area is removed, after no CPU can access its pages any more. A block can be freed
//! or reallocated again when its last area is removed. The area stores the handle of its block. The area's file
//! position does not identify the block, because the second half of a split area has another file position.

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
    ensure,
    error, //
};
use crate::uapi::{
    SLABLAB_MMAP_BASE,
    SLABLAB_MMAP_HANDLE_SHIFT,
    SLABLAB_POSITION_HANDLE_SHIFT, //
};

/// The bits of a page offset that hold the page's number in the block.
const PAGE_BITS: usize = SLABLAB_POSITION_HANDLE_SHIFT as usize - PAGE_SHIFT;

/// The number of pages that are mapped between two checks for signals: 16 MiB.
const PART: usize = 4096;

// The page offset of a SLABLAB_MMAP_POSITION consists of the bits of the handle and one set bit above them, and
// has 32 bits. The page offset of any SLABLAB_POSITION is larger, because handles are larger than `INDEX_MAX`.
const _: () = {
    assert!(SLABLAB_MMAP_HANDLE_SHIFT as usize == PAGE_SHIFT);
    assert!(SLABLAB_MMAP_BASE as usize >> PAGE_SHIFT == 1 << HANDLE_BITS);
    assert!(HANDLE_BITS < u32::BITS);
    assert!((INDEX_MAX as usize + 1) << PAGE_BITS > u32::MAX as usize);
};

/// Callbacks of an area. In kernels with `CONFIG_USERFAULTFD` one field is a pointer to data, so Rust does not
/// derive `Sync` for the C struct.
struct AreaOperations(bindings::vm_operations_struct);

// SAFETY: `Sync` requires that threads may share references to the value: its fields are function pointers and null
// pointers, and nobody changes them.
unsafe impl Sync for AreaOperations {}

/// The callbacks of an area that maps pages of a block.
static AREA_OPERATIONS: AreaOperations = AreaOperations(bindings::vm_operations_struct {
    open: Some(area_copied),
    close: Some(area_gone),
    // SAFETY: All other fields are optional function pointers, for which null bytes are `None`, or pointers to data,
    // which may be null.
    ..unsafe { core::mem::zeroed() }
});

impl OpenFile {
    /// Maps pages of a block.
    pub(super) fn mmap(&self, area: &VmaNew) -> Result {
        let session = self.session().map_err(error)?;
        if !session.engine().capabilities().mmap {
            return Err(ENODEV);
        }
        // A private mapping would copy pages on write. `VM_SHARED` cannot be tested, because the kernel clears it
        // for a shared mapping of a file that is not open for writing.
        ensure(area.flags() & flags::MAYSHARE != 0)?;
        // Pool memory is never executable, and a later mprotect must not make it executable.
        area.try_clear_mayexec().map_err(|_| EPERM)?;

        // SAFETY: `area` is valid and being set up, by its type, so nobody else writes to it.
        let offset = unsafe { (*area.as_ptr()).vm_pgoff };
        let (number, first) = decode_page_offset(offset);
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
                set_operations(area, handle);
                pinned.leak();
            }
            // The pages must be unmapped before the pin is dropped. The kernel also unmaps the area, but only
            // after this function has returned.
            Err(_) => area.zap_vma_range(area.start(), bytes),
        }
        mapped
    }
}

/// Returns the bits of the handle in a page offset, and the page's number in the block.
fn decode_page_offset(offset: usize) -> (usize, usize) {
    if offset >> HANDLE_BITS == 1 {
        // SLABLAB_MMAP_POSITION
        (offset & ((1 << HANDLE_BITS) - 1), 0)
    } else {
        // SLABLAB_POSITION
        (offset >> PAGE_BITS, offset & ((1 << PAGE_BITS) - 1))
    }
}

/// Sets the callbacks of an area, and stores the handle of its block.
fn set_operations(area: &VmaNew, handle: Handle) {
    let number = ptr::without_provenance_mut(handle.to_bits() as usize);
    // SAFETY: `area` is valid and being set up, by its type, so nobody else accesses it. The driver of the file
    // may use the field `vm_private_data`.
    unsafe { (*area.as_ptr()).vm_private_data = number };
    // SAFETY: `area` is valid and being set up, by its type, so nobody else accesses it. `AREA_OPERATIONS` is
    // valid as long as the module is loaded, and the area's reference to the file keeps the module loaded.
    unsafe { (*area.as_ptr()).vm_ops = &AREA_OPERATIONS.0 };
}

/// Pins the block of an area once more: the area is a copy or a part of another area.
///
/// # Safety
///
/// The kernel calls the function through [`AREA_OPERATIONS`], with an area that has these callbacks.
unsafe extern "C" fn area_copied(area: *mut bindings::vm_area_struct) {
    // SAFETY: `with_block` requires a call of the kernel through `AREA_OPERATIONS` with this area, as this
    // function does.
    unsafe { with_block(area, |session, handle| session.pin_again(handle)) };
}

/// Unpins the block of an area, in which no page is mapped any more.
///
/// # Safety
///
/// The kernel calls the function through [`AREA_OPERATIONS`], with an area that has these callbacks.
unsafe extern "C" fn area_gone(area: *mut bindings::vm_area_struct) {
    // SAFETY: `with_block` requires a call of the kernel through `AREA_OPERATIONS` with this area, as this
    // function does. `unpin` requires a pin on which nothing relies any more: `mmap` leaked a pin for the area, or
    // `area_copied` added a pin, and no page is mapped in the area any more.
    unsafe { with_block(area, |session, handle| session.unpin(handle)) };
}

/// Calls `act` with the session and the block of an area.
///
/// # Safety
///
/// The kernel calls one of the [`AREA_OPERATIONS`] with `area`; only [`set_operations`] sets these.
unsafe fn with_block(area: *mut bindings::vm_area_struct, act: impl FnOnce(&Session, Handle)) {
    // SAFETY: By this function's contract the kernel passes a valid area, whose fields nobody changes during
    // the call.
    let (file, number) = unsafe { ((*area).vm_file, (*area).vm_private_data) };
    // SAFETY: `borrow` requires a pointer of `into_foreign` that is not converted back while the result lives.
    // The area holds a reference to its file until after the call. Until the file is released, its private data
    // is the pointer that `open` returned.
    let open: Pin<&OpenFile> =
        unsafe { <Pin<KBox<OpenFile>> as ForeignOwnable>::borrow((*file).private_data) };
    let Ok(handle) = handle(number.addr()) else {
        return;
    };
    if let Ok(session) = open.session() {
        act(session, handle);
    }
}

/// Maps the page of a pool at `memory` into `area`, `byte` bytes after the beginning of the area.
fn map_page(area: &VmaNew, byte: usize, memory: *const u8) -> Result {
    // SAFETY: `vmalloc_to_pfn` requires an address in vmalloc memory: the address is in a pool, which is vmalloc
    // memory.
    let frame = unsafe { bindings::vmalloc_to_pfn(memory.cast()) };
    // SAFETY: `area` is valid and being set up, by its type, so nobody else writes to it.
    let protection = unsafe { (*area.as_ptr()).vm_page_prot };
    // `remap_pfn_range` also sets VM_IO, VM_PFNMAP, VM_DONTEXPAND and VM_DONTDUMP, so the kernel neither
    // extends nor merges the area, and does not write it into core dumps.
    //
    // SAFETY: `remap_pfn_range` requires an area that is being set up with `mmap_lock` held, and an address in
    // the area at which nothing is mapped: `mmap` maps each page of the new area once. The frame belongs to a
    // pinned block.
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
