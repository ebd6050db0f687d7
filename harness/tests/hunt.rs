// SPDX-License-Identifier: GPL-2.0

//! Tests of `slablab hunt` as a process.

use std::{
    fs,
    path::PathBuf,
    process::{
        Command,
        Output, //
    },
};

use slablab_hunt::{
    Defect,
    Kind,
    Rule,
    SEED_MAX,
    defect_of, //
};

fn slablab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slablab"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns a seed that chooses a defect that fits.
fn seed(fits: impl Fn(Defect) -> bool) -> String {
    let found = (1..=SEED_MAX).find(|seed| fits(defect_of(*seed)));
    found.unwrap().to_string()
}

fn seed_of(defect: Defect) -> String {
    seed(|chosen| chosen == defect)
}

/// Returns the path of the stored trace of a defect.
fn stored(defect: Defect) -> String {
    let traces = concat!(env!("CARGO_MANIFEST_DIR"), "/../hunt/traces");
    format!("{traces}/{}.trace", defect.name())
}

/// Writes a file, and returns its path.
fn file(name: &str, contents: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, contents).unwrap();
    path.to_str().unwrap().to_owned()
}

fn submit(seed: &str, trace: &str, rule: &str) -> Output {
    slablab(&["hunt", "--seed", seed, "submit", trace, "--rule", rule])
}

#[test]
fn the_task_names_the_seed_the_allocator_and_the_rules_but_not_the_defect() {
    for defect in Defect::ALL {
        let seed = seed_of(defect);
        let output = slablab(&["hunt", "--seed", &seed]);
        assert!(output.status.success());
        let text = stdout(&output);
        assert!(text.starts_with(&format!("Hunt {seed}\n")), "{text}");
        assert!(text.contains(defect.kind().name()), "{text}");
        for rule in Rule::ALL {
            assert!(text.contains(rule.name()), "{text}");
        }
        assert!(!text.contains(defect.name()), "{text}");
    }
}

#[test]
fn a_hunt_without_a_seed_draws_one() {
    let text = stdout(&slablab(&["hunt"]));
    let seed = text.lines().next().unwrap().strip_prefix("Hunt ").unwrap();
    assert!((1..=SEED_MAX).contains(&seed.parse().unwrap()), "{text}");
}

#[test]
fn the_trace_of_each_defect_is_accepted_and_explained() {
    for defect in Defect::ALL {
        let (seed, trace, rule) = (seed_of(defect), stored(defect), defect.rule().name());
        let output = submit(&seed, &trace, rule);
        let text = stdout(&output);
        assert!(output.status.success(), "{}: {text}", defect.name());
        assert!(text.starts_with("accepted: "), "{text}");
        assert!(!text.contains("lib.rs"), "{text}");
        let arguments = ["hunt", "--seed", &seed, "explain", &trace, "--rule", rule];
        let explained = stdout(&slablab(&arguments));
        let line = defect.source_line().unwrap().line;
        assert!(explained.contains(defect.name()), "{explained}");
        assert!(
            explained.contains(&format!(", line {line}:")),
            "{explained}"
        );
        assert!(
            explained.contains(&format!("Defect::{defect:?}")),
            "{explained}"
        );
    }
}

#[test]
fn a_wrong_rule_is_not_accepted_and_the_right_one_is_not_given_away() {
    let seed = seed_of(Defect::ListLoops);
    let output = submit(&seed, &stored(Defect::ListLoops), "aligned");
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("does not break the rule aligned"), "{text}");
    assert!(
        text.contains("whether requests end and are served"),
        "{text}"
    );
    let explained = slablab(&[
        "hunt",
        "--seed",
        &seed,
        "explain",
        &stored(Defect::ListLoops),
        "--rule",
        "aligned",
    ]);
    assert_eq!(explained.status.code(), Some(1));
    assert!(
        !stdout(&explained).contains("The defect"),
        "{}",
        stdout(&explained)
    );
}

#[test]
fn a_trace_that_exposes_nothing_is_not_accepted() {
    let trace = file("harmless.trace", "a 0 64\nf 0\n");
    let output = submit(&seed_of(Defect::GapLost), &trace, "no-memory-lost");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("does not expose the defect"));
}

#[test]
fn a_trace_that_asks_for_more_than_the_pool_fails_on_the_sound_allocator() {
    let trace = file("greedy.trace", "a 0 1048576\na 1 8\n");
    let output = submit(&seed_of(Defect::GapLost), &trace, "no-memory-lost");
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(
        text.contains("fails on the sound allocator, too, at operation 2"),
        "{text}"
    );
}

