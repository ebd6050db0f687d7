// SPDX-License-Identifier: GPL-2.0

//! Peers in `sim`: correct peers pass every check, and a wrong peer is caught.

use std::{
    alloc::Layout,
    panic,
    ptr::NonNull, //
};

use slablab_lab::{
    isolation::BlockViolation,
    oracle::Violation,
    replay::{
        Failure,
        OpOutcome,
        RunResult,
        checked,
        timeline::{
            Limits,
            timeline, //
        }, //
    },
    sim::Sim,
    target::Target,
    uapi::Cause,
};
use slablab_peers::{
    Facts,
    PEERS,
    Peer,
    PeerKind, //
};
use slablab_trace::{
    Builder,
    Trace,
    pattern,
    rng::Rng, //
};

/// The example of `docs/extending.md`, which `scripts/tests/recipes.py` compares with this file.
#[path = "recipe/bump.rs"]
#[expect(unreachable_pub, reason = "the file is part of a crate in the example")]
mod bump;

use bump::Bump;

const MIB: u64 = 1 << 20;

/// Returns all peers, and the example of `docs/extending.md`.
fn kinds() -> impl Iterator<Item = PeerKind> {
    PEERS.iter().copied().chain([PeerKind::of::<Bump>()])
}

fn replayed(kind: &PeerKind, pool_bytes: u64, trace: &Trace) -> Result<RunResult, Failure> {
    checked(&Sim::peer(kind, pool_bytes).unwrap(), trace)
}

/// Returns random operations with sizes up to 64 KiB and alignments up to 64 KiB.
fn random(seed: u64) -> Trace {
    let (mut trace, mut rng) = (Builder::new(), Rng::new(seed));
    let mut live = Vec::new();
    for _ in 0..400 {
        let bytes = rng.doubling(1, 1 << 16) as u32;
        match rng.below(3) {
            0 if !live.is_empty() => {
                let index = rng.below(live.len() as u64) as usize;
                trace.free(live.swap_remove(index));
            }
            1 if !live.is_empty() => {
                trace.realloc(live[rng.below(live.len() as u64) as usize], bytes);
            }
            _ => live.push(trace.alloc(bytes, 1 << rng.below(17))),
        }
    }
    trace.finish("random", "")
}

#[test]
fn peers_pass_every_check_on_every_pattern() {
    for pattern in pattern::workloads() {
        let trace = pattern.make(1, 2);
        for kind in kinds() {
            let ran = replayed(&kind, 16 * MIB, &trace);
            let ran = ran.unwrap_or_else(|failure| {
                panic!("{} on {}: {failure}", pattern.name, kind.facts().name)
            });
            assert!(ran.checked_bytes > 0);
        }
    }
}

#[test]
fn peers_pass_every_check_with_any_size_and_alignment() {
    for seed in 0..5 {
        let trace = random(seed);
        for kind in kinds() {
            // The second pool is smaller than the peak, so some requests are refused.
            let small = (trace.peak_bytes() / 2).next_multiple_of(64 << 10);
            for pool_bytes in [32 * MIB, small] {
                let ran = replayed(&kind, pool_bytes, &trace);
                let ran = ran.unwrap_or_else(|failure| {
                    panic!("{}, seed {seed}: {failure}", kind.facts().name)
                });
                let is_complete = ran.figures.is_complete();
                assert_eq!(is_complete, pool_bytes > small, "{}", kind.facts().name);
            }
        }
    }
}

#[test]
fn equal_seeds_give_equal_answers() {
    let make = |seed| pattern::named("larson").unwrap().make(seed, 10);
    for kind in kinds() {
        let answers = |seed| replayed(&kind, MIB, &make(seed)).unwrap().answers;
        assert_eq!(answers(7), answers(7), "{}", kind.facts().name);
        assert_ne!(answers(7), answers(8), "{}", kind.facts().name);
    }
}

#[test]
fn a_peer_refuses_for_one_of_three_causes() {
    let mut trace = Builder::new();
    trace.alloc(2 << 20, 8);
    trace.alloc(600 << 10, 8);
    trace.alloc(600 << 10, 8);
    let trace = trace.finish("refused", "");
    let outcomes = |kind: &PeerKind| -> Vec<_> {
        let answers = replayed(kind, MIB, &trace).unwrap().answers;
        answers.iter().map(|answer| answer.outcome).collect()
    };
    let refused = |cause| OpOutcome::Refused(cause);
    assert_eq!(
        outcomes(&PeerKind::of::<Bump>()),
        [
            refused(Cause::TooBig),
            OpOutcome::Done,
            refused(Cause::Exhausted)
        ]
    );
    let outcomes = outcomes(&PeerKind::of::<Wrong<{ Defect::Limited as u8 }>>());
    assert!(outcomes.contains(&OpOutcome::Done));
    let mut trace = Builder::new();
    trace.alloc(100, 64);
    trace.alloc(100, 32);
    let trace = trace.finish("aligned", "");
    let kind = PeerKind::of::<Wrong<{ Defect::Limited as u8 }>>();
    let answers = replayed(&kind, MIB, &trace).unwrap().answers;
    assert_eq!(answers[0].outcome, refused(Cause::Unsupported));
    assert_eq!(answers[1].outcome, OpOutcome::Done);
}

