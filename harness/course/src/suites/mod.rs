// SPDX-License-Identifier: GPL-2.0

//! The tests of the exercises, by the behaviour that they test.

mod cpus;
mod placement;
mod program_errors;
mod reuse;
mod support;

use slablab_lab::oracle::{
    Client,
    Violation, //
};

/// The bytes of the pool of most tests.
const POOL_BYTES: u64 = 64 << 10;

/// The bytes of a pool whose length is not a power of two.
const ODD_POOL_BYTES: u64 = 96 << 10;

/// A test, which runs on a new pool.
pub struct CourseTest {
    /// What the allocator does, as a sentence. It names the test.
    pub sentence: &'static str,
    /// The bytes of the pool.
    pub pool_bytes: u64,
    /// The test. The client checks every answer.
    pub run: fn(&mut Client<'_>) -> Result<(), Violation>,
}

impl CourseTest {
    /// Returns whether the test runs in a process only. The others run in the kernel, too.
    pub fn needs_process(&self) -> bool {
        let mut tests = program_errors::STRAY.iter();
        tests.any(|test| test.sentence == self.sentence)
    }
}

/// Returns the test with this sentence.
pub fn named(sentence: &str) -> Option<&'static CourseTest> {
    let tests = placement::TESTS
        .iter()
        .chain(&reuse::TESTS)
        .chain(&program_errors::STRAY)
        .chain(&program_errors::CORRECT)
        .chain(&cpus::TESTS);
    tests.into_iter().find(|test| test.sentence == sentence)
}
