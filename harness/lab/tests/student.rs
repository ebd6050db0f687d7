// SPDX-License-Identifier: GPL-2.0

//! The engine `student` in `sim`: an allocator that breaks a rule ends in a verdict with the line of the access.

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
    oracle::{
        Oracle,
        Violation,
        journal::{
            Answer,
            Journal,
            Request, //
        }, //
    },
    sim::{
        Pool,
        Sim,
        student, //
    },
    target::Target,
    uapi::{
        AllocatorFunction,
        AllocatorRule,
        Cause,
        Engine, //
    },
};

/// A bump allocator that writes a word into the block before the new one, from the third block on, and into the first
/// block when the one at offset 64 is freed.
struct Overwriting {
    next: usize,
    blocks: usize,
}

/// The line of the write.
const LINE: u32 = line!() + 12;

impl Allocator for Overwriting {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self { next: 0, blocks: 0 })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        let block = self.next.next_multiple_of(layout.align());
        self.blocks += 1;
        if self.blocks > 2 {
            // The engine must refuse this access, and report it.
            memory.write(self.next - 8, 7)?;
        }
        self.next = block + layout.size();
        Ok(Some(block))
    }

    fn free(&mut self, memory: &mut Memory, block: usize, _layout: Layout) -> Result<(), Error> {
        match block {
            // The first block is live.
            64 => memory.write(0, 7),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_broken_rule_is_a_verdict_with_its_line() {
    assert!(
        Sim::private(Engine::Student, 1 << 20).is_err(),
        "no engine is registered"
    );
    student::register(|| {
        Box::new(StudentEngine::<Overwriting, _>::new(HostLock::new(
            State::new(),
        )))
    });
    let sim = Sim::private(Engine::Student, 1 << 20).unwrap();
    let oracle = Oracle::new(&sim, 1).unwrap();
    let mut client = oracle.client();
    let blocks: Vec<_> = (0..2)
        .map(|_| client.alloc(64, 8).unwrap().unwrap())
        .collect();
    let Err(Violation::Allocator(sentence)) = client.alloc(64, 8) else {
        panic!("the write into a block was not reported");
    };
    let expected = format!(
        "allocate (call 3) accessed memory of a block that is allocated at offset 0x78: \
         rust/student/lib.rs, line {LINE}"
    );
    assert_eq!(sentence, expected);

    // A stray write reaches free memory only.
    let fault = Err(rustix::io::Errno::FAULT);
    assert_eq!(sim.stray_write(0x80, b"stray"), Ok(()));
    let mut bytes = *b"......";
    assert_eq!(sim.read_free(0x80, &mut bytes), Ok(()));
    assert_eq!(bytes, *b"stray\0");
    assert_eq!(sim.stray_write(0x7f, b"x"), fault);
    assert_eq!(sim.read_free(0x7f, &mut bytes), fault);
    assert_eq!(sim.stray_write((1 << 20) - 1, b"xy"), fault);

    // The blocks are intact, can be freed, and no new block is allocated.
    for block in blocks {
        client.free(block).unwrap();
    }
    let refused = sim.alloc(64, 8).unwrap_err();
    assert_eq!(u32::from(refused.cost.cause), Cause::Faulty.raw());
    let violation = sim.violation().unwrap();
    assert_eq!(
        AllocatorRule::from_raw(violation.rule),
        Some(AllocatorRule::AccessOutsideOfBlocks)
    );
    assert_eq!(
        AllocatorFunction::from_raw(violation.function),
        Some(AllocatorFunction::Allocate)
    );
    assert_eq!(
        (violation.line, violation.offset, violation.accesses),
        (LINE, 0x78, 1)
    );

    // With a journal, a rule that FREE broke is reported at once, and not by the next request.
    let sim = Sim::private(Engine::Student, 1 << 20).unwrap();
    let journal = Journal::new().unwrap();
    let oracle = Oracle::new(&sim, 1).unwrap();
    let oracle = oracle.with_journal(journal.share().unwrap());
    let mut client = oracle.client();
    let _first = client.alloc(64, 8).unwrap().unwrap();
    let second = client.alloc(64, 8).unwrap().unwrap();
    let Err(Violation::Allocator(sentence)) = client.free(second) else {
        panic!("the write in a free was not reported");
    };
    assert!(sentence.starts_with("free (call 3) "), "{sentence}");
    let history = journal.history().unwrap();
    let last = history.last.unwrap();
    assert!(
        matches!(last, (Request::Free(block), Answer::None) if block.offset == 64),
        "{last:?}"
    );
    assert_eq!((history.live.len(), history.requests), (1, 3));
}

#[test]
fn other_engines_have_no_allocator_of_a_learner() {
    for engine in Pool::ENGINES {
        let sim = Sim::private(engine, 1 << 20).unwrap();
        let refused = rustix::io::Errno::OPNOTSUPP;
        assert_eq!(sim.violation().unwrap_err(), refused);
        assert_eq!(sim.stray_write(0, b"x"), Err(refused));
        assert_eq!(sim.read_free(0, &mut [0]), Err(refused));
    }
}
