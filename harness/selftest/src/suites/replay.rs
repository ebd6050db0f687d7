// SPDX-License-Identifier: GPL-2.0

//! Generated traces, replayed in the kernel and in this process. The replies and the figures must be the
//! same, and so is the utilisation.

use std::{
    fs,
    os::unix::net::UnixStream, //
};

use slablab_trace::{
    Kind,
    Trace,
    format::text,
    museum,
    pattern,
    search, //
};

use crate::{
    affinity::CpuPin,
    ftrace_recorder::Recorder,
    replay::{
        Figures,
        OpOutcome,
        checked,
        fits, //
    },
    sim::Sim,
    target::Target,
    uapi::{
        self,
        Engine,
        slablab_event, //
    },
};

use super::{
    fixture::{
        MIB,
        POOL_ENGINES,
        POOL_UNIT,
        private_of, //
    },
    prelude::*, //
};

suite!("replay" {
    Once generated_traces_have_the_same_answers,
    Once exhibits_of_the_museum_have_the_same_answers,
    Once the_recording_of_a_replay_equals_its_answers,
    Once generated_traces_need_the_same_pool,
    Once slub_replays_generated_traces,
    Once kernel_allocations_can_be_recorded_and_replayed,
});

/// The length of the traces, in percent of the usual length.
const PERCENT: u32 = 10;

/// Generates one trace of each pattern that imitates a program. Generating a trace takes about as long as
/// replaying it.
fn traces() -> impl Iterator<Item = Trace> {
    pattern::workloads().map(|pattern| pattern.make(5, PERCENT))
}

/// Replays a trace in a new pool in the kernel and in one in this process, compares the replies and the
/// figures, and returns the figures.
fn both(engine: Engine, trace: &Trace, pool_bytes: u64) -> TestResult<Figures> {
    let wrong = |failure: crate::replay::Failure| TestError::failed(failure.to_string());
    let device = checked(&private_of(engine, pool_bytes)?, trace).map_err(wrong)?;
    let sim = checked(&Sim::private(engine, pool_bytes)?, trace).map_err(wrong)?;
    let answers = sim.answers.iter().zip(&device.answers);
    for (index, (sim, device)) in answers.enumerate() {
        check_eq("answer", sim, device).about(format_args!("operation {}", index + 1))?;
    }
    check_eq("answers", sim.answers.len(), device.answers.len())?;
    check_eq("figures", &sim.figures, &device.figures)?;
    Ok(device.figures)
}

fn generated_traces_have_the_same_answers() -> TestResult {
    let _cpu = CpuPin::current()?;
    for trace in traces() {
        for engine in POOL_ENGINES {
            let about = format!("{} on {engine}", trace.name);
            let figures = both(engine, &trace, 8 * MIB).about(&about)?;
            check(
                figures.done > 0,
                format_args!("{about}: at least one operation succeeds"),
            )?;
        }
    }
    Ok(())
}

fn exhibits_of_the_museum_have_the_same_answers() -> TestResult {
    let _cpu = CpuPin::current()?;
    // An exhibit of 32 MiB takes too long where the machine is emulated. The tests of the host run it.
    for exhibit in museum::all().filter(|exhibit| exhibit.pool_bytes <= 8 * MIB) {
        for engine in POOL_ENGINES {
            let about = format!("{} on {engine}", exhibit.pattern.name);
            let figures = both(engine, &exhibit.trace(), exhibit.pool_bytes).about(&about)?;
            check(
                engine == Engine::Seed || figures.is_complete(),
                format_args!("{about}: every operation succeeds"),
            )?;
        }
    }
    Ok(())
}

/// Records the events of a replay, compares them with the replies, and returns the number of events.
fn same_as_recorded(target: &dyn Target, trace: &Trace) -> TestResult<usize> {
    target.record(uapi::SLABLAB_EVENTS_MAX)?;
    let ran = checked(target, trace).map_err(|wrong| TestError::failed(wrong.to_string()))?;
    let mut events = vec![slablab_event::default(); uapi::SLABLAB_EVENTS_MAX as usize];
    let reply = target.events(0, &mut events)?;
    check_eq("events lost", reply.lost, 0)?;
    let mut events = events[..reply.count as usize].iter();
    for (number, (answer, op)) in (1..).zip(ran.answers.iter().zip(trace.ops())) {
        let about = format!("operation {number}");
        if answer.outcome == OpOutcome::LeftOut {
            continue;
        }
        let event = events
            .next()
            .ok_or_else(|| TestError::failed("an event is missing"))?;
        let (kind, size) = match op.kind {
            Kind::Alloc { bytes, .. } => (uapi::SLABLAB_EVENT_ALLOC, Some(bytes)),
            Kind::Realloc { bytes } => (uapi::SLABLAB_EVENT_REALLOC, Some(bytes)),
            Kind::Free => (uapi::SLABLAB_EVENT_FREE, None),
        };
        check_eq("kind", u32::from(event.kind), kind).about(&about)?;
        let size = size.map_or(event.size, u64::from);
        check_eq("size", event.size, size).about(&about)?;
        check_eq("cost", event.cost.bits(), answer.cost.bits()).about(&about)?;
        let done = answer.outcome == OpOutcome::Done;
        check_eq("done", event.error == 0, done).about(&about)?;
        // The reply to a FREE has no offset, and that of a refused operation has the block's old offset.
        if done && kind != uapi::SLABLAB_EVENT_FREE {
            check_eq("offset", event.offset, answer.offset).about(&about)?;
            check_eq("usable", event.usable, answer.usable).about(&about)?;
        }
    }
    Ok(reply.count as usize)
}

