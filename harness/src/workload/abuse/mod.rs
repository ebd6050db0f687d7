// SPDX-License-Identifier: GPL-2.0

//! Sends invalid requests: each must fail with the right errno and change nothing.
//!
//! The session has a few live blocks, whose contents are checked at the end. On the device, malformed
//! ioctls are sent too ([`raw`]). The malformed ioctls do not count as operations, so that the statistics
//! equal those of the other targets.

mod raw;

use super::WorkloadRun;
use crate::{
    device::Errno,
    errno::Name,
    oracle::{
        ClientBlock,
        Oracle,
        Violation, //
    },
    rng::Rng,
    target::{
        Refused,
        Target, //
    },
    uapi::{
        Cause,
        slablab_stats, //
    },
};

/// The sizes of the live blocks.
const SIZES: [u64; 5] = [1, 100, 4096, 5000, 70_000];

/// Operations between two rounds of raw requests.
const RAW_STEPS: u64 = 256;

/// The state that invalid requests are built from.
struct Scene<'s> {
    target: &'s dyn Target,
    /// The live blocks of the session.
    blocks: &'s [ClientBlock],
    /// The handle of a block that was freed.
    stale: u32,
    /// The size of the pool, or the engine's limit.
    pool_bytes: u64,
    rng: &'s mut Rng,
}

/// The result of an invalid request, and the expected refusal.
struct RefusalCheck {
    call: &'static str,
    found: Result<(), Refused>,
    errno: Errno,
    cause: Cause,
}

