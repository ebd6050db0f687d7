// SPDX-License-Identifier: GPL-2.0

//! Every exhibit of the museum on every engine of `sim`, with the oracle, which checks the content, the
//! alignment and the place of every block.
//!
//! No engine may give a wrong answer. All engines but `seed` must serve every request. [`SEED`] lists the exhibits of which
//! `seed` refuses requests, each with the weakness that explains the refusals. The engine `student` runs with the
//! model solutions of the course, which must serve every request, and with allocators that have a bug, which
//! must fail.

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    panic::catch_unwind,
    sync::{
        Mutex,
        MutexGuard,
        PoisonError, //
    },
};

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
    replay::{
        OpOutcome,
        checked, //
    },
    sim::{
        Pool,
        Sim,
        student, //
    },
    uapi::Engine,
};
use slablab_trace::{
    Kind,
    museum::{
        self,
        Exhibit, //
    }, //
};

/// Includes the model solution of an exercise.
macro_rules! solution {
    ($name:ident, $path:literal) => {
        #[path = $path]
        #[expect(
            unreachable_pub,
            unused_attributes,
            reason = "the file is a crate of its own in the course"
        )]
        mod $name;
    };
}
solution!(bump, "../../course/01-bump/solution.rs");
solution!(first_fit, "../../course/02-first-fit/solution.rs");
solution!(slabs, "../../course/03-slabs/solution.rs");
solution!(buddy, "../../course/04-buddy/solution.rs");

/// The exhibits of which `seed` refuses requests: the number of refused requests, and the test in
/// `rust/heap/seed/tests/weaknesses.rs` that shows the weakness. `docs/seed-weaknesses.md` describes the
/// weaknesses.
const SEED: [(&str, usize, &str); 11] = [
    ("museum/mimalloc-577", 1, ALIGNMENT),
    ("museum/mimalloc-1400", 200, ALIGNMENT),
    ("museum/mimalloc-rust-87", 186, ALIGNMENT),
    ("museum/mimalloc-603", 4, SMALL_HEAP),
    ("museum/tlsf-36", 8, SMALL_HEAP),
    ("museum/m1n1-168", 5, SMALL_HEAP),
    ("museum/bumpalo-19", 16, SMALL_HEAP),
    ("museum/sweb-161", 1, SMALL_HEAP),
    ("museum/zephyr-90306", 15, KEPT_SLABS),
    ("museum/linked-list-allocator-66", 1, KEPT_SLABS),
    ("museum/jemalloc-2867", 1, KEPT_SLABS),
];
const ALIGNMENT: &str = "a_small_block_with_a_large_alignment_is_misaligned";
const SMALL_HEAP: &str = "a_small_heap_cannot_serve_its_larger_classes";
const KEPT_SLABS: &str = "freed_slabs_serve_no_other_size";

/// Replays an exhibit in its pool, and returns the number of refused requests that must be served
/// and of all refused requests.
///
/// # Panics
///
/// Panics with the operation and the rule at the first wrong answer.
fn refused(engine: Engine, exhibit: &Exhibit) -> (usize, usize) {
    let name = exhibit.pattern.name;
    let trace = exhibit.trace();
    let sim = Sim::private(engine, exhibit.pool_bytes).unwrap();
    let ran = checked(&sim, &trace).unwrap_or_else(|wrong| panic!("{name} on {engine}: {wrong}"));
    let answers = ran.answers.iter().zip(trace.ops());
    let refused = answers.filter(|(answer, _)| matches!(answer.outcome, OpOutcome::Refused(_)));
    let bytes = refused.map(|(_, op)| match op.kind {
        Kind::Alloc { bytes, .. } | Kind::Realloc { bytes } => bytes,
        Kind::Free => panic!("{name} on {engine}: a free was refused"),
    });
    let bytes: Vec<_> = bytes.collect();
    let must_serve = bytes.iter().filter(|bytes| !exhibit.may_refuse(**bytes));
    (must_serve.count(), bytes.len())
}

#[test]
fn every_engine_but_seed_serves_every_exhibit() {
    for exhibit in museum::all() {
        for engine in Pool::ENGINES.into_iter().filter(|of| *of != Engine::Seed) {
            let refused = refused(engine, exhibit);
            assert_eq!(refused, (0, 0), "{} on {engine}", exhibit.pattern.name);
        }
    }
}

