// SPDX-License-Identifier: GPL-2.0

//! The notice that a learner's file has changed since the program was built.

use std::{
    env,
    fs,
    sync::Once, //
};

use crate::sim::student;

/// The learner's file, from the top of a checkout.
const STUDENT: &str = "rust/student/lib.rs";

/// Prints a notice, once, if the program is in a checkout whose learner's file is not the one of the engine `student`.
pub(crate) fn notice() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if is_outdated() {
            eprintln!(
                "{STUDENT} has changed since this program was built: 'slablab course check' builds it anew"
            );
        }
    });
}

fn is_outdated() -> bool {
    let Ok(program) = env::current_exe() else {
        return false;
    };
    let source = (program.ancestors())
        .find(|folder| folder.join("harness/course").is_dir())
        .and_then(|top| fs::read(top.join(STUDENT)).ok());
    source.is_some_and(|source| student::is_outdated(&source))
}
