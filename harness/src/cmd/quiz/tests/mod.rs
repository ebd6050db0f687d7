// SPDX-License-Identifier: GPL-2.0

//! Compares quizzes with an allocator that follows the rules of the page, and parses answers.

mod pencil;

use std::collections::{
    BTreeMap,
    BTreeSet, //
};

use proptest::prelude::*;
use slablab_trace::format;

use self::pencil::{
    Mistake,
    Pencil, //
};
use super::{
    POOL_BYTES,
    QuizEngine,
    answer::{
        Answer,
        parse, //
    },
    ask::{
        Judgement,
        ask,
        check, //
    },
    make::{
        Plan,
        Quiz, //
    },
    operations::OPERATIONS_MAX,
    question::{
        Kind,
        Question, //
    },
    render, //
};

const ENGINES: [QuizEngine; 3] = [QuizEngine::Buddy, QuizEngine::Hybrid, QuizEngine::Seed];

fn plan(engine: QuizEngine, seed: u64) -> Plan {
    Plan {
        engine,
        seed,
        operations: 8,
        kinds: Vec::new(),
    }
}

/// Returns the quiz that asks everything about the most operations.
fn whole(engine: QuizEngine, seed: u64) -> Quiz {
    let plan = Plan {
        operations: OPERATIONS_MAX,
        kinds: Kind::all().collect(),
        ..plan(engine, seed)
    };
    plan.make().unwrap()
}

/// Answers the questions of a quiz by the rules of the page, and returns the number of the first wrong answer.
fn first_wrong(quiz: &Quiz, mistake: Option<Mistake>) -> Option<String> {
    let trace = format::text::parse("", quiz.trace.as_bytes()).unwrap();
    let mut pencil = Pencil::new(quiz.engine, mistake);
    for (op, step) in trace.ops().iter().zip(&quiz.steps) {
        let effect = pencil.execute(op);
        let wrong = |question: &&Question| effect.answer(question.kind) != question.answer;
        if let Some(question) = step.questions.iter().find(wrong) {
            return Some(format!(
                "{}, question {}: {effect:?}, {:?}",
                quiz.command, question.number, step.explanation
            ));
        }
    }
    None
}

#[test]
fn the_rules_of_the_page_answer_every_question() {
    for engine in ENGINES {
        let mut seen: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
        for seed in 0..100 {
            let quiz = whole(engine, seed);
            assert_eq!(first_wrong(&quiz, None), None);
            for question in quiz.questions() {
                let answers = seen.entry(question.kind).or_default();
                answers.insert(question.answer.to_string());
            }
        }
        let results: Vec<_> = seen[&Kind::Result].iter().map(String::as_str).collect();
        assert_eq!(
            results,
            ["exhausted", "fragmented", "served", "too big"],
            "{engine}"
        );
        if engine != QuizEngine::Buddy {
            assert!(seen[&Kind::Path].len() >= 4, "{engine}: {seen:?}");
        }
        for kind in [
            Kind::Offset,
            Kind::Splits,
            Kind::Merges,
            Kind::Lists,
            Kind::Usable,
        ] {
            let least = match (engine, kind) {
                // While a slab takes a part of the pool of 1 MiB, a block of 128 KiB merges at most twice.
                (QuizEngine::Hybrid, Kind::Merges) => 3,
                _ => 5,
            };
            assert!(seen[&kind].len() >= least, "{engine}: {kind:?}");
        }
    }
}

#[test]
fn each_rule_of_the_page_is_necessary() {
    for (engine, mistakes) in [
        (
            QuizEngine::Buddy,
            &[
                Mistake::LowestBlock,
                Mistake::OneMerge,
                Mistake::RequestedBytes,
            ][..],
        ),
        (
            QuizEngine::Seed,
            &[
                Mistake::GrowthUpwards,
                Mistake::OneMerge,
                Mistake::RequestedBytes,
            ],
        ),
        (
            QuizEngine::Hybrid,
            &[
                Mistake::LastBlock,
                Mistake::OneMerge,
                Mistake::SlabBelow,
                Mistake::NoPrefetch,
                Mistake::OneCapacity,
                Mistake::CapacityStays,
                Mistake::SlabsStay,
            ],
        ),
    ] {
        // Some mistakes show in few quizzes only.
        let mut quizzes = Vec::new();
        for mistake in mistakes {
            let is_found = (0..500).any(|seed| {
                if seed == quizzes.len() {
                    quizzes.push(whole(engine, seed as u64));
                }
                first_wrong(&quizzes[seed], Some(*mistake)).is_some()
            });
            assert!(is_found, "{engine}: no quiz shows the mistake {mistake:?}");
        }
    }
}

