// SPDX-License-Identifier: GPL-2.0

//! STATS, CHECK and MAP: the commands that inspect a pool.

use kernel::{
    current,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use slab_heap::{
    Engine,
    check::{
        Progress,
        Walk, //
    },
    map::{
        Extent,
        NoMap, //
    },
    nospec,
    region::REGIONS_MAX, //
};

use super::{OpenFile, ensure};
use crate::{
    argument::IoctlArg,
    uapi::*, //
};

/// The maximum number of extents that are read under one hold of the engine's lock: 4 KiB.
const MAP_PART: usize = 256;

impl OpenFile {
    /// Replies with statistics of the pool and of the session.
    pub(super) fn stats(&self, argument: usize, bytes: usize) -> Result {
        // The structure is boxed, because it is too large for the stack.
        let mut stats = KBox::new(slablab_stats::default(), GFP_KERNEL)?;
        let arg = IoctlArg::read_into(&mut *stats, argument, bytes)?;
        ensure(stats.flags == 0)?;
        // The reply must contain nothing that the program sent.
        *stats = slablab_stats::default();
        let bound = self.bound.as_ref();
        let pool = self.pool_of(bound);
        stats.engine = pool.kind().number();
        pool.engine().interfaces().statistics.visit(&mut *stats);
        stats.set_session(&bound.map(|bound| bound.session.stats()).unwrap_or_default());
        arg.reply(&*stats)
    }

    /// Checks the metadata of the pool's engine, step by step: O(pages and objects) in all.
    pub(super) fn check(&self, argument: usize, bytes: usize) -> Result {
        let (check, arg) = IoctlArg::read::<slablab_check>(argument, bytes)?;
        ensure(check.flags == 0 && check.reserved == 0)?;
        let pool = self.pool_of(self.bound.as_ref());
        let engine = pool.engine().interfaces().check.ok_or(EOPNOTSUPP)?;
        // A check takes the engine's lock many times, which delays other users of the pool.
        self.ensure_own_pool_or_admin()?;
        let mut walk = Walk::new();
        let broken = loop {
            match engine.check(&mut walk) {
                Ok(Progress::More) if current!().signal_pending() => return Err(ERESTARTSYS),
                Ok(Progress::More) => {}
                Ok(Progress::Sound) => break None,
                Ok(Progress::Disturbed) => return Err(EAGAIN),
                Err(broken) => break Some(broken),
            }
        };
        arg.reply(&check_reply(broken, walk.walked()))
    }

    /// Replies with the first rule that the allocator of the pool broke.
    pub(super) fn violation(&self, argument: usize, bytes: usize) -> Result {
        let (violation, arg) = IoctlArg::read::<slablab_violation>(argument, bytes)?;
        ensure(violation.flags == 0)?;
        let engine = self.pool_of(self.bound.as_ref()).engine();
        let engine = engine.interfaces().supervise.ok_or(EOPNOTSUPP)?;
        // A violation of a shared pool reveals the offsets of other users' blocks.
        self.ensure_own_pool_or_admin()?;
        arg.reply(&violation_reply(engine))
    }

    /// Replies with the use of a region's pages.
    pub(super) fn map(&self, argument: usize, bytes: usize) -> Result {
        let (mut map, arg) = IoctlArg::read::<slablab_map>(argument, bytes)?;
        ensure(map.flags == 0 && map.reserved == 0)?;
        ensure((1..=SLABLAB_MAP_EXTENTS_MAX).contains(&map.count))?;
        let engine = self.pool_of(self.bound.as_ref()).engine();
        let engine = engine.interfaces().map.ok_or(EOPNOTSUPP)?;
        // The map of a shared pool reveals other users' blocks.
        self.ensure_own_pool_or_admin()?;
        let region = map.region as usize;
        if region >= REGIONS_MAX {
            return Err(ENXIO);
        }
        // The program chose the number of the region, so a speculative access must not use it without a clamp.
        let region = nospec::clamp(region, REGIONS_MAX);
        let room = map.count as usize;
        let address = usize::try_from(map.extents).map_err(|_| EFAULT)?;
        let array = UserSlice::new(
            UserPtr::from_addr(address),
            room * size_of::<slablab_extent>(),
        );
        let mut writer = array.writer();
        // The map is read under the engine's lock, and copied to the program without the lock.
        let mut part = KVec::from_elem(Extent::default(), room.min(MAP_PART), GFP_KERNEL)?;
        map.count = 0;
        loop {
            let wanted = part.len().min(room - map.count as usize);
            let reported = engine.map(region, map.page, &mut part[..wanted]);
            let mapped = reported.map_err(|NoMap| ENXIO)?;
            for extent in &part[..mapped.extents] {
                writer.write(&slablab_extent::from(*extent))?;
            }
            map.page = mapped.next;
            map.count += mapped.extents as u32;
            if mapped.next == mapped.end || map.count as usize == room {
                break;
            }
            if current!().signal_pending() {
                return Err(ERESTARTSYS);
            }
        }
        arg.reply(&map)
    }
}
