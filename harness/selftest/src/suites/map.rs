// SPDX-License-Identifier: GPL-2.0

//! MAP: the use of each page of a pool.

use crate::{
    device::{
        Device,
        Errno, //
    },
    map::{
        Extent,
        PoolMap,
        Use, //
    },
    rng::Rng,
    uapi::{
        self,
        Engine,
        slablab_class_stats,
        slablab_extent,
        slablab_map, //
    },
};

use super::{
    child::{
        Child,
        ChildRole, //
    },
    fixture::{
        MIB,
        POOL_UNIT,
        has_map,
        private_of,
        session,
        shared,
        sound,
        unchanged, //
    },
    memory::{
        Argument,
        GuardedBuffer,
        submit, //
    },
    prelude::*,
    quotas::as_nobody,
};

suite!("map" {
    Each map_is_supported_or_eopnotsupp,
    Magazines a_new_pool_is_one_free_block,
    Once the_map_shows_an_allocation_and_its_free,
    Magazines the_map_covers_the_pool_without_a_gap,
    Once the_map_agrees_with_the_statistics,
    Once the_map_of_extent_agrees_with_the_live_blocks,
    Magazines a_map_read_in_parts_is_the_same,
    Magazines a_map_from_an_interior_page_begins_at_the_next_extent,
    Magazines a_region_that_is_not_there_is_enxio,
    Magazines a_map_from_beyond_the_last_page_is_empty,
    Magazines an_array_of_0_or_too_many_extents_is_einval,
    Magazines extents_that_cannot_be_written_are_efault,
    Magazines map_writes_only_the_reported_extents,
    Magazines a_user_without_privilege_may_map_his_own_pool_only,
    Magazines the_map_of_a_busy_pool_has_no_page_twice,
});

/// The size of a page in bytes.
const PAGE: u64 = 4096;

/// Opens a session with a private pool of an engine that supports MAP.
#[track_caller]
fn mappable(engine: Engine, pool_bytes: u64) -> TestResult<Device> {
    private_of(engine, pool_bytes)
}

/// Fills a pool with slabs, large blocks and free blocks, in many fragments.
fn crowd(device: &Device) -> TestResult {
    let mut random = Rng::new(11);
    let mut live = Vec::new();
    for _ in 0..6_000 {
        if random.chance(5, 8) {
            let (size, align) = (random.doubling(1, 20_000), 1 << random.below(14));
            live.extend(device.alloc(size, align).map(|block| block.handle));
        } else if !live.is_empty() {
            device.free(live.swap_remove(random.index(live.len())))?;
        }
    }
    Ok(())
}

/// Returns an argument of MAP that reads into `extents`, from the first page of the first region on.
fn argument(extents: &mut [slablab_extent]) -> slablab_map {
    slablab_map {
        count: extents.len() as u32,
        extents: extents.as_mut_ptr().expose_provenance() as u64,
        ..Default::default()
    }
}

/// Checks that an argument is refused with `errno`, and that the argument and all statistics stay unchanged.
#[track_caller]
fn is_refused(device: &Device, map: slablab_map, errno: Errno) -> TestResult {
    let mut sent = map;
    unchanged(device, || {
        refused(submit(device, uapi::SLABLAB_NR_MAP, &mut sent), errno)
    })?;
    check_eq("argument", sent.bytes(), map.bytes())
}

fn map_is_supported_or_eopnotsupp(engine: Engine) -> TestResult {
    for device in [session(engine)?, shared(engine)?] {
        let reply = device.info()?.capabilities & uapi::SLABLAB_CAP_MAP != 0;
        check_eq("capability", reply, has_map(engine))?;
        let mut extents = [slablab_extent::default(); 4];
        if has_map(engine) {
            submit(&device, uapi::SLABLAB_NR_MAP, &mut argument(&mut extents))?;
        } else {
            is_refused(&device, argument(&mut extents), Errno::OPNOTSUPP)?;
        }
    }
    Ok(())
}

