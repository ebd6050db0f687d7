// SPDX-License-Identifier: GPL-2.0

//! Compares the model with the seed, and with counts that were made by hand.

use slablab_trace::{
    Builder,
    Trace,
    pattern, //
};

use super::*;
use crate::{
    oracle::Oracle,
    replay::Checked,
    sim::Sim,
    target::Target,
    uapi::Engine, //
};

const KIB: u64 = 1 << 10;

/// Runs a trace on the seed, and returns the model, the answers, and the statistics at the end.
fn behind(
    trace: &Trace,
    pool_bytes: u64,
) -> Result<(SeedModel, Vec<Answer>, Box<slablab_stats>), ModelMismatch> {
    let target = Sim::private(Engine::Seed, pool_bytes).unwrap();
    let oracle = Oracle::new(&target, 1).unwrap();
    let mut run = Checked::new(trace, &oracle);
    run.advance(trace.ops().len()).unwrap();
    let answers = run.answers().to_vec();
    let mut seed_model = SeedModel::new(pool_bytes);
    for (op, answer) in trace.ops().iter().zip(&answers) {
        seed_model.enter(op, answer)?;
    }
    Ok((seed_model, answers, target.stats().unwrap()))
}

/// Returns the offset and the usable bytes of the block after an operation; `None` if there is no block.
fn place(answer: &Answer) -> Option<(u64, u64)> {
    let there = answer.outcome == OpOutcome::Done && answer.usable > 0;
    there.then_some((answer.offset, answer.usable))
}

#[test]
fn it_does_what_the_seed_does() {
    let mut refused = 0;
    for pattern in pattern::all() {
        let trace = pattern.make(1, 5);
        for room in [1, 4] {
            // The smaller pool is too small for most patterns.
            let pool_bytes = (trace.peak_bytes() * room).next_multiple_of(32 * KIB);
            let about = format!("{} in {pool_bytes}", pattern.name);
            let (seed_model, answers, mut stats) = behind(&trace, pool_bytes).unwrap();
            refused += usize::from(
                answers
                    .iter()
                    .any(|answer| answer.outcome != OpOutcome::Done),
            );

            let map = seed_model.map();
            let [region] = &map.regions[..] else {
                panic!("{about}: regions");
            };
            assert_eq!(u64::from(region.pages) * PAGE_BYTES, pool_bytes, "{about}");
            let mut next = 0;
            let (mut free, mut used, mut total) = (0, [0; 7], [0; 7]);
            for extent in &region.extents {
                assert_eq!(extent.page, next, "{about}: a gap, or an overlap");
                next += extent.pages;
                match extent.what {
                    Use::Free => {
                        assert!(extent.pages.is_power_of_two());
                        free += u64::from(extent.pages) * PAGE_BYTES;
                    }
                    Use::Slab {
                        class,
                        objects,
                        used: out,
                    } => {
                        used[usize::from(class)] += u64::from(out);
                        total[usize::from(class)] += u64::from(objects);
                    }
                    Use::Large => {}
                    Use::Mixed { .. } => panic!("{about}: the seed has no mixed pages"),
                }
            }
            assert_eq!(free, stats.free_bytes, "{about}");
            let reported = |of: fn(&crate::uapi::slablab_class_stats) -> u64| -> Vec<_> {
                stats.classes[..7].iter().map(of).collect()
            };
            assert_eq!(reported(|class| class.used_blocks), used, "{about}");
            assert_eq!(reported(|class| class.total_blocks), total, "{about}");
            let order_bytes = |stats: &slablab_stats| -> u64 {
                let orders = (0..).zip(&stats.orders);
                orders
                    .map(|(order, of)| (of.free_blocks * PAGE_BYTES) << order)
                    .sum()
            };
            assert_eq!(order_bytes(&stats), 0, "the seed tells none");
            seed_model.count(&mut stats);
            assert_eq!(order_bytes(&stats), stats.free_bytes, "{about}");
        }
    }
    assert!(refused > 10, "pools are too small");
}

