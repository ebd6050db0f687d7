// SPDX-License-Identifier: GPL-2.0

//! Tests of `slablab trace`, `slablab replay` and `slablab report` as processes.

use std::{
    fs,
    path::{
        Path,
        PathBuf, //
    },
    process::{
        Command,
        Output,
        Stdio, //
    },
};

use slablab_lab::sim::Pool;

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
        let printed = stdout(&format!("trace info {trace} --json"));
        let mut document: serde_json::Value = serde_json::from_str(&printed).unwrap();
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
    let printed = stderr(&format!("trace info {bad}"), 1);
    assert!(
        printed.contains("bad.trace: line 2: block 2 is not live"),
        "{printed}"
    );
    let printed = stderr("trace info no-such-thing", 1);
    assert!(
        printed.contains("no-such-thing: there is no such file and no such pattern"),
        "{printed}"
    );
    let printed = stderr("replay larsen --target sim", 1);
    assert!(
        printed.contains("the pattern larson has a similar name"),
        "{printed}"
    );
    let empty = file("empty.trace", "# nothing\n");
    for empty in [&empty, "/dev/null"] {
        let printed = stderr(&format!("trace info {empty}"), 1);
        let sentence = format!("error: {empty}: there is no operation in this trace");
        assert!(printed.contains(&sentence), "{printed}");
    }
    let printed = stderr("trace info /", 1);
    assert!(
        printed.contains("/: this is a folder, but a file is needed"),
        "{printed}"
    );
    let printed = stderr("trace info /dev/zero", 1);
    assert!(
        printed.contains("/dev/zero: this file is larger than 1 GiB"),
        "{printed}"
    );
    for (command, none) in [
        ("replay", "replay"),
        ("bench", "bench"),
        ("report -o -", "replay"),
    ] {
        let printed = stderr(&format!("{command} --from no-such-file"), 1);
        assert!(
            printed.contains("no-such-file: there is no such file"),
            "{printed}"
        );
        let printed = stderr(&format!("{command} --from {}", file("other.json", "{}")), 1);
        let sentence = format!("this is not the output of 'slablab {none} --json'");
        assert!(printed.contains(&sentence), "{printed}");
        let notes = file("notes.txt", "my notes\n");
        let printed = stderr(&format!("{command} --from {notes}"), 1);
        let expected = format!("error: {notes}: {sentence}: cannot parse line 1\n");
        assert_eq!(printed, expected);
    }
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
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[test]
fn a_replay_is_printed_as_json_and_shown_from_it() {
    let arguments = "replay tree --percent 2 --target sim --pool 1 --passes 0";
    let json = stdout(&format!("{arguments} --json"));
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let engines = document["traces"][0]["engines"].as_array().unwrap();
    assert_eq!(engines.len(), Pool::ENGINES.len());
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
    assert_eq!(csv.lines().count(), 1 + Pool::ENGINES.len(), "{csv}");
    assert!(csv.starts_with("trace,engine,"), "{csv}");
    let wrong = path("no-replay.json");
    fs::write(&wrong, "{}").unwrap();
    stderr(&format!("replay --from {}", wrong.display()), 1);
}

#[test]
fn the_story_of_an_operation_says_why() {
    let trace = file(
        "story.trace",
        "a 1 100\na 2 500000\na 3 700000\nr 3 5\nf 2\na 4 5000000\nf 1\n",
    );
    let story = |number: u32, engine: &str| {
        let printed =
            format!("replay {trace} --target sim --pool 1 --engine {engine} --explain {number}");
        stdout(&printed)
    };
    assert!(story(1, "hybrid").contains("so a slab was added"));
    assert!(story(2, "hybrid").contains("the buddy system allocated a block"));
    assert!(story(3, "hybrid").contains("Refused: exhausted"));
    assert!(story(4, "hybrid").contains("operation 3, which allocates the block, was refused"));
    assert!(story(5, "hybrid").contains("was freed to the buddy system"));
    assert!(story(6, "seed").contains("Refused: too big"));
    assert!(story(7, "hybrid").contains("magazine of class"));
    assert!(story(7, "seed").contains("its slab of class 1 (blocks of 128 B)"));
    let printed = format!("replay {trace} --target sim --explain 8");
    assert!(stderr(&printed, 1).contains("has 7 operations"));
    stderr("replay --target sim", 2);
    let injected = format!("replay {trace} --target sim --engine seed --fail-every 2 --explain 2");
    assert!(stdout(&injected).contains("Refused: injected"));
    for impossible in [
        "stress batch --target sim --shared --fail-every 2",
        "stress batch --target sim --engine slub --fail-growth 2",
        "replay larson --target sim --engine slub --fail-every 2",
    ] {
        assert!(stderr(impossible, 2).contains("needs a private pool"));
    }
}

