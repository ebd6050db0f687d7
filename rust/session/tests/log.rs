// SPDX-License-Identifier: GPL-2.0

//! The event log, compared with a model that stores all events.

use super::*;
use proptest::{
    prelude::*,
    test_runner::TestCaseError, //
};
use slab_heap::Path;
use std::{
    vec,
    vec::Vec, //
};

type TestLog = EventLog<Vec<Event>>;

fn ring(ring_len: usize) -> Vec<Event> {
    vec![Event::VACANT; ring_len]
}

fn event(number: u64) -> Event {
    Event::request(EventKind::Free, 7, number)
}

/// The model: all events since the log was started, and the ring's length.
#[derive(Default)]
struct LogModel {
    events: Vec<Event>,
    ring_len: usize,
    is_on: bool,
}

impl LogModel {
    fn oldest(&self) -> usize {
        self.events.len().saturating_sub(self.ring_len)
    }

    fn compare(
        &self,
        log: &TestLog,
        number: usize,
        buffer_len: usize,
    ) -> Result<(), TestCaseError> {
        let mut slots = ring(buffer_len);
        let read = log.read(number as u64, &mut slots);
        if !self.is_on {
            prop_assert_eq!(read, Err(EventReadError::Off));
            return Ok(());
        }
        if number > self.events.len() {
            prop_assert_eq!(read, Err(EventReadError::BeyondEnd));
            return Ok(());
        }
        let first = number.max(self.oldest());
        let is_finished = |event: &&Event| event.outcome != EventOutcome::Pending;
        let expected_events: Vec<_> = self.events[first..]
            .iter()
            .take(buffer_len)
            .take_while(is_finished)
            .copied()
            .collect();
        let expected = EventBatch {
            first: first as u64,
            count: expected_events.len(),
            lost: (first - number) as u64,
        };
        prop_assert_eq!(read, Ok(expected));
        prop_assert_eq!(&slots[..expected_events.len()], &*expected_events);
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_newest_events_are_read_and_the_lost_ones_counted(
        steps in prop::collection::vec((0_u8..16, 0_usize..40, 0_usize..12), 1..400)
    ) {
        let mut log = TestLog::new();
        let mut model = LogModel::default();
        // Pending events with their index in the model, or `None` for events of an earlier ring.
        let mut pending: Vec<(EventId, Option<usize>)> = Vec::new();
        for (step, (action, number, buffer_len)) in (0..).zip(steps) {
            match action {
                0 => {
                    let begins = !model.is_on && buffer_len > 0;
                    prop_assert_eq!(log.begin(ring(buffer_len)).is_none(), begins);
                    if begins {
                        model = LogModel { ring_len: buffer_len, is_on: true, ..LogModel::default() };
                    }
                }
                1 if number < 8 => {
                    prop_assert_eq!(log.end().map(|ring| ring.len()), model.is_on.then_some(model.ring_len));
                    model.is_on = false;
                    pending.iter_mut().for_each(|id| id.1 = None);
                }
                2..=6 => {
                    let id = log.push(event(step));
                    prop_assert_eq!(id.is_some(), model.is_on);
                    if model.is_on {
                        model.events.push(event(step));
                    }
                }
                7 | 8 => {
                    let unfinished = event(step).with_outcome(EventOutcome::Pending);
                    if let Some(id) = log.push(unfinished) {
                        pending.push((id, Some(model.events.len())));
                        model.events.push(unfinished);
                    }
                }
                9..=11 if !pending.is_empty() => {
                    let (id, place) = pending.swap_remove(number % pending.len());
                    let cost = Cost::new(Path::Buddy).with_work(0, number as u16);
                    log.finish(id, cost);
                    if let Some(place) = place {
                        let event = &mut model.events[place];
                        *event = Event { cost, ..event.with_outcome(EventOutcome::Served) };
                    }
                }
                _ => {}
            }
            model.compare(&log, number, buffer_len)?;
            model.compare(&log, model.events.len().saturating_sub(buffer_len), 40)?;
        }
    }
}

#[test]
fn a_reader_counts_each_lost_event_once() {
    let mut log = TestLog::new();
    assert!(log.begin(ring(8)).is_none());
    let (mut number, mut seen, mut lost) = (0, 0, 0);
    for round in 0..50 {
        for _ in 0..round % 20 {
            log.push(event(0));
        }
        let mut buffer = ring(5);
        let read = log.read(number, &mut buffer).unwrap();
        number = read.first + read.count as u64;
        seen += read.count as u64;
        lost += read.lost;
        assert_eq!(seen + lost, number);
    }
    assert!(seen > 100 && lost > 100);
}

#[test]
fn a_second_ring_is_rejected() {
    let mut log = TestLog::new();
    assert!(log.begin(ring(4)).is_none());
    log.push(event(1));
    assert_eq!(log.begin(ring(9)).map(|ring| ring.len()), Some(9));
    assert_eq!(log.read(0, &mut ring(9)).unwrap().count, 1);
}
