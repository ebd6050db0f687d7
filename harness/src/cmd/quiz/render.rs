// SPDX-License-Identifier: GPL-2.0

//! The quiz as text and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    POOL_BYTES, QuizEngine,
    ask::{
        Judgement,
        Verdict, //
    },
    make::{
        Quiz,
        Step, //
    },
    question::{
        Kind,
        Question, //
    },
};
use crate::report::{
    BAD,
    BOLD,
    GOOD, //
};

/// The number of columns of the text.
const WIDTH: usize = 100;

/// Returns a text in lines of at most [`WIDTH`] columns. The first line begins with `first`, the others with as many
/// spaces.
fn wrapped(first: &str, text: &str) -> String {
    let margin = first.chars().count();
    let mut lines = first.to_owned();
    let mut column = margin;
    for (index, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > WIDTH {
            let _ = write!(lines, "\n{:margin$}", "");
            column = margin;
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines += word;
        column += length;
    }
    lines.push('\n');
    lines
}

/// Returns the page in front of the questions: the command, the rules, and how to write the answers.
pub(super) fn page(quiz: &Quiz) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#}\n\n", quiz.command);
    for rule in &quiz.rules {
        text += &wrapped("- ", rule);
    }
    text.push('\n');
    text += &wrapped("", &forms(quiz));
    text
}

/// Returns how the answers to the questions of a quiz are written.
fn forms(quiz: &Quiz) -> String {
    let asks = |kinds: &[Kind]| {
        quiz.questions()
            .any(|question| kinds.contains(&question.kind))
    };
    let mut forms = vec!["Offsets are bytes from the beginning of the pool."];
    if asks(&[Kind::Offset, Kind::Usable, Kind::Waste]) {
        forms.push("Write a number of bytes as 0x1000, 4096 or 4K.");
    }
    if asks(&[Kind::Lists]) {
        forms.push("Write the free blocks of the buddy system as size:number, such as 4K:1 16K:2, or none.");
    }
    let of_block = [
        Kind::Offset,
        Kind::Path,
        Kind::Usable,
        Kind::Waste,
        Kind::Splits,
    ];
    if asks(&of_block) {
        forms.push(
            "If a request is refused, every question about its block, path or splits has the answer: refused.",
        );
    }
    forms.join(" ")
}

/// Returns an operation with its number.
pub(super) fn operation(number: usize, step: &Step) -> String {
    format!("{BOLD}{number:>3}  {}{BOLD:#}", step.operation)
}

/// Returns a question with its number.
pub(super) fn question(question: &Question) -> String {
    format!("     {}. {}", question.number, question.text)
}

/// Returns the explanation of an operation.
pub(super) fn explanation(step: &Step) -> String {
    let sentences = step.explanation.iter();
    sentences
        .map(|sentence| wrapped("       ", sentence))
        .collect()
}

/// Returns the sheet: the page and the questions, with answers and explanations if `compute` is set.
pub(super) fn sheet(quiz: &Quiz, compute: bool) -> String {
    let mut text = page(quiz);
    for (number, step) in (1..).zip(&quiz.steps) {
        let _ = writeln!(text, "\n{}", operation(number, step));
        for asked in &step.questions {
            let _ = match compute {
                true => writeln!(
                    text,
                    "{} {GOOD}{}{GOOD:#}",
                    question(asked),
                    asked.answer.shown()
                ),
                false => writeln!(text, "{}", question(asked)),
            };
        }
        if compute {
            text += &explanation(step);
        }
    }
    if !compute {
        let _ = writeln!(text, "\nThe answers: {} -c", quiz.command);
    }
    text
}

/// Returns a judgement, with the right answer if the given one is not right.
pub(super) fn judgement(question: &Question, judgement: &Judgement) -> String {
    let is = |what| {
        format!(
            "{BAD}{what}{BAD:#}: the answer is {}",
            question.answer.shown()
        )
    };
    match judgement {
        Judgement::Right => format!("{GOOD}right{GOOD:#}"),
        Judgement::Wrong => is("wrong"),
        Judgement::Malformed(why) => format!("{} ({why})", is("wrong")),
        Judgement::Missing => is("no answer"),
    }
}

/// Returns the number of right answers in a sentence.
pub(super) fn score(verdict: &Verdict) -> String {
    let (right, all) = (verdict.right(), verdict.given.len());
    let verb = if right == 1 { "is" } else { "are" };
    format!("{right} of {all} answers {verb} right")
}

/// Returns the judgements of answers from a file, with the explanations of operations with a wrong answer.
pub(super) fn verdict(quiz: &Quiz, verdict: &Verdict) -> String {
    let mut text = format!("{BOLD}{}{BOLD:#}\n", quiz.command);
    let mut given = verdict.given.iter();
    for (number, step) in (1..).zip(&quiz.steps) {
        let _ = writeln!(text, "\n{}", operation(number, step));
        let mut all_right = true;
        for (asked, (answer, judged)) in step.questions.iter().zip(&mut given) {
            let _ = writeln!(text, "{} {answer}", question(asked));
            let _ = writeln!(text, "     {}", judgement(asked, judged));
            all_right &= *judged == Judgement::Right;
        }
        if !all_right {
            text += &explanation(step);
        }
    }
    text + &format!("\n{}\n", score(verdict))
}

/// A quiz, for JSON.
#[derive(Serialize)]
struct QuizDocument<'quiz> {
    command: &'quiz str,
    engine: QuizEngine,
    seed: u64,
    pool_bytes: u64,
    rules: &'quiz [String],
    operations: Vec<StepDocument<'quiz>>,
    questions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    right: Option<usize>,
}

/// An operation with its questions, for JSON.
#[derive(Serialize)]
struct StepDocument<'quiz> {
    operation: &'quiz str,
    questions: Vec<QuestionDocument<'quiz>>,
    explanation: &'quiz [String],
}

/// A question with its answer, for JSON.
#[derive(Serialize)]
struct QuestionDocument<'quiz> {
    number: usize,
    kind: Kind,
    question: &'quiz str,
    answer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    given: Option<&'quiz str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    right: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'quiz str>,
}

/// Returns the quiz as JSON, with judgements if there are answers.
///
/// # Errors
///
/// When the quiz cannot be written as JSON.
pub(super) fn json(quiz: &Quiz, verdict: Option<&Verdict>) -> anyhow::Result<String> {
    let given =
        |question: &Question| verdict.and_then(|verdict| verdict.given.get(question.number - 1));
    let document = |question: &'_ Question| {
        let given = given(question);
        (
            given.map(|(text, _)| text.as_str()),
            given.map(|(_, judged)| *judged == Judgement::Right),
            given.and_then(|(_, judged)| match judged {
                Judgement::Malformed(why) => Some(why.as_str()),
                _ => None,
            }),
        )
    };
    let steps = quiz.steps.iter().map(|step| StepDocument {
        operation: &step.operation,
        questions: step
            .questions
            .iter()
            .map(|question| {
                let (given, right, error) = document(question);
                QuestionDocument {
                    number: question.number,
                    kind: question.kind,
                    question: &question.text,
                    answer: question.answer.to_string(),
                    given,
                    right,
                    error,
                }
            })
            .collect(),
        explanation: &step.explanation,
    });
    let document = QuizDocument {
        command: &quiz.command,
        engine: quiz.engine,
        seed: quiz.seed,
        pool_bytes: POOL_BYTES,
        rules: &quiz.rules,
        operations: steps.collect(),
        questions: quiz.questions().count(),
        right: verdict.map(Verdict::right),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
