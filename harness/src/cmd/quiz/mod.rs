// SPDX-License-Identifier: GPL-2.0

//! `slablab quiz`: questions about random operations, answered by the engine.
//!
//! - [`operations`] draws the operations;
//! - [`make`] executes them on the engine, and [`question`] takes the right answers from its replies;
//! - [`rules`] are the rules that a learner needs, and [`explanation`] says how each answer follows;
//! - [`answer`] parses what a learner writes, and [`ask`] asks and counts;
//! - [`render`] prints the sheet.

mod answer;
mod ask;
mod explanation;
mod make;
mod operations;
mod question;
mod render;
mod rules;
#[cfg(test)]
mod tests;

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{
        BuildHasher,
        Hasher, //
    },
    io::{
        self,
        IsTerminal,
        Read, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
};

use anyhow::Context;
use clap::{
    Args,
    ValueEnum,
    builder::{
        PossibleValue,
        PossibleValuesParser,
        TypedValueParser, //
    }, //
};
use serde::{
    Deserialize,
    Serialize, //
};

use self::{make::Plan, question::Kind};
use crate::{
    arguments::{
        seed,
        usage,
        whole, //
    },
    cmd::replay::measure,
    report::{
        self,
        files, //
    },
    uapi::Engine,
};

/// The bytes of the pool. `slablab replay` and `slablab shell` can use a pool of this size, too.
const POOL_BYTES: u64 = 1 << 20;

/// The largest seed that is drawn: one that is easily copied.
const DRAWN_SEED_MAX: u64 = 99_999;

/// The allocator that a quiz is about. The other engines have no quiz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QuizEngine {
    /// A buddy system alone: that of the engine seed
    Buddy,
    /// Magazines over slabs over a buddy system
    Hybrid,
    /// Slabs with free lists over a buddy system
    Seed,
}

impl QuizEngine {
    /// Returns the engine that gives the answers.
    fn engine(self) -> Engine {
        match self {
            // Requests above 4 KiB bypass the slabs of the seed.
            Self::Buddy | Self::Seed => Engine::Seed,
            Self::Hybrid => Engine::Hybrid,
        }
    }
}

impl fmt::Display for QuizEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buddy => "buddy",
            Self::Hybrid => "hybrid",
            Self::Seed => "seed",
        })
    }
}

/// Parses the allocator of a quiz. The error for an engine without a quiz says that it has none.
fn quiz_engine() -> impl TypedValueParser<Value = QuizEngine> {
    let quizzes = QuizEngine::value_variants()
        .iter()
        .filter_map(ValueEnum::to_possible_value);
    let without_quiz = Engine::ALL
        .iter()
        .filter(|engine| QuizEngine::from_str(engine.name(), false).is_err())
        .map(|engine| PossibleValue::new(engine.name()).hide(true));
    PossibleValuesParser::new(quizzes.chain(without_quiz)).try_map(|name| {
        QuizEngine::from_str(&name, false).map_err(|_| {
            let names = QuizEngine::value_variants().iter().map(ToString::to_string);
            let names = names.collect::<Vec<_>>().join(", ");
            format!("there is no quiz about {name}; there are quizzes about {names}")
        })
    })
}

/// Predict what an allocator does: questions about a few random operations
///
/// The quiz prints the rules of the allocator and some operations on an empty pool of 1 MiB. You say at
/// which offset a block begins, which path serves a request, how many blocks are split or merged, and which
/// blocks are free. The right answers are those of the engine itself.
///
/// On a terminal the command asks, and says at once whether an answer is right. Otherwise it prints the
/// questions only. --answers checks answers from a file. The exit status of a quiz with answers is 0 if all
/// answers are right.
///
/// The same options and the same seed give the same quiz on every machine.
#[derive(Args)]
pub(crate) struct QuizArgs {
    /// The allocator
    #[arg(long, value_parser = quiz_engine())]
    engine: QuizEngine,

    /// Seed of the operations and questions [default: a new one, which is printed]
    #[arg(long, value_parser = seed())]
    seed: Option<u64>,

    /// Number of operations
    #[arg(short = 'n', long, default_value_t = 8)]
    #[arg(value_parser = whole::<u64>("the number of operations", 1..=operations::OPERATIONS_MAX))]
    operations: u64,

    /// Ask these kinds of questions after every operation [default: a few kinds, drawn for each operation]
    #[arg(long, value_enum, value_name = "KINDS", value_delimiter = ',')]
    questions: Vec<Kind>,

    /// Print the answers, and explain them by what the engine did
    #[arg(short = 'c', long)]
    compute: bool,

    /// Check the answers in this file, one per line and an empty line for none; '-' for standard input
    #[arg(
        long,
        value_name = "FILE",
        requires = "seed",
        conflicts_with = "compute"
    )]
    answers: Option<PathBuf>,

    /// Print JSON: rules, operations, questions, answers and explanations
    #[arg(long, conflicts_with = "compute")]
    json: bool,

    /// Print the operations as a trace, which 'slablab replay' reads
    #[arg(long, conflicts_with_all = ["compute", "answers", "json"])]
    trace: bool,
}

/// Makes a quiz, and asks or prints its questions.
pub(crate) fn run(args: QuizArgs) -> anyhow::Result<ExitCode> {
    if args.engine == QuizEngine::Buddy && args.questions.contains(&Kind::Path) {
        return Err(usage("the allocator buddy has one path only: do not ask for 'path'").into());
    }
    let plan = Plan {
        engine: args.engine,
        seed: args.seed.unwrap_or_else(drawn_seed),
        operations: args.operations,
        kinds: args.questions,
    };
    // A crash of the engine ends a child process only. The user is asked in this process.
    let quiz = measure::isolated(|| plan.make())?;
    let quiz = quiz.map_err(|death| anyhow::anyhow!("{death}"))?;
    if let Some(file) = &args.answers {
        let verdict = ask::check(&quiz, &read_answers(file)?)?;
        report::print(match args.json {
            true => render::json(&quiz, Some(&verdict))?,
            false => render::verdict(&quiz, &verdict),
        })?;
        return Ok(verdict.exit_code());
    }
    let is_asked = io::stdin().is_terminal() && io::stdout().is_terminal();
    if args.json {
        report::print(render::json(&quiz, None)?)?;
    } else if args.trace {
        report::print(&quiz.trace)?;
    } else if is_asked && !args.compute {
        report::print(render::page(&quiz))?;
        let verdict = ask::ask(&quiz, &mut io::stdin().lock(), &mut report::stdout())?;
        return Ok(verdict.exit_code());
    } else {
        report::print(render::sheet(&quiz, args.compute))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the answers from a file, or from standard input for `-`.
fn read_answers(file: &Path) -> anyhow::Result<String> {
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = io::stdin().read_to_end(&mut bytes);
        read.context("cannot read standard input")?;
        bytes
    } else {
        files::read(file)?
    };
    String::from_utf8(bytes)
        .map_err(|_| anyhow::anyhow!("{}: this is not a text file", file.display()))
}

/// Draws a seed.
fn drawn_seed() -> u64 {
    // Each `RandomState` has new random keys.
    RandomState::new().build_hasher().finish() % (DRAWN_SEED_MAX + 1)
}