#[test]
fn giving_up_explains() {
    let defect = Defect::TailPageLost;
    let output = slablab(&["hunt", "--seed", &seed_of(defect), "explain", "--give-up"]);
    assert!(output.status.success());
    assert!(stdout(&output).starts_with("The defect: tail-page-lost (slabs)\n"));
    let output = slablab(&["hunt", "--seed", "5", "explain"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--give-up"));
}

#[test]
fn wrong_arguments_have_specific_errors() {
    let long: String = (0..10_001).map(|block| format!("a {block} 8\n")).collect();
    let cases: [(&[&str], i32, &str); 12] = [
        (
            &["hunt", "--seed", "0"],
            2,
            "a seed of the hunt must be from 1 to 9999",
        ),
        (
            &["hunt", "--seed", "10000"],
            2,
            "a seed of the hunt must be from 1 to 9999",
        ),
        (
            &["hunt", "--seed", "x"],
            2,
            "a seed of the hunt must be a whole number",
        ),
        (&["hunt", "run", "shell"], 2, "name the seed of the hunt"),
        (
            &["hunt", "--seed", "5", "run", "bench"],
            2,
            "does not run 'bench': the commands are stress, replay",
        ),
        (
            &[
                "hunt", "--seed", "5", "run", "replay", "--target", "device", "larson",
            ],
            2,
            "--target sim only",
        ),
        (
            &[
                "hunt",
                "--seed",
                "5",
                "submit",
                "/nowhere/a.trace",
                "--rule",
                "ends",
            ],
            1,
            "there is no such file",
        ),
        (
            &["hunt", "--seed", "5", "submit", "/", "--rule", "ends"],
            1,
            "this is a folder",
        ),
        (
            &[
                "hunt",
                "--seed",
                "5",
                "submit",
                &file("bad.trace", "allocate 5\n"),
                "--rule",
                "ends",
            ],
            1,
            "line 1: unknown operation 'allocate'",
        ),
        (
            &[
                "hunt",
                "--seed",
                "5",
                "submit",
                &file("long.trace", &long),
                "--rule",
                "ends",
            ],
            1,
            "this trace has 10,001 operations; a trace of a hunt has at most 10,000",
        ),
        (
            &[
                "hunt",
                "--seed",
                "5",
                "submit",
                &file("huge.trace", &"# comment\n".repeat(120_000)),
                "--rule",
                "ends",
            ],
            1,
            "this file is larger than 1 MiB",
        ),
        (
            &[
                "hunt", "--seed", "5", "submit", "a.trace", "--rule", "disjont",
            ],
            2,
            "'disjoint'",
        ),
    ];
    for (arguments, status, sentence) in cases {
        let output = slablab(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(text.contains(sentence), "{arguments:?}: {text}");
    }
}

#[test]
fn the_ordinary_commands_run_on_the_hunted_allocator() {
    let seed = seed_of(Defect::ShrinkForgetsTail);
    let trace = stored(Defect::ShrinkForgetsTail);
    let replay = |sound: &[&str]| {
        let mut arguments = vec!["hunt", "--seed", &seed, "run"];
        arguments.extend(sound);
        arguments.extend(["replay", &trace, "--passes", "0", "--no-search", "--json"]);
        let output = slablab(&arguments);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let engine = &document["traces"][0]["engines"][0];
        assert_eq!(engine["engine"], "student");
        engine["refused"]
            .as_object()
            .unwrap()
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(replay(&[]), 1);
    assert_eq!(replay(&["--sound"]), 0);
}

#[test]
fn stress_finds_nothing_on_the_sound_allocators() {
    for kind in Kind::ALL {
        let seed = seed(|defect| defect.kind() == kind);
        let output = slablab(&[
            "hunt", "--seed", &seed, "run", "--sound", "stress", "--ops", "800",
        ]);
        assert!(
            output.status.success(),
            "{}: {}",
            kind.name(),
            stdout(&output)
        );
    }
}

/// The workloads of one thread. Their operations depend on the seed only.
const WORKLOADS: [&str; 7] = [
    "churn", "mixed", "exhaust", "fragment", "realloc", "batch", "abuse",
];

#[test]
fn the_document_says_which_defects_stress_does_not_notice() {
    let mut missed: Vec<_> = Defect::ALL
        .into_iter()
        .filter(|defect| {
            let seed = seed_of(*defect);
            let mut arguments = vec!["hunt", "--seed", &seed, "run", "stress", "--ops", "2000"];
            arguments.extend(WORKLOADS);
            slablab(&arguments).status.success()
        })
        .map(Defect::name)
        .collect();
    missed.sort_unstable();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hunt.md");
    let text = fs::read_to_string(path).unwrap();
    let listed = text.split("<!-- stress -->\n").nth(1);
    let listed = listed.and_then(|rest| rest.lines().next());
    assert_eq!(listed, Some(&*missed.join(", ")));
}