fn a_new_pool_is_one_free_block(engine: Engine) -> TestResult {
    let map = PoolMap::read(&mappable(engine, MIB)?)?;
    let whole = Extent {
        page: 0,
        pages: 256,
        what: Use::Free,
    };
    check_eq("regions", map.regions.len(), 1)?;
    check_eq("pages", map.regions[0].pages, 256)?;
    check_eq("extents", &map.regions[0].extents, &vec![whole])
}

fn the_map_shows_an_allocation_and_its_free() -> TestResult {
    let device = mappable(Engine::Hybrid, MIB)?;
    let at = |offset: u64| -> TestResult<Extent> {
        // Objects in a magazine count as used in their slab, so the magazines are flushed first.
        device.shrink()?;
        let map = PoolMap::read(&device)?;
        let page = (offset / PAGE) as u32;
        let mut extents = map.extents().filter(|extent| extent.page <= page);
        let last = extents.next_back().copied();
        last.ok_or_else(|| {
            super::TestError::failed(format!("the map has no extent up to page {page}"))
        })
    };
    let large = device.alloc(5 * PAGE, 8)?;
    let extent = at(large.offset)?;
    check_eq(
        "extent of the large block",
        (extent.pages, extent.what),
        (5, Use::Large),
    )?;
    let small = device.alloc(64, 8)?;
    let slab = |used| Use::Slab {
        class: small.cost.class_index,
        objects: 64,
        used,
    };
    check_eq("slab with one live object", at(small.offset)?.what, slab(1))?;
    let other = device.alloc(64, 8)?;
    check_eq(
        "slab with two live objects",
        at(small.offset)?.what,
        slab(2),
    )?;
    device.free(small.handle)?;
    check_eq(
        "slab after one of two objects is freed",
        at(small.offset)?.what,
        slab(1),
    )?;
    device.free(large.handle)?;
    let free = at(large.offset)?.what == Use::Free;
    check_eq("the freed pages are free", free, true)?;
    device.free(other.handle)?;
    sound(&device)
}

/// Checks that a map's regions have the sizes `regions` in bytes, and that the extents cover each region
/// without a gap.
#[track_caller]
fn covers(map: &PoolMap, regions: &[u64]) -> TestResult {
    let pages: Vec<_> = map
        .regions
        .iter()
        .map(|region| u64::from(region.pages) * PAGE)
        .collect();
    check_eq("regions", &pages[..], regions)?;
    for region in &map.regions {
        let mut next = 0;
        for extent in &region.extents {
            check_eq("first page of an extent", extent.page, next)?;
            check(extent.pages > 0, "an extent has at least one page")?;
            next += extent.pages;
        }
        check_eq("end of the last extent", next, region.pages)?;
    }
    Ok(())
}

fn the_map_covers_the_pool_without_a_gap(engine: Engine) -> TestResult {
    let device = mappable(engine, 4 * MIB)?;
    covers(&PoolMap::read(&device)?, &[4 * MIB])?;
    crowd(&device)?;
    covers(&PoolMap::read(&device)?, &[4 * MIB])?;
    device.extend(3 * POOL_UNIT)?;
    device.extend(MIB)?;
    let regions = [4 * MIB, 3 * POOL_UNIT, MIB];
    covers(&PoolMap::read(&device)?, &regions)?;
    crowd(&device)?;
    covers(&PoolMap::read(&device)?, &regions)
}

