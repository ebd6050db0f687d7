// SPDX-License-Identifier: GPL-2.0

//! Invalid requests of EVENTS.

use crate::{
    device::Errno,
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
            unchanged, //
        },
        memory::submit,
        prelude::*, //
    },
    all, //
};

suite!("events/requests" {
    Each invalid_event_requests_fail_with_the_right_error,
});

fn invalid_event_requests_fail_with_the_right_error(engine: Engine) -> TestResult {
    let device = session(engine)?;
    filled(&device, 100, 1)?;
    let send = |mut events: slablab_events| submit(&device, uapi::SLABLAB_NR_EVENTS, &mut events);
    let begin = slablab_events {
        op: uapi::SLABLAB_EVENTS_BEGIN,
        count: 100,
        ..Default::default()
    };
    let read = slablab_events {
        op: uapi::SLABLAB_EVENTS_READ,
        ..begin
    };
    let end = slablab_events {
        op: uapi::SLABLAB_EVENTS_END,
        count: 0,
        ..begin
    };
    let wrong = |events: slablab_events| {
        let changed = |change: fn(&mut slablab_events)| {
            let mut events = events;
            change(&mut events);
            events
        };
        [
            changed(|events| events.op = 0),
            changed(|events| events.op = 4),
            changed(|events| events.op |= 1 << 31),
            changed(|events| events.flags = 1),
            changed(|events| events.reserved = 1),
            changed(|events| events.count ^= 1 << 17),
            changed(|events| events.count = u32::MAX),
        ]
    };
    let misplaced = |events| {
        [
            slablab_events {
                number: 1,
                ..events
            },
            slablab_events {
                events: 8,
                ..events
            },
        ]
    };
    let none = [
        slablab_events { count: 0, ..begin },
        slablab_events { count: 0, ..read },
        slablab_events { count: 1, ..end },
    ];
    let all_wrong = [wrong(begin), wrong(read), wrong(end)].concat();
    for events in all_wrong.into_iter().chain(none) {
        unchanged(&device, || refused(send(events), Errno::INVAL))
            .about(format_args!("{events:?}"))?;
    }
    for events in [misplaced(begin), misplaced(end)].concat() {
        refused(send(events), Errno::INVAL).about(format_args!("{events:?}"))?;
    }
    refused(send(read), Errno::NXIO)?;
    refused(send(end), Errno::NXIO)?;
    send(begin)?;
    refused(send(begin), Errno::BUSY)?;
    for events in yet_to_come(&all(&device)?, read) {
        refused(send(events), Errno::INVAL).about(format_args!("{events:?}"))?;
    }
    send(end)?;
    refused(send(end), Errno::NXIO)?;
    // The ring of another session is not visible in this session, and records nothing of it.
    let other = session(engine)?;
    other.record(5)?;
    refused(
        device.events(0, &mut [slablab_event::default()]),
        Errno::NXIO,
    )?;
    device.alloc(8, 8)?;
    check_eq("events of another session", all(&other)?.len(), 0)
}

/// Returns requests to read from events that were not recorded yet.
fn yet_to_come(events: &[slablab_event], read: slablab_events) -> [slablab_events; 3] {
    let next = events.len() as u64;
    [next + 1, 1 << 63, u64::MAX].map(|number| slablab_events { number, ..read })
}
