// SPDX-License-Identifier: GPL-2.0

//! Each test falsifies one reply, and the oracle must find the violation.

use super::{
    fault_injecting_backend::{
        Faulty,
        POOL_BYTES, //
    },
    *,
};
use crate::{
    sim::Sim,
    uapi::slablab_alloc, //
};

/// Allocates two blocks, grows and shrinks the first one, and frees both.
fn script(target: &dyn Target) -> Result<Summary, Violation> {
    let oracle = Oracle::new(target, 1)?;
    let mut client = oracle.client();
    let mut first = client.alloc(100, 64)?.unwrap();
    let second = client.alloc(5000, 64)?.unwrap();
    client.realloc(&mut first, 300)?.unwrap();
    client.realloc(&mut first, 50)?.unwrap();
    assert_eq!(
        client.realloc(&mut first, POOL_BYTES + 1)?,
        Err(Cause::TooBig)
    );
    client.free(second)?;
    client.free(first)?;
    oracle.finish()
}

/// Returns the violation that the oracle finds when `change` changes the reply to the second allocation.
fn alloc_fault(change: impl Fn(&Sim, &mut slablab_alloc) + Sync + 'static) -> Violation {
    violation(Faulty {
        alloc: Box::new(move |sim, reply| change(sim, reply.as_mut().unwrap())),
        ..Faulty::default()
    })
}

fn violation(faulty: Faulty) -> Violation {
    script(&faulty).map(|_| ()).unwrap_err()
}

/// The handle of the first block of a session.
const FIRST: u32 = 1 << 20;

#[test]
fn a_sound_target_gives_no_reason_to_complain() {
    let summary = script(&Faulty::default()).unwrap();
    assert_eq!(summary.tally.allocations, 2);
    assert_eq!(summary.tally.reallocations, 2);
    assert_eq!(summary.tally.refusals[Cause::TooBig.raw() as usize], 1);
    assert_eq!(summary.peak_live_bytes, 5300);
    // The terms are: the two new blocks, the first block after its growth, after its shrinking and after the
    // refusal, and the two blocks before their frees.
    assert_eq!(
        summary.checked_bytes,
        100 + 5000 + 300 + 50 + 50 + 5000 + 50
    );
}

#[test]
fn a_block_outside_the_pool_is_noticed() {
    for offset in [POOL_BYTES, POOL_BYTES - 64, 1 << 48, u64::MAX - 1] {
        assert!(matches!(
            alloc_fault(move |_, reply| reply.offset = offset),
            Violation::OutsidePool { offset: printed, .. } if printed == offset
        ));
    }
}

#[test]
fn a_misaligned_block_is_noticed() {
    let violation = alloc_fault(|_, reply| reply.offset += 8);
    assert!(
        matches!(violation, Violation::Misaligned { align: 64, .. }),
        "{violation}"
    );
}

#[test]
fn blocks_that_share_bytes_are_noticed() {
    // The first block has 128 usable bytes.
    for end in [-64, 0, 64] {
        let violation = alloc_fault(move |sim, reply| {
            let first = sim.alloc(100, 64).unwrap().offset - 128;
            reply.offset = first.checked_add_signed(end).unwrap_or(first);
            reply.usable = 5056;
        });
        assert!(
            matches!(violation, Violation::Overlap { .. }),
            "{end}: {violation}"
        );
    }
}

#[test]
fn a_handle_with_two_blocks_is_noticed() {
    assert_eq!(
        alloc_fault(|_, reply| reply.handle = FIRST),
        Violation::HandleInUse { handle: FIRST }
    );
}

#[test]
fn numbers_that_are_no_handle_are_noticed() {
    for handle in [0, 1 << 31] {
        assert_eq!(
            alloc_fault(move |_, reply| reply.handle = handle),
            Violation::BadHandle { handle }
        );
    }
}

#[test]
fn a_block_that_is_too_small_is_noticed() {
    assert_eq!(
        alloc_fault(|_, reply| reply.usable = 4999),
        Violation::TooSmall {
            size: 5000,
            usable: 4999
        }
    );
}

#[test]
fn a_block_without_an_offset_is_noticed() {
    assert!(matches!(
        alloc_fault(|_, reply| reply.offset = uapi::NO_OFFSET),
        Violation::WrongKindOfOffset { pool: true, .. }
    ));
}

#[test]
fn a_new_byte_that_is_not_zero_is_noticed() {
    for byte in [0, 1234, 4999] {
        let violation = alloc_fault(move |sim, reply| {
            sim.write(reply.handle, byte, &[7]).unwrap();
        });
        assert!(
            matches!(violation, Violation::NotZero { byte: printed, found: 7, .. } if printed == u64::from(byte))
        );
    }
}

#[test]
fn a_byte_that_changed_is_noticed() {
    let violation = alloc_fault(|sim, _| {
        let mut byte = [0];
        sim.read(FIRST, 33, &mut byte).unwrap();
        sim.write(FIRST, 33, &[!byte[0]]).unwrap();
    });
    assert!(matches!(
        violation,
        Violation::Corrupt {
            handle: FIRST,
            byte: 33,
            ..
        }
    ));
}

