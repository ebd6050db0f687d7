// SPDX-License-Identifier: GPL-2.0

//! The program `slablab`: the command, and the engine `student` of `rust/student/lib.rs`.
//!
//! Without the feature `student` the program has no such engine, and is built although the learner's file does not
//! compile.

use std::process::ExitCode;

#[cfg(feature = "student")]
mod engine {
    use slab_host::{
        HostLock,
        current_cpu, //
    };
    use slab_student::{
        State,
        StudentEngine, //
    };
    use slablab_lab::sim::student;

    /// Registers the learner's engine, the size of its type, and the hash of the file.
    pub(super) fn register() {
        student::register(|| {
            let state = HostLock::new(State::<::student::Student>::with_cpus(current_cpu));
            Box::new(StudentEngine::new(state))
        });
        student::register_type_bytes(size_of::<::student::Student>());
        // The build script passes the hash. A grade builds the program without the script.
        let hash = option_env!("STUDENT_SOURCE_HASH").and_then(|hash| hash.parse().ok());
        if let Some(hash) = hash {
            student::register_source(hash);
        }
    }
}

fn main() -> ExitCode {
    #[cfg(feature = "student")]
    engine::register();
    slablab_command::run()
}
