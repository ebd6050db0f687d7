// SPDX-License-Identifier: GPL-2.0

//! Another allocator takes the place of the registered one.

use slab_host::HostLock;
use slab_student::{
    Allocator,
    Error,
    Layout,
    Memory,
    State,
    StudentEngine, //
};
use slablab_lab::{
    sim::{
        Sim,
        student, //
    },
    target::Target,
    uapi::Engine,
};

/// An allocator whose only block begins at `BLOCK`, and whose check always finds something.
struct One<const BLOCK: usize>;

impl<const BLOCK: usize> Allocator for One<BLOCK> {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self)
    }

    fn allocate(&mut self, _memory: &mut Memory, _layout: Layout) -> Result<Option<usize>, Error> {
        Ok(Some(BLOCK))
    }

    fn free(&mut self, _memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> {
        Ok(())
    }

    fn check(&mut self, memory: &mut Memory) -> Result<(), Error> {
        Err(memory.broken("nothing is right", BLOCK))
    }
}

fn engine<const BLOCK: usize>() -> Box<dyn slab_heap::Engine + Send> {
    let state = HostLock::new(State::<One<BLOCK>>::new());
    Box::new(StudentEngine::new(state))
}

#[test]
fn the_substitute_takes_the_place_of_the_registered_engine_and_has_no_lines() {
    student::register(engine::<64>);
    let violation = |sim: &Sim| {
        let _ = sim.check();
        sim.violation().unwrap()
    };
    let sim = Sim::private(Engine::Student, 1 << 20).unwrap();
    assert_eq!(sim.alloc(8, 8).unwrap().offset, 64);
    assert!(violation(&sim).line > 0);

    student::substitute(engine::<128>);
    let sim = Sim::private(Engine::Student, 1 << 20).unwrap();
    assert_eq!(sim.alloc(8, 8).unwrap().offset, 128);
    // The line would be one of another file than the learner's.
    assert_eq!(violation(&sim).line, 0);
    assert_eq!(violation(&sim).own_sentence(), "nothing is right");

    // Neither can be named twice.
    student::register(engine::<192>);
    student::substitute(engine::<192>);
    let sim = Sim::private(Engine::Student, 1 << 20).unwrap();
    assert_eq!(sim.alloc(8, 8).unwrap().offset, 128);
}
