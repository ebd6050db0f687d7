// SPDX-License-Identifier: GPL-2.0

//! Tests of `slablab quiz` as a process.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{
        Read,
        Write, //
    },
    process::{
        Command,
        Output,
        Stdio, //
    },
};

use rustix::{
    fs::{
        Mode,
        OFlags,
        open, //
    },
    pty::{
        OpenptFlags,
        grantpt,
        openpt,
        ptsname,
        unlockpt, //
    },
};
use serde_json::Value;

const ENGINES: [&str; 3] = ["buddy", "hybrid", "seed"];

/// Runs the command with this standard input.
fn run(arguments: &str, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slablab"))
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs the command, which must succeed, and returns its output.
fn stdout(arguments: &str) -> String {
    let output = run(arguments, "");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the command, which must fail with this exit status, and returns its error.
fn stderr(arguments: &str, input: &str, status: i32) -> String {
    let output = run(arguments, input);
    assert_eq!(output.status.code(), Some(status), "{arguments}");
    assert!(output.stdout.is_empty(), "{arguments}");
    String::from_utf8(output.stderr).unwrap()
}

fn json(arguments: &str) -> Value {
    serde_json::from_str(&stdout(&format!("quiz --json {arguments}"))).unwrap()
}

/// Returns all answers of a quiz, in the order of the questions.
fn answers(arguments: &str) -> Vec<String> {
    let document = json(arguments);
    let steps = document["operations"].as_array().unwrap();
    let questions = steps
        .iter()
        .flat_map(|step| step["questions"].as_array().unwrap());
    questions
        .map(|question| question["answer"].as_str().unwrap().to_owned())
        .collect()
}

/// A teacher who gives a seed to each student relies on these texts. They change only with a deliberate change of the
/// quiz or of an engine.
#[test]
fn the_quiz_of_a_seed_stays() {
    for (engine, expected) in [
        ("buddy", include_str!("quiz/buddy.txt")),
        ("hybrid", include_str!("quiz/hybrid.txt")),
        ("seed", include_str!("quiz/seed.txt")),
    ] {
        let text = stdout(&format!("quiz --engine {engine} --seed 42 -c"));
        assert_eq!(text, expected, "{engine}");
    }
}

#[test]
fn the_sheet_has_no_answers() {
    for engine in ENGINES {
        let quiz = format!("quiz --engine {engine} --seed 42");
        let (sheet, solved) = (stdout(&quiz), stdout(&format!("{quiz} -c")));
        let of = |text: &str| -> Vec<_> {
            let lines = text.lines().filter(|line| line.starts_with("     "));
            lines
                .map(|line| {
                    line.split_once('?')
                        .map_or("", |(asked, _)| asked)
                        .to_owned()
                })
                .collect()
        };
        let asked: Vec<_> = of(&sheet);
        let answered: Vec<_> = of(&solved)
            .into_iter()
            .filter(|line| !line.is_empty())
            .collect();
        assert_eq!(asked, answered);
        assert!(
            sheet
                .lines()
                .filter(|line| line.starts_with("     "))
                .all(|line| line.ends_with('?'))
        );
        assert!(!sheet.contains("Free blocks now"), "{sheet}");
    }
}

#[test]
fn a_drawn_seed_is_printed() {
    let text = stdout("quiz --engine buddy");
    let command = text.lines().next().unwrap();
    let arguments = command.strip_prefix("slablab ").unwrap();
    assert_eq!(stdout(arguments), text);
    let other = stdout("quiz --engine buddy");
    assert_ne!(
        other.lines().next(),
        Some(command),
        "the same seed was drawn twice"
    );
}

#[test]
fn answers_are_checked_and_counted() {
    let arguments = "--engine hybrid --seed 42";
    let check = format!("quiz {arguments} --answers -");
    let mut answers = answers(arguments);
    let all = answers.len();
    let output = run(&check, &answers.join("\n"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(
        text.ends_with(&format!("\n{all} of {all} answers are right\n")),
        "{text}"
    );

    answers[0] = "nonsense".to_owned();
    answers[1].clear();
    answers.pop();
    let output = run(&check, &answers.join("\n"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.ends_with(&format!("\n{} of {all} answers are right\n", all - 3)),
        "{text}"
    );
    assert_eq!(
        text.matches("no answer: the answer is").count(),
        2,
        "{text}"
    );
    assert!(text.contains("'nonsense' is not"), "{text}");

    let output = run(&format!("{check} --json"), &answers.join("\n"));
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&document["right"], &document["questions"]),
        (&(all - 3).into(), &all.into())
    );
    let first = &document["operations"][0]["questions"][0];
    assert_eq!(
        (&first["given"], &first["right"]),
        (&"nonsense".into(), &false.into())
    );
    assert!(
        first["error"].as_str().unwrap().contains("'nonsense'"),
        "{first}"
    );
}

#[test]
fn answers_come_from_a_file_too() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("quiz-answers.txt");
    std::fs::write(&path, answers("--engine seed --seed 5").join("\r\n")).unwrap();
    stdout(&format!(
        "quiz --engine seed --seed 5 --answers {}",
        path.display()
    ));
    let folder = path.parent().unwrap().display();
    stderr(
        &format!("quiz --engine seed --seed 5 --answers {folder}"),
        "",
        1,
    );
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    let error = stderr(
        &format!("quiz --engine seed --seed 5 --answers {}", path.display()),
        "",
        1,
    );
    assert!(error.contains("this is not a text file"), "{error}");
}

#[test]
fn wrong_arguments_have_a_sentence() {
    for (arguments, sentence) in [
        ("quiz", "--engine"),
        ("quiz --engine slub", "invalid value 'slub'"),
        (
            "quiz --engine seed -n 0",
            "the number of operations must be from 1 to 16",
        ),
        (
            "quiz --engine seed -n 17",
            "the number of operations must be from 1 to 16",
        ),
        (
            "quiz --engine seed --seed x",
            "a seed must be a whole number",
        ),
        (
            "quiz --engine seed --questions colour",
            "invalid value 'colour'",
        ),
        (
            "quiz --engine buddy --questions offset,path",
            "has one path only: do not ask for 'path'",
        ),
        ("quiz --engine seed --answers -", "--seed"),
        (
            "quiz --engine seed --seed 1 --json -c",
            "cannot be used with",
        ),
    ] {
        let error = stderr(arguments, "", 2);
        assert!(error.contains(sentence), "{arguments}: {error}");
    }
    let error = stderr(
        "quiz --engine buddy --seed 1 -n 1 --questions merges",
        "",
        1,
    );
    assert!(
        error.contains("no operation of this quiz has a question of these kinds"),
        "{error}"
    );
    let error = stderr(
        "quiz --engine buddy --seed 1 -n 1 --answers -",
        "1\n2\n3\n",
        1,
    );
    assert!(
        error.contains("there are 3 answers, but the quiz has 2 questions"),
        "{error}"
    );
    let error = stderr("quiz --engine buddy --seed 1 --answers no-such-file", "", 1);
    assert!(error.contains("no-such-file"), "{error}");
}

/// An operation in the shell: its answer, and the free blocks after it.
struct ShellStep {
    answer: String,
    free: BTreeMap<String, u64>,
}

/// Executes the operations of a quiz one by one in `slablab shell`, without SUBMIT, and draws the map after each.
fn shell(arguments: &str, engine: &str) -> Vec<ShellStep> {
    let trace = stdout(&format!("quiz --trace {arguments}"));
    let mut script = String::new();
    for line in trace.lines().skip(3) {
        let words: Vec<_> = line.split_whitespace().collect();
        script += &match words[..] {
            ["a", block, bytes] => format!("let b{block} = alloc {bytes}\nmap\n"),
            ["f", block] => format!("free b{block}\nmap\n"),
            _ => panic!("{line}"),
        };
    }
    let output = run(
        &format!("shell --target sim --pool 1 --engine {engine}"),
        &script,
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut steps: Vec<ShellStep> = Vec::new();
    let mut is_table = false;
    for line in text.lines() {
        let command = line
            .split_once("> ")
            .filter(|(number, _)| number.parse::<u32>().is_ok());
        match command {
            Some((_, "map")) => {}
            Some(_) => {
                is_table = false;
                steps.push(ShellStep {
                    answer: String::new(),
                    free: BTreeMap::new(),
                });
            }
            None => {
                let step = steps.last_mut().unwrap();
                let words: Vec<_> = line.split_whitespace().collect();
                if line.contains("offset 0x") || line.starts_with("error") {
                    step.answer = line.to_owned();
                }
                is_table |= line.starts_with("block size");
                if let ([size, unit, count, ..], true) = (&words[..], is_table) {
                    if let Ok(count) = count.parse() {
                        step.free.insert(format!("{size}{}", &unit[..1]), count);
                    }
                }
            }
        }
    }
    steps
}

/// Returns the free blocks of an answer.
fn list(answer: &str) -> BTreeMap<String, u64> {
    let entries = answer.split(' ').filter_map(|entry| entry.split_once(':'));
    entries
        .map(|(size, count)| (size.to_owned(), count.parse().unwrap()))
        .collect()
}

/// The shell calls ALLOC and FREE and reads MAP. Neither its code nor these calls make the quiz.
#[test]
fn the_answers_are_those_of_the_shell() {
    let mut seen = 0;
    for (quiz_engine, engine) in [("buddy", "seed"), ("seed", "seed"), ("hybrid", "hybrid")] {
        for seed in 1..=6 {
            let mut kinds = "result,offset,usable,waste,splits,merges,lists".to_owned();
            if quiz_engine != "buddy" {
                kinds += ",path";
            }
            let arguments = format!("--engine {quiz_engine} --seed {seed} -n 16");
            let document = json(&format!("{arguments} --questions {kinds}"));
            let steps = document["operations"].as_array().unwrap();
            let shell_steps = shell(&arguments, engine);
            assert_eq!(steps.len(), shell_steps.len());
            let mut before = 1;
            for (step, shell_step) in steps.iter().zip(&shell_steps) {
                let about = format!("{arguments}: {step}, {}", shell_step.answer);
                let count: u64 = shell_step.free.values().sum();
                let answer = |kind: &str| {
                    let mut questions = step["questions"].as_array().unwrap().iter();
                    let question = questions.find(|question| question["kind"] == kind);
                    question.map(|question| question["answer"].as_str().unwrap().to_owned())
                };
                assert_eq!(list(&answer("lists").unwrap()), shell_step.free, "{about}");
                let word = |after: &str| {
                    let (_, rest) = shell_step.answer.split_once(after).unwrap();
                    rest.split(',').next().unwrap().to_owned()
                };
                if shell_step.answer.starts_with("error") {
                    let cause = word("refused, ").split(':').next().unwrap().to_owned();
                    assert_eq!(answer("result"), Some(cause), "{about}");
                    assert_eq!(answer("offset").as_deref(), Some("refused"), "{about}");
                    seen += 1;
                } else if !shell_step.answer.is_empty() {
                    assert_eq!(answer("result").as_deref(), Some("served"), "{about}");
                    assert_eq!(answer("offset"), Some(word("offset ")), "{about}");
                    let usable = shell_step.answer.split(", ").nth(2).unwrap();
                    let usable = usable.strip_suffix(" bytes").unwrap();
                    assert_eq!(answer("usable").as_deref(), Some(usable), "{about}");
                    let path = word("path ");
                    if quiz_engine != "buddy" {
                        assert_eq!(answer("path").as_deref(), Some(&path[..]), "{about}");
                    }
                    // One block was allocated, and each split made two blocks of one.
                    if quiz_engine == "buddy" {
                        assert_eq!(
                            answer("splits").unwrap(),
                            (count + 1 - before).to_string(),
                            "{about}"
                        );
                    }
                } else if quiz_engine == "buddy" {
                    assert_eq!(
                        answer("merges").unwrap(),
                        (before + 1 - count).to_string(),
                        "{about}"
                    );
                }
                before = count;
            }
        }
    }
    assert!(seen > 5, "there are refused requests");
}

/// Runs a quiz on a terminal, types `typed`, and returns the output and the exit status.
fn terminal(arguments: &str, typed: &str) -> (String, Option<i32>) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut ours = File::from(ours);
    ours.write_all(typed.as_bytes()).unwrap();
    // A quiz that waits for more input would wait for ever.
    let mut child = Command::new("timeout")
        .args(["--foreground", "20", env!("CARGO_BIN_EXE_slablab")])
        .args(arguments.split_whitespace())
        .env("TERM", "xterm")
        .stdin(Stdio::from(theirs.try_clone().unwrap()))
        .stdout(Stdio::from(theirs.try_clone().unwrap()))
        .stderr(Stdio::from(theirs))
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    // When the other end of a terminal is closed, a read returns an error instead of 0 bytes.
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = ours.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..count]);
    }
    let status = child.wait().unwrap().code();
    (String::from_utf8_lossy(&shown).into_owned(), status)
}