fn the_map_agrees_with_the_statistics() -> TestResult {
    let device = mappable(Engine::Hybrid, 8 * MIB)?;
    for round in 0..3 {
        let (map, stats) = (PoolMap::read(&device)?, device.stats()?);
        let (mut free, mut largest, mut large, mut out) = (0, 0, 0, 0);
        let mut classes = vec![(0, 0); stats.class_count as usize];
        for extent in map.extents() {
            let bytes = u64::from(extent.pages) * PAGE;
            match extent.what {
                Use::Free => {
                    check(
                        extent.pages.is_power_of_two(),
                        "the pages of a free block are a power of two",
                    )?;
                    largest = bytes.max(largest);
                    free += bytes;
                }
                Use::Large => {
                    large += bytes;
                    out += 1;
                }
                Use::Slab {
                    class,
                    objects,
                    used,
                } => {
                    let class = &mut classes[usize::from(class)];
                    class.0 += u64::from(objects);
                    class.1 += u64::from(used);
                    out += u64::from(used);
                }
                Use::Mixed { .. } => check(false, "an engine with slabs has no mixed pages")?,
            }
        }
        let about = format!("round {round}");
        check_eq("free bytes", free, stats.free_bytes).about(&about)?;
        check_eq("largest free block", largest, stats.largest_free_bytes).about(&about)?;
        // In the map, objects in magazines count as used.
        let kept: u64 = (stats.classes.iter().map(|class| class.magazine_blocks))
            .chain(stats.orders.iter().map(|order| order.magazine_blocks))
            .sum();
        check_eq("used blocks", out, stats.live_blocks + kept).about(&about)?;
        let taken = |class: &slablab_class_stats| class.used_blocks + class.magazine_blocks;
        let reply: Vec<_> = stats.classes[..classes.len()]
            .iter()
            .map(|class| (class.total_blocks, taken(class)))
            .collect();
        check_eq("total and used blocks of each class", &classes, &reply).about(&about)?;
        let objects = stats
            .classes
            .iter()
            .map(|class| taken(class) * class.block_bytes);
        check_eq(
            "bytes of used blocks",
            large + objects.sum::<u64>(),
            stats.live_bytes + stats.magazine_bytes,
        )
        .about(&about)?;
        let orders = stats.orders.iter().map(|order| order.used_blocks);
        let objects = stats.classes.iter().map(|class| class.used_blocks);
        check_eq(
            "live blocks of all classes and orders",
            orders.sum::<u64>() + objects.sum::<u64>(),
            stats.live_blocks,
        )
        .about(&about)?;
        crowd(&device)?;
    }
    Ok(())
}

/// The bytes of a granule of `extent`.
const GRANULE: u64 = 16;

/// Returns the extents of a region of `extent`, computed from the places and usable bytes of all live blocks.
fn expected_extents(pages: u32, blocks: &[(u64, u64)]) -> Vec<Extent> {
    const PAGE_GRANULES: usize = (PAGE / GRANULE) as usize;
    let mut owners = vec![0; pages as usize * PAGE_GRANULES];
    for (number, (offset, usable)) in blocks.iter().enumerate() {
        let first = (offset / GRANULE) as usize;
        owners[first..first + (usable / GRANULE) as usize].fill(number + 1);
    }
    let mut extents: Vec<Extent> = Vec::new();
    let (mut before, mut last) = (0, None);
    for (page, owners) in (0..).zip(owners.chunks(PAGE_GRANULES)) {
        let whole = owners.iter().all(|owner| *owner == owners[0]);
        let is_same = whole && last == Some(owners[0]);
        last = whole.then_some(owners[0]);
        let runs = || owners.chunk_by(|one, other| one == other);
        let free = runs().filter(|run| run[0] == 0).map(<[usize]>::len);
        let what = match last {
            Some(0) => Use::Free,
            Some(_) => Use::Large,
            None => Use::Mixed {
                // The first run of the page may have begun before.
                blocks: runs()
                    .enumerate()
                    .filter(|(number, run)| run[0] != 0 && (*number > 0 || run[0] != before))
                    .count() as u16,
                used_bytes: (owners.iter().filter(|owner| **owner != 0).count() as u64 * GRANULE)
                    as u16,
                largest_free_bytes: (free.max().unwrap_or(0) as u64 * GRANULE) as u16,
            },
        };
        before = owners[PAGE_GRANULES - 1];
        match extents.last_mut() {
            Some(extent) if is_same => extent.pages += 1,
            _ => extents.push(Extent {
                page,
                pages: 1,
                what,
            }),
        }
    }
    extents
}

