// SPDX-License-Identifier: GPL-2.0

//! Recorded events must equal the replies that the program got.

pub(super) mod concurrency;
pub(super) mod requests;
pub(super) mod ring;

use rustix::thread::gettid;

use crate::{
    device::{
        Device,
        Errno,
        request, //
    },
    rng::Rng,
    uapi::{
        self,
        Engine,
        slablab_alloc,
        slablab_cost,
        slablab_event,
        slablab_operation,
        slablab_realloc, //
    },
};

use super::{
    fixture::{
        MIB,
        filled,
        has_pool,
        intact,
        session, //
    },
    memory::{
        Argument,
        GuardedBuffer,
        poke, //
    },
    prelude::*, //
};

suite!("events" {
    Each every_operation_is_recorded_with_its_answer,
    Each operations_of_submit_are_recorded,
    Each an_allocation_without_a_reply_is_recorded_as_undone,
});

/// The expected fields of an event: all fields except number, time, CPU and thread.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ExpectedEvent {
    kind: u32,
    error: u32,
    handle: u32,
    size: u64,
    align_log2: u32,
    usable: u64,
    offset: u64,
    /// `None` for a FREE, whose reply has no cost.
    cost: Option<u64>,
}

impl ExpectedEvent {
    fn refused(kind: u32, handle: u32, size: u64, errno: Errno, cost: slablab_cost) -> Self {
        Self {
            kind,
            error: errno.raw_os_error() as u32,
            handle,
            size,
            align_log2: uapi::SLABLAB_NO_ALIGN,
            usable: 0,
            offset: uapi::NO_OFFSET,
            cost: Some(cost.bits()),
        }
    }

    /// Returns the expected event of the FREE of this block.
    fn gone(self) -> Self {
        Self {
            kind: uapi::SLABLAB_EVENT_FREE,
            cost: None,
            ..self
        }
    }

    #[track_caller]
    fn compare(&self, event: &slablab_event) -> TestResult {
        let got = Self {
            kind: event.kind.into(),
            error: event.error,
            handle: event.handle,
            size: event.size,
            align_log2: event.align_log2.into(),
            usable: event.usable,
            offset: event.offset,
            cost: self.cost.map(|_| event.cost.bits()),
        };
        check_eq("event", &got, self)
    }
}

/// Reads all events, none of which may be lost, and checks their numbers.
#[track_caller]
fn all(device: &Device) -> TestResult<Vec<slablab_event>> {
    let mut all: Vec<slablab_event> = Vec::new();
    loop {
        let mut events = [slablab_event::default(); 100];
        let reply = device.events(all.len() as u64, &mut events)?;
        check_eq("lost", reply.lost, 0)?;
        all.extend(&events[..reply.count as usize]);
        check_eq("number", reply.number, all.len() as u64)?;
        if reply.count < 100 {
            let numbers = all.iter().map(|event| event.number);
            check(
                numbers.eq(0..all.len() as u64),
                "the events are numbered without a gap",
            )?;
            return Ok(all);
        }
    }
}

/// A session that is recorded, and the expected events.
struct Recorded {
    device: Device,
    reply: Vec<ExpectedEvent>,
    live: Vec<ExpectedEvent>,
}

impl Recorded {
    fn new(engine: Engine) -> TestResult<Self> {
        let device = session(engine)?;
        device.record(uapi::SLABLAB_EVENTS_MAX)?;
        Ok(Self {
            device,
            reply: Vec::new(),
            live: Vec::new(),
        })
    }

    fn alloc(&mut self, size: u64, align: u64) {
        let align_log2 = match align.is_power_of_two() {
            true => align.trailing_zeros(),
            false => uapi::SLABLAB_NO_ALIGN,
        };
        self.reply.push(match self.device.alloc(size, align) {
            Ok(alloc) => {
                let reply = ExpectedEvent {
                    kind: uapi::SLABLAB_EVENT_ALLOC,
                    error: 0,
                    handle: alloc.handle,
                    size,
                    align_log2,
                    usable: alloc.usable,
                    offset: alloc.offset,
                    cost: Some(alloc.cost.bits()),
                };
                self.live.push(reply.clone());
                reply
            }
            Err(no) => ExpectedEvent {
                align_log2,
                ..ExpectedEvent::refused(uapi::SLABLAB_EVENT_ALLOC, 0, size, no.errno, no.cost)
            },
        });
    }

