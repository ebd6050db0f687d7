// SPDX-License-Identifier: GPL-2.0

//! Makes a quiz: draws operations, executes them on the engine, and takes answers and explanations from its replies.
//!
//! The result depends on the engine, the seed and the options only, so a quiz is the same on every machine.

use anyhow::{
    Context,
    bail,
    ensure, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_trace::{
    Kind as OpKind,
    Op,
    Trace,
    format, //
};

use super::{
    POOL_BYTES, QuizEngine,
    explanation::{
        self,
        EmptyPool, //
    },
    operations,
    question::{
        Kind,
        Question, //
    },
    rules,
};
use crate::{
    cmd::replay::explain::{
        Explained,
        explained, //
    },
    isolation::{
        Watched,
        underway, //
    },
    replay::OpOutcome,
    report,
    rng::Rng,
    session_factory::{
        SessionFactory,
        TargetKind, //
    },
    target::Target,
    uapi::{
        Cause,
        Path, //
    },
};

/// The number of traces that are drawn until one follows the rules of the page.
const DRAWS_MAX: u64 = 1000;

/// The number of requests of a quiz that are too big: more of them teach nothing.
const TOO_BIG_MAX: usize = 1;

/// The parameters that determine a quiz.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) engine: QuizEngine,
    pub(super) seed: u64,
    pub(super) operations: u64,
    /// The kinds of questions for each operation; if empty, kinds are drawn.
    pub(super) kinds: Vec<Kind>,
}

/// A quiz.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Quiz {
    /// The command that makes this quiz.
    pub(super) command: String,
    pub(super) engine: QuizEngine,
    pub(super) seed: u64,
    /// The rules of the allocator, in sentences.
    pub(super) rules: Vec<String>,
    pub(super) steps: Vec<Step>,
    /// The operations as a trace file.
    pub(super) trace: String,
}

/// An operation with its questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    /// The operation in words.
    pub(super) operation: String,
    pub(super) questions: Vec<Question>,
    /// The explanation, in sentences.
    pub(super) explanation: Vec<String>,
}

impl Quiz {
    /// Returns all questions, in order.
    pub(super) fn questions(&self) -> impl Iterator<Item = &Question> {
        self.steps.iter().flat_map(|step| &step.questions)
    }
}

impl Plan {
    /// Returns the command that makes this quiz.
    pub(super) fn command(&self) -> String {
        let mut command = format!(
            "slablab quiz --engine {} --seed {} --operations {}",
            self.engine, self.seed, self.operations
        );
        if !self.kinds.is_empty() {
            let names: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
            command += &format!(" --questions {}", names.join(","));
        }
        command
    }

    /// Makes the quiz.
    ///
    /// # Errors
    ///
    /// When a call fails that must succeed, or when the engine gives a wrong answer.
    pub(super) fn make(&self) -> anyhow::Result<Quiz> {
        for draw in 0..DRAWS_MAX {
            let mut rng = Rng::split(self.seed, draw);
            let scratch = self.engine.open()?;
            let trace = operations::draw(self.engine, &*scratch, self.operations, &mut rng)?;
            let explained = explained(&*self.engine.open()?, &trace, 0..trace.ops().len())?;
            if let Some(mismatch) = explained.iter().find_map(|explained| explained.mismatch) {
                bail!("the quiz cannot know all answers: {mismatch}");
            }
            let outcomes = explained.iter().map(|explained| explained.answer.outcome);
            let too_big = outcomes.filter(|outcome| *outcome == OpOutcome::Refused(Cause::TooBig));
            let mut all = trace.ops().iter().zip(&explained);
            if too_big.count() <= TOO_BIG_MAX
                && all.all(|(op, explained)| self.follows_rules(op, explained))
            {
                return self.quiz(&trace, &explained, &mut rng);
            }
        }
        bail!("{DRAWS_MAX} draws gave no quiz that follows the rules of the page")
    }

