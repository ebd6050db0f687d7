// SPDX-License-Identifier: GPL-2.0

//! EVENTS: the log of a session's operations.

use kernel::{
    current,
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use slab_session::{
    Event,
    EventReadError, //
};

use super::{
    OpenFile,
    Session,
    ensure,
    error, //
};
use crate::{
    argument::IoctlArg,
    uapi::{
        self,
        *, //
    }, //
};

/// The maximum number of events that are read under one hold of the session's lock. The events are copied to
/// the program without the lock.
const PART: usize = 64;

impl OpenFile {
    /// Begins, reads or ends the log of events. `may_change` is true if the file is open for writing, which
    /// is required to begin or end the log.
    pub(super) fn events(&self, argument: usize, bytes: usize, may_change: bool) -> Result {
        let (mut events, arg) = IoctlArg::read::<slablab_events>(argument, bytes)?;
        ensure(events.flags == 0 && events.reserved == 0)?;
        let has_room = (1..=SLABLAB_EVENTS_MAX).contains(&events.count);
        let is_read = events.op == SLABLAB_EVENTS_READ;
        ensure(is_read || (events.number == 0 && events.events == 0))?;
        events.lost = 0;
        match events.op {
            SLABLAB_EVENTS_BEGIN | SLABLAB_EVENTS_END if !may_change => Err(EBADF),
            SLABLAB_EVENTS_BEGIN if has_room => {
                // The reply is written before the log begins, so that a bad address of the argument changes nothing.
                arg.write_early(&events)?;
                let ring = self.shared.ring(events.count as usize)?;
                if self.bound.as_ref().is_none() {
                    self.bind_default()?;
                }
                match self.session().map_err(error)?.begin_events(ring) {
                    None => Ok(()),
                    Some(_surplus) => Err(EBUSY),
                }
            }
            SLABLAB_EVENTS_READ if has_room => {
                let session = self.session().map_err(|_| ENXIO)?;
                read(session, &mut events)?;
                arg.reply(&events)
            }
            SLABLAB_EVENTS_END if events.count == 0 => {
                arg.write_early(&events)?;
                let session = self.session().map_err(|_| ENXIO)?;
                session.end_events().map(drop).ok_or(ENXIO)
            }
            _ => Err(EINVAL),
        }
    }
}

/// Copies events from number `events.number` on to the program, and sets the fields of the reply.
fn read(session: &Session, events: &mut slablab_events) -> Result {
    let room = events.count as usize;
    let address = usize::try_from(events.events).map_err(|_| EFAULT)?;
    let array = UserSlice::new(
        UserPtr::from_addr(address),
        room * size_of::<slablab_event>(),
    );
    let mut writer = array.writer();
    let mut part = KVec::from_elem(Event::VACANT, room.min(PART), GFP_KERNEL)?;
    events.count = 0;
    loop {
        let wanted = part.len().min(room - events.count as usize);
        let read = session.events(events.number, &mut part[..wanted]);
        let read = read.map_err(not_read)?;
        events.lost += read.lost;
        events.number = read.first;
        for event in &part[..read.count] {
            writer.write(&uapi::event(events.number, event))?;
            events.number += 1;
        }
        events.count += read.count as u32;
        let is_over = read.count < wanted || events.count as usize == room;
        if is_over || current!().signal_pending() {
            return Ok(());
        }
    }
}

/// Returns the error number for events that cannot be read.
fn not_read(why: EventReadError) -> Error {
    match why {
        EventReadError::Off => ENXIO,
        EventReadError::BeyondEnd => EINVAL,
    }
}
