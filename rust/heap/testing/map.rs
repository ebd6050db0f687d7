// SPDX-License-Identifier: GPL-2.0

//! Reads the map of an engine, and checks that it covers its region.

use std::{
    vec,
    vec::Vec, //
};

use crate::map::{
    Extent,
    Map, //
};

/// Reads the map of a region from `page` on, in chunks of up to `room` extents.
pub(crate) fn read(
    engine: &(impl Map + ?Sized),
    region: usize,
    mut page: u32,
    room: usize,
) -> Vec<Extent> {
    let mut part = vec![Extent::default(); room];
    let mut extents = Vec::new();
    loop {
        let mapped = engine.map(region, page, &mut part).unwrap();
        assert!(mapped.next > page || mapped.next == mapped.end);
        assert!(mapped.extents <= room);
        extents.extend(&part[..mapped.extents]);
        page = mapped.next;
        if page == mapped.end {
            return extents;
        }
    }
}

/// Panics unless the extents cover a region of `pages` pages without gaps and overlaps.
#[track_caller]
pub(crate) fn is_partition(extents: &[Extent], pages: usize) {
    let mut next = 0;
    for extent in extents {
        assert_eq!(extent.page, next, "the map has a gap or an overlap");
        assert!(extent.pages > 0);
        next += extent.pages;
    }
    assert_eq!(next as usize, pages, "the map does not cover the region");
}
