// SPDX-License-Identifier: GPL-2.0

//! The recording of a trace equals the trace.

use std::{
    sync::atomic::AtomicUsize,
    thread, //
};

use slablab_trace::{
    Kind,
    Trace,
    format,
    pattern, //
};

use super::*;
use crate::{
    device::Errno,
    replay::checked,
    sim::{
        Pool,
        Sim, //
    },
    uapi::{
        self,
        Engine,
        slablab_cost,
        slablab_event,
        slablab_events, //
    },
};

const POOL_BYTES: u64 = 8 << 20;

/// Returns the blocks and kinds of the first `end` operations of a trace, without their CPUs.
fn asked(trace: &Trace, end: usize) -> Vec<(u32, Kind)> {
    let ops = trace.ops()[..end].iter();
    ops.map(|op| (op.id, op.kind)).collect()
}

#[test]
fn a_replay_that_is_recorded_is_the_trace() {
    for pattern in pattern::workloads() {
        let trace = pattern.make(3, 5);
        for engine in Pool::ENGINES {
            let sim = Sim::private(engine, POOL_BYTES).unwrap();
            let recording = Recording::begin(&sim).unwrap();
            let ran = checked(&recording, &trace).unwrap();
            let recorded = recording.end("again", "").unwrap();
            assert_eq!((recorded.lost, recorded.left_out), (0, 0));
            if ran.figures.is_complete() {
                // The recording also contains the frees at the end of the run, which the trace does not
                // contain.
                let end = trace.ops().len();
                assert_eq!(asked(&recorded.trace, end), asked(&trace, end));
                assert_eq!(recorded.trace.peak_bytes(), trace.peak_bytes());
            }
            let text = format::text::write(&recorded.trace);
            let read = format::parse("", text.as_bytes());
            assert_eq!(read.as_ref(), Ok(&recorded.trace));
            assert_eq!(sim.end_record(), Err(Errno::NXIO));
        }
    }
}

#[test]
fn threads_never_get_ahead_of_the_reader() {
    let sim = Sim::private(Engine::Hybrid, POOL_BYTES).unwrap();
    let recording = Recording::begin(&sim).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for size in 1..20_000 {
                    let block = recording.alloc(size % 500 + 1, 8).unwrap();
                    recording.free(block.handle).unwrap();
                    recording.free(block.handle).unwrap_err();
                }
            });
        }
    });
    let recorded = recording.end("threads", "crowd").unwrap();
    assert_eq!((recorded.lost, recorded.left_out), (0, 0));
    let source = "crowd, without 79996 refused operations";
    assert_eq!(recorded.trace.source, source);
    assert_eq!(recorded.trace.ops().len(), 2 * 79_996);
}

/// A session that counts the calls that are under way.
struct Counting {
    sim: Sim,
    under_way: AtomicUsize,
    readings: AtomicUsize,
}

impl Target for Counting {
    forward!(sim: info, bind, alloc, realloc, read, write, stats, check, violation, extend, shrink, map, submit, record, end_record, inject, fail);

    fn free(&self, handle: u32) -> Result<(), Errno> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        thread::yield_now();
        let reply = self.sim.free(handle);
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        reply
    }

    fn events(&self, number: u64, events: &mut [slablab_event]) -> Result<slablab_events, Errno> {
        // A free that is under way hides all later events.
        assert_eq!(self.under_way.load(Ordering::SeqCst), 0);
        self.readings.fetch_add(1, Ordering::SeqCst);
        self.sim.events(number, events)
    }
}

#[test]
fn no_call_is_under_way_while_events_are_read() {
    let counting = Counting {
        sim: Sim::private(Engine::Hybrid, POOL_BYTES).unwrap(),
        under_way: AtomicUsize::new(0),
        readings: AtomicUsize::new(0),
    };
    let recording = Recording::begin(&counting).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..SLABLAB_EVENTS_MAX {
                    let _ = recording.free(7);
                }
            });
        }
    });
    let recorded = recording.end("frees", "").unwrap();
    assert_eq!((recorded.lost, recorded.left_out), (0, 0));
    // The events fill the ring four times, so they are read at least four times.
    assert!(counting.readings.load(Ordering::SeqCst) >= 4);
}

fn event(kind: u32, handle: u32, size: u64) -> slablab_event {
    slablab_event {
        kind: kind as u8,
        handle,
        size,
        align_log2: 4,
        cpu: 3,
        cost: slablab_cost::default(),
        ..Default::default()
    }
}

#[test]
fn a_trace_with_gaps_is_still_one() {
    let mut made = trace_builder::TraceBuilder::new();
    made.add(&event(uapi::SLABLAB_EVENT_FREE, 1, 8));
    made.add(&event(uapi::SLABLAB_EVENT_REALLOC, 2, 8));
    made.add(&event(uapi::SLABLAB_EVENT_ALLOC, 1, 100));
    made.add(&event(uapi::SLABLAB_EVENT_ALLOC, 2, 1 << 32));
    // The free of the first block with this handle is lost.
    made.add(&event(uapi::SLABLAB_EVENT_ALLOC, 1, 200));
    let refused = slablab_event {
        error: 12,
        ..event(uapi::SLABLAB_EVENT_ALLOC, 0, 7)
    };
    made.add(&refused);
    made.add(&event(uapi::SLABLAB_EVENT_REVOKE, 1, 200));
    let recorded = made.finish("gaps", "");
    assert_eq!((recorded.lost, recorded.left_out), (0, 3));
    let alloc = |bytes| Kind::Alloc { bytes, align: 16 };
    assert_eq!(
        asked(&recorded.trace, 4),
        [
            (0, alloc(100)),
            (0, Kind::Free),
            (1, alloc(200)),
            (1, Kind::Free)
        ]
    );
    assert!(recorded.trace.ops().iter().all(|op| op.cpu == 3));
}
