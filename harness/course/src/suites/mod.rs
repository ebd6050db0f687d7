// SPDX-License-Identifier: GPL-2.0

//! The tests of the exercises, by the behaviour that they test.

mod buddy;
mod give_back;
mod placement;
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
    /// What the allocator does, as a sentence. It names the test.
    pub sentence: &'static str,
    /// The bytes of the pool.
    pub pool_bytes: u64,
    /// The test. The client checks every answer.
    pub run: fn(&mut Client<'_>) -> Result<(), Violation>,
}

/// Tests that run in a process only, by their sentences, with the reason.
static PROCESS_ONLY: [(&str, &str); 0] = [];

/// Returns the reason why a test cannot run in the kernel, if it cannot.
pub fn process_only(sentence: &str) -> Option<&'static str> {
    let found = PROCESS_ONLY.iter().find(|(test, _)| *test == sentence);
    found.map(|(_, reason)| *reason)
}

/// Returns the test with this sentence.
pub fn named(sentence: &str) -> Option<&'static CourseTest> {
    let mut tests = (placement::TESTS.iter())
        .chain(&reuse::TESTS)
        .chain(&buddy::TESTS)
        .chain(&seed::TESTS)
        .chain(&give_back::TESTS)
        .chain(&repair::TESTS);
    tests.find(|test| test.sentence == sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_that_runs_in_a_process_only_exists() {
        for (sentence, _) in PROCESS_ONLY {
            assert!(named(sentence).is_some(), "{sentence}");
        }
    }
}