#[test]
fn a_quiz_depends_on_engine_seed_and_options_only() {
    for engine in ENGINES {
        let quiz = plan(engine, 7).make().unwrap();
        assert_eq!(plan(engine, 7).make().unwrap(), quiz);
        assert_ne!(plan(engine, 8).make().unwrap().trace, quiz.trace);
        // The kinds of questions do not change the operations.
        let offsets = Plan {
            kinds: vec![Kind::Offset],
            ..plan(engine, 7)
        };
        let offsets = offsets.make().unwrap();
        assert!(
            offsets
                .questions()
                .all(|question| question.kind == Kind::Offset)
        );
        let operations = |quiz: &Quiz| -> Vec<_> {
            quiz.steps
                .iter()
                .map(|step| step.operation.clone())
                .collect()
        };
        assert_eq!(operations(&offsets), operations(&quiz));
        let numbers: Vec<_> = quiz.questions().map(|question| question.number).collect();
        assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    }
}

#[test]
fn the_canonical_answers_are_all_right() {
    for engine in ENGINES {
        for seed in 0..10 {
            let quiz = whole(engine, seed);
            let answers = |shown: fn(&Answer) -> String| -> String {
                let lines = quiz
                    .questions()
                    .map(|question| shown(&question.answer) + "\r\n");
                lines.collect()
            };
            let verdict = check(&quiz, &answers(Answer::to_string)).unwrap();
            assert_eq!(verdict.right(), quiz.questions().count());
            let verdict = check(
                &quiz,
                &answers(|answer| answer.to_string().to_uppercase().replace("0X", "0x")),
            );
            assert_eq!(verdict.unwrap().right(), quiz.questions().count());
        }
    }
}

#[test]
fn each_answer_is_compared_with_its_own_question() {
    let quiz = plan(QuizEngine::Buddy, 1).make().unwrap();
    let right: Vec<_> = quiz
        .questions()
        .map(|question| question.answer.to_string())
        .collect();
    for wrong in 0..right.len() {
        let mut answers = right.clone();
        for (answer, judgement) in [
            ("0x3", Judgement::Wrong),
            ("", Judgement::Missing),
            ("refused:", Judgement::Wrong),
        ] {
            answers[wrong] = answer.to_owned();
            let verdict = check(&quiz, &answers.join("\n")).unwrap();
            assert_eq!(verdict.right(), right.len() - 1, "{answer}");
            let judged = &verdict.given[wrong].1;
            assert!(
                *judged == judgement || matches!(judged, Judgement::Malformed(_)),
                "{answer}: {judged:?}"
            );
        }
    }
    let surplus = right.join("\n") + "\n5\n";
    let error = check(&quiz, &surplus).unwrap_err().to_string();
    let expected = format!(
        "there are {} answers, but the quiz has {} questions",
        right.len() + 1,
        right.len()
    );
    assert_eq!(error, expected);
    assert_eq!(check(&quiz, "").unwrap().right(), 0);
}

/// Answers a quiz on a terminal with these lines, and returns the output and the number of right answers.
fn asked(quiz: &Quiz, lines: &[&str]) -> (String, usize) {
    let typed: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut output = Vec::new();
    let verdict = ask(quiz, &mut typed.as_bytes(), &mut output).unwrap();
    assert_eq!(verdict.given.len(), quiz.questions().count());
    (
        crate::report::plain(&String::from_utf8(output).unwrap()),
        verdict.right(),
    )
}

#[test]
fn a_badly_formed_answer_can_be_given_again() {
    let quiz = Plan {
        operations: 1,
        kinds: vec![Kind::Offset, Kind::Splits],
        ..plan(QuizEngine::Buddy, 4)
    };
    let quiz = quiz.make().unwrap();
    let splits = quiz.steps[0].questions[1].answer.to_string();
    let (text, right) = asked(&quiz, &["many", "", "0", &splits]);
    assert_eq!(right, 2, "{text}");
    assert!(text.contains("'many' is not a number of bytes"), "{text}");
    assert!(
        text.contains("write an answer, or 'skip' if you do not know"),
        "{text}"
    );
    assert!(text.ends_with("\n2 of 2 answers are right\n"), "{text}");
    assert!(!text.contains("Free blocks now"), "{text}");

    // A wrong answer is followed by the explanation, behind the last question about the operation.
    let (text, right) = asked(&quiz, &["4k", &splits]);
    assert_eq!(right, 1);
    assert!(text.contains("wrong: the answer is 0x0"), "{text}");
    assert!(
        text.find("Free blocks now") > text.find("2. How many"),
        "{text}"
    );
    assert!(text.ends_with("\n1 of 2 answers is right\n"), "{text}");

    let (text, right) = asked(&quiz, &["skip"]);
    assert_eq!(right, 0);
    assert!(text.contains("no answer: the answer is 0x0"), "{text}");
    assert!(text.ends_with("\n0 of 2 answers are right\n"), "{text}");
}

fn parsed(kind: Kind, text: &str) -> Result<Answer, String> {
    parse(kind, text, POOL_BYTES)
}

