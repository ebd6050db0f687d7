// SPDX-License-Identifier: GPL-2.0

//! Recording of several threads and processes in one session.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        PoisonError,
        atomic::{
            AtomicBool,
            Ordering, //
        }, //
    },
    thread,
};

use rustix::thread::gettid;

use crate::{
    device::Errno,
    rng::Rng,
    uapi::{
        self,
        Engine,
        slablab_event, //
    },
};

use super::{
    super::{
        child::{
            self,
            Child,
            ChildRole, //
        },
        fixture::session,
        prelude::*, //
    },
    all, //
};

suite!("events/concurrency" {
    Each threads_are_recorded_in_a_linearizable_order,
    Each operations_of_a_child_are_recorded_with_its_name,
});

/// Checks that the operations could have had the recorded results if they were executed in the order of the
/// events.
#[track_caller]
fn possible(events: &[slablab_event]) -> TestResult {
    let mut live: HashMap<u32, slablab_event> = HashMap::new();
    for event in events {
        let last = live.remove(&event.handle);
        let is_live = match u32::from(event.kind) {
            uapi::SLABLAB_EVENT_ALLOC => last.is_none(),
            uapi::SLABLAB_EVENT_REALLOC => last.is_some() && event.error == 0,
            _ if event.error == 0 => last.is_some_and(|last| last.offset == event.offset),
            _ => last.is_none() && event.error == Errno::NOENT.raw_os_error() as u32,
        };
        check(is_live, format_args!("{event:?} is valid after {last:?}"))?;
        if u32::from(event.kind) == uapi::SLABLAB_EVENT_FREE {
            continue;
        }
        let apart = |other: &slablab_event| {
            event.offset == uapi::NO_OFFSET
                || event.offset >= other.offset + other.usable
                || other.offset >= event.offset + event.usable
        };
        if let Some(other) = live.values().find(|other| !apart(other)) {
            return Err(TestError::failed(format!("{event:?} overlaps {other:?}")));
        }
        live.insert(event.handle, *event);
    }
    Ok(())
}

fn threads_are_recorded_in_a_linearizable_order(engine: Engine) -> TestResult {
    const ROUNDS: u64 = 1_500;
    let device = session(engine)?;
    device.record(1 << 15)?;
    let handles = Mutex::new(Vec::new());
    let is_done = AtomicBool::new(false);
    let work = |thread: u64| -> TestResult<u64> {
        let mut random = Rng::new(thread);
        let mut count = 0;
        for _ in 0..ROUNDS {
            let mine = device.alloc(random.doubling(1, 9_000), 8)?.handle;
            device.realloc(mine, random.doubling(1, 9_000))?;
            count += 2;
            let mut shared = handles.lock().unwrap_or_else(PoisonError::into_inner);
            shared.push(mine);
            if shared.len() > 20 {
                let place = random.index(shared.len());
                let any = shared.swap_remove(place);
                drop(shared);
                device.free(any)?;
                refused(device.free(any), Errno::NOENT)?;
                count += 2;
            }
        }
        Ok(count)
    };
    // A thread reads the events meanwhile, in batches whose length does not divide the length of the ring.
    let read = || -> TestResult<Vec<slablab_event>> {
        let mut read = Vec::new();
        loop {
            let last = is_done.load(Ordering::Acquire);
            let mut events = [slablab_event::default(); 90];
            let reply = device.events(read.len() as u64, &mut events)?;
            check_eq("lost", reply.lost, 0)?;
            read.extend(&events[..reply.count as usize]);
            if last && reply.count == 0 {
                return Ok(read);
            }
        }
    };
    thread::scope(|scope| {
        let reader = scope.spawn(read);
        let workers = [1, 2, 3].map(|thread| scope.spawn(move || work(thread)));
        let counts = workers.map(|worker| worker.join());
        is_done.store(true, Ordering::Release);
        let panicked = |_| TestError::failed("a thread panicked");
        let events = reader.join().map_err(panicked)??;
        let mut sum = 0;
        for count in counts {
            sum += count.map_err(panicked)??;
        }
        check_eq("events", events.len() as u64, sum)?;
        check_eq("events", events.len(), all(&device)?.len())?;
        possible(&events)
    })
}

fn operations_of_a_child_are_recorded_with_its_name(engine: Engine) -> TestResult {
    let device = session(engine)?;
    device.record(100)?;
    let mut child = Child::start_in(ChildRole::Heir, engine, &device)?;
    let handles = child.heard()?;
    let id = child.id();
    child.kill()?;
    device.free(handles[3])?;
    let events = all(&device)?;
    check_eq("events", events.len(), handles.len() + 1)?;
    let (last, first) = events
        .split_last()
        .ok_or_else(|| TestError::failed("no event was recorded"))?;
    for (event, handle) in first.iter().zip(&handles) {
        let got = (
            u32::from(event.kind),
            event.thread,
            event.handle,
            event.size,
        );
        let expected = (uapi::SLABLAB_EVENT_ALLOC, id, *handle, child::SIZE);
        check_eq("kind, thread, handle and size", got, expected)?;
    }
    let me = gettid().as_raw_nonzero().get() as u32;
    check_eq(
        "thread and handle",
        (last.thread, last.handle),
        (me, handles[3]),
    )
}