#[test]
fn a_refusal_names_the_bytes_that_are_free_after_the_flush() {
    // The slab of block 1 is freed for the request for 236 pages. 236 pages are free then, but block 3 lies between them.
    let trace = file(
        "flush.trace",
        "a 1 100\na 2 81920\na 3 81920\nf 2\nf 1\na 4 966656\n",
    );
    let printed = format!("replay {trace} --target sim --pool 1 --engine hybrid --explain 6");
    let story = stdout(&printed);
    let words = "fragmented: 944 KiB are free, but no free block is large enough for 944 KiB";
    assert!(story.contains(words), "{story}");
}

#[test]
fn the_story_of_a_request_says_that_adjacent_blocks_serve_it() {
    // Block 2 has pages 0 to 19. Blocks of 4, 8, 32, 64, … pages are free behind it.
    let trace = file(
        "joined.trace",
        "a 1 100\na 2 81920\na 3 81920\na 4 131072\n",
    );
    let story = |number: u32| {
        stdout(&format!(
            "replay {trace} --target sim --pool 1 --engine hybrid --explain {number}"
        ))
    };
    let joined = "adjacent free blocks of the buddy system serve";
    assert!(!story(1).contains(joined));
    assert!(
        story(2).contains("allocated a block of 128 KiB, after 5 splits of a block of 512 KiB")
    );
    let words = format!("{joined} 80 KiB together, after 2 splits of the last one");
    assert!(story(3).contains(&words), "{}", story(3));
    assert!(!story(4).contains(joined));
    // The request takes all pages of the pool that block 1 does not take.
    let trace = file("joined-all.trace", "a 1 81920\na 2 966656\n");
    let story = stdout(&format!(
        "replay {trace} --target sim --pool 1 --engine hybrid --explain 2"
    ));
    let words = format!("{joined} 944 KiB together, without a split");
    assert!(story.contains(&words), "{story}");
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
        let printed = story(number);
        assert!(
            printed.contains(words),
            "{words:?} is missing in:\n{printed}"
        );
    };
    has(1, "after 6 splits of a block of 1 MiB");
    has(2, "of 16 KiB, without a split");
    assert!(!story(9).contains("compared"));
    has(9, "without a merge: its buddy is not free");
    has(10, "1 free block was compared");
    has(12, "3 free blocks were compared");
    has(13, "with one merge into a block of 32 KiB");
    // The block that was freed last is the first in the list of 16 KiB. The list of 32 KiB is empty.
    has(13, "1 free block was compared");
    has(14, "of 4 KiB, after 2 splits of a block of 16 KiB");
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
    let shown = stdout(&format!("report -o {} {trace} {options}", page.display()));
    assert!(shown.contains("utilisation"), "{shown}");
    let written = format!("\nWritten to {}.\n", page.display());
    assert!(shown.ends_with(&written), "{shown}");
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
        let timeline = &engine["timeline"];
        assert_eq!(timeline["pool_bytes"], 256 << 10);
        assert_eq!(timeline["operations"], serde_json::json!([0, 1, 2, 3, 4]));
        let refusals = timeline["refusals"].as_array().unwrap();
        assert_eq!(refusals[0]["cause"], "too big");
        assert_eq!(refusals[0]["first"], 2);
        assert_eq!(timeline["live"][1], 100);
        let timed = &engine["times"];
        let counted = timed["histogram"].as_array().unwrap().iter();
        let counted: u64 = counted.map(|step| step[1].as_u64().unwrap()).sum();
        assert_eq!(Some(counted), timed["operations"].as_u64());
    }

    // Results of one machine can be shown on another one.
    fs::write(
        &json,
        stdout(&format!("report -o - {trace} {options} --json")),
    )
    .unwrap();
    let from = format!("--from {}", json.display());
    let same = stdout(&format!("report -o - {from}"));
    assert_eq!(
        same.split_once(marks[0]).unwrap().0,
        text.split_once(marks[0]).unwrap().0
    );
    let table = stdout(&format!("replay {from}"));
    assert!(table.contains("utilisation"), "{table}");
    stderr(
        &format!(
            "report -o {} {trace} --target sim --room 100",
            page.display()
        ),
        1,
    );
    stderr("report x.html", 2);
    stderr("report -o x.html", 2);
}

