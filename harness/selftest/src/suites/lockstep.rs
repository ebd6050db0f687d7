// SPDX-License-Identifier: GPL-2.0

//! The same trace, executed step by step in the kernel and in this process.
//!
//! Both run the same code of sessions and engines. They differ in the addresses of memory, the
//! locks, and the compiler's flags. No reply to a program may depend on those.

use crate::{
    affinity::CpuPin,
    device::{
        Device,
        Errno, //
    },
    map::PoolMap,
    rng::Rng,
    sim::Sim,
    target::{
        Refused,
        Target, //
    },
    uapi::{
        self,
        Engine,
        slablab_cost,
        slablab_event,
        slablab_events,
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
    memory::Argument,
    prelude::*, //
};

suite!("lockstep" {
    Once twenty_thousand_operations_have_the_same_answers,
    Once a_small_pool_refuses_the_same_requests,
    Once an_extended_pool_has_the_same_answers,
    Once recorded_sessions_have_the_same_answers_and_events,
    Magazines ten_traces_of_a_hundred_thousand_operations_have_the_same_answers,
});

/// The fields of a cost: path, cause, class, order, splits, merges and fragmentation.
type CostFields = (u8, u8, u8, u8, u8, u8, u16);

/// A reply: handle, offset, usable bytes and cost, or the errno and the cost of a refusal.
type ReplyFields = Result<(u32, u64, u64, CostFields), (Errno, CostFields)>;

fn cost(cost: &slablab_cost) -> CostFields {
    (
        cost.path,
        cost.cause,
        cost.class_index,
        cost.order,
        cost.splits,
        cost.merges,
        cost.fragmentation,
    )
}

fn refusal(refused: Refused) -> (Errno, CostFields) {
    (refused.errno, cost(&refused.cost))
}

fn alloc(target: &impl Target, size: u64, align: u64) -> ReplyFields {
    let fields = |reply: crate::uapi::slablab_alloc| {
        (reply.handle, reply.offset, reply.usable, cost(&reply.cost))
    };
    target.alloc(size, align).map(fields).map_err(refusal)
}

fn realloc(target: &impl Target, handle: u32, size: u64) -> ReplyFields {
    let fields = |reply: crate::uapi::slablab_realloc| {
        (reply.handle, reply.offset, reply.usable, cost(&reply.cost))
    };
    target.realloc(handle, size).map(fields).map_err(refusal)
}

/// Returns all statistics of STATS as text.
fn figures(stats: Box<slablab_stats>) -> String {
    format!("{stats:?}")
}

/// Compares all statistics, and the maps if the engine has MAP.
fn same_pools(device: &Device, sim: &Sim) -> TestResult {
    check_eq("figures", figures(sim.stats()?), figures(device.stats()?))?;
    if device.info()?.capabilities & uapi::SLABLAB_CAP_MAP != 0 {
        check_eq("map", PoolMap::read(sim)?, PoolMap::read(device)?)?;
    }
    Ok(())
}

/// Runs a random trace on both targets and compares each reply.
fn in_step(device: &Device, sim: &Sim, operations: u32, most: u64, random: &mut Rng) -> TestResult {
    let mut live = Vec::new();
    for n in 0..operations {
        let pick = random.index(live.len().max(1));
        let about = match random.below(16) {
            0..8 => {
                let (size, align) = (random.doubling(1, most), 1 << random.below(13));
                let answer = alloc(device, size, align);
                live.extend(answer.iter().map(|reply| reply.0));
                check_eq("answer", alloc(sim, size, align), answer)
                    .about(format_args!("ALLOC of {size} bytes aligned to {align}"))
            }
            8..10 if !live.is_empty() => {
                let size = random.doubling(1, most);
                check_eq(
                    "answer",
                    realloc(sim, live[pick], size),
                    realloc(device, live[pick], size),
                )
                .about(format_args!("REALLOC to {size} bytes"))
            }
            _ if !live.is_empty() => {
                let handle = live.swap_remove(pick);
                check_eq("answer", sim.free(handle), device.free(handle)).about("FREE")
            }
            _ => Ok(()),
        };
        about.about(format_args!("operation {n}"))?;
    }
    same_pools(device, sim)?;
    for handle in live {
        check_eq(
            "free",
            (sim.free(handle), device.free(handle)),
            (Ok(()), Ok(())),
        )?;
    }
    same_pools(device, sim).about("after all blocks are freed")?;
    sound(device)
}

fn twenty_thousand_operations_have_the_same_answers() -> TestResult {
    for engine in POOL_ENGINES {
        let (device, sim, _cpu) = pair(engine, 16 * MIB)?;
        in_step(&device, &sim, 20_000, 65_536, &mut Rng::new(7)).about(engine)?;
    }
    Ok(())
}

/// Opens two sessions with private pools, one in the kernel and one in this process, and pins the thread to
/// its CPU.
fn pair(engine: Engine, pool_bytes: u64) -> TestResult<(Device, Sim, CpuPin)> {
    Ok((
        private_of(engine, pool_bytes)?,
        Sim::private(engine, pool_bytes)?,
        CpuPin::current()?,
    ))
}

fn a_small_pool_refuses_the_same_requests() -> TestResult {
    // The requests are for up to twice the size of the pool, so that there are refusals for every cause.
    for engine in POOL_ENGINES {
        for seed in 1..4 {
            let (device, sim, _cpu) = pair(engine, MIB)?;
            in_step(&device, &sim, 2_000, 2 * MIB, &mut Rng::new(seed))
                .about(format_args!("{engine}, seed {seed}"))?;
        }
    }
    Ok(())
}

fn an_extended_pool_has_the_same_answers() -> TestResult {
    for engine in POOL_ENGINES {
        let (device, sim, _cpu) = pair(engine, MIB)?;
        let mut random = Rng::new(3);
        for region in 1..4_u32 {
            in_step(&device, &sim, 1_000, 65_536, &mut random)
                .about(format_args!("{engine}, region {region}"))?;
            let bytes = u64::from(region) * 8 * POOL_UNIT;
            let (one, other) = (device.extend(bytes)?, sim.extend(bytes)?);
            check_eq(
                "region",
                (other.region, other.pool_bytes),
                (one.region, one.pool_bytes),
            )?;
        }
        in_step(&device, &sim, 2_000, 65_536, &mut random).about(engine)?;
    }
    Ok(())
}

/// Compares the recorded events of both targets except for time, thread and CPU, and checks that there are at
/// least `least` events.
fn same_events(device: &Device, sim: &Sim, least: usize) -> TestResult {
    let mut number = 0;
    loop {
        let [mut ones, mut others] = [[slablab_event::default(); 1000]; 2];
        let from_device = device.events(number, &mut ones)?;
        let other = sim.events(number, &mut others)?;
        let read = |events: slablab_events| (events.count, events.number, events.lost);
        check_eq("read", read(other), read(from_device))?;
        for (one, other) in ones.iter().zip(&others) {
            let placed = slablab_event {
                time_ns: one.time_ns,
                thread: one.thread,
                cpu: one.cpu,
                ..*other
            };
            check_eq("event", placed.bytes(), one.bytes()).about(format_args!("{one:?}"))?;
        }
        number = from_device.number;
        if from_device.count == 0 {
            return check(
                number as usize >= least,
                format_args!("there are at least {least} events, not {number}"),
            );
        }
    }
}

fn recorded_sessions_have_the_same_answers_and_events() -> TestResult {
    for engine in POOL_ENGINES {
        // The requests are for up to twice the size of the pool, so that there are refusals for every cause.
        // Recording must not change a reply, so the first session in this process is not recorded.
        let (device, sim, _cpu) = pair(engine, MIB)?;
        device.record(uapi::SLABLAB_EVENTS_MAX)?;
        in_step(&device, &sim, 4_000, 2 * MIB, &mut Rng::new(5)).about(engine)?;
        let (device, sim, _cpu) = pair(engine, MIB)?;
        device.record(uapi::SLABLAB_EVENTS_MAX)?;
        sim.record(uapi::SLABLAB_EVENTS_MAX)?;
        in_step(&device, &sim, 4_000, 2 * MIB, &mut Rng::new(5)).about(engine)?;
        same_events(&device, &sim, 2_000).about(engine)?;
    }
    Ok(())
}

/// The parameters of a random trace: the largest size in bytes, and the maximum number of live blocks.
struct TraceParameters {
    most: u64,
    held: usize,
}

/// The parameters range from many blocks of a few bytes to a few blocks of many pages, and from an almost
/// empty pool to a full one.
const TRACES: [TraceParameters; 10] = [
    TraceParameters {
        most: 40,
        held: 20_000,
    },
    TraceParameters {
        most: 64,
        held: 100,
    },
    TraceParameters {
        most: 512,
        held: 5_000,
    },
    TraceParameters {
        most: 512,
        held: 1_000_000,
    },
    TraceParameters {
        most: 4096,
        held: 1_000,
    },
    TraceParameters {
        most: 4096,
        held: 1_000_000,
    },
    TraceParameters {
        most: 20_000,
        held: 500,
    },
    TraceParameters {
        most: 65_536,
        held: 1_000_000,
    },
    TraceParameters {
        most: 300_000,
        held: 20,
    },
    TraceParameters {
        most: 300_000,
        held: 1_000_000,
    },
];

fn ten_traces_of_a_hundred_thousand_operations_have_the_same_answers(engine: Engine) -> TestResult {
    for (number, parameters) in TRACES.iter().enumerate() {
        let (device, sim, _cpu) = pair(engine, 8 * MIB)?;
        let mut random = Rng::new(number as u64 + 1);
        let mut live = Vec::new();
        for n in 0..100_000 {
            let grow = live.len() < parameters.held && random.chance(5, 8);
            let size = random.doubling(1, parameters.most);
            let pick = random.index(live.len().max(1));
            let same = if grow || live.is_empty() {
                let align = 1 << random.below(8);
                let answer = alloc(&device, size, align);
                live.extend(answer.iter().map(|reply| reply.0));
                alloc(&sim, size, align) == answer
            } else if random.chance(1, 8) {
                realloc(&sim, live[pick], size) == realloc(&device, live[pick], size)
            } else {
                let handle = live.swap_remove(pick);
                sim.free(handle) == device.free(handle)
            };
            check(
                same,
                format_args!("sim and device reply equally to operation {n} of trace {number}"),
            )?;
        }
        check_eq("figures", figures(sim.stats()?), figures(device.stats()?)).about(number)?;
        sound(&device)?;
    }
    Ok(())
}