#[test]
fn the_map_of_a_peer_shows_its_live_blocks() {
    let trace = pattern::named("larson").unwrap().make(1, 5);
    let limits = Limits {
        frames: 50,
        writes: 100_000,
    };
    for kind in kinds() {
        let target = Sim::peer(&kind, MIB).unwrap();
        let timeline = timeline(&target, &trace, limits).unwrap().unwrap();
        let map = timeline.map_deltas.unwrap();
        assert_eq!(map.pages, 256);
        assert_eq!(map.frames.len(), timeline.operations.len());
        // No page has a live byte before the first operation.
        assert_eq!(map.writes[0].len(), 2);
        assert!(map.writes.iter().any(|writes| writes.len() > 2));
        assert!(timeline.class_bytes.is_empty());
    }
}

/// The defects of [`Wrong`].
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Defect {
    /// The second block begins 32 bytes too early, inside of the first one.
    Overlap,
    /// The second block is misaligned.
    Misaligned,
    /// The second block lies behind the pool.
    Outside,
    /// A free writes to the first block, which is live.
    Stray,
    /// A block that grows in place does not, so that the next block shares its bytes.
    Growth,
    /// Not a defect: the largest alignment is 32.
    Limited,
}

/// The peer `bump` with a defect.
struct Wrong<const DEFECT: u8> {
    bump: Bump,
    pool: NonNull<[u8]>,
    allocations: usize,
}

// SAFETY: The allocator owns its pool, and nothing belongs to a thread.
unsafe impl<const DEFECT: u8> Send for Wrong<DEFECT> {}

impl<const DEFECT: u8> Wrong<DEFECT> {
    fn has(defect: Defect) -> bool {
        DEFECT == defect as u8
    }
}

// SAFETY: The type breaks the contract on purpose. The session and the oracle access a wrong block only if it lies in
// the pool, and the tests end after the first wrong answer.
unsafe impl<const DEFECT: u8> Peer for Wrong<DEFECT> {
    fn facts() -> Facts {
        Facts {
            name: "wrong",
            align_max: Self::has(Defect::Limited).then_some(32),
            ..Bump::facts()
        }
    }

    unsafe fn new(pool: NonNull<[u8]>) -> Option<Self> {
        Some(Self {
            // SAFETY: Both functions have the same contract.
            bump: unsafe { Bump::new(pool) }?,
            pool,
            allocations: 0,
        })
    }

    unsafe fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: Both functions have the same contract.
        let block = unsafe { self.bump.allocate(layout) }?;
        self.allocations += 1;
        if self.allocations != 2 {
            return Some(block);
        }
        let address = block.addr().get();
        let wrong = match DEFECT {
            defect if defect == Defect::Overlap as u8 => address - 32,
            defect if defect == Defect::Misaligned as u8 => address + 8,
            defect if defect == Defect::Outside as u8 => address + self.pool.len(),
            _ => address,
        };
        Some(block.with_addr(wrong.try_into().unwrap()))
    }

    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        if Self::has(Defect::Stray) {
            // SAFETY: The pool is valid, and larger than a byte. Its first byte belongs to a live block of the oracle,
            // which does not access it during the call.
            unsafe { self.pool.cast::<u8>().write(7) };
        }
        // SAFETY: Both functions have the same contract.
        unsafe { self.bump.free(block, layout) };
    }

    unsafe fn resize_in_place(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        new_bytes: usize,
    ) -> bool {
        // SAFETY: Both functions have the same contract.
        Self::has(Defect::Growth) || unsafe { self.bump.resize_in_place(block, layout, new_bytes) }
    }
}

/// Returns the result of a trace on a peer with a defect. The trace is right on `bump`.
fn wrong<const DEFECT: u8>() -> Failure {
    let mut trace = Builder::new();
    let first = trace.alloc(100, 8);
    let second = trace.alloc(64, 32);
    trace.realloc(second, 128);
    trace.alloc(64, 8);
    trace.free(second);
    // The blocks of one batch are checked before the batch. The second operation on a block begins a new batch.
    trace.realloc(first, 50);
    trace.free(first);
    let trace = trace.finish("wrong", "");
    replayed(&PeerKind::of::<Bump>(), MIB, &trace).unwrap();
    replayed(&PeerKind::of::<Wrong<DEFECT>>(), MIB, &trace).unwrap_err()
}

#[test]
fn a_block_that_overlaps_another_one_is_caught() {
    for (failure, operation) in [
        (wrong::<{ Defect::Overlap as u8 }>(), 2),
        (wrong::<{ Defect::Growth as u8 }>(), 4),
    ] {
        assert_eq!(failure.operation, operation);
        assert!(
            matches!(failure.violation, Violation::Overlap { .. }),
            "{failure}"
        );
    }
}

#[test]
fn a_misaligned_block_is_caught() {
    let failure = wrong::<{ Defect::Misaligned as u8 }>();
    assert_eq!(failure.operation, 2);
    assert!(
        matches!(failure.violation, Violation::Misaligned { .. }),
        "{failure}"
    );
}

#[test]
fn a_write_to_a_live_block_is_caught() {
    let failure = wrong::<{ Defect::Stray as u8 }>();
    assert!(
        matches!(failure.violation, Violation::Corrupt { .. }),
        "{failure}"
    );
}

#[test]
fn a_block_outside_of_the_pool_ends_the_process_before_it_is_written() {
    let result = panic::catch_unwind(|| drop(wrong::<{ Defect::Outside as u8 }>()));
    let payload = result.unwrap_err();
    let BlockViolation(text) = payload.downcast_ref().unwrap();
    assert_eq!(text, "a new block of 64 bytes does not lie in the pool");
}

#[test]
fn a_peer_has_no_check_and_no_map() {
    let target = Sim::peer(&PEERS[0], MIB).unwrap();
    assert!(target.check().is_err());
    assert!(target.map(0, 0, &mut [Default::default()]).is_err());
    assert!(target.extend(MIB).is_err());
}
