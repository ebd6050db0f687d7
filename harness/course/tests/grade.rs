// SPDX-License-Identifier: GPL-2.0

//! Grades of the model solutions, of allocators that do not end, and of files that are no submissions.
//!
//! A grade forks, and a child of a process with several threads may wait for ever for a lock of another thread. This file
//! is therefore one test, so that its process has no other test's threads.

use std::{
    cell::Cell,
    fs,
    path::Path, //
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
use slablab_course::{
    Exercise, exercise,
    grade::{
        Grade,
        Measurement,
        Status,
        format,
        points::Points, //
    },
    rubric::Rubric,
    submission::Submission,
};
use slablab_lab::sim::student::{
    Constructor,
    register, //
};

/// Declares the modules of model solutions. Their attributes of crates have no effect in a module.
macro_rules! solutions {
    ($($name:ident = $path:literal;)*) => {$(
        #[path = $path]
        #[expect(unused_attributes, unreachable_pub, reason = "the file is the root of a crate elsewhere")]
        #[rustfmt::skip]
        mod $name;
    )*};
}

solutions! {
    bump = "../01-bump/solution.rs";
    first_fit = "../02-first-fit/solution.rs";
    slabs = "../03-slabs/solution.rs";
    buddy = "../04-buddy/solution.rs";
}

std::thread_local! {
    /// The engine of this thread. A program registers one engine only.
    static CHOSEN: Cell<Constructor> = const { Cell::new(|| unreachable!("a test chooses an allocator")) };
}

/// Makes an allocator the engine `student` of this thread.
fn choose<A: Allocator + 'static>() {
    register(|| CHOSEN.get()());
    CHOSEN.set(|| Box::new(StudentEngine::new(HostLock::new(State::<A>::new()))));
}

#[test]
fn grades_are_right_and_repeatable() {
    let checks: [(&str, fn()); 5] = [
        (
            "model solutions have full points and the same figures in every build",
            check_models,
        ),
        ("the same seed gives the same grade", check_seeds),
        (
            "an allocator that ends its process has no points and the reason",
            check_faults,
        ),
        (
            "a file that breaks a rule is refused with its line",
            check_rules,
        ),
        ("a file that is nested too deeply is refused", check_depth),
    ];
    for (sentence, check) in checks {
        eprintln!("{sentence}");
        check();
    }
}

fn exercise(number: usize) -> (Exercise, Rubric) {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let exercises = exercise::all(&checkout).unwrap();
    let index = exercises
        .iter()
        .position(|exercise| exercise.number == number);
    let exercise = exercises.into_iter().nth(index.unwrap()).unwrap();
    let rubric = exercise.rubric().unwrap();
    (exercise, rubric)
}

fn graded<A: Allocator + 'static>(number: usize, seed: u64) -> Grade {
    choose::<A>();
    let (exercise, rubric) = exercise(number);
    let measurement = Measurement::take(&rubric, seed).unwrap();
    Grade::of(&exercise, &rubric, seed, &measurement).unwrap()
}

fn figure<'a>(grade: &'a Grade, name: &str) -> &'a str {
    let part = grade.parts.iter().find(|part| part.name == name).unwrap();
    part.figure.as_deref().unwrap()
}

/// The figures are written down, so this check compares machines and builds: it passes in debug and in release builds.
fn check_models() {
    let grades = [
        (graded::<bump::Student>(1, 7), FIGURES[0]),
        (graded::<first_fit::Student>(2, 7), FIGURES[1]),
        (graded::<slabs::Student>(3, 7), FIGURES[2]),
        (graded::<buddy::Student>(4, 7), FIGURES[3]),
    ];
    for (grade, expected) in grades {
        assert_eq!(grade.points, grade.max, "{}", format::table(&grade));
        let figures = ["utilisation", "cost"].map(|name| figure(&grade, name));
        assert_eq!(figures, expected, "exercise {}", grade.exercise);
    }
}

