// SPDX-License-Identifier: GPL-2.0

//! `slablab hunt`: find the defect of an allocator.

mod task;

use std::{
    fs,
    hash::{
        BuildHasher,
        Hasher,
        RandomState, //
    },
    path::Path,
    process::ExitCode,
};

use anyhow::bail;
use clap::{
    Args, Subcommand,
    builder::{
        PossibleValue,
        PossibleValuesParser,
        TypedValueParser, //
    },
};
use slablab_hunt::{
    Defect, Rule, SEED_MAX, Version, defect_of,
    judge::{
        self,
        OPERATIONS_MAX,
        Report,
        Verdict, //
    },
};
use slablab_trace::Trace;

use super::replay::measure::{
    is_possible,
    isolated, //
};
use crate::{
    arguments::{
        usage,
        whole, //
    },
    cli::Cli,
    report::{
        self,
        BAD,
        GOOD,
        count, //
    },
    sim::student,
    trace_args::TraceArgs,
};

/// The largest file of a submission. A line of a trace has far fewer bytes than this allows.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The commands that `slablab hunt run` runs.
const COMMANDS: [&str; 6] = ["stress", "replay", "shell", "map", "report", "trace"];

/// Find the defect of an allocator, and prove it with a trace
///
/// The seed chooses a small allocator with exactly one defect. Real allocators had such defects. Use the allocator with
/// the ordinary commands (`run`), write a trace that exposes the defect, and submit it with the name of the rule that
/// breaks.
#[derive(Args)]
pub(crate) struct HuntArgs {
    /// The seed, which chooses the allocator and its defect [default: drawn at random, and printed]
    #[arg(long, value_name = "N", value_parser = whole::<u64>("a seed of the hunt", 1..=SEED_MAX))]
    seed: Option<u64>,

    #[command(subcommand)]
    command: Option<HuntCommand>,
}

#[derive(Subcommand)]
enum HuntCommand {
    /// Run a command of slablab, with the allocator as the engine student
    ///
    /// The commands are stress, replay, shell, map, report and trace. Unless the command line says otherwise, they run
    /// with `--target sim --engine student` and with the pool of the hunt.
    Run {
        /// Run the sound version of the allocator, which has no defect
        #[arg(long)]
        sound: bool,
        /// The command and its arguments, for example: stress exhaust
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Submit a trace that exposes the defect, and the rule that breaks
    ///
    /// The sound version of the allocator must serve all requests of the trace. On the allocator with the defect the
    /// named rule must break; a refused request breaks the rule no-memory-lost. At the end all blocks are freed and the
    /// allocator's own check is called, as in `slablab replay`.
    Submit {
        #[command(flatten)]
        proof: Proof,
    },
    /// Explain the defect, with its line in the source, if the trace is accepted or you give up
    Explain {
        /// The accepted trace
        #[arg(requires = "rule", conflicts_with = "give_up")]
        trace: Option<String>,
        /// The rule that breaks
        #[arg(long, value_name = "NAME", value_parser = rule_name(), requires = "trace")]
        rule: Option<Rule>,
        /// Explain without an accepted trace
        #[arg(long)]
        give_up: bool,
    },
}

/// A trace, and the rule that breaks.
#[derive(Args)]
struct Proof {
    /// The trace: a file, or '-' for standard input
    trace: String,