/// Fills 1 MiB with 64 blocks of 16 KiB, frees the blocks with these numbers, and returns the work of each
/// free.
fn freed(numbers: impl IntoIterator<Item = usize>) -> Vec<BuddyWork> {
    let mut trace = Builder::new();
    let blocks: Vec<_> = (0..64).map(|_| trace.alloc(16 << 10, 8)).collect();
    let mut frees = 0;
    for number in numbers {
        trace.free(blocks[number]);
        frees += 1;
    }
    let trace = trace.finish("freed", "");
    let (_, answers, _) = behind(&trace, 1 << 20).unwrap();
    assert!(
        answers[..64]
            .iter()
            .is_sorted_by_key(|answer| answer.offset)
    );
    let mut seed_model = SeedModel::new(1 << 20);
    let all = trace.ops().iter().zip(&answers);
    let mut works: Vec<_> = all
        .map(|(op, answer)| seed_model.enter(op, answer).unwrap())
        .collect();
    let splits: u32 = works[..64].iter().map(|work| work.splits).sum();
    assert_eq!(splits, 63, "one block of 1 MiB");
    let works = works.split_off(64);
    assert_eq!(works.len(), frees);
    works
}

#[test]
fn frees_search_all_that_is_free_before_they_give_up() {
    // Every other block is freed. No block has a free buddy, and each free leaves one more block to compare.
    for (number, work) in freed((0..64).step_by(2)).into_iter().enumerate() {
        let expected = BuddyWork {
            searched: number as u64,
            ..BuddyWork::default()
        };
        assert_eq!(work, expected, "free {number}");
    }
}

#[test]
fn frees_search_as_far_as_the_buddy_lies() {
    // A list is searched from the block that was freed last. The frees of blocks 0, 2, 4 and 6 find no buddy.
    let works = freed([0, 2, 4, 6, 7, 1]);
    let searched: Vec<_> = works.iter().map(|work| work.searched).collect();
    // The free of block 7 finds block 6 at once, and the list of the next order is empty. The free of block 1
    // compares blocks 4 and 2 and finds block 0; in the next order, the joint block of 6 and 7 is not the
    // buddy.
    assert_eq!(searched, [0, 1, 2, 3, 1, 4]);
    let merges: Vec<_> = works.iter().map(|work| work.merges).collect();
    assert_eq!(merges, [0, 0, 0, 0, 1, 1]);
}

#[test]
fn another_place_than_the_twins_is_noticed() {
    let trace = pattern::named("larson").unwrap().make(1, 2);
    let (_, answers, _) = behind(&trace, 1 << 20).unwrap();
    let mut noticed = 0;
    for (index, answer) in answers
        .iter()
        .enumerate()
        .filter(|(_, at)| place(at).is_some())
    {
        let mut seed_model = SeedModel::new(1 << 20);
        let mut results = trace.ops().iter().zip(&answers).take(index);
        assert!(results.all(|(op, answer)| seed_model.enter(op, answer).is_ok()));
        let moved = Answer {
            offset: answer.offset + 64,
            ..*answer
        };
        assert_eq!(
            seed_model.enter(&trace.ops()[index], &moved),
            Err(ModelMismatch {
                seed: answer.offset + 64,
                seed_model: Some(answer.offset)
            })
        );
        noticed += 1;
        if noticed == 50 {
            break;
        }
    }
    assert_eq!(noticed, 50);
}

#[test]
fn a_mismatch_is_told_in_words() {
    let mismatch = |seed_model| {
        ModelMismatch {
            seed: 0x1000,
            seed_model,
        }
        .to_string()
    };
    assert_eq!(
        mismatch(Some(0x2040)),
        "the seed differs from its model: the block has offset 0x1000, but 0x2040 in the model"
    );
    assert_eq!(
        mismatch(None),
        "the seed differs from its model: the block has offset 0x1000, but the model refuses the request"
    );
}