/// Utilisation in per cent and cost in accesses, of seed 7.
const FIGURES: [[&str; 2]; 4] = [
    ["96.2", "0.00"],
    ["91.3", "43.64"],
    ["63.2", "5.50"],
    ["68.5", "8.69"],
];

fn check_seeds() {
    let first = graded::<first_fit::Student>(2, 11);
    assert_eq!(first, graded::<first_fit::Student>(2, 11));
    let other = graded::<first_fit::Student>(2, 12);
    assert_ne!(figure(&first, "cost"), figure(&other, "cost"));
}

/// The faults of [`Faulty`].
const PANICS: u32 = 0;
const ENDLESS: u32 = 1;
const OVERFLOWS: u32 = 2;
const OVERLAPS: u32 = 3;
const EXHAUSTS: u32 = 4;

/// An allocator with a fault.
struct Faulty<const FAULT: u32>;

#[expect(
    unconditional_recursion,
    clippy::only_used_in_recursion,
    reason = "the test needs a stack overflow"
)]
fn descend(depth: u64) -> u64 {
    std::hint::black_box(descend(depth + 1)) + 1
}

impl<const FAULT: u32> Allocator for Faulty<FAULT> {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self)
    }

    fn allocate(&mut self, memory: &mut Memory, _layout: Layout) -> Result<Option<usize>, Error> {
        match FAULT {
            PANICS => panic!("a text"),
            ENDLESS => loop {
                memory.read(0)?;
            },
            OVERFLOWS => Ok(Some(descend(0) as usize)),
            EXHAUSTS => Ok(Some(vec![1_u8; 2 << 30].len())),
            _ => Ok(Some(0)),
        }
    }

    fn free(&mut self, _memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> {
        Ok(())
    }
}

/// Returns the grade of a faulty allocator, which has no points, and the output of the first test.
fn faulty<const FAULT: u32>() -> (Grade, String) {
    let grade = graded::<Faulty<FAULT>>(2, 1);
    assert_eq!(grade.points, Points::NONE);
    let output = grade.parts[0].output.clone();
    (grade, output)
}

fn check_faults() {
    let (grade, panic) = faulty::<PANICS>();
    assert!(panic.contains("Your allocator panicked: a text"), "{panic}");
    let overflow = faulty::<OVERFLOWS>().1;
    assert!(
        overflow.contains("SIGSEGV") || overflow.contains("SIGABRT"),
        "{overflow}"
    );
    let endless = faulty::<ENDLESS>().1;
    assert!(endless.contains("accesses"), "{endless}");
    let overlap = faulty::<OVERLAPS>().1;
    assert!(
        overlap.contains("memory of another live block"),
        "{overlap}"
    );
    let memory = faulty::<EXHAUSTS>().1;
    assert!(memory.contains("SIGABRT"), "{memory}");
    // All other tests have the first one as an ancestor.
    assert!(
        grade.parts[1..]
            .iter()
            .all(|part| part.status == Status::NotRun)
    );
    assert!(!grade.checkpoint.is_reached);
}

const SOLUTION: &str = include_str!("../02-first-fit/solution.rs");

fn refusal(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lib.rs");
    fs::write(&path, text).unwrap();
    Submission::read(&path).unwrap().err().unwrap_or_default()
}

fn check_rules() {
    assert_eq!(refusal(SOLUTION), "");
    let reads = format!("{SOLUTION}\nconst X: &str = include_str!(\"/etc/passwd\");\n");
    let line = SOLUTION.lines().count() + 2;
    let expected = format!("rust/student/lib.rs:{line}: `include_str` is not allowed");
    assert!(
        refusal(&reads).starts_with(&expected),
        "{}",
        refusal(&reads)
    );
}

fn check_depth() {
    let depth = 100_000;
    let refusal = refusal(&("(".repeat(depth) + &")".repeat(depth)));
    assert!(refusal.contains("nested too deeply"), "{refusal}");
}
