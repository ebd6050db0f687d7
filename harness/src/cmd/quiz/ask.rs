// SPDX-License-Identifier: GPL-2.0

//! Asks the questions on a terminal, or compares answers from a file, and counts the right ones.

use std::{
    io::{
        self,
        BufRead,
        Write, //
    },
    process::ExitCode,
};

use anyhow::ensure;

use super::{
    POOL_BYTES,
    answer::parse,
    make::{
        Quiz,
        Step, //
    },
    question::Question,
    render, //
};

/// The answer of a learner who does not know.
const SKIP: &str = "skip";

/// The judgement of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The answer is right.
    Right,
    /// The answer is wrong.
    Wrong,
    /// The answer is badly formed, for this reason.
    Malformed(String),
    /// There is no answer.
    Missing,
}

/// The answers of a learner with their judgements, in the order of the questions.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub(super) given: Vec<(String, Judgement)>,
}

impl Verdict {
    /// Returns the number of right answers.
    pub(super) fn right(&self) -> usize {
        let right = |(_, judgement): &&(String, Judgement)| *judgement == Judgement::Right;
        self.given.iter().filter(right).count()
    }

    /// Returns the exit status: 0 if all answers are right.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self.right() == self.given.len() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

/// Judges the answer to a question.
pub(super) fn judge(question: &Question, given: &str) -> Judgement {
    if given.trim().is_empty() {
        return Judgement::Missing;
    }
    match parse(question.kind, given, POOL_BYTES) {
        Ok(answer) if answer == question.answer => Judgement::Right,
        Ok(_) => Judgement::Wrong,
        Err(why) => Judgement::Malformed(why),
    }
}

/// Judges the answers in the lines of a text: one for each question, in order. Questions without a line have no answer.
///
/// # Errors
///
/// When the text has more answers than the quiz has questions.
pub(super) fn check(quiz: &Quiz, text: &str) -> anyhow::Result<Verdict> {
    let questions: Vec<_> = quiz.questions().collect();
    let lines: Vec<_> = text.trim_end().lines().map(str::trim).collect();
    ensure!(
        lines.len() <= questions.len(),
        "there are {} answers, but the quiz has {} questions",
        lines.len(),
        questions.len()
    );
    let lines = lines.into_iter().chain(std::iter::repeat(""));
    let given = questions.into_iter().zip(lines);
    let given = given.map(|(question, line)| (line.to_owned(), judge(question, line)));
    Ok(Verdict {
        given: given.collect(),
    })
}

/// Asks the questions one after the other, and says at once whether an answer is right. A badly formed answer can be
/// given again. At the end of the input, the other questions count as not answered.
///
/// # Errors
///
/// When reading or writing fails.
pub(super) fn ask(
    quiz: &Quiz,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<Verdict> {
    writeln!(
        output,
        "Write '{SKIP}' if you do not know an answer. Ctrl-D ends the quiz."
    )?;
    let mut verdict = Verdict::default();
    let mut is_open = true;
    for (number, step) in (1..).zip(&quiz.steps) {
        if is_open {
            writeln!(output, "\n{}", render::operation(number, step))?;
        }
        let mut is_explained = false;
        for question in &step.questions {
            let given = match is_open {
                true => ask_one(question, input, output)?,
                false => None,
            };
            is_open &= given.is_some();
            let (given, judgement) = given.unwrap_or((String::new(), Judgement::Missing));
            if is_open {
                writeln!(output, "     {}", render::judgement(question, &judgement))?;
            }
            // The explanation says the answers to the other questions, too.
            let is_last = step.questions.last() == Some(question);
            is_explained |= judgement != Judgement::Right;
            if is_open && is_last && is_explained {
                explain(step, output)?;
            }
            verdict.given.push((given, judgement));
        }
    }
    if !is_open {
        writeln!(output)?;
    }
    writeln!(output, "\n{}", render::score(&verdict))?;
    Ok(verdict)
}

/// Asks a question until the answer is well formed. Returns `None` at the end of the input.
fn ask_one(
    question: &Question,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<Option<(String, Judgement)>> {
    loop {
        write!(output, "{} ", render::question(question))?;
        output.flush()?;
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        let given = line.trim();
        if given == SKIP {
            return Ok(Some((given.to_owned(), Judgement::Missing)));
        }
        match judge(question, given) {
            Judgement::Malformed(why) => writeln!(output, "     {why}")?,
            Judgement::Missing => {
                writeln!(
                    output,
                    "     write an answer, or '{SKIP}' if you do not know"
                )?;
            }
            judgement => return Ok(Some((given.to_owned(), judgement))),
        }
    }
}

/// Prints the explanation of an operation.
fn explain(step: &Step, output: &mut dyn Write) -> io::Result<()> {
    write!(output, "{}", render::explanation(step))
}
