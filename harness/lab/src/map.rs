// SPDX-License-Identifier: GPL-2.0

//! The map of a pool: the use of each page.

use crate::{
    device::Errno,
    target::Target,
    uapi::{
        self,
        ExtentKind,
        slablab_extent, //
    },
};

/// Returns the bytes of the objects of a class; `classes` are those of the engine's classes.
#[must_use]
pub fn object_bytes(classes: &[u64], class: u8) -> u64 {
    classes.get(usize::from(class)).copied().unwrap_or(0)
}

/// The use of pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Free: a block of the buddy system, or the whole pages of a free run.
    Free,
    /// Allocated: a block of whole pages, or the whole pages of a block.
    Large,
    /// A slab: cut into objects of one size class.
    Slab {
        /// The index of the size class.
        class: u8,
        /// The number of objects.
        objects: u16,
        /// The number of allocated objects.
        used: u16,
    },
    /// One page that several blocks and free runs share.
    Mixed {
        /// The number of allocated blocks that begin in the page; 0 if the engine does not know it.
        blocks: u16,
        /// The allocated bytes.
        used_bytes: u16,
        /// The bytes of the longest free run in the page.
        largest_free_bytes: u16,
    },
}

/// Pages that follow each other and have one use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The index of the first page within the region.
    pub page: u32,
    /// The number of pages.
    pub pages: u32,
    /// The use of the pages.
    pub what: Use,
}

/// The extents of a region, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionMap {
    /// The number of pages.
    pub pages: u32,
    /// The use of the pages.
    pub extents: Vec<Extent>,
}

/// The regions of a pool, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolMap {
    /// The bytes of a page.
    pub page_bytes: u32,
    /// The regions.
    pub regions: Vec<RegionMap>,
}

impl From<&slablab_extent> for Extent {
    fn from(extent: &slablab_extent) -> Self {
        let what = match ExtentKind::from_raw(u32::from(extent.kind)) {
            Some(ExtentKind::Free) => Use::Free,
            Some(ExtentKind::Slab) => Use::Slab {
                class: extent.class_index,
                objects: extent.objects,
                used: extent.used,
            },
            Some(ExtentKind::Mixed) => Use::Mixed {
                blocks: extent.objects,
                used_bytes: extent.used,
                largest_free_bytes: extent.largest_free,
            },
            // An unknown kind is not free.
            Some(ExtentKind::Large) | None => Use::Large,
        };
        Self {
            page: extent.page,
            pages: extent.pages,
            what,
        }
    }
}

impl PoolMap {
    /// Reads the map of a session's pool, up to `room` extents at once.
    pub fn read_in_parts(target: &dyn Target, room: usize) -> Result<Self, Errno> {
        let info = target.info()?;
        let mut part = vec![slablab_extent::default(); room];
        let mut regions = Vec::new();
        for number in 0..info.regions {
            let mut extents = Vec::new();
            let mut page = 0;
            loop {
                let reply = target.map(number, page, &mut part)?;
                extents.extend(part[..reply.count as usize].iter().map(Extent::from));
                // A reply that does not fill the array is the last one.
                if reply.count as usize != room {
                    regions.push(RegionMap {
                        pages: reply.page,
                        extents,
                    });
                    break;
                }
                page = reply.page;
            }
        }
        Ok(Self {
            page_bytes: info.page_bytes,
            regions,
        })
    }

    /// Reads the map of a session's pool.
    pub fn read(target: &dyn Target) -> Result<Self, Errno> {
        // Region 0 always exists, so an error means that the engine has no MAP.
        target.map(0, 0, &mut [slablab_extent::default()])?;
        Self::read_in_parts(target, uapi::SLABLAB_MAP_EXTENTS_MAX as usize)
    }

    /// Returns all extents.
    pub fn extents(&self) -> impl DoubleEndedIterator<Item = &Extent> {
        self.regions.iter().flat_map(|region| &region.extents)
    }
}