/// Makes an invalid request, and returns its result and the expected refusal.
type InvalidRequest = fn(&mut Scene<'_>) -> RefusalCheck;

/// The invalid requests, each with a description.
const REQUESTS: [(&str, InvalidRequest); 20] = [
    ("ALLOC of 0 bytes", |scene| {
        scene.alloc(0, 8, Errno::INVAL, Cause::None)
    }),
    ("ALLOC aligned to 0", |scene| {
        scene.alloc(64, 0, Errno::INVAL, Cause::None)
    }),
    (
        "ALLOC aligned to a number that is not a power of two",
        |scene| {
            let align = scene.rng.below(1 << 20) * 4 + 3;
            scene.alloc(64, align, Errno::INVAL, Cause::None)
        },
    ),
    ("ALLOC aligned to more than the pool", |scene| {
        let align = (scene.pool_bytes.saturating_add(1)).checked_next_power_of_two();
        scene.alloc(64, align.unwrap_or(1 << 63), Errno::INVAL, Cause::None)
    }),
    ("ALLOC of more than the pool", |scene| {
        let size = scene
            .pool_bytes
            .saturating_add(1 + scene.rng.below(1 << 30));
        scene.alloc(size, 8, Errno::NOMEM, Cause::TooBig)
    }),
    ("ALLOC of 2^64 - 1 bytes", |scene| {
        scene.alloc(u64::MAX, 8, Errno::NOMEM, Cause::TooBig)
    }),
    ("FREE of handle 0", |scene| scene.free(0)),
    ("FREE of a freed handle", |scene| scene.free(scene.stale)),
    ("FREE of an invented handle", |scene| {
        let handle = scene.invented();
        scene.free(handle)
    }),
    ("REALLOC to 0 bytes", |scene| {
        let handle = scene.block().handle();
        scene.realloc(handle, 0, Errno::INVAL, Cause::None)
    }),
    ("REALLOC to more than the pool", |scene| {
        let (handle, size) = (scene.block().handle(), scene.pool_bytes.saturating_add(1));
        scene.realloc(handle, size, Errno::NOMEM, Cause::TooBig)
    }),
    ("REALLOC of a freed handle", |scene| {
        scene.realloc(scene.stale, 64, Errno::NOENT, Cause::None)
    }),
    ("REALLOC of an invented handle", |scene| {
        let handle = scene.invented();
        scene.realloc(handle, 64, Errno::NOENT, Cause::None)
    }),
    ("pread at the end of a block", |scene| {
        let (handle, end) = scene.end();
        scene.read(handle, end, Errno::NXIO)
    }),
    ("pread far behind a block", |scene| {
        let handle = scene.block().handle();
        scene.read(handle, u32::MAX, Errno::NXIO)
    }),
    ("pread of a freed handle", |scene| {
        scene.read(scene.stale, 0, Errno::NOENT)
    }),
    ("pread at a negative position", |scene| {
        scene.read(1 << 31, 0, Errno::INVAL)
    }),
    ("pwrite at the end of a block", |scene| {
        let (handle, end) = scene.end();
        scene.write(handle, end, Errno::NXIO)
    }),
    ("pwrite to a freed handle", |scene| {
        scene.write(scene.stale, 0, Errno::NOENT)
    }),
    ("BIND after an allocation", |scene| RefusalCheck {
        call: "BIND",
        found: scene.target.bind(0, 0, 0).map_err(plain),
        errno: Errno::BUSY,
        cause: Cause::None,
    }),
];

pub(super) fn run(run: &mut WorkloadRun<'_>) -> Result<(), Violation> {
    let info = run
        .oracle
        .target()
        .info()
        .map_err(|errno| Violation::Failed {
            call: "INFO",
            errno,
        })?;
    let mut blocks = Vec::new();
    let mut refusal = None;
    for size in SIZES {
        match run.client.alloc(size, 8)? {
            Ok(block) => blocks.push(block),
            Err(cause) => refusal = Some(cause),
        }
    }
    if let (Some(cause), true, true) = (refusal, blocks.is_empty(), run.oracle.is_alone()) {
        let requests = SIZES.len() as u64;
        return Err(Violation::NeverServed { requests, cause });
    }
    let stale = match run.client.alloc(64, 8)? {
        Ok(block) if !blocks.is_empty() => block,
        // Other sessions use the whole pool: there are no blocks to test with.
        _ => return run.free_all(&mut blocks),
    };
    let handle = stale.handle();
    run.client.free(stale)?;

    let mut scene = Scene {
        target: run.oracle.target(),
        blocks: &blocks,
        stale: handle,
        pool_bytes: info.pool_bytes,
        rng: &mut run.rng,
    };
    let mut before = stats(scene.target)?;
    while run.steps.next() {
        if run.steps.taken() % RAW_STEPS == 1 {
            raw::send_all(scene.target)?;
        }
        let (what, request) = REQUESTS[scene.rng.index(REQUESTS.len())];
        judge(run.oracle, what, &request(&mut scene))?;
        let after = stats(scene.target)?;
        unchanged(run.oracle, what, &before, &after)?;
        before = after;
        short_at_the_end(&scene)?;
    }
    run.free_all(&mut blocks)
}

/// Compares the result of a request with the expected refusal.
fn judge(oracle: &Oracle<'_>, what: &str, check: &RefusalCheck) -> Result<(), Violation> {
    let (errno, cause) = (check.errno, check.cause);
    if let Err(refused) = &check.found {
        if refused.errno == errno && Cause::from_raw(refused.cost.cause.into()) == Some(cause) {
            if cause != Cause::None {
                oracle.expect_refusal(cause);
            }
            return Ok(());
        }
    }
    let found = match &check.found {
        Ok(()) => "succeeded".to_owned(),
        Err(refused) => {
            format!(
                "failed with {}, cause {}",
                Name(refused.errno),
                Cause::from_raw(refused.cost.cause.into()).map_or("unknown", Cause::name)
            )
        }
    };
    let call = check.call;
    Err(Violation::Unexpected(format!(
        "{what}: {call} must fail with {}, cause {cause}, but {found}",
        Name(errno)
    )))
}

fn stats(target: &dyn Target) -> Result<Box<slablab_stats>, Violation> {
    target.stats().map_err(|errno| Violation::Failed {
        call: "STATS",
        errno,
    })
}

/// The name of a figure that a failed request must not change, and the figure.
type Figure = (&'static str, fn(&slablab_stats) -> u64);

/// The session's figures.
const SESSION: [Figure; 5] = [
    ("the session's blocks", |stats| stats.session_blocks),
    ("the session's bytes", |stats| stats.session_bytes),
    ("the session's allocations", |stats| {
        stats.session_allocations
    }),
    ("the session's frees", |stats| stats.session_frees),
    ("the session's reallocations", |stats| {
        stats.session_reallocations
    }),
];

/// The pool's figures.
const POOL: [Figure; 10] = [
    ("the pool's bytes", |stats| stats.pool_bytes),
    ("live bytes", |stats| stats.live_bytes),
    ("cached bytes", |stats| stats.cached_bytes),
    ("free bytes", |stats| stats.free_bytes),
    ("requested bytes", |stats| stats.requested_bytes),
    ("live blocks", |stats| stats.live_blocks),
    ("allocations", |stats| stats.allocations),
    ("frees", |stats| stats.frees),
    ("requested bytes of the buddy system", |stats| {
        stats.buddy_user_bytes
    }),
    ("allocated bytes of the buddy system", |stats| {
        stats.buddy_actual_bytes
    }),
];

/// Checks that only the count of refusals has changed.
fn unchanged(
    oracle: &Oracle<'_>,
    what: &str,
    before: &slablab_stats,
    after: &slablab_stats,
) -> Result<(), Violation> {
    let pool: &[Figure] = if oracle.is_alone() { &POOL } else { &[] };
    for (name, figure) in SESSION.iter().chain(pool) {
        let (before, after) = (figure(before), figure(after));
        if before != after {
            return Err(Violation::Unexpected(format!(
                "{what} changed {name} from {before} to {after}"
            )));
        }
    }
    Ok(())
}

/// Checks that a read across the end of a block is short.
fn short_at_the_end(scene: &Scene<'_>) -> Result<(), Violation> {
    let Some(block) = scene.blocks.iter().rfind(|block| block.size() > 3) else {
        return Ok(());
    };
    let mut buffer = [0; 16];
    let byte = block.size() - 3;
    match scene.target.read(block.handle(), byte as u32, &mut buffer) {
        Ok(3) => Ok(()),
        Ok(moved) => Err(Violation::Short {
            call: "pread across the end of the block",
            handle: block.handle(),
            byte,
            expected: 3,
            moved,
        }),
        Err(errno) => Err(Violation::Failed {
            call: "pread across the end of the block",
            errno,
        }),
    }
}

/// Converts an error without a reply to a refusal.
fn plain(errno: Errno) -> Refused {
    Refused {
        errno,
        cost: Default::default(),
    }
}

impl<'s> Scene<'s> {
    /// Returns a random live block.
    fn block(&mut self) -> &'s ClientBlock {
        &self.blocks[self.rng.index(self.blocks.len())]
    }

    /// Returns a handle and the offset of the first byte behind its block.
    fn end(&mut self) -> (u32, u32) {
        let block = self.block();
        (block.handle(), block.size() as u32)
    }

    /// Returns a number that is no handle of this session: its index is far above the indexes of the few live blocks.
    fn invented(&mut self) -> u32 {
        0xf_ff00 + self.rng.below(0x100) as u32 + ((self.rng.below(0x1000) as u32) << 20)
    }

    fn alloc(&self, size: u64, align: u64, errno: Errno, cause: Cause) -> RefusalCheck {
        RefusalCheck {
            call: "ALLOC",
            found: self.target.alloc(size, align).map(|_| ()),
            errno,
            cause,
        }
    }

    fn realloc(&self, handle: u32, size: u64, errno: Errno, cause: Cause) -> RefusalCheck {
        RefusalCheck {
            call: "REALLOC",
            found: self.target.realloc(handle, size).map(|_| ()),
            errno,
            cause,
        }
    }

    fn free(&self, handle: u32) -> RefusalCheck {
        RefusalCheck {
            call: "FREE",
            found: self.target.free(handle).map_err(plain),
            errno: Errno::NOENT,
            cause: Cause::None,
        }
    }

    fn read(&self, handle: u32, byte: u32, errno: Errno) -> RefusalCheck {
        RefusalCheck {
            call: "pread",
            found: self
                .target
                .read(handle, byte, &mut [0; 8])
                .map(|_| ())
                .map_err(plain),
            errno,
            cause: Cause::None,
        }
    }

    fn write(&self, handle: u32, byte: u32, errno: Errno) -> RefusalCheck {
        RefusalCheck {
            call: "pwrite",
            found: self
                .target
                .write(handle, byte, &[0xff; 8])
                .map(|_| ())
                .map_err(plain),
            errno,
            cause: Cause::None,
        }
    }
}
