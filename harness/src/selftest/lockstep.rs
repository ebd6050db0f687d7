// SPDX-License-Identifier: GPL-2.0

//! The same trace, in the kernel and in this process, step by step.
//!
//! Both run the same code of sessions and engines; what differs is where the memory lies, the
//! locks, and the compiler's flags. Nothing that a program is told may depend on those.

use crate::{
    device::{
        Device,
        Errno,
        Refused, //
    },
    rng::Rng,
    sim::Sim,
    target::Target,
    uapi::{
        Engine,
        slablab_cost,
        slablab_stats, //
    },
};

use super::{
    fixture::{
        MIB,
        POOL_ENGINES,
        POOL_UNIT,
        private_of,
        sound, //
    },
    theme,
    verdict::{
        About,
        Outcome,
        equal, //
    },
};

theme!("lockstep" {
    Once twenty_thousand_operations_have_the_same_answers,
    Once a_small_pool_refuses_the_same_requests,
    Once an_extended_pool_has_the_same_answers,
});

/// Path, cause, class, order, splits and merges.
type Cost = (u8, u8, u8, u8, u16, u16);

/// What a program is told: handle, offset, usable bytes and cost, or why it gets nothing.
type Answer = Result<(u32, u64, u64, Cost), (Errno, Cost)>;

fn cost(cost: &slablab_cost) -> Cost {
    (
        cost.path,
        cost.cause,
        cost.class_index,
        cost.order,
        cost.splits,
        cost.merges,
    )
}

fn refusal(refused: Refused) -> (Errno, Cost) {
    (refused.errno, cost(&refused.cost))
}

fn alloc(target: &impl Target, size: u64, align: u64) -> Answer {
    let told = |reply: crate::uapi::slablab_alloc| {
        (reply.handle, reply.offset, reply.usable, cost(&reply.cost))
    };
    target.alloc(size, align).map(told).map_err(refusal)
}

fn realloc(target: &impl Target, handle: u32, size: u64) -> Answer {
    let told = |reply: crate::uapi::slablab_realloc| {
        (reply.handle, reply.offset, reply.usable, cost(&reply.cost))
    };
    target.realloc(handle, size).map(told).map_err(refusal)
}

/// Returns every figure of STATS, as text.
fn figures(stats: Box<slablab_stats>) -> String {
    format!("{stats:?}")
}

/// Runs one trace on both and compares each answer.
fn in_step(device: &Device, sim: &Sim, operations: u32, most: u64, random: &mut Rng) -> Outcome {
    let mut live = Vec::new();
    for n in 0..operations {
        let pick = random.index(live.len().max(1));
        let about = match random.below(16) {
            0..8 => {
                let (size, align) = (random.doubling(1, most), 1 << random.below(13));
                let answer = alloc(device, size, align);
                live.extend(answer.iter().map(|told| told.0));
                equal("answer", alloc(sim, size, align), answer)
                    .about(format_args!("alloc {size} at {align}"))
            }
            8..10 if !live.is_empty() => {
                let size = random.doubling(1, most);
                equal(
                    "answer",
                    realloc(sim, live[pick], size),
                    realloc(device, live[pick], size),
                )
                .about(format_args!("realloc {size}"))
            }
            _ if !live.is_empty() => {
                let handle = live.swap_remove(pick);
                equal("answer", sim.free(handle), device.free(handle)).about("free")
            }
            _ => Ok(()),
        };
        about.about(format_args!("operation {n}"))?;
    }
    equal("figures", figures(sim.stats()?), figures(device.stats()?))?;
    for handle in live {
        equal(
            "free",
            (sim.free(handle), device.free(handle)),
            (Ok(()), Ok(())),
        )?;
    }
    equal(
        "figures at the end",
        figures(sim.stats()?),
        figures(device.stats()?),
    )?;
    sound(device)
}

fn twenty_thousand_operations_have_the_same_answers() -> Outcome {
    for engine in POOL_ENGINES {
        let (device, sim) = pair(engine, 16 * MIB)?;
        in_step(&device, &sim, 20_000, 65_536, &mut Rng::new(7)).about(engine)?;
    }
    Ok(())
}

/// Opens a session on each, with a pool of its own.
fn pair(engine: Engine, pool_bytes: u64) -> Outcome<(Device, Sim)> {
    Ok((
        private_of(engine, pool_bytes)?,
        Sim::private(engine, pool_bytes)?,
    ))
}

fn a_small_pool_refuses_the_same_requests() -> Outcome {
    // Requests up to twice the pool: every kind of refusal.
    for engine in POOL_ENGINES {
        for seed in 1..4 {
            let (device, sim) = pair(engine, MIB)?;
            in_step(&device, &sim, 2_000, 2 * MIB, &mut Rng::new(seed))
                .about(format_args!("{engine}, seed {seed}"))?;
        }
    }
    Ok(())
}

fn an_extended_pool_has_the_same_answers() -> Outcome {
    for engine in POOL_ENGINES {
        let (device, sim) = pair(engine, MIB)?;
        let mut random = Rng::new(3);
        for region in 1..4_u32 {
            in_step(&device, &sim, 1_000, 65_536, &mut random)
                .about(format_args!("{engine}, region {region}"))?;
            let bytes = u64::from(region) * 8 * POOL_UNIT;
            let (one, other) = (device.extend(bytes)?, sim.extend(bytes)?);
            equal(
                "region",
                (other.region, other.pool_bytes),
                (one.region, one.pool_bytes),
            )?;
        }
        in_step(&device, &sim, 2_000, 65_536, &mut random).about(engine)?;
    }
    Ok(())
}
