// SPDX-License-Identifier: GPL-2.0

//! The tests of the exercises, by the behaviour that they test.

mod buddy;
mod cpus;
mod give_back;
mod placement;
mod program_errors;
mod repair;
mod reuse;
mod seed;
mod support;

use slablab_lab::oracle::{
    Client,
    Violation, //
};

/// The bytes of the pool of most tests.
const POOL_BYTES: u64 = 64 << 10;

/// The bytes of a pool whose length is not a power of two.
const ODD_POOL_BYTES: u64 = 96 << 10;

/// The bytes of the pool of tests of slabs over a buddy system. Every slab of the engine `seed` can grow in it.
const TIERS_POOL_BYTES: u64 = 1 << 20;

/// A test, which runs on a new pool.
pub struct CourseTest {
    /// A sentence about the behaviour of the allocator. It names the test.
    pub sentence: &'static str,
    /// The bytes of the pool.
    pub pool_bytes: u64,
    /// The test. The client checks every answer.
    pub run: fn(&mut Client<'_>) -> Result<(), Violation>,
}

/// Returns the reason why a test cannot run in the kernel, if it cannot.
pub fn process_only(sentence: &str) -> Option<&'static str> {
    let mut stray = program_errors::STRAY.iter();
    stray
        .any(|test| test.sentence == sentence)
        .then_some("no call of the device reads or writes outside of a block")
}

/// Returns the test with this sentence.
pub fn named(sentence: &str) -> Option<&'static CourseTest> {
    let mut tests = (placement::TESTS.iter())
        .chain(&reuse::TESTS)
        .chain(&buddy::TESTS)
        .chain(&program_errors::STRAY)
        .chain(&program_errors::CORRECT)
        .chain(&cpus::TESTS)
        .chain(&seed::TESTS)
        .chain(&give_back::TESTS)
        .chain(&repair::TESTS);
    tests.find(|test| test.sentence == sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stray_writes_run_in_a_process_only() {
        for test in &program_errors::STRAY {
            let named = named(test.sentence).unwrap();
            assert!(process_only(named.sentence).is_some(), "{}", test.sentence);
        }
        assert_eq!(process_only(cpus::TESTS[0].sentence), None);
    }
}
