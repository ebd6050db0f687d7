// SPDX-License-Identifier: GPL-2.0

//! The ring of events: capacity, overwritten events, and memory.

use crate::{
    device::{
        Device,
        Errno, //
    },
    uapi::{
        self,
        Engine,
        slablab_event,
        slablab_events, //
    },
};

use super::{
    super::{
        fixture::{
            filled,
            session,
            shared, //
        },
        memory::{
            GuardedBuffer,
            submit, //
        },
        prelude::*, //
    },
    all, //
};

suite!("events/ring" {
    Each overwritten_events_are_counted,
    Each reading_continues_at_the_next_event,
    Each an_array_that_cannot_be_written_is_efault,
    Each recording_can_start_before_the_first_allocation,
    Once event_rings_leave_memory_for_other_sessions,
});

fn overwritten_events_are_counted(engine: Engine) -> TestResult {
    let device = session(engine)?;
    for (kept, done) in [
        (1, 3),
        (10, 10),
        (10, 11),
        (10, 35),
        (100, 99),
        (4096, 5000),
    ] {
        device.record(kept)?;
        for n in 0..done {
            refused(device.free(n as u32), Errno::NOENT)?;
        }
        let lost = u64::from(kept).min(done).abs_diff(done);
        let mut events = vec![slablab_event::default(); done as usize + 1];
        for from in [0, lost / 2, lost, (lost + 1).min(done), done] {
            let reply = device.events(from, &mut events)?;
            let first = from.max(lost);
            check_eq("lost", reply.lost, first - from)?;
            check_eq("count", u64::from(reply.count), done - first)?;
            check_eq("number", reply.number, done)?;
            for (event, number) in events.iter().zip(first..done) {
                let got = (event.number, u64::from(event.handle));
                check_eq("number and handle", got, (number, number))?;
            }
        }
        refused(device.events(done + 1, &mut events), Errno::INVAL)?;
        refused(device.events(u64::MAX, &mut events), Errno::INVAL)?;
        device.end_record()?;
    }
    Ok(())
}

fn reading_continues_at_the_next_event(engine: Engine) -> TestResult {
    let device = session(engine)?;
    device.record(50)?;
    let (mut number, mut seen, mut lost) = (0, 0, 0);
    for round in 0..60_u64 {
        for _ in 0..round {
            refused(device.free(3), Errno::NOENT)?;
        }
        let mut events = [slablab_event::default(); 30];
        let reply = device.events(number, &mut events)?;
        number = reply.number;
        seen += u64::from(reply.count);
        lost += reply.lost;
        check_eq("seen and lost", seen + lost, number)?;
    }
    check(
        seen > 500 && lost > 100,
        format_args!("more than 500 events are read and more than 100 lost, not {seen} and {lost}"),
    )
}

fn an_array_that_cannot_be_written_is_efault(engine: Engine) -> TestResult {
    let device = session(engine)?;
    device.record(200)?;
    for _ in 0..150 {
        refused(device.free(7), Errno::NOENT)?;
    }
    let room = vec![0; 150 * size_of::<slablab_event>()];
    let fence = GuardedBuffer::new(3)?;
    let whole = fence.place(&room, 0);
    let ends_early = fence.place(&room, 64);
    let read = |address: usize, count| {
        let mut events = slablab_events {
            op: uapi::SLABLAB_EVENTS_READ,
            count,
            events: address as u64,
            ..Default::default()
        };
        submit(&device, uapi::SLABLAB_NR_EVENTS, &mut events).map(|()| events)
    };
    for address in [
        0,
        8,
        ends_early,
        usize::MAX - 7,
        0xffff_8880_0000_0000,
        1 << 62,
    ] {
        refused(read(address, 150), Errno::FAULT).about(format_args!("{address:#x}"))?;
    }
    // 149 events fit into the mapped part of the array.
    check_eq("count", read(ends_early, 149)?.count, 149)?;
    // Reading does not remove events.
    check_eq("count", read(whole, 150)?.count, 150)?;
    fence.read_only()?;
    refused(read(whole, 1), Errno::FAULT)
}

fn recording_can_start_before_the_first_allocation(engine: Engine) -> TestResult {
    let device = Device::open()?;
    refused(
        device.events(0, &mut [slablab_event::default()]),
        Errno::NXIO,
    )?;
    refused(device.end_record(), Errno::NXIO)?;
    device.record(10)?;
    refused(device.bind(engine.raw(), 0, 0), Errno::BUSY)?;
    let handle = device.alloc(64, 8)?.handle;
    check_eq("handle", all(&device)?[0].handle, handle)
}

fn event_rings_leave_memory_for_other_sessions() -> TestResult {
    let mut sessions = Vec::new();
    let errno = loop {
        let device = shared(Engine::Hybrid)?;
        if let Err(errno) = device.record(uapi::SLABLAB_EVENTS_MAX) {
            break errno;
        }
        check(
            sessions.len() < 60,
            "a recording is refused before 60 sessions record",
        )?;
        sessions.push(device);
    };
    check_eq("refusal", errno, Errno::DQUOT)?;
    check_eq("recordings", sessions.len(), 16)?;
    let device = shared(Engine::Hybrid)?;
    refused(device.record(2000), Errno::DQUOT)?;
    device.record(1024)?;
    filled(&device, 5000, 1)?;
    check_eq("events", all(&device)?.len(), 1)?;
    // Memory that one session freed is available to another session.
    sessions[3].end_record()?;
    device.end_record()?;
    device.record(uapi::SLABLAB_EVENTS_MAX)?;
    sessions.remove(5);
    sessions[3].record(uapi::SLABLAB_EVENTS_MAX)?;
    Ok(())
}
