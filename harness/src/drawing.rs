// SPDX-License-Identifier: GPL-2.0

//! The map of a session's pool, for every engine that has a pool.
//!
//! An engine with SLABLAB_CAP_MAP answers the command MAP. The engine seed does not: its free lists are
//! private to the crate `buddy_system_allocator`. For a private pool of the seed, a [`SeedModel`] repeats
//! the operations of the session, which are read from the recorded events, and provides the map. `slablab
//! report` uses the same model.

#[cfg(test)]
mod tests;

use slablab_trace::{
    Kind,
    Op, //
};

use crate::{
    device::Errno,
    errno::Name,
    map::PoolMap,
    replay::{
        Answer,
        OpOutcome,
        seed_model::{
            ModelMismatch,
            SeedModel, //
        }, //
    },
    target::Target,
    uapi::{
        Engine,
        EventKind,
        SLABLAB_CAP_MAP,
        slablab_event,
        slablab_info, //
    },
};

/// The maximum number of events that one call reads.
const BATCH: usize = 1024;

/// The reason why a pool cannot be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DrawingError {
    #[error(
        "a pool of the seed that other sessions may have used cannot be drawn: the seed does not \
         support MAP, and the model of its free lists must repeat all operations since the pool was \
         created; use 'slablab map --engine seed --demo', 'slablab shell --engine seed' or 'slablab \
         report', which draw new pools"
    )]
    Shared,
    #[error(
        "a pool of the seed in debug mode cannot be drawn: red zones and quarantined blocks change \
         the offsets of blocks; use the shell without --debug"
    )]
    Debug,
    #[error("{0} has no pool and no map: choose another engine with --engine")]
    NoPool(Engine),
    #[error("the pool can no longer be drawn: {0}")]
    ModelMismatch(ModelMismatch),
    #[error(
        "the pool of the seed cannot be drawn: operations of this session were not recorded, and \
         the model of its free lists must repeat all operations"
    )]
    Unrecorded,
    #[error("MAP of a shared pool needs CAP_SYS_ADMIN; MAP of a private pool does not")]
    Privilege,
    #[error("MAP failed with {}", Name(*.0))]
    Call(Errno),
}

impl From<Errno> for DrawingError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PERM => Self::Privilege,
            errno => Self::Call(errno),
        }
    }
}

/// The history and the mode of a session's pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// No other session has used the pool.
    pub(crate) is_new: bool,
    /// The pool is in debug mode.
    pub(crate) debug: bool,
}

/// A session whose pool is drawn.
pub(crate) struct Drawing<'t> {
    target: &'t dyn Target,
    source: Source,
}

/// The source of the map.
enum Source {
    Engine,
    SeedModel(Box<Follower>),
    Nothing(DrawingError),
}

/// A model of the seed that follows the recorded events of a session.
struct Follower {
    seed_model: SeedModel,
    /// The number of the next event to read.
    number: u64,
    /// The regions and bytes of the model's pool.
    regions: u32,
    pool_bytes: u64,
}

impl<'t> Drawing<'t> {
    /// Prepares to draw the pool of a session that has not allocated yet and whose operations are recorded.
    ///
    /// # Errors
    ///
    /// When the session does not answer.
    pub(crate) fn begin(target: &'t dyn Target, origin: Origin) -> Result<Self, Errno> {
        let info = target.info()?;
        let source = match Engine::from_raw(info.engine) {
            _ if info.capabilities & SLABLAB_CAP_MAP != 0 => Source::Engine,
            Some(Engine::Seed) if !origin.is_new => Source::Nothing(DrawingError::Shared),
            Some(Engine::Seed) if origin.debug => Source::Nothing(DrawingError::Debug),
            Some(Engine::Seed) => Source::SeedModel(Box::new(Follower::new(&info))),
            engine => Source::Nothing(DrawingError::NoPool(engine.unwrap_or(Engine::Default))),
        };
        Ok(Self { target, source })
    }

    /// Returns whether the operations of the session must be recorded.
    pub(crate) fn follows_events(&self) -> bool {
        matches!(self.source, Source::SeedModel(_))
    }

    /// Applies new events to the model. The caller must call this before recorded events are
    /// overwritten, and after each extension of the pool.
    pub(crate) fn follow(&mut self) {
        if let Source::SeedModel(follower) = &mut self.source {
            if let Err(why) = follower.follow(self.target) {
                self.source = Source::Nothing(why);
            }
        }
    }

    /// Returns the map of the pool.
    ///
    /// # Errors
    ///
    /// The reason why the pool cannot be drawn.
    pub(crate) fn map(&mut self) -> Result<PoolMap, DrawingError> {
        self.follow();
        match &self.source {
            Source::Engine => Ok(PoolMap::read(self.target)?),
            Source::SeedModel(follower) => Ok(follower.seed_model.map()),
            Source::Nothing(why) => Err(*why),
        }
    }
}

impl Follower {
    fn new(info: &slablab_info) -> Self {
        Self {
            seed_model: SeedModel::new(info.pool_bytes),
            number: 0,
            regions: 1,
            pool_bytes: info.pool_bytes,
        }
    }

    fn follow(&mut self, target: &dyn Target) -> Result<(), DrawingError> {
        let mut events = vec![slablab_event::default(); BATCH];
        loop {
            let reply = target
                .events(self.number, &mut events)
                .map_err(|errno| match errno {
                    Errno::NXIO => DrawingError::Unrecorded,
                    errno => DrawingError::Call(errno),
                })?;
            if reply.lost > 0 {
                return Err(DrawingError::Unrecorded);
            }
            self.number = reply.number;
            for event in &events[..reply.count as usize] {
                self.enter(event).map_err(DrawingError::ModelMismatch)?;
            }
            if (reply.count as usize) < BATCH {
                break;
            }
        }
        let info = target.info()?;
        if info.regions > self.regions {
            self.seed_model.extend(info.pool_bytes - self.pool_bytes);
            (self.regions, self.pool_bytes) = (info.regions, info.pool_bytes);
        }
        Ok(())
    }

    fn enter(&mut self, event: &slablab_event) -> Result<(), ModelMismatch> {
        if event.error != 0 {
            return Ok(());
        }
        // An allocation that succeeded is smaller than 4 GiB.
        let bytes = event.size as u32;
        let kind = match EventKind::from_raw(event.kind.into()) {
            Some(EventKind::Alloc) => Kind::Alloc {
                bytes,
                align: 1_u32.checked_shl(event.align_log2.into()).unwrap_or(1),
            },
            Some(EventKind::Realloc) => Kind::Realloc { bytes },
            Some(EventKind::Free | EventKind::Revoke) => Kind::Free,
            Some(EventKind::None) | None => return Ok(()),
        };
        let op = Op {
            id: event.handle,
            cpu: 0,
            kind,
        };
        let answer = Answer {
            outcome: OpOutcome::Done,
            offset: event.offset,
            usable: event.usable,
            cost: event.cost,
        };
        self.seed_model.enter(&op, &answer).map(|_work| ())
    }
}