fn the_map_of_extent_agrees_with_the_live_blocks() -> TestResult {
    let device = mappable(Engine::Extent, 2 * MIB)?;
    let mut random = Rng::new(23);
    let mut live = Vec::new();
    for round in 0..40 {
        for _ in 0..200 {
            if random.chance(9, 16) {
                let (size, align) = (random.doubling(1, 20_000), 1 << random.below(14));
                live.extend(device.alloc(size, align).ok());
            } else if !live.is_empty() {
                let block = live.swap_remove(random.index(live.len()));
                device.free(block.handle)?;
            }
        }
        // Blocks in magazines count as used in the map.
        device.shrink()?;
        let (map, stats) = (PoolMap::read(&device)?, device.stats()?);
        let blocks: Vec<_> = live
            .iter()
            .map(|block| (block.offset, block.usable))
            .collect();
        let expected = expected_extents(512, &blocks);
        check_eq("extents", &map.regions[0].extents, &expected).about(round)?;
        let usable: u64 = blocks.iter().map(|(_, usable)| usable).sum();
        check_eq("live bytes", stats.live_bytes, usable).about(round)?;
        check_eq(
            "live and free bytes",
            stats.live_bytes + stats.free_bytes,
            stats.pool_bytes,
        )
        .about(round)?;
    }
    sound(&device)
}

fn a_map_read_in_parts_is_the_same(engine: Engine) -> TestResult {
    let device = mappable(engine, 8 * MIB)?;
    crowd(&device)?;
    device.extend(POOL_UNIT)?;
    let whole = PoolMap::read(&device)?;
    // The map has more extents than the module requests from the engine at once.
    let extents = whole.extents().count();
    check(
        extents > 600,
        format_args!("the map has more than 600 extents, not {extents}"),
    )?;
    for room in [1, 2, 7, 255, 256, 257, 512, extents, 4096] {
        check_eq("map", PoolMap::read_in_parts(&device, room)?, whole.clone()).about(room)?;
    }
    Ok(())
}

fn a_map_from_an_interior_page_begins_at_the_next_extent(engine: Engine) -> TestResult {
    let device = mappable(engine, MIB)?;
    crowd(&device)?;
    let whole = PoolMap::read(&device)?;
    for page in 0..256 {
        let mut extents = [slablab_extent::default(); 256];
        let reply = device.map(0, page, &mut extents)?;
        let rest: Vec<_> = extents[..reply.count as usize]
            .iter()
            .map(Extent::from)
            .collect();
        let expected = whole.extents().filter(|extent| extent.page >= page);
        check_eq("extents", rest, expected.copied().collect()).about(page)?;
        check_eq("end", reply.page, 256)?;
    }
    Ok(())
}

fn a_region_that_is_not_there_is_enxio(engine: Engine) -> TestResult {
    let device = mappable(engine, MIB)?;
    let mut extents = [slablab_extent::default(); 4];
    for region in [1, 2, 15, 16, 17, 0x7fff_ffff, u32::MAX] {
        let map = slablab_map {
            region,
            ..argument(&mut extents)
        };
        is_refused(&device, map, Errno::NXIO).about(region)?;
    }
    device.extend(POOL_UNIT)?;
    check_eq("end", device.map(1, 0, &mut extents)?.page, 8)
}

fn a_map_from_beyond_the_last_page_is_empty(engine: Engine) -> TestResult {
    let device = mappable(engine, MIB)?;
    let mut extents = [slablab_extent::default(); 4];
    for page in [256, 257, 1 << 20, u32::MAX] {
        let reply = device.map(0, page, &mut extents)?;
        check_eq("count, page", (reply.count, reply.page), (0, 256)).about(page)?;
    }
    Ok(())
}

