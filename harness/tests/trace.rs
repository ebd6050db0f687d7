// SPDX-License-Identifier: GPL-2.0

//! `slablab trace` and `slablab replay` from outside.

use std::{
    fs,
    path::PathBuf,
    process::{
        Command,
        Output,
        Stdio, //
    },
};

fn slablab(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slablab"))
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(arguments: &str) -> String {
    let output = slablab(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments}: {text}");
    text
}

fn stderr(arguments: &str, status: i32) -> String {
    let output = slablab(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments}");
    String::from_utf8(output.stderr).unwrap()
}

/// Returns a path for a file of this test.
fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Writes a file and returns its path.
fn file(name: &str, text: &str) -> String {
    let path = path(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_pattern_is_made_the_same_each_time_and_converted_to_and_fro() {
    let made = stdout("trace make binary --percent 5");
    assert!(made.starts_with("slablab-trace 1\nname binary\nsource slablab trace make binary "));
    let file = file("binary.trace", &made);
    assert_eq!(stdout(&format!("trace convert {file}")), made);
    let rep = path("binary.rep");
    let rep = rep.to_str().unwrap();
    stdout(&format!("trace convert {file} --to rep --out {rep}"));
    let info = |trace: &str| {
        let told = stdout(&format!("trace info {trace} --json"));
        let mut document: serde_json::Value = serde_json::from_str(&told).unwrap();
        document[0]["source"] = serde_json::Value::Null;
        document
    };
    assert_eq!(info(rep), info(&file));
    assert_eq!(info("binary --percent 5"), info(&file));
    assert_eq!(info(&file)[0]["allocations"], 600);
}

#[test]
fn all_patterns_go_to_a_folder() {
    let folder = path("all");
    let text = format!("trace make all --percent 1 --out {}", folder.display());
    stdout(&text);
    let files = fs::read_dir(&folder).unwrap().count();
    assert!(files >= 30, "{files}");
    assert!(stderr("trace make all", 1).contains("--out FOLDER"));
}

#[test]
fn bad_lines_are_named_with_their_file() {
    let bad = file("bad.trace", "a 1 10\nf 2\n");
    let told = stderr(&format!("trace info {bad}"), 1);
    assert!(
        told.contains("bad.trace: line 2: block 2 is not out"),
        "{told}"
    );
    let told = stderr("trace info no-such-thing", 1);
    assert!(told.contains("no such file, nor a pattern"), "{told}");
    let empty = file("empty.trace", "# nothing\n");
    let told = stderr(&format!("trace info {empty}"), 1);
    assert!(told.contains("no operation"), "{told}");
    stderr("trace make waltz", 2);
}
