// SPDX-License-Identifier: GPL-2.0

//! The conformance test on the engines with the locks and CPUs of this crate.

use slab_heap::{
    extent::{
        self,
        ExtentEngine, //
    },
    hybrid::{
        self,
        Hybrid, //
    },
    magazines::CacheSize,
    seed::{
        self,
        Seed, //
    },
    testing::conformance::conforms,
};
use slab_host::{
    HostCpus,
    HostLock, //
};

#[test]
fn hybrid_on_simulated_cpus_conforms() {
    conforms(|| {
        let state = HostLock::new(hybrid::State::new());
        Hybrid::new(state, HostCpus::new(2, CacheSize::full::<hybrid::Heap>()))
    });
}

#[test]
fn extent_on_simulated_cpus_conforms() {
    conforms(|| {
        let state = HostLock::new(extent::State::new());
        ExtentEngine::new(state, HostCpus::new(2, CacheSize::full::<extent::Heap>()))
    });
}

#[test]
fn seed_behind_a_lock_of_the_host_conforms() {
    conforms(|| Seed::new(HostLock::new(seed::State::new())));
}
