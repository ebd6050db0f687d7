// SPDX-License-Identifier: GPL-2.0

//! `slablab trace`, `slablab replay` and `slablab report` from outside.

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

#[test]
fn engines_are_shown_side_by_side() {
    let text = stdout("replay binary larson --percent 2 --target sim --pool 1 --passes 1");
    for word in [
        "seed",
        "hybrid",
        "utilisation",
        "means of 2 traces",
        "right",
    ] {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

#[test]
fn a_replay_is_printed_as_json_and_shown_from_it() {
    let arguments = "replay tree --percent 2 --target sim --pool 1 --passes 0";
    let json = stdout(&format!("{arguments} --json"));
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let engines = document["traces"][0]["engines"].as_array().unwrap();
    assert_eq!(engines.len(), 2);
    for engine in engines {
        let space = &engine["space"];
        let share = |name: &str| space[name].as_f64().unwrap();
        let sum = share("utilisation") + share("internal") + share("external");
        assert!((sum - 1.0).abs() < 1e-9, "{space}");
        assert_eq!(space["pool_bytes"].as_u64().unwrap() % (32 << 10), 0);
        assert!(engine["times"].is_null() && engine["failure"].is_null());
    }
    let file = file("replay.json", &json);
    let shown = stdout(&format!("replay --from {file}"));
    assert_eq!(shown, stdout(arguments));
    let csv = stdout(&format!("replay --from {file} --csv"));
    assert_eq!(csv.lines().count(), 3, "{csv}");
    assert!(csv.starts_with("trace,engine,"), "{csv}");
    let wrong = path("no-replay.json");
    fs::write(&wrong, "{}").unwrap();
    stderr(&format!("replay --from {}", wrong.display()), 1);
}

#[test]
fn the_story_of_an_operation_says_why() {
    let trace = file(
        "story.trace",
        "a 1 100\na 2 900000\na 3 900000\nr 3 5\nf 2\na 4 5000000\nf 1\n",
    );
    let story = |number: u32, engine: &str| {
        let told =
            format!("replay {trace} --target sim --pool 1 --engine {engine} --explain {number}");
        stdout(&told)
    };
    assert!(story(1, "hybrid").contains("there had to be a new slab"));
    assert!(story(2, "hybrid").contains("the buddy system gave a block"));
    assert!(story(3, "hybrid").contains("Refused: nothing left"));
    assert!(story(4, "hybrid").contains("the block was refused in operation 3"));
    assert!(story(5, "hybrid").contains("went back to the buddy system"));
    assert!(story(6, "seed").contains("Refused: too big"));
    assert!(story(7, "hybrid").contains("magazine of class"));
    assert!(story(7, "seed").contains("its slab of class 1 (blocks of 128 B)"));
    let told = format!("replay {trace} --target sim --explain 8");
    assert!(stderr(&told, 1).contains("has 7 operations"));
    stderr("replay --target sim", 2);
    let injected = format!("replay {trace} --target sim --engine seed --fail-every 2 --explain 2");
    assert!(stdout(&injected).contains("Refused: injected"));
    for impossible in [
        "stress batch --target sim --shared --fail-every 2",
        "stress batch --target sim --engine slub --fail-growth 2",
        "replay larson --target sim --engine slub --fail-every 2",
    ] {
        assert!(stderr(impossible, 2).contains("in a private pool only"));
    }
}

#[test]
fn the_story_of_the_seed_counts_what_its_lists_cost() {
    let blocks: String = (1..=8).map(|id| format!("a {id} 16384\n")).collect();
    let trace = file(
        "seed.trace",
        &format!("{blocks}f 1\nf 3\nf 5\nf 7\nf 8\na 9 64\n"),
    );
    let story = |number: u32| {
        stdout(&format!(
            "replay {trace} --target sim --pool 1 --engine seed --explain {number}"
        ))
    };
    let has = |number, words: &str| {
        let told = story(number);
        assert!(told.contains(words), "no {words:?} in:\n{told}");
    };
    has(1, "after 6 splits of one of 1 MiB (order 20)");
    has(2, "of 16 KiB (order 14), as it was, without a split");
    assert!(!story(9).contains("compared"));
    has(9, "where it has no free buddy");
    has(10, "one free block was compared");
    has(12, "3 free blocks were compared");
    has(
        13,
        "one merge with free buddies to one of 32 KiB (order 15)",
    );
    // The last one that was freed is the first of the list; of 32 KiB there is no other.
    has(13, "one free block was compared");
    has(
        14,
        "of 4 KiB (order 12), after 2 splits of one of 16 KiB (order 14)",
    );
}

#[test]
fn a_page_holds_its_data_and_no_markup_of_a_trace() {
    let trace = file(
        "page.trace",
        "slablab-trace 1\nname </script><img src=x>\na 1 100\na 2 900000\na 3 200000\nf 1\n",
    );
    let page = path("page.html");
    let json = path("page.json");
    let options = "--target sim --passes 1 --room 256";
    let shown = stdout(&format!("report {} {trace} {options}", page.display()));
    assert!(shown.contains("utilisation"), "{shown}");
    let text = fs::read_to_string(&page).unwrap();
    assert!(!text.contains("<img") && !text.contains("://"));
    let marks = [
        "<script id=\"document\" type=\"application/json\">",
        "</script>",
    ];
    let data = text.split_once(marks[0]).unwrap().1;
    let data = data.split_once(marks[1]).unwrap().0;
    let document: serde_json::Value = serde_json::from_str(data).unwrap();
    let engines = document["traces"][0]["engines"].as_array().unwrap();
    for engine in engines {
        let film = &engine["film"];
        assert_eq!(film["pool_bytes"], 256 << 10);
        assert_eq!(film["operations"], serde_json::json!([0, 1, 2, 3, 4]));
        let refusals = film["refusals"].as_array().unwrap();
        assert_eq!(refusals[0]["cause"], "too big");
        assert_eq!(refusals[0]["first"], 2);
        assert_eq!(film["live"][1], 100);
        let timed = &engine["times"];
        let counted = timed["histogram"].as_array().unwrap().iter();
        let counted: u64 = counted.map(|step| step[1].as_u64().unwrap()).sum();
        assert_eq!(Some(counted), timed["operations"].as_u64());
    }

    // What one machine runs another one can show.
    fs::write(&json, stdout(&format!("report - {trace} {options} --json"))).unwrap();
    let from = format!("--from {}", json.display());
    let same = stdout(&format!("report - {from}"));
    assert_eq!(
        same.split_once(marks[0]).unwrap().0,
        text.split_once(marks[0]).unwrap().0
    );
    let table = stdout(&format!("replay {from}"));
    assert!(table.contains("utilisation"), "{table}");
    stderr(
        &format!("report {} {trace} --target sim --room 100", page.display()),
        1,
    );
    stderr("report x.html", 2);
}