    /// The rule that breaks
    #[arg(long, value_name = "NAME", value_parser = rule_name())]
    rule: Rule,
}

/// Parses the name of a rule.
fn rule_name() -> impl TypedValueParser<Value = Rule> {
    let help = |rule: Rule| rule.sentence().trim_end_matches('.');
    let values = Rule::ALL.map(|rule| PossibleValue::new(rule.name()).help(help(rule)));
    PossibleValuesParser::new(values)
        .try_map(|name| Rule::named(&name).ok_or("there is no such rule"))
}

/// Runs the subcommand.
pub(crate) fn run(args: HuntArgs) -> anyhow::Result<ExitCode> {
    let Some(command) = args.command else {
        let seed = args.seed.unwrap_or_else(drawn);
        report::print(task::text(seed, defect_of(seed).kind()))?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(seed) = args.seed else {
        return Err(usage(
            "name the seed of the hunt: slablab hunt --seed N …; 'slablab hunt' draws a seed",
        )
        .into());
    };
    let defect = defect_of(seed);
    match command {
        HuntCommand::Run { sound, command } => drive(seed, defect, sound, command),
        HuntCommand::Submit { proof } => {
            let verdict = judged(defect, &proof)?;
            // Standard input can be read only once.
            let trace = match proof.trace.as_str() {
                "-" => "TRACE",
                trace => trace,
            };
            let rule = proof.rule.name();
            let again = format!("slablab hunt --seed {seed} explain {trace} --rule {rule}");
            report::print(sentence(&verdict, &proof, &again))?;
            Ok(exit_code(&verdict))
        }
        HuntCommand::Explain { give_up: true, .. } => {
            report::print(task::explanation(defect))?;
            Ok(ExitCode::SUCCESS)
        }
        HuntCommand::Explain {
            trace: Some(trace),
            rule: Some(rule),
            ..
        } => {
            let proof = Proof { trace, rule };
            let verdict = judged(defect, &proof)?;
            report::print(match verdict {
                Verdict::Accepted(_) => task::explanation(defect),
                _ => sentence(&verdict, &proof, ""),
            })?;
            Ok(exit_code(&verdict))
        }
        HuntCommand::Explain { .. } => Err(usage(
            "name the accepted trace and the rule (explain TRACE --rule NAME), or give up (explain --give-up)",
        )
        .into()),
    }
}

/// Returns a random seed.
fn drawn() -> u64 {
    // The standard library seeds its hashers from the random numbers of the operating system.
    RandomState::new().build_hasher().finish() % SEED_MAX + 1
}

/// Runs a command of slablab with the allocator as the engine `student`.
fn drive(
    seed: u64,
    defect: Defect,
    sound: bool,
    mut words: Vec<String>,
) -> anyhow::Result<ExitCode> {
    let name = words.remove(0);
    if !COMMANDS.contains(&name.as_str()) {
        return Err(usage(format!(
            "'slablab hunt run' does not run '{name}': the commands are {}",
            COMMANDS.join(", ")
        ))
        .into());
    }
    let kind = defect.kind();
    let mut line = vec!["slablab".to_owned(), name.clone()];
    for (option, value) in [
        ("target", "sim".to_owned()),
        ("engine", "student".to_owned()),
        ("pool", kind.pool_mib().to_string()),
    ] {
        let is_given = words.iter().any(|word| {
            let given = word.strip_prefix("--").unwrap_or_default();
            given.split('=').next() == Some(option)
        });
        if is_given && option == "target" && !names_sim(&words) {
            return Err(usage("the allocator of a hunt runs with --target sim only").into());
        }
        // The option --pool of the command map needs --demo.
        let is_missing = option == "pool" && name == "map" && !has_demo(&words);
        if Cli::has_option(&name, option) && !is_given && !is_missing {
            line.extend([format!("--{option}"), value]);
        }
    }
    line.extend(words);
    let version = if sound {
        Version::Sound(kind)
    } else {
        Version::Defective(defect)
    };
    student::substitute(version.constructor());
    let sound = if sound { "--sound " } else { "" };
    eprintln!(
        "the engine student is the allocator of hunt {seed}: where the output names a command 'slablab …', use \
         'slablab hunt --seed {seed} run {sound}…'"
    );
    Cli::of_words(&line).run()
}

/// Returns whether the arguments contain `--target sim`.
fn names_sim(words: &[String]) -> bool {
    let pairs = words.windows(2);
    words.iter().any(|word| word == "--target=sim")
        || pairs
            .into_iter()
            .any(|pair| pair[0] == "--target" && pair[1] == "sim")
}

/// Returns whether the arguments of `map` contain `--demo`.
fn has_demo(words: &[String]) -> bool {
    words.iter().any(|word| word.starts_with("--demo"))
}

/// Reads the trace of a submission.
fn load(name: &str) -> anyhow::Result<Trace> {
    if fs::metadata(Path::new(name)).is_ok_and(|file| file.is_file() && file.len() > FILE_BYTES_MAX)
    {
        bail!(
            "{name}: a trace of a hunt has at most {} operations, and this file is larger than 1 MiB",
            count(OPERATIONS_MAX as u64)
        );
    }
    let patterns = TraceArgs {
        seed: 1,
        percent: 100,
    };
    let mut traces = patterns.load(&[name.to_owned()])?;
    let trace = match (traces.pop(), traces.is_empty()) {
        (Some(trace), true) => trace,
        _ => bail!("{name}: this names several traces; submit one"),
    };
    let operations = trace.ops().len();
    if operations > OPERATIONS_MAX {
        bail!(
            "{name}: this trace has {} operations; a trace of a hunt has at most {}",
            count(operations as u64),
            count(OPERATIONS_MAX as u64)
        );
    }
    Ok(trace)
}

/// Judges a trace and the name of a rule.
fn judged(defect: Defect, proof: &Proof) -> anyhow::Result<Verdict> {
    let trace = load(&proof.trace)?;
    is_possible(&trace, defect.kind().pool_bytes())?;
    let [sound, defective] = [Version::Sound(defect.kind()), Version::Defective(defect)]
        .map(|version| replayed(version, &trace));
    Ok(judge::verdict(sound?, defective?, proof.rule))
}

/// Replays a trace on a version, in a child process: a defect can make the allocator panic.
fn replayed(version: Version, trace: &Trace) -> anyhow::Result<Report> {
    let ended = isolated(|| judge::replay(version, trace))?;
    Ok(ended.unwrap_or_else(|death| Report::of_death(death.underway.operation, death.to_string())))
}

/// Returns the exit status for a verdict.
fn exit_code(verdict: &Verdict) -> ExitCode {
    match verdict {
        Verdict::Accepted(_) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Returns a verdict in words. `again` is the command that explains the defect.
fn sentence(verdict: &Verdict, proof: &Proof, again: &str) -> String {
    let named = proof.rule.name();
    match verdict {
        Verdict::Accepted(broken) => format!(
            "{GOOD}accepted{GOOD:#}: the rule {named} breaks at operation {}\n  {}\n\nThe explanation: {again}\n",
            broken.operation, broken.sentence
        ),
        Verdict::NotExposed => format!(
            "{BAD}not accepted{BAD:#}: the trace does not expose the defect: the allocator serves every request, and \
             no rule breaks\n"
        ),
        Verdict::FailsOnSound(broken) => format!(
            "{BAD}not accepted{BAD:#}: the trace fails on the sound allocator, too, at operation {}\n  {}\nThe sound \
             allocator must serve every request: ask for less memory.\n",
            broken.operation, broken.sentence
        ),
        Verdict::OtherRule(broken) => format!(
            "{BAD}not accepted{BAD:#}: the trace exposes the defect, but it does not break the rule {named}\nLook at \
             operation {}, and at {}.\n",
            broken.operation,
            broken.rule.place()
        ),
    }
}