#[test]
fn seed_refuses_exactly_the_requests_that_its_weaknesses_explain() {
    let refusals = museum::all().map(|exhibit| {
        let (_, all) = refused(Engine::Seed, exhibit);
        (exhibit.pattern.name, all)
    });
    let refusals: BTreeMap<_, _> = refusals.filter(|(_, count)| *count > 0).collect();
    let expected = SEED.map(|(name, count, _)| (name, count)).into();
    assert_eq!(refusals, expected);
}

#[test]
fn the_weaknesses_that_explain_refusals_have_tests() {
    let tests = include_str!("../../../rust/heap/seed/tests/weaknesses.rs");
    for (name, _, weakness) in SEED {
        assert!(tests.contains(&format!("fn {weakness}()")), "{name}");
    }
}

/// The constructor of the engine `student`. Tests of this process that use the engine run one after the other.
static CONSTRUCTOR: Mutex<student::Constructor> = Mutex::new(engine::<bump::Student>);
static STUDENT: Mutex<()> = Mutex::new(());

/// Constructs the engine around an allocator.
fn engine<A: Allocator + Send + 'static>() -> Box<dyn slab_heap::Engine + Send> {
    Box::new(StudentEngine::<A, _>::new(HostLock::new(State::new())))
}

/// Selects the allocator of the engine `student`, until the guard is dropped.
fn select<A: Allocator + Send + 'static>() -> MutexGuard<'static, ()> {
    let guard = STUDENT.lock().unwrap_or_else(PoisonError::into_inner);
    *CONSTRUCTOR.lock().unwrap() = engine::<A>;
    student::register(|| {
        let constructor = *CONSTRUCTOR.lock().unwrap();
        constructor()
    });
    guard
}

/// Returns the names of the exhibits that the engine `student` does not serve, because a request is refused or
/// an answer is wrong.
fn failed() -> BTreeSet<&'static str> {
    let fails = |exhibit: &&Exhibit| {
        catch_unwind(|| refused(Engine::Student, exhibit))
            .map_or(true, |(must_serve, _)| must_serve > 0)
    };
    let failed = museum::all().filter(fails);
    failed.map(|exhibit| exhibit.pattern.name).collect()
}

#[test]
fn the_model_solutions_of_the_course_serve_every_exhibit() {
    for guard in [
        select::<first_fit::Student>,
        select::<slabs::Student>,
        select::<buddy::Student>,
    ] {
        let _student = guard();
        assert_eq!(failed(), BTreeSet::new());
    }
}

/// An allocator that aligns every block to a word only.
struct WordAligned(first_fit::Student);

impl WordAligned {
    /// Returns the layout with the alignment of a word.
    fn layout(layout: Layout) -> Layout {
        Layout::from_size_align(layout.size(), 8).unwrap()
    }
}

impl Allocator for WordAligned {
    fn new(memory: &mut Memory) -> Result<Self, Error> {
        first_fit::Student::new(memory).map(Self)
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        self.0.allocate(memory, Self::layout(layout))
    }

    fn free(&mut self, memory: &mut Memory, block: usize, layout: Layout) -> Result<(), Error> {
        self.0.free(memory, block, Self::layout(layout))
    }
}

#[test]
fn an_allocator_that_ignores_alignments_fails_at_exhibits_of_alignment() {
    let _student = select::<WordAligned>();
    let failed = failed();
    for name in [
        "museum/mimalloc-602",
        "museum/mimalloc-603",
        "museum/mimalloc-700",
        "museum/mimalloc-1400",
        "museum/mimalloc-rust-87",
        "museum/tlsf-36",
        "museum/m1n1-168",
        "museum/rust-for-linux-974",
        "museum/bumpalo-19",
    ] {
        assert!(failed.contains(name), "{name}");
    }
    assert!(!failed.contains("museum/wee-alloc-106"));
}

#[test]
fn an_allocator_that_frees_nothing_fails_at_exhibits_of_leaks_and_buddies() {
    let _student = select::<bump::Student>();
    let failed = failed();
    for name in [
        "museum/sos-8",
        "museum/emu2-122",
        "museum/buddy-system-allocator-31",
        "museum/wee-alloc-106",
        "museum/linked-list-allocator-66",
        "museum/blog-os-796",
        "museum/asterinas-2063",
        "museum/talc-51",
        "museum/jemalloc-2867",
    ] {
        assert!(failed.contains(name), "{name}");
    }
    assert!(!failed.contains("museum/mimalloc-206"));
}
