// SPDX-License-Identifier: GPL-2.0

//! The command from outside.

use std::{
    io::Write,
    path::Path,
    process::{
        Command,
        Output,
        Stdio, //
    },
};

fn slablab(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slablab"));
    command.args(arguments.split_whitespace());
    command
}

fn output(arguments: &str) -> Output {
    slablab(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn shell(script: &str) -> Output {
    shell_of("hybrid", script)
}

fn shell_of(engine: &str, script: &str) -> Output {
    let mut child = slablab(&format!("shell --target sim --pool 1 --engine {engine}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_stress_passes_and_says_so() {
    let output = output("stress churn fragment --target sim --pool 4 --seed 7 --ops 2000");
    assert!(output.status.success());
    let text = stdout(&output);
    assert!(text.contains("hybrid is sound"), "{text}");
    assert!(text.contains("Final statistics"), "{text}");
}

#[test]
fn final_statistics_are_the_same_each_time() {
    let run = || {
        let output = output("stress --target sim --pool 4 --seed 7 --ops 1500 --json");
        assert!(output.status.success());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["passed"], true);
        assert_eq!(document["timing"].as_array().unwrap().len(), 8);
        document["final"].clone()
    };
    let first = run();
    assert_eq!(first.as_array().unwrap().len(), 8);
    assert_eq!(first, run());
}

/// These figures are part of every bug report that names a seed. They change only when a workload
/// or the engine does what it did not do before, and then on purpose.
#[test]
fn the_figures_of_a_seed_stay() {
    let output = output("stress churn mixed realloc --target sim --seed 7 --ops 5000 --json");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allocations: Vec<_> = document["final"]
        .as_array()
        .unwrap()
        .iter()
        .map(|figures| figures["allocations"].as_u64().unwrap())
        .collect();
    assert_eq!(allocations, FIGURES);
}

/// How many allocations each of the three workloads makes.
const FIGURES: [u64; 3] = [2842, 2515, 599];

#[test]
fn ktap_has_a_line_for_each_test() {
    let output = output("stress churn abuse --target sim --pool 1 --ops 500 --ktap");
    assert!(output.status.success());
    assert_eq!(
        stdout(&output),
        "KTAP version 1\n1..2\nok 1 stress.hybrid.churn\nok 2 stress.hybrid.abuse\n"
    );
}

#[test]
fn a_script_is_run_without_a_prompt() {
    let output = shell(
        "# two blocks\nalloc 100\nalloc 5000 4096\nwrite 1048577 10 hello\nread 1048577 8 8\n\
         realloc 1048576 64\nfree 1048576\nfree 1048577\ncheck\n",
    );
    assert!(output.status.success());
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("handle 1048576, offset 0x"), "{text}");
    assert!(lines[1].starts_with("handle 1048577, offset 0x"), "{text}");
    assert_eq!(lines[2], "5 bytes");
    assert!(lines[3].ends_with("|..hello.|"), "{text}");
    assert!(lines[4].starts_with("handle 1048576"), "{text}");
    assert!(lines[5].starts_with("sound, "), "{text}");
    assert_eq!(lines.len(), 6, "{text}");
}

#[test]
fn a_script_goes_on_after_an_error_and_fails_in_the_end() {
    let output = shell("free 7\nalloc 64\nquit\nalloc 64\n");
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.starts_with("error: ENOENT\nhandle 1048576"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn info_and_stats_speak_json_too() {
    for command in ["info", "stats"] {
        let output = output(&format!("{command} --target sim --json"));
        assert!(output.status.success());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["pool_bytes"], 64 << 20);
        assert_eq!(document["engine"], "hybrid");
    }
}

#[test]
fn a_map_is_drawn_and_told() {
    let drawn = output("map --target sim --demo 7 --pool 1");
    assert!(drawn.status.success());
    let text = stdout(&drawn);
    assert!(
        text.starts_with("region 0: 256 pages, 1 MiB; a character is 1 page\n      0  "),
        "{text}"
    );
    let told = output("map --target sim --demo 7 --pool 1 --json");
    let document: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let blocks = document["regions"][0]["blocks"].as_array().unwrap();
    let pages: u64 = blocks
        .iter()
        .map(|block| block["pages"].as_u64().unwrap())
        .sum();
    assert_eq!(pages, 256);
    // The pool of a process that has just begun.
    let shared = stdout(&output("map --target sim"));
    assert!(shared.contains("64 MiB = 0 B in slabs"), "{shared}");
}

#[test]
fn an_engine_without_a_map_says_who_has_one() {
    let output = output("map --target sim --engine seed");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("--engine hybrid can"), "{text}");
    let output = shell_of("seed", "map\n");
    assert_eq!(stdout(&output), "error: EOPNOTSUPP\n");
}

#[test]
fn each_misuse_is_named() {
    for engine in ["hybrid", "seed"] {
        for size in [1, 100, 5000] {
            let arguments = format!("inject --target sim --engine {engine} --size {size} --json");
            let output = output(&arguments);
            assert!(output.status.success());
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let misuses = document["misuses"].as_array().unwrap();
            assert_eq!(misuses.len(), 18);
            for misuse in misuses {
                assert_eq!(misuse["reported"], misuse["expected"], "{misuse}");
            }
            assert_eq!(document["set_aside_blocks"], 8);
        }
    }
}

#[test]
fn a_misuse_is_chosen_by_its_name() {
    let text = stdout(&output("inject slab_free_double --target sim"));
    assert!(text.contains("SLAB_FREE_DOUBLE  double free"), "{text}");
    assert!(text.contains("1 of 1 named; 0 blocks"), "{text}");
    let list = stdout(&output("inject --list"));
    assert_eq!(list.lines().count(), 19, "{list}");
    assert_eq!(output("inject kindness").status.code(), Some(2));
    let slub = output("inject --target sim --engine slub");
    assert_eq!(slub.status.code(), Some(1));
}

#[test]
fn a_pool_in_debug_mode_passes_a_stress() {
    let output = output("stress --debug --target sim --pool 8 --seed 7 --ops 600");
    assert!(output.status.success(), "{}", stdout(&output));
}

#[test]
fn slub_is_not_in_this_process() {
    let output = output("stress --target sim --engine slub --ops 1");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("lives in the kernel"), "{text}");
}

#[test]
fn without_a_device_the_way_out_is_named() {
    if Path::new("/dev/slablab").exists() {
        return;
    }
    for command in ["info", "stats", "map", "shell", "inject", "stress --ops 1"] {
        let output = output(command);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("--target sim"), "{text}");
    }
}

#[test]
fn wrong_arguments_are_status_2() {
    for arguments in [
        "stress tea",
        "stress --ops 1 --seconds 1",
        "stress --pool 0",
        "map --pool 1",
        "dance",
    ] {
        assert_eq!(output(arguments).status.code(), Some(2), "{arguments}");
    }
}