fn an_array_of_0_or_too_many_extents_is_einval(engine: Engine) -> TestResult {
    let device = mappable(engine, MIB)?;
    let most = uapi::SLABLAB_MAP_EXTENTS_MAX;
    let mut extents = vec![slablab_extent::default(); most as usize];
    for count in [0, most + 1, 1 << 28, u32::MAX] {
        let map = slablab_map {
            count,
            ..argument(&mut extents)
        };
        is_refused(&device, map, Errno::INVAL).about(count)?;
    }
    check_eq("count", device.map(0, 0, &mut extents)?.count, 1)
}

fn extents_that_cannot_be_written_are_efault(engine: Engine) -> TestResult {
    let device = mappable(engine, MIB)?;
    crowd(&device)?;
    let at = |extents: usize| slablab_map {
        count: 64,
        extents: extents as u64,
        ..Default::default()
    };
    for address in [0, usize::MAX, 0x8000_0000_0000_0000, 0xffff_8880_0000_0000] {
        is_refused(&device, at(address), Errno::FAULT)?;
    }
    let fence = GuardedBuffer::new(1)?;
    let content = [0; 64 * size_of::<slablab_extent>()];
    for outside in [1, 8, 16, 600, content.len()] {
        is_refused(&device, at(fence.place(&content, outside)), Errno::FAULT).about(outside)?;
    }
    let address = fence.place(&content, 0);
    submit(&device, uapi::SLABLAB_NR_MAP, &mut at(address))?;
    fence.read_only()?;
    is_refused(&device, at(address), Errno::FAULT)
}

fn map_writes_only_the_reported_extents(engine: Engine) -> TestResult {
    let device = mappable(engine, MIB)?;
    device.alloc(100, 8)?;
    device.alloc(10_000, 8)?;
    let untouched = slablab_extent {
        page: u32::MAX,
        largest_free: u16::MAX,
        ..Default::default()
    };
    let mut extents = [untouched; 64];
    let reply = device.map(0, 0, &mut extents)?;
    let (written, rest) = extents.split_at(reply.count as usize);
    check(written.len() > 2, "the map has at least three extents")?;
    for extent in written {
        check(
            extent.largest_free == 0 || u32::from(extent.kind) == uapi::SLABLAB_EXTENT_MIXED,
            "only mixed pages have a longest free run",
        )?;
        check_eq(
            "class is NO_CLASS",
            u32::from(extent.class_index) == uapi::SLABLAB_NO_CLASS,
            u32::from(extent.kind) != uapi::SLABLAB_EXTENT_SLAB,
        )?;
    }
    let same = rest
        .iter()
        .all(|extent| extent.bytes() == untouched.bytes());
    check(same, "the extents that are not reported are unchanged")
}

fn a_user_without_privilege_may_map_his_own_pool_only(engine: Engine) -> TestResult {
    let (own, common) = (mappable(engine, MIB)?, shared(engine)?);
    as_nobody(|| {
        let mut extents = [slablab_extent::default(); 4];
        is_refused(&common, argument(&mut extents), Errno::PERM)?;
        check_eq("extents", own.map(0, 0, &mut extents)?.count, 1)
    })?;
    PoolMap::read(&common)?;
    Ok(())
}

fn the_map_of_a_busy_pool_has_no_page_twice(engine: Engine) -> TestResult {
    let observer = shared(engine)?;
    let mut child = Child::start(ChildRole::Stress, engine)?;
    child.heard()?;
    for round in 0..50 {
        for room in [3, 4096] {
            for region in PoolMap::read_in_parts(&observer, room)?.regions {
                let mut next = 0;
                for extent in &region.extents {
                    let onward = extent.page >= next && extent.pages > 0;
                    check(
                        onward,
                        "the extents are in order, without overlap and not empty",
                    )
                    .about(round)?;
                    next = extent.page + extent.pages;
                }
                check(next <= region.pages, "the last extent ends in the region").about(round)?;
            }
        }
    }
    child.kill()?;
    sound(&observer)
}
