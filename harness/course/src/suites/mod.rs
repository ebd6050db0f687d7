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
