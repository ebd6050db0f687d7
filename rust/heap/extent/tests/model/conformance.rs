// SPDX-License-Identifier: GPL-2.0

//! The conformance test of all engines, on `extent`.

use crate::testing::{
    LockedExtent,
    TestEngine,
    conformance::conforms,
    heaps::on_cpus, //
};

#[test]
fn the_engine_conforms_with_and_without_magazines() {
    conforms(LockedExtent::empty);
    for cpus in [1, 3] {
        conforms(|| on_cpus::<crate::extent::Heap>(cpus));
    }
}
