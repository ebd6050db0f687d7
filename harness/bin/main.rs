// SPDX-License-Identifier: GPL-2.0

//! The program `slablab`: the command, and the engine `student` of `rust/student/lib.rs`.

use std::process::ExitCode;

use slab_host::{
    HostLock,
    current_cpu, //
};
use slab_student::{
    State,
    StudentEngine, //
};
use slablab_lab::sim::student::register;
use student::Student;

fn main() -> ExitCode {
    register(|| {
        let state = HostLock::new(State::<Student>::with_cpus(current_cpu));
        Box::new(StudentEngine::new(state))
    });
    slablab_command::run()
}