/// Returns the names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Returns a new folder for files of a test.
fn folder(name: &str) -> PathBuf {
    let folder = path(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    folder
}

#[test]
fn no_command_overwrites_a_file_of_another_kind() {
    let folder = folder("overwrite");
    let mine = folder.join("mine");
    let contents = [
        ("#!/bin/sh\necho mine\n", "a script"),
        ("slablab-trace 1\na 1 100\n", "a trace"),
        ("<!doctype html>\n<title>mine</title>\n", "a page"),
        ("0\n1\n1\n1\na 0 100\n", "a .rep file"),
    ];
    let options = "larson --percent 1 --target sim --passes 0 --no-search";
    for (content, what) in contents {
        let page = format!("report {options} -o {}", mine.display());
        let json = format!("report {options} --json -o {}", mine.display());
        let made = format!("trace make larson --percent 1 --out {}", mine.display());
        let to_rep = format!("trace convert larson --to rep -o {}", mine.display());
        let recorded = format!(
            "stress churn --target sim --pool 1 --ops 10 --record {}",
            mine.display()
        );
        let mut commands = vec![page, json];
        if what != "a trace" {
            commands.extend([made, recorded]);
        }
        if what != "a .rep file" {
            commands.push(to_rep);
        }
        for command in commands {
            fs::write(&mine, content).unwrap();
            let printed = stderr(&command, 1);
            assert!(
                printed.contains("would be lost: name another file"),
                "{printed}"
            );
            // The error was printed before the workload ran.
            assert!(!printed.contains("churn: ok"), "{printed}");
            assert_eq!(fs::read_to_string(&mine).unwrap(), content, "{command}");
            assert_eq!(names(&folder), ["mine"], "{command}");
        }
    }
}

#[test]
fn files_of_the_same_kind_are_overwritten() {
    let folder = folder("again");
    let (page, json, trace) = (
        folder.join("page.html"),
        folder.join("page.json"),
        folder.join("a.trace"),
    );
    let options = "larson --percent 1 --target sim --passes 0 --no-search";
    for _ in 0..2 {
        stdout(&format!("report {options} -o {}", page.display()));
        stdout(&format!("report {options} --json -o {}", json.display()));
        stdout(&format!(
            "trace make larson --percent 1 -o {}",
            trace.display()
        ));
        let same = trace.display();
        stdout(&format!("trace convert {same} -o {same}"));
        stdout(&format!(
            "stress churn --target sim --pool 1 --ops 10 --record {same}"
        ));
    }
    assert_eq!(names(&folder), ["a.trace", "page.html", "page.json"]);
    assert!(
        fs::read_to_string(&trace)
            .unwrap()
            .contains("slablab stress churn")
    );
}

#[test]
fn an_output_that_cannot_be_written_is_said_before_anything_runs() {
    let options = "larson --percent 1 --target sim --passes 0 --no-search";
    for command in [
        format!("report {options} -o /no-folder/x"),
        "stress churn --target sim --pool 1 --ops 10 --record /no-folder/x".to_owned(),
        "trace convert larson -o /no-folder/x".to_owned(),
        "trace record --out /no-folder/x".to_owned(),
    ] {
        let printed = stderr(&command, 1);
        let sentence = "error: /no-folder/x: there is no folder /no-folder\n";
        assert_eq!(printed, sentence, "{command}");
    }
}

#[test]
fn several_recorded_workloads_need_a_folder_and_name_their_files() {
    let folder = folder("recorded");
    let run = "stress churn mixed --target sim --pool 1 --ops 20 --record";
    let file = folder.join("x.trace");
    let printed = stderr(&format!("{run} {}", file.display()), 2);
    assert!(
        printed.contains("x.trace: 2 traces need a folder"),
        "{printed}"
    );
    assert!(names(&folder).is_empty(), "{:?}", names(&folder));
    let traces = folder.join("traces");
    let printed = stderr(&format!("{run} {}", traces.display()), 0);
    let first = printed.lines().next().unwrap();
    let files = ["hybrid-churn.trace", "hybrid-mixed.trace"];
    let paths = files.map(|name| traces.join(name).display().to_string());
    assert_eq!(first, format!("recording to {}", paths.join(", ")));
    assert_eq!(names(&traces), files);
    // A file of another kind in the folder stops the run before it begins.
    fs::write(&paths[1], "mine").unwrap();
    let printed = stderr(&format!("{run} {}", traces.display()), 1);
    assert!(
        printed.contains("hybrid-mixed.trace: this file is not a slablab trace"),
        "{printed}"
    );
    assert!(!printed.contains("churn: ok"), "{printed}");
    let made = folder.join("y.rep");
    stderr(&format!("trace make larson tree -o {}", made.display()), 2);
    assert!(!made.exists());
}

#[test]
fn the_stories_of_a_range_are_those_of_its_operations() {
    let blocks: String = (1..=8).map(|id| format!("a {id} 16384\n")).collect();
    let trace = file("range.trace", &format!("{blocks}f 1\nf 3\nf 5\na 9 64\n"));
    for engine in Pool::ENGINES {
        let story = |operations: &str| {
            stdout(&format!(
                "replay {trace} --target sim --pool 1 --engine {engine} --explain {operations}"
            ))
        };
        let singly: Vec<_> = (7..=12).map(|number| story(&number.to_string())).collect();
        assert_eq!(story("7-12"), singly.join("\n"), "{engine}");
        assert_eq!(story("3-3"), story("3"));
    }
    let printed = format!("replay {trace} --target sim --explain 10-13");
    assert!(stderr(&printed, 1).contains("has 12 operations: operation 13 does not exist"));
}
