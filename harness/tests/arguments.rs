// SPDX-License-Identifier: GPL-2.0

//! Tests of `--check-arguments`, which the Makefile uses before it builds a kernel.

use std::process::{
    Command,
    Output,
    Stdio, //
};

fn check(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slablab"))
        .arg("--check-arguments")
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn right_arguments_do_nothing() {
    for arguments in [
        "stress --engine all --seconds 0.3",
        "replay --engine slub larson tree --passes 1",
        "trace record -- ls -l",
    ] {
        let output = check(arguments);
        assert!(output.status.success(), "{arguments}: {output:?}");
        assert!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
}

#[test]
fn wrong_arguments_are_a_wrong_usage() {
    for arguments in [
        "",
        "stres",
        "stress --engnie all",
        "replay",
        "replay larson --json --csv",
        "replay larson --pool x",
    ] {
        let output = check(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
    }
}

#[test]
fn a_trace_that_does_not_exist_is_an_error() {
    let output = check("replay larson nosuch");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("error: ") && text.contains("nosuch"),
        "{text}"
    );
}
