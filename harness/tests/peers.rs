// SPDX-License-Identifier: GPL-2.0

//! Tests of `--peer`: peers beside engines in the tables, in JSON and on the page.

use std::process::{
    Command,
    Output,
    Stdio, //
};

use serde_json::Value;

const REPLAY: &str = "replay larson --percent 5 --target sim --engine hybrid --passes 0";

fn output(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slablab"))
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(arguments: &str) -> String {
    let output = output(arguments);
    assert!(output.status.success(), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the results of the first trace.
fn results(json: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(json).unwrap();
    document["traces"][0]["engines"].as_array().unwrap().clone()
}

#[test]
fn json_has_the_peers_after_the_engines() {
    let results = results(&stdout(&format!("{REPLAY} --peer rlsf,buddy --json")));
    let names: Vec<_> = results.iter().map(|result| &result["engine"]).collect();
    assert_eq!(names, ["hybrid", "rlsf", "buddy"]);
    assert!(results[0].get("peer").is_none());
    assert_eq!(results[1]["peer"]["package"], "rlsf");
    assert!(results[1]["peer"]["metadata_bytes"].as_u64() > Some(0));
    for result in &results {
        assert!(result["failure"].is_null(), "{result}");
        let share = result["space"]["utilisation"].as_f64().unwrap();
        assert!(share > 0.1 && share < 1.0, "{result}");
    }
    // `buddy` rounds sizes up to powers of two, and `rlsf` does not report the sizes of its blocks.
    assert!(results[1]["space"]["internal"].is_null());
    assert!(results[2]["space"]["internal"].as_f64() > Some(0.0));
}

#[test]
fn the_table_has_a_dash_for_each_figure_that_a_peer_does_not_report() {
    let text = stdout(&format!("{REPLAY} --peer all"));
    for name in ["buddy", "talc", "rlsf", "llist"] {
        let row = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(row.contains("right"), "{row}");
        let note = format!("The peer {name} is ");
        assert_eq!(text.matches(&note).count(), 1, "{text}");
    }
    let talc = text.lines().find(|line| line.starts_with("talc")).unwrap();
    // internal, external, p50, p99, max, refused
    assert_eq!(talc.matches('–').count(), 6, "{talc}");
    assert_eq!(text.matches("A dash stands for").count(), 1, "{text}");
    let engines = stdout(REPLAY);
    assert!(!engines.contains("eer"), "{engines}");
}

#[test]
fn equal_seeds_give_equal_tables() {
    let run = |seed: u64| stdout(&format!("{REPLAY} --peer all --csv --seed {seed}"));
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn saved_results_are_shown_with_their_peers() {
    let command = format!("{REPLAY} --peer talc");
    let file = std::env::temp_dir().join(format!("slablab-peers-{}.json", std::process::id()));
    std::fs::write(&file, stdout(&format!("{command} --json"))).unwrap();
    let shown = stdout(&format!("replay --from {}", file.display()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(shown, stdout(&command));
}

#[test]
fn the_page_has_a_map_of_each_peer() {
    let json = stdout(
        "report -o - --json larson --percent 5 --target sim --engine seed --peer all --passes 0",
    );
    let results = results(&json);
    assert!(results.len() >= 5);
    for result in &results {
        let timeline = &result["timeline"];
        assert!(timeline["pool_bytes"].as_u64() > Some(0));
        assert!(timeline["map_deltas"].is_object(), "{}", result["engine"]);
    }
    let pools: Vec<_> = results
        .iter()
        .map(|result| &result["timeline"]["pool_bytes"])
        .collect();
    assert!(pools.iter().all(|bytes| *bytes == pools[0]), "{pools:?}");
}

#[test]
fn wrong_arguments_have_a_sentence() {
    for (arguments, sentence) in [
        (
            "replay larson --target sim --peer tals",
            "[possible values: buddy, talc, rlsf, llist, ",
        ),
        ("replay larson --peer talc", "--peer needs --target sim"),
        (
            "report larson -o x.html --target device --peer talc",
            "--peer needs --target sim",
        ),
        (
            "--check-arguments replay larson --peer talc",
            "--peer needs --target sim",
        ),
        (
            "replay larson --target sim --peer talc --explain 1",
            "--explain is for engines",
        ),
    ] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {output:?}");
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(printed.contains(sentence), "{arguments}: {printed}");
    }
}