    fn realloc(&mut self, pick: usize, size: u64) {
        let block = &mut self.live[pick];
        self.reply
            .push(match self.device.realloc(block.handle, size) {
                Ok(realloc) => {
                    *block = ExpectedEvent {
                        kind: uapi::SLABLAB_EVENT_REALLOC,
                        size,
                        usable: realloc.usable,
                        offset: realloc.offset,
                        cost: Some(realloc.cost.bits()),
                        ..block.clone()
                    };
                    block.clone()
                }
                Err(no) => ExpectedEvent::refused(
                    uapi::SLABLAB_EVENT_REALLOC,
                    block.handle,
                    size,
                    no.errno,
                    no.cost,
                ),
            });
    }

    fn free(&mut self, pick: usize) -> TestResult {
        let block = self.live.swap_remove(pick);
        self.device.free(block.handle)?;
        self.reply.push(block.gone());
        Ok(())
    }

    /// Checks that the recorded events of this thread equal the expected events.
    #[track_caller]
    fn check(&self) -> TestResult<Vec<slablab_event>> {
        let events = all(&self.device)?;
        check_eq("events", events.len(), self.reply.len())?;
        let me = gettid().as_raw_nonzero().get() as u32;
        let mut last = 0;
        for (event, reply) in events.iter().zip(&self.reply) {
            reply
                .compare(event)
                .about(format_args!("event {}", event.number))?;
            check_eq("thread", event.thread, me)?;
            check(
                event.time_ns >= last,
                "the times of the events do not decrease",
            )?;
            last = event.time_ns;
        }
        Ok(events)
    }
}

fn every_operation_is_recorded_with_its_answer(engine: Engine) -> TestResult {
    let mut recorded = Recorded::new(engine)?;
    let mut random = Rng::new(11);
    let unknown = |kind, handle, size, errno| {
        ExpectedEvent::refused(kind, handle, size, errno, slablab_cost::default())
    };
    for _ in 0..2_000 {
        let pick = random.index(recorded.live.len().max(1));
        let has_blocks = !recorded.live.is_empty();
        // The sizes go up to twice the size of a private pool.
        let size = random.doubling(1, 8 * MIB);
        match random.below(16) {
            0..6 => recorded.alloc(size, 1 << random.below(13)),
            6 => recorded.alloc(0, 8),
            7 => recorded.alloc(100, [0, 3, 1 << 63][random.index(3)]),
            8..10 if has_blocks => recorded.realloc(pick, size),
            10 if has_blocks => recorded.realloc(pick, 0),
            11 => {
                let handle = [0, 1, u32::MAX, (1 << 31) - 1][random.index(4)];
                refused(recorded.device.free(handle), Errno::NOENT)?;
                let reply = unknown(uapi::SLABLAB_EVENT_FREE, handle, 0, Errno::NOENT);
                recorded.reply.push(reply);
            }
            12 => {
                let handle = (1 << 31) | random.below(1 << 31) as u32;
                refused(recorded.device.realloc(handle, size), Errno::NOENT)?;
                let reply = unknown(uapi::SLABLAB_EVENT_REALLOC, handle, size, Errno::NOENT);
                recorded.reply.push(reply);
            }
            _ if has_blocks => recorded.free(pick)?,
            _ => {}
        }
    }
    // The argument has more than 32 bits. The event has the largest handle instead.
    refused(
        poke(&recorded.device, request::FREE, 1 << 40 | 1 << 20),
        Errno::NOENT,
    )?;
    let reply = unknown(uapi::SLABLAB_EVENT_FREE, u32::MAX, 0, Errno::NOENT);
    recorded.reply.push(reply);
    let events = recorded.check()?;
    let refusals = events.iter().filter(|event| event.cost.cause != 0).count();
    check(
        !has_pool(engine) || refusals > 50,
        format_args!("more than 50 requests are refused, not {refusals}"),
    )?;
    // An invalid command is not recorded.
    let fence = GuardedBuffer::new(1)?;
    let argument = slablab_alloc {
        size: 8,
        align: 8,
        flags: 1,
        ..Default::default()
    };
    let address = fence.place(&argument.bytes(), 0);
    refused(
        poke(&recorded.device, request::ALLOC, address),
        Errno::INVAL,
    )?;
    refused(poke(&recorded.device, request::ALLOC, 8), Errno::FAULT)?;
    recorded.check().map(|_| ())
}

fn operation(kind: u32, handle: u32, bytes: u64) -> slablab_operation {
    slablab_operation {
        kind: kind as u8,
        handle,
        bytes,
        ..Default::default()
    }
}