#[test]
fn a_realloc_that_adds_no_zeros_is_noticed() {
    let violation = violation(Faulty {
        realloc: Box::new(|sim, reply| {
            if let Ok(reply) = reply {
                let _short = sim.write(reply.handle, 200, &[1]);
            }
        }),
        ..Faulty::default()
    });
    assert!(
        matches!(violation, Violation::NotZero { byte: 200, .. }),
        "{violation}"
    );
}

#[test]
fn a_realloc_to_another_handle_is_noticed() {
    let violation = violation(Faulty {
        realloc: Box::new(|_, reply| {
            if let Ok(reply) = reply {
                reply.handle += 1;
            }
        }),
        ..Faulty::default()
    });
    assert!(matches!(violation, Violation::Figure { .. }), "{violation}");
}

#[test]
fn a_transfer_that_is_short_is_noticed() {
    let violation = violation(Faulty {
        moved: Box::new(|_, reply| {
            if let Ok(moved) = reply {
                *moved -= 1;
            }
        }),
        ..Faulty::default()
    });
    assert!(
        matches!(
            violation,
            Violation::Short {
                expected: 100,
                moved: 99,
                ..
            }
        ),
        "{violation}"
    );
}

#[test]
fn a_refusal_that_contradicts_itself_is_noticed() {
    for (errno, cause) in [
        (Errno::INVAL, Cause::TooBig),
        (Errno::NOMEM, Cause::Quota),
        (Errno::DQUOT, Cause::Exhausted),
        (Errno::NOMEM, Cause::None),
    ] {
        let violation = violation(Faulty {
            alloc: Box::new(move |_, reply| {
                let mut cost = reply.unwrap().cost;
                cost.cause = cause.raw() as u8;
                *reply = Err(Refused { errno, cost });
            }),
            ..Faulty::default()
        });
        assert_eq!(
            violation,
            Violation::WrongRefusal {
                call: "ALLOC",
                errno,
                cause: Some(cause)
            }
        );
    }
}

#[test]
fn a_free_that_fails_is_noticed() {
    let violation = violation(Faulty {
        free: Box::new(|_, reply| *reply = Err(Errno::BUSY)),
        ..Faulty::default()
    });
    assert_eq!(
        violation,
        Violation::Failed {
            call: "FREE",
            errno: Errno::BUSY
        }
    );
}

#[test]
fn every_figure_that_is_wrong_at_the_end_is_noticed() {
    let changes: [fn(&mut slablab_stats); 14] = [
        |stats| stats.session_blocks += 1,
        |stats| stats.session_bytes += 64,
        |stats| stats.session_allocations += 1,
        |stats| stats.session_frees -= 1,
        |stats| stats.session_reallocations += 1,
        |stats| stats.session_refusals[3] += 1,
        |stats| stats.live_blocks += 1,
        |stats| stats.live_bytes += 64,
        |stats| stats.requested_bytes += 1,
        |stats| stats.frees += 1,
        |stats| stats.free_bytes -= 64,
        |stats| stats.available_bytes += 1,
        |stats| stats.used_bytes -= 1,
        |stats| stats.classes[1].used_blocks += 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let violation = violation(Faulty {
            stats: Box::new(move |_, stats| change(stats)),
            ..Faulty::default()
        });
        assert!(
            matches!(violation, Violation::Figure { .. }),
            "{index}: {violation}"
        );
    }
}

#[test]
fn a_broken_rule_is_reported() {
    let violation = violation(Faulty {
        check: Box::new(|_, reply| {
            let mut check = reply.unwrap();
            check.rule = Rule::ListLength.raw();
            check.class_index = 2;
            *reply = Ok(check);
        }),
        ..Faulty::default()
    });
    assert!(matches!(violation, Violation::Unsound { class: 2, .. }));
    assert!(violation.to_string().contains("list length"), "{violation}");
}

#[test]
fn a_block_that_was_forgotten_is_noticed() {
    let sim = Sim::private(crate::uapi::Engine::Seed, POOL_BYTES).unwrap();
    let oracle = Oracle::new(&sim, 1).unwrap();
    let _forgotten = oracle.client().alloc(64, 8).unwrap();
    assert!(matches!(
        oracle.finish().map(|_| ()),
        Err(Violation::Figure {
            expected: 0,
            found: 1,
            ..
        })
    ));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    /// Runs random operations in a pool that is too small for some of them.
    #[test]
    fn the_engine_and_the_oracle_agree(
        program in proptest::collection::vec((0_u8..4, 0_usize..64, 1_u64..50_000, 0_u32..14), 1..200)
    ) {
        let sim = Sim::private(crate::uapi::Engine::Seed, POOL_BYTES).unwrap();
        let oracle = Oracle::new(&sim, 1).unwrap();
        let mut client = oracle.client();
        let mut blocks: Vec<ClientBlock> = Vec::new();
        for (operation, pick, size, align) in program {
            match (operation, blocks.len()) {
                (0 | 1, _) | (_, 0) => blocks.extend(client.alloc(size, 1 << align).unwrap()),
                (2, len) => client.free(blocks.swap_remove(pick % len)).unwrap(),
                (_, len) => {
                    let _refused = client.realloc(&mut blocks[pick % len], size).unwrap();
                }
            }
        }
        for block in blocks {
            client.free(block).unwrap();
        }
        oracle.finish().unwrap();
    }
}