#[test]
fn numbers_have_bases_and_units() {
    for text in [
        "4096",
        "0x1000",
        "4k",
        "4K",
        " 4 KiB ",
        "4kib",
        "4096 bytes",
        "4096 B",
        "0x1K * 4",
    ] {
        let expected = (!text.contains('*')).then_some(Answer::Offset(4096));
        assert_eq!(parsed(Kind::Offset, text).ok(), expected, "{text}");
    }
    // The last digit of a hexadecimal number is no unit.
    assert_eq!(parsed(Kind::Usable, "0x4b"), Ok(Answer::Bytes(0x4b)));
    assert_eq!(parsed(Kind::Waste, "Refused"), Ok(Answer::word("refused")));
    assert_eq!(parsed(Kind::Splits, "3"), Ok(Answer::Count(3)));
    for (kind, text, sentence) in [
        (Kind::Offset, "", "the answer is empty"),
        (
            Kind::Offset,
            "page 3",
            "'page 3' is not a number of bytes; write for example 0x1000, 4096 or 4K",
        ),
        (Kind::Usable, "-1", "'-1' is not a number of bytes"),
        (Kind::Splits, "three", "the answer must be a whole number"),
        (Kind::Merges, "refused", "the answer must be a whole number"),
        (
            Kind::Path,
            "magasine",
            "'magasine' is not an answer; write magazine, slab, growth, buddy or refused; did you mean 'magazine'?",
        ),
        (
            Kind::Result,
            "refused",
            "name the cause of the refusal: served, too big, exhausted or fragmented",
        ),
        (
            Kind::Result,
            "no",
            "'no' is not an answer; write served, too big",
        ),
        (
            Kind::Lists,
            "4K",
            "'4k' has no number of blocks; write size:number",
        ),
        (
            Kind::Lists,
            "4K:x",
            "'4k:x': the number of free blocks must be a whole number",
        ),
        (
            Kind::Lists,
            "5K:1",
            "no block of the buddy system has the size in '5k:1'",
        ),
        (
            Kind::Lists,
            "2K:1",
            "no block of the buddy system has the size in '2k:1'",
        ),
        (
            Kind::Lists,
            "2M:1",
            "no block of the buddy system has the size in '2m:1'",
        ),
        (
            Kind::Lists,
            "4K:1 4096:1",
            "the size in '4096:1' is named twice",
        ),
        (Kind::Lists, ",", "write size:number"),
    ] {
        let error = parsed(kind, text).unwrap_err();
        assert!(error.starts_with(sentence), "{text}: {error}");
    }
}

#[test]
fn words_are_found_in_any_case() {
    for text in [
        "too big",
        "Too Big",
        "too-big",
        "refused: too big",
        "refused (too big)",
    ] {
        assert_eq!(
            parsed(Kind::Result, text),
            Ok(Answer::word("too big")),
            "{text}"
        );
    }
    assert_eq!(parsed(Kind::Path, "BUDDY"), Ok(Answer::word("buddy")));
}

#[test]
fn lists_need_no_order_and_no_zeros() {
    let expected = Answer::FreeBlocks([(4 << 10, 1), (1 << 20, 2)].into());
    for text in [
        "4K:1 1M:2",
        "1m:2,4k:1",
        "1024K:2, 4 KiB : 1, 8K:0",
        "0x1000:1 1 MiB:2",
    ] {
        assert_eq!(parsed(Kind::Lists, text).as_ref(), Ok(&expected), "{text}");
    }
    for text in ["none", "None", "8K:0"] {
        assert_eq!(
            parsed(Kind::Lists, text),
            Ok(Answer::FreeBlocks(BTreeMap::new())),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn the_parser_accepts_any_text(text in ".{0,40}", kind in 0..8_usize) {
        let kind = Kind::all().nth(kind).unwrap();
        if let Ok(answer) = parsed(kind, &text) {
            prop_assert_eq!(parsed(kind, &answer.to_string()), Ok(answer));
        }
    }

    #[test]
    fn the_text_of_an_answer_is_parsed_to_the_answer(
        number: u64,
        blocks in prop::collection::btree_map(2..=10_u32, 1..9_u64, 0..9)
    ) {
        for (kind, answer) in [
            (Kind::Offset, Answer::Offset(number)),
            (Kind::Usable, Answer::Bytes(number)),
            (Kind::Splits, Answer::Count(number)),
        ] {
            prop_assert_eq!(parsed(kind, &answer.to_string()), Ok(answer));
        }
        let blocks = blocks.iter().map(|(order, count)| (1024 << order, *count));
        let answer = Answer::FreeBlocks(blocks.collect());
        prop_assert_eq!(parsed(Kind::Lists, &answer.to_string()), Ok(answer));
    }
}

#[test]
fn lines_fit_into_the_width() {
    for engine in ENGINES {
        let sheet = crate::report::plain(&render::sheet(&whole(engine, 3), true));
        for line in sheet.lines() {
            let is_list =
                line.contains("Which blocks are free") || line.starts_with("slablab quiz");
            assert!(line.chars().count() <= 100 || is_list, "{line}");
        }
    }
}
