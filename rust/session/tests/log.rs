// SPDX-License-Identifier: GPL-2.0

//! The log beside a vector that forgets nothing.

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

type TestLog = Log<Vec<Event>>;

fn ring(places: usize) -> Vec<Event> {
    vec![Event::VACANT; places]
}

fn event(number: u64) -> Event {
    Event::request(EventKind::Free, 7, number)
}

/// All events since the log began, and what it has to tell of them.
#[derive(Default)]
struct Oracle {
    events: Vec<Event>,
    places: usize,
    is_on: bool,
}

impl Oracle {
    fn oldest(&self) -> usize {
        self.events.len().saturating_sub(self.places)
    }

    fn compare(&self, log: &TestLog, number: usize, room: usize) -> Result<(), TestCaseError> {
        let mut slots = ring(room);
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
        let is_told = |event: &&Event| event.outcome != EventOutcome::Pending;
        let told: Vec<_> = self.events[first..]
            .iter()
            .take(room)
            .take_while(is_told)
            .copied()
            .collect();
        let expected = EventBatch {
            first: first as u64,
            count: told.len(),
            lost: (first - number) as u64,
        };
        prop_assert_eq!(read, Ok(expected));
        prop_assert_eq!(&slots[..told.len()], &*told);
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_last_events_are_told_and_the_lost_ones_counted(
        steps in prop::collection::vec((0_u8..16, 0_usize..40, 0_usize..12), 1..400)
    ) {
        let mut log = TestLog::new();
        let mut oracle = Oracle::default();
        // Tickets, and where their events were, also of rings that are no more.
        let mut tickets: Vec<(EventId, Option<usize>)> = Vec::new();
        for (step, (what, number, room)) in (0..).zip(steps) {
            match what {
                0 => {
                    let begins = !oracle.is_on && room > 0;
                    prop_assert_eq!(log.begin(ring(room)).is_none(), begins);
                    if begins {
                        oracle = Oracle { places: room, is_on: true, ..Oracle::default() };
                    }
                }
                1 if number < 8 => {
                    prop_assert_eq!(log.end().map(|ring| ring.len()), oracle.is_on.then_some(oracle.places));
                    oracle.is_on = false;
                    tickets.iter_mut().for_each(|ticket| ticket.1 = None);
                }
                2..=6 => {
                    let ticket = log.push(event(step));
                    prop_assert_eq!(ticket.is_some(), oracle.is_on);
                    if oracle.is_on {
                        oracle.events.push(event(step));
                    }
                }
                7 | 8 => {
                    let unfinished = event(step).with_outcome(EventOutcome::Pending);
                    if let Some(ticket) = log.push(unfinished) {
                        tickets.push((ticket, Some(oracle.events.len())));
                        oracle.events.push(unfinished);
                    }
                }
                9..=11 if !tickets.is_empty() => {
                    let (ticket, place) = tickets.swap_remove(number % tickets.len());
                    let cost = Cost::new(Path::Buddy).with_work(0, number as u16);
                    log.finish(ticket, cost);
                    if let Some(place) = place {
                        let event = &mut oracle.events[place];
                        *event = Event { cost, ..event.with_outcome(EventOutcome::Served) };
                    }
                }
                _ => {}
            }
            oracle.compare(&log, number, room)?;
            oracle.compare(&log, oracle.events.len().saturating_sub(room), 40)?;
        }
    }
}

#[test]
fn a_reader_goes_on_where_it_was_and_is_told_of_each_loss_once() {
    let mut log = TestLog::new();
    assert!(log.begin(ring(8)).is_none());
    let (mut number, mut seen, mut lost) = (0, 0, 0);
    for round in 0..50 {
        for _ in 0..round % 20 {
            log.push(event(0));
        }
        let mut room = ring(5);
        let read = log.read(number, &mut room).unwrap();
        number = read.first + read.count as u64;
        seen += read.count as u64;
        lost += read.lost;
        assert_eq!(seen + lost, number);
    }
    assert!(seen > 100 && lost > 100);
}

#[test]
fn a_second_ring_is_given_back() {
    let mut log = TestLog::new();
    assert!(log.begin(ring(4)).is_none());
    log.push(event(1));
    assert_eq!(log.begin(ring(9)).map(|ring| ring.len()), Some(9));
    assert_eq!(log.read(0, &mut ring(9)).unwrap().count, 1);
}