#[test]
fn a_terminal_asks_and_judges_at_once() {
    let arguments = "--engine buddy --seed 42 -n 3";
    let quiz = format!("quiz {arguments}");
    let answers = answers(arguments);
    let (shown, status) = terminal(&quiz, &(answers.join("\n") + "\n"));
    assert_eq!(status, Some(0), "{shown}");
    assert!(
        shown.contains(&format!("{0} of {0} answers are right", answers.len())),
        "{shown}"
    );
    // A badly formed answer is asked again, and an unknown one is explained.
    let (shown, status) = terminal(&quiz, &format!("?\nskip\n{}\n", answers[1..].join("\n")));
    assert_eq!(status, Some(1), "{shown}");
    assert!(shown.contains("no answer"), "{shown}");
    assert!(shown.contains("Free blocks now"), "{shown}");
    // The end of the input ends the quiz.
    let (shown, status) = terminal(&quiz, "\u{4}");
    assert_eq!(status, Some(1), "{shown}");
    assert!(
        shown.contains(&format!("0 of {} answers are right", answers.len())),
        "{shown}"
    );
}

/// An engine without a quiz is not one of the possible values, and the error says that it has no quiz.
#[test]
fn an_engine_without_a_quiz_is_named() {
    let error = stderr("quiz --engine extent", "", 2);
    let words = "there is no quiz about extent; there are quizzes about buddy, hybrid, seed";
    assert!(error.contains(words), "{error}");
}

/// `slablab replay` reads the operations, and explains them as the quiz does.
#[test]
fn the_trace_can_be_replayed() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("quiz.trace");
    for engine in ["seed", "hybrid"] {
        let arguments = format!("--engine {engine} --seed 42");
        std::fs::write(&path, stdout(&format!("quiz --trace {arguments}"))).unwrap();
        let path = path.display();
        let explain =
            format!("replay {path} --target sim --engine {engine} --pool 1 --explain 1-8");
        let explained = stdout(&explain);
        for step in json(&arguments)["operations"].as_array().unwrap() {
            let sentences = step["explanation"].as_array().unwrap();
            let of_pool = |sentence: &&Value| sentence.as_str().unwrap().starts_with("The pool of");
            let sentence = sentences.iter().find(of_pool).unwrap().as_str().unwrap();
            assert!(explained.contains(sentence), "{sentence}: {explained}");
        }
    }
}