    /// Returns whether the rules of the page describe what the engine did: each question about the operation has an
    /// answer, and no fallback served the request.
    fn follows_rules(&self, op: &Op, explained: &Explained) -> bool {
        let has_answer = |kind: &Kind| {
            !kind.applies(op, self.engine) || kind.answer(op, self.engine, explained).is_some()
        };
        let (answer, path) = (&explained.answer, u32::from(explained.answer.cost.path));
        let is_small = matches!(op.kind, OpKind::Alloc { bytes, .. } if bytes <= 4096);
        let is_usual = match answer.outcome {
            OpOutcome::LeftOut => false,
            OpOutcome::Refused(cause) => {
                let causes = [Cause::TooBig, Cause::Exhausted, Cause::Fragmented];
                // A small request under pressure would need the rules of the fallbacks.
                causes.contains(&cause) && (self.engine == QuizEngine::Seed || !is_small)
            }
            OpOutcome::Done => {
                self.engine != QuizEngine::Hybrid || !is_small || {
                    let magazine = [Path::Magazine, Path::Depot].map(Path::raw).contains(&path);
                    let fits = explanation::class_bytes(explained) == Some(answer.usable);
                    magazine || (fits && !explanation::was_under_pressure(explained))
                }
            }
        };
        is_usual && !explained.is_joined && Kind::all().all(|kind| has_answer(&kind))
    }

    /// Adds questions and explanations to operations.
    fn quiz(&self, trace: &Trace, explained: &[Explained], rng: &mut Rng) -> anyhow::Result<Quiz> {
        let mut steps = Vec::new();
        let mut number = 0;
        for (op, explained) in trace.ops().iter().zip(explained) {
            let name = name(op);
            let mut questions = Vec::new();
            for kind in self.kinds_for(op, rng) {
                let answer = kind.answer(op, self.engine, explained);
                number += 1;
                questions.push(Question {
                    number,
                    kind,
                    text: kind.text(op, &name, self.engine),
                    answer: answer.context("a question has no answer")?,
                });
            }
            let empty = EmptyPool::of(self.engine, op)?;
            steps.push(Step {
                operation: words(op),
                questions,
                explanation: explanation::sentences(self.engine, op, empty, explained),
            });
        }
        ensure!(
            number > 0,
            "no operation of this quiz has a question of these kinds: use more operations, another seed or other kinds"
        );
        let command = self.command();
        Ok(Quiz {
            rules: rules::of(self.engine, &*self.engine.open()?)?,
            engine: self.engine,
            seed: self.seed,
            steps,
            trace: format::text::write(&trace.clone().with_source(&command)),
            command,
        })
    }

    /// Returns the kinds of the questions about an operation: the chosen ones, or two drawn ones for an allocation and
    /// one for a free.
    fn kinds_for(&self, op: &Op, rng: &mut Rng) -> Vec<Kind> {
        let applies = |kind: &Kind| kind.applies(op, self.engine);
        if !self.kinds.is_empty() {
            return Kind::all()
                .filter(applies)
                .filter(|kind| self.kinds.contains(kind))
                .collect();
        }
        let mut all: Vec<_> = Kind::all().filter(applies).collect();
        // The answer to the first question depends on what happened before.
        let mut first = all.clone();
        first.retain(|kind| {
            [
                Kind::Offset,
                Kind::Path,
                Kind::Splits,
                Kind::Merges,
                Kind::Lists,
            ]
            .contains(kind)
        });
        let mut drawn = vec![first[rng.index(first.len())]];
        if op.kind != OpKind::Free {
            all.retain(|kind| !drawn.contains(kind));
            drawn.push(all[rng.index(all.len())]);
        }
        drawn.sort();
        drawn
    }
}

impl QuizEngine {
    /// Opens a session with a new pool.
    pub(super) fn open(self) -> anyhow::Result<Box<dyn Target>> {
        underway::pool(POOL_BYTES);
        let target = SessionFactory::private(TargetKind::Sim, POOL_BYTES).open(self.engine())?;
        Ok(Box::new(Watched(target)))
    }
}

/// Returns the name of an operation's block.
fn name(op: &Op) -> String {
    // At most 16 blocks.
    char::from(b'a' + op.id as u8).to_string()
}

/// Returns an operation in words.
fn words(op: &Op) -> String {
    let name = name(op);
    match op.kind {
        OpKind::Alloc { bytes, .. } | OpKind::Realloc { bytes } => {
            format!("{name} = allocate {}", exact(bytes.into()))
        }
        OpKind::Free => format!("free {name}"),
    }
}

/// Returns a number of bytes: in KiB if the number is a multiple of it.
pub(super) fn exact(bytes: u64) -> String {
    match bytes {
        _ if bytes > 0 && bytes % (1 << 20) == 0 => report::bytes(bytes),
        _ if bytes > 0 && bytes % 1024 == 0 => format!("{} KiB", report::count(bytes >> 10)),
        1 => "1 byte".to_owned(),
        _ => format!("{bytes} bytes"),
    }
}
