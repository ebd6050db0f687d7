// SPDX-License-Identifier: GPL-2.0

//! The allocators of the hunt, and the versions of each: a sound one, and one for each defect.
//!
//! A defect is one condition in the source: `self.defect.is(Defect::…)` selects the wrong behaviour. The name of the
//! defect occurs once in the source of its allocator, so that the explanation of the defect finds its line.

mod buddy;
mod first_fit;
mod magazines;
mod resizing;
mod slabs;

use slab_heap::Engine;
use slab_host::HostLock;
use slab_student::{
    Allocator,
    Error,
    Layout,
    Memory,
    State,
    StudentEngine, //
};
use slablab_lab::sim::student::Constructor;

use self::{
    buddy::Buddy,
    first_fit::FirstFit,
    magazines::Magazines,
    resizing::Resizing,
    slabs::Slabs, //
};
use crate::{
    defect::{
        Active,
        Defect, //
    },
    kind::Kind, //
};

/// A version of an allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The version without a defect.
    Sound(Kind),
    /// The version with this defect.
    Defective(Defect),
}

impl Version {
    /// The number of versions.
    pub const COUNT: usize = Kind::ALL.len() + Defect::ALL.len();

    /// Returns the version with this number, which must be below [`Version::COUNT`].
    const fn numbered(number: usize) -> Self {
        match number.checked_sub(Kind::ALL.len()) {
            None => Self::Sound(Kind::ALL[number]),
            Some(defect) => Self::Defective(Defect::ALL[defect]),
        }
    }

    /// Returns the number of the version: the parameter of its [`Hunted`].
    pub fn number(self) -> usize {
        match self {
            Self::Sound(kind) => kind as usize,
            Self::Defective(defect) => Kind::ALL.len() + defect as usize,
        }
    }

    /// Returns the kind of the allocator.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Sound(kind) => kind,
            Self::Defective(defect) => defect.kind(),
        }
    }

    /// Returns the function that constructs the engine of the version.
    pub fn constructor(self) -> Constructor {
        CONSTRUCTORS[self.number()]
    }
}

/// The allocator of version `NUMBER`.
pub enum Hunted<const NUMBER: usize> {
    /// First fit.
    FirstFit(FirstFit),
    /// First fit that resizes in place.
    Resizing(Resizing),
    /// Slabs.
    Slabs(Slabs),
    /// A buddy system.
    Buddy(Buddy),
    /// Magazines in front of slabs.
    Magazines(Magazines),
}

impl<const NUMBER: usize> Allocator for Hunted<NUMBER> {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        let version = Version::numbered(NUMBER);
        let active = match version {
            Version::Sound(_) => Active::NONE,
            Version::Defective(defect) => Active::of(defect),
        };
        Ok(match version.kind() {
            Kind::FirstFit => Self::FirstFit(FirstFit::new(memory, active)?),
            Kind::Resizing => Self::Resizing(Resizing::new(memory, active)?),
            Kind::Slabs => Self::Slabs(Slabs::new(active)),
            Kind::Buddy => Self::Buddy(Buddy::new(memory, active)?),
            Kind::Magazines => Self::Magazines(Magazines::new(active)),
        })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        match self {
            Self::FirstFit(allocator) => allocator.allocate(memory, layout),
            Self::Resizing(allocator) => allocator.list.allocate(memory, layout),
            Self::Slabs(allocator) => allocator.allocate(memory, layout),
            Self::Buddy(allocator) => allocator.allocate(memory, layout),
            Self::Magazines(allocator) => allocator.allocate(memory, layout),
        }
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        match self {
            Self::FirstFit(allocator) => allocator.free(memory, block, layout),
            Self::Resizing(allocator) => allocator.list.free(memory, block, layout),
            Self::Slabs(allocator) => allocator.free(memory, block, layout),
            Self::Buddy(allocator) => allocator.free(memory, block, layout),
            Self::Magazines(allocator) => allocator.free(memory, block, layout),
        }
    }

    fn resize(
        &mut self,
        memory: &mut Memory,
        block: usize,
        layout: Layout,
        size: usize,
    ) -> Result<bool, Error> {
        match self {
            Self::FirstFit(_) | Self::Buddy(_) => Ok(size == layout.size()),
            Self::Resizing(allocator) => allocator.resize(memory, block, layout, size),
            Self::Slabs(allocator) => allocator.resize(memory, block, layout, size),
            Self::Magazines(allocator) => allocator.resize(memory, block, layout, size),
        }
    }

    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        match self {
            Self::FirstFit(allocator) => allocator.check(memory),
            Self::Resizing(allocator) => allocator.list.check(memory),
            Self::Slabs(allocator) => allocator.check(memory),
            Self::Buddy(allocator) => allocator.check(memory),
            Self::Magazines(allocator) => allocator.check(memory),
        }
    }
}

/// Constructs the engine of version `NUMBER`.
fn engine<const NUMBER: usize>() -> Box<dyn Engine + Send> {
    let state = HostLock::new(State::<Hunted<NUMBER>>::new());
    Box::new(StudentEngine::new(state))
}

/// Declares an array with a value for each version. `$of` is a generic function, whose parameter is the number of the
/// version.
#[macro_export]
macro_rules! for_each_version {
    ($of:ident) => {
        [
            $of::<0>, $of::<1>, $of::<2>, $of::<3>, $of::<4>, $of::<5>, $of::<6>, $of::<7>,
            $of::<8>, $of::<9>, $of::<10>, $of::<11>, $of::<12>, $of::<13>, $of::<14>, $of::<15>,
            $of::<16>, $of::<17>, $of::<18>, $of::<19>, $of::<20>, $of::<21>, $of::<22>, $of::<23>,
            $of::<24>, $of::<25>, $of::<26>, $of::<27>, $of::<28>, $of::<29>, $of::<30>, $of::<31>,
            $of::<32>, $of::<33>, $of::<34>, $of::<35>, $of::<36>, $of::<37>,
        ]
    };
}

/// The constructors, by the number of the version.
static CONSTRUCTORS: [Constructor; Version::COUNT] = for_each_version!(engine);
