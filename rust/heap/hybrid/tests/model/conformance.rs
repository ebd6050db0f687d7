// SPDX-License-Identifier: GPL-2.0

//! The conformance test of all engines, on `hybrid` and on `hybrid` with a defect.

use std::{
    panic::{
        AssertUnwindSafe,
        catch_unwind, //
    },
    string::String,
};

use crate::testing::{
    HostHybrid, LockedHybrid, TestEngine,
    conformance::conforms,
    with_cpus,
    wrong_engine::{
        Defect,
        WrongEngine, //
    },
};

#[test]
fn the_engine_conforms_with_and_without_magazines() {
    conforms(LockedHybrid::empty);
    conforms(|| with_cpus(1));
    conforms(|| with_cpus(3));
}

#[test]
fn the_conformance_test_reports_each_defect_of_an_engine() {
    for defect in Defect::ALL {
        let wrong = || conforms(|| WrongEngine::new(HostHybrid::empty(), defect));
        let Err(panic) = catch_unwind(AssertUnwindSafe(wrong)) else {
            panic!("{defect:?} passes");
        };
        let formatted = panic.downcast_ref::<String>().map(String::as_str);
        let message = formatted.or_else(|| panic.downcast_ref::<&str>().copied());
        let message = message.unwrap_or_default();
        assert!(message.contains(defect.message()), "{defect:?}: {message}");
    }
}