fn operations_of_submit_are_recorded(engine: Engine) -> TestResult {
    let device = session(engine)?;
    device.record(3000)?;
    let old = device.alloc(77, 1)?;
    let asked: Vec<_> = (0..100)
        .map(|n| slablab_operation {
            align_log2: 4,
            ..operation(uapi::SLABLAB_OP_ALLOC, 0, 1 + n * 90)
        })
        .chain([operation(uapi::SLABLAB_OP_REALLOC, old.handle, 9_000)])
        .chain((0..100).map(|n| slablab_operation {
            flags: uapi::SLABLAB_OP_EARLIER as u16,
            ..operation(uapi::SLABLAB_OP_FREE, n, 0)
        }))
        .chain([operation(uapi::SLABLAB_OP_FREE, old.handle, 0)])
        .collect();
    let mut reply = asked.clone();
    check_eq(
        "done",
        device.submit(&mut reply)?.done as usize,
        asked.len(),
    )?;
    // Each of these operations is wrong and ends its call.
    let wrong = [
        operation(9, 0, 0),
        operation(uapi::SLABLAB_OP_FREE, old.handle, 0),
        operation(uapi::SLABLAB_OP_REALLOC, 5, 8),
        operation(uapi::SLABLAB_OP_ALLOC, 0, 0),
        slablab_operation {
            flags: uapi::SLABLAB_OP_EARLIER as u16,
            ..operation(uapi::SLABLAB_OP_REALLOC, 0, 8)
        },
    ];
    let mut errors = Vec::new();
    for operation in wrong {
        let submit = device.submit(&mut [operation])?;
        check_eq("done", submit.done, 0)?;
        errors.push(submit.error);
    }
    let events = all(&device)?;
    check_eq("events", events.len(), 1 + asked.len() + wrong.len())?;
    for (event, (asked, reply)) in events[1..].iter().zip(asked.iter().zip(&reply)) {
        check_eq("kind", event.kind, asked.kind)?;
        check_eq("error", event.error, 0)?;
        check_eq("handle", event.handle, reply.handle)?;
        check_eq("cost", event.cost.bits(), reply.cost.bits())?;
        if u32::from(asked.kind) == uapi::SLABLAB_OP_FREE {
            let came = events
                .iter()
                .rfind(|other| other.handle == event.handle && other.number < event.number);
            let came =
                came.ok_or_else(|| TestError::failed("the freed block has no earlier event"))?;
            let block = |event: &slablab_event| (event.size, event.usable, event.offset);
            check_eq("block", block(event), block(came))?;
        } else {
            check_eq("size", event.size, asked.bytes)?;
            check_eq("usable", event.usable, reply.bytes)?;
            check_eq("offset", event.offset, reply.offset)?;
        }
    }
    let kinds = [
        (uapi::SLABLAB_EVENT_NONE, 0),
        (uapi::SLABLAB_EVENT_FREE, old.handle),
        (uapi::SLABLAB_EVENT_REALLOC, 5),
        (uapi::SLABLAB_EVENT_ALLOC, 0),
        (uapi::SLABLAB_EVENT_REALLOC, 0),
    ];
    let rest = &events[1 + asked.len()..];
    for (event, ((kind, handle), error)) in rest.iter().zip(kinds.into_iter().zip(errors)) {
        let got = (u32::from(event.kind), event.handle, event.error);
        check_eq("kind, handle and error", got, (kind, handle, error))?;
    }
    Ok(())
}

fn an_allocation_without_a_reply_is_recorded_as_undone(engine: Engine) -> TestResult {
    let device = session(engine)?;
    let handle = filled(&device, 300, 1)?;
    device.record(100)?;
    let fence = GuardedBuffer::new(1)?;
    let argument = slablab_alloc {
        size: 200,
        align: 32,
        ..Default::default()
    };
    let address = fence.place(&argument.bytes(), 0);
    fence.read_only()?;
    refused(poke(&device, request::ALLOC, address), Errno::FAULT)?;
    let fence = GuardedBuffer::new(1)?;
    let argument = slablab_realloc {
        handle,
        size: 9000,
        ..Default::default()
    };
    let address = fence.place(&argument.bytes(), 0);
    fence.read_only()?;
    refused(poke(&device, request::REALLOC, address), Errno::FAULT)?;
    let events = all(&device)?;
    let [came, went, undone] = events[..] else {
        return Err(TestError::failed(format!(
            "expected three events, got {events:?}"
        )));
    };
    check_eq("kind", u32::from(came.kind), uapi::SLABLAB_EVENT_ALLOC)?;
    check_eq("kind", u32::from(went.kind), uapi::SLABLAB_EVENT_REVOKE)?;
    let block = |event: &slablab_event| (event.handle, event.size, event.align_log2, event.offset);
    check_eq("block", block(&went), block(&came))?;
    check_eq("block", (went.size, went.align_log2), (200, 5))?;
    ExpectedEvent::refused(
        uapi::SLABLAB_EVENT_REALLOC,
        handle,
        9000,
        Errno::FAULT,
        slablab_cost::default(),
    )
    .compare(&undone)?;
    intact(&device, handle, 300, 1)
}