fn the_recording_of_a_replay_equals_its_answers() -> TestResult {
    for trace in traces().step_by(5) {
        let mut counts = Vec::new();
        for engine in POOL_ENGINES {
            // The second pool is too small for the trace, so that requests are refused.
            for pool_bytes in [8 * MIB, 8 * POOL_UNIT] {
                let device = private_of(engine, pool_bytes)?;
                counts.push(same_as_recorded(&device, &trace).about(&trace.name)?);
                let sim = Sim::private(engine, pool_bytes)?;
                counts.push(same_as_recorded(&sim, &trace).about(&trace.name)?);
            }
        }
        let slub = super::fixture::shared(Engine::Slub)?;
        counts.push(same_as_recorded(&slub, &trace).about(&trace.name)?);
        check(
            counts.iter().all(|count| *count > 0),
            format_args!("every replay of {} records events: {counts:?}", trace.name),
        )?;
    }
    Ok(())
}

fn generated_traces_need_the_same_pool() -> TestResult {
    let _cpu = CpuPin::current()?;
    for trace in traces().step_by(3) {
        for engine in POOL_ENGINES {
            let about = format!("{} on {engine}", trace.name);
            let least = trace.peak_bytes().div_ceil(POOL_UNIT);
            let found = search::smallest(least..=16 * MIB / POOL_UNIT, |units| {
                fits(&Sim::private(engine, units * POOL_UNIT)?, &trace)
            });
            let units = found?
                .ok_or_else(|| TestError::failed("the trace does not fit into a pool of 16 MiB"));
            let pool_bytes = units.about(&about)? * POOL_UNIT;
            let figures = both(engine, &trace, pool_bytes).about(&about)?;
            check_eq("peak", figures.peak_bytes, trace.peak_bytes()).about(&about)?;
            if pool_bytes > POOL_UNIT {
                let less = private_of(engine, pool_bytes - POOL_UNIT)?;
                check_eq(
                    "the trace fits into a smaller pool",
                    fits(&less, &trace)?,
                    false,
                )
                .about(&about)?;
            }
        }
    }
    Ok(())
}

fn slub_replays_generated_traces() -> TestResult {
    for trace in traces() {
        let session = super::fixture::shared(Engine::Slub)?;
        let ran =
            checked(&session, &trace).map_err(|wrong| TestError::failed(wrong.to_string()))?;
        check_eq("peak", ran.figures.peak_bytes, trace.peak_bytes()).about(&trace.name)?;
        check(
            ran.figures.is_complete(),
            format_args!("slub serves every request of {}", trace.name),
        )?;
    }
    Ok(())
}

fn kernel_allocations_can_be_recorded_and_replayed() -> TestResult {
    let Ok(recorder) = Recorder::new(4096) else {
        return Err(TestError::skipped("ftrace cannot be used"));
    };
    // The kernel allocates a structure for each socket, and frees it with the socket.
    let sockets = || (0..200).try_for_each(|_| UnixStream::pair().map(drop));
    let recorded = recorder.record("sockets", sockets);
    drop(recorder);
    let (made, recorded) = recorded.map_err(|error| TestError::failed(format!("{error:#}")))?;
    made?;
    check_eq("events lost", recorded.lost_events, 0)?;
    let trace = recorded.trace;
    let count = |kind: fn(&Kind) -> bool| trace.ops().iter().filter(|op| kind(&op.kind)).count();
    let allocations = count(|kind| matches!(kind, Kind::Alloc { .. }));
    check(
        allocations >= 400,
        format_args!("400 sockets cause at least 400 allocations, not {allocations}"),
    )?;
    check(
        count(|kind| matches!(kind, Kind::Free)) >= 400,
        "400 sockets cause at least 400 frees",
    )?;
    let read = text::parse("", text::write(&trace).as_bytes());
    check_eq(
        "the trace after writing and reading it",
        read.as_ref(),
        Ok(&trace),
    )?;
    let _cpu = CpuPin::current()?;
    for engine in POOL_ENGINES {
        let figures = both(engine, &trace, 8 * MIB).about(engine)?;
        check_eq("peak", figures.peak_bytes, trace.peak_bytes())?;
    }
    let left = fs::read_dir("/sys/kernel/tracing/instances")?.count();
    check_eq("remaining tracing instances", left, 0)
}
