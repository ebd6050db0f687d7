// SPDX-License-Identifier: GPL-2.0

//! Runs every workload on engines with faults: each run must end in a verdict.
//!
//! The shipped command contains no wrong engine. A test therefore starts this test program again with the
//! single test [`the_command_itself`], which is the command. An environment variable chooses the fault of
//! the engines in that process.

use std::{
    env,
    io::Write,
    process::{
        Command,
        ExitCode,
        Output,
        Stdio,
        exit, //
    },
    time::{
        Duration,
        Instant, //
    },
};

use clap::Parser;
use serde_json::Value;

use crate::{
    cli::Cli,
    isolation::PATIENCE_VARIABLE,
    sim::{
        Pool,
        wrong::{
            EngineFault,
            VARIABLE, //
        },
    },
    uapi::Engine,
    workload::WORKLOADS, //
};

/// The environment variable with the command's arguments.
const ARGUMENTS: &str = "SLABLAB_TEST_ARGUMENTS";

/// The time limit of a request, in seconds.
const PATIENCE_SECONDS: u64 = 2;

/// Runs the command with the arguments in [`ARGUMENTS`], in the process that [`command`] starts. Does
/// nothing in an ordinary test run.
#[test]
fn the_command_itself() {
    let Ok(arguments) = env::var(ARGUMENTS) else {
        return;
    };
    let words = ["slablab"].into_iter().chain(arguments.split_whitespace());
    let code = Cli::try_parse_from(words)
        .unwrap_or_else(|error| error.exit())
        .run()
        .unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        });
    // An `ExitCode` cannot be converted to the number that `exit` takes: map every failure to 1.
    exit(i32::from(
        format!("{code:?}") != format!("{:?}", ExitCode::SUCCESS),
    ));
}

/// Runs the command with engines that have a fault.
fn slablab(fault: Option<EngineFault>, arguments: &str) -> Output {
    // The lines for the shell; other commands do not read them.
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut writer = std::fs::File::from(writer);
    writer
        .write_all("alloc 200\nalloc 8k\n".repeat(400).as_bytes())
        .unwrap();
    drop(writer);
    command(fault, arguments).stdin(reader).output().unwrap()
}

/// Returns the command with engines that have a fault.
fn command(fault: Option<EngineFault>, arguments: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "wrong_engine_tests::the_command_itself"])
        .args(["--nocapture", "--quiet"])
        .env(ARGUMENTS, arguments)
        .env(PATIENCE_VARIABLE, PATIENCE_SECONDS.to_string())
        .env_remove(VARIABLE);
    if let Some(fault) = fault {
        command.env(VARIABLE, format!("{fault:?}"));
    }
    command
}

/// Returns the JSON that the command printed. The test program prints a line before the JSON.
fn document(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let json = text.find('{').map_or("", |begin| &text[begin..]);
    serde_json::from_str(json).unwrap_or_else(|error| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        panic!("{error}: {text}\n{stderr}")
    })
}

/// Returns the arguments of a command.
fn arguments(command: &Value) -> String {
    let command = command.as_str().unwrap();
    command.strip_prefix("slablab ").unwrap().to_owned()
}

/// Returns parts of messages. The violation that `fault` causes contains one of them. A wild write has
/// several messages: the next check that reads the damaged block finds the damage.
fn violation(fault: EngineFault) -> &'static [&'static str] {
    match fault {
        EngineFault::Overlap => &["memory in use", "share bytes", "already names a live block"],
        EngineFault::OutOfPool => &["does not lie in the pool"],
        EngineFault::WrongOffset => &["but the engine reports"],
        EngineFault::WildWrite | EngineFault::WildWriteInFree => {
            &["must still be", "must be 0", "memory in use"]
        }
        EngineFault::Endless | EngineFault::EndlessInFree => &["did not answer within"],
        EngineFault::Panic => {
            &["panicked: this engine is not finished, at harness/lab/src/sim/wrong.rs:"]
        }
        EngineFault::PanicInFree => &["panicked: this engine cannot free"],
        EngineFault::Overflow => &["panicked: attempt to add with overflow"],
        EngineFault::Segfault => &["crashed with SIGSEGV", "null pointer dereference"],
        EngineFault::Recursion => &["crashed with SIGSEGV"],
        EngineFault::Bus => &["crashed with SIGBUS"],
        EngineFault::Illegal => &["crashed with SIGILL"],
        EngineFault::Abort => &["crashed with SIGABRT"],
        EngineFault::Exit => &["ended the process with status 0"],
        EngineFault::NeverServes => &[
            "requests were refused in a private pool",
            "refused as exhausted",
            "with the cause of fault injection",
        ],
        EngineFault::InjectsEveryRefusal => &[
            "with the cause of fault injection",
            "requests were refused in a private pool",
        ],
        EngineFault::Leak => &["must be", "fit into the empty pool", "refused as exhausted"],
        EngineFault::LongLinks => &["written after it was freed"],
        EngineFault::LongerLinks => &[],
    }
}

/// Returns whether the violation names the request in which the fault occurs.
fn names_a_request(fault: EngineFault) -> bool {
    !matches!(
        fault,
        EngineFault::WildWrite
            | EngineFault::WildWriteInFree
            | EngineFault::NeverServes
            | EngineFault::InjectsEveryRefusal
            | EngineFault::Leak
    )
}

/// Runs every workload on an engine with a fault.
#[track_caller]
fn every_workload_ends(fault: EngineFault, engine: &str) {
    let options =
        format!("--target sim --engine {engine} --pool 1 --seed 3 --ops 3000 --threads 2");
    let output = slablab(Some(fault), &format!("stress {options} --json"));
    assert_eq!(output.status.code(), Some(1), "{fault:?}");
    let document = document(&output);
    assert_eq!(document["passed"], false, "{fault:?}");
    let failures = document["failures"].as_array().unwrap();
    for workload in &WORKLOADS {
        let about = format!("{fault:?} on {engine}, {}", workload.name);
        let found = failures
            .iter()
            .find(|failure| failure["workload"] == workload.name);
        // `abuse` allocates nothing after its first free, so it never reads memory that the fault overwrites.
        if fault == EngineFault::LongLinks && workload.name == "abuse" {
            assert!(found.is_none(), "{about}");
            continue;
        }
        let found = found.unwrap_or_else(|| panic!("{about}: the fault was not reported"));
        assert_eq!(found["engine"], engine, "{about}");
        let text = found["violation"].as_str().unwrap();
        let words = violation(fault);
        assert!(
            words.iter().any(|words| text.contains(words)),
            "{about}: {text}"
        );
        // The message about shared bytes names the two blocks, not the request.
        if names_a_request(fault) && !text.contains("share bytes") {
            assert!(
                ["ALLOC", "REALLOC", "FREE", "SUBMIT"]
                    .iter()
                    .any(|call| text.contains(call)),
                "{about}: {text}"
            );
        }
        // `abuse` allocates its blocks before its first operation, so its failure may be in operation 0.
        let is_begun = workload.name != "abuse";
        assert!(
            found["operation"].as_u64() >= Some(u64::from(is_begun)),
            "{about}: {found}"
        );
        let repeat = arguments(&found["repeat"]);
        assert!(
            repeat.starts_with(&format!("stress {} ", workload.name)),
            "{about}: {repeat}"
        );
    }
}

/// Defines a test of each fault on each engine.
macro_rules! every_workload_ends {
    ([$($engine:ident)*] $tests:tt) => {
        $(every_workload_ends!(@engine $engine $tests);)*
        every_workload_ends!(@list [$($engine)*] $tests);
    };
    (@engine $engine:ident {$($name:ident: $fault:ident,)*}) => {
        mod $engine {
            use super::*;
            $(#[test] fn $name() {
                every_workload_ends(EngineFault::$fault, stringify!($engine));
            })*
        }
    };
    (@list [$($engine:ident)*] {$($name:ident: $fault:ident,)*}) => {
        #[test]
        fn every_fault_is_tried_on_every_engine() {
            assert_eq!(EngineFault::ALL, [$(EngineFault::$fault,)*]);
            let engines = Pool::ENGINES.map(Engine::name);
            assert_eq!(engines, [$(stringify!($engine),)*]);
        }
    };
}

every_workload_ends! { [seed hybrid extent] {
    blocks_that_overlap_end_in_a_verdict: Overlap,
    a_block_outside_of_the_pool_ends_in_a_verdict: OutOfPool,
    a_wrong_offset_ends_in_a_verdict: WrongOffset,
    a_wild_write_ends_in_a_verdict: WildWrite,
    a_wild_write_in_a_free_ends_in_a_verdict: WildWriteInFree,
    an_allocation_without_end_ends_in_a_verdict: Endless,
    a_free_without_end_ends_in_a_verdict: EndlessInFree,
    a_panic_ends_in_a_verdict: Panic,
    a_panic_in_a_free_ends_in_a_verdict: PanicInFree,
    an_overflow_ends_in_a_verdict: Overflow,
    a_segmentation_fault_ends_in_a_verdict: Segfault,
    a_bus_error_ends_in_a_verdict: Bus,
    an_illegal_instruction_ends_in_a_verdict: Illegal,
    an_abort_ends_in_a_verdict: Abort,
    a_stack_overflow_ends_in_a_verdict: Recursion,
    an_exit_ends_in_a_verdict: Exit,
    an_engine_that_never_serves_ends_in_a_verdict: NeverServes,
    an_engine_that_injects_every_refusal_ends_in_a_verdict: InjectsEveryRefusal,
    an_engine_that_forgets_frees_ends_in_a_verdict: Leak,
    links_longer_than_the_engine_says_end_in_a_verdict: LongLinks,
} }

#[test]
fn commands_other_than_stress_say_how_an_engine_died() {
    for fault in [
        EngineFault::Segfault,
        EngineFault::Panic,
        EngineFault::Endless,
    ] {
        for command in ["shell", "map --demo", "inject"] {
            let about = format!("{fault:?}, {command}");
            let output = slablab(
                Some(fault),
                &format!("{command} --target sim --engine seed"),
            );
            assert_eq!(output.status.code(), Some(1), "{about}");
            let stderr = String::from_utf8(output.stderr).unwrap();
            let (line, words) = (stderr.trim_end(), violation(fault));
            assert!(line.starts_with("error: "), "{about}: {line}");
            assert!(
                words.iter().any(|words| line.contains(words)),
                "{about}: {line}"
            );
            assert_eq!(line.lines().count(), 1, "{about}: {line}");
        }
    }
}

#[test]
fn a_shell_may_wait_for_its_user() {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut writer = std::fs::File::from(writer);
    let shell = command(None, "shell --target sim")
        .stdin(reader)
        .stdout(Stdio::piped())
        .spawn();
    std::thread::sleep(Duration::from_secs(PATIENCE_SECONDS + 1));
    writer.write_all(b"alloc 100\n").unwrap();
    drop(writer);
    let output = shell.unwrap().wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && stdout.contains("1> alloc 100"),
        "{stdout}"
    );
}

#[test]
fn engines_without_a_fault_pass_and_print_what_they_did() {
    let output = slablab(
        None,
        "stress mixed batch --target sim --ops 500 --engine all --json",
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        document(&output)["final"].as_array().unwrap().len(),
        2 * Pool::ENGINES.len()
    );
}

#[test]
fn the_command_of_a_verdict_repeats_it() {
    for fault in [
        EngineFault::Overlap,
        EngineFault::PanicInFree,
        EngineFault::Segfault,
    ] {
        let all = "stress mixed batch realloc exhaust --target sim --engine seed --ops 3000 --json";
        let first = document(&slablab(Some(fault), all));
        for failure in first["failures"].as_array().unwrap() {
            let repeat = arguments(&failure["repeat"]) + " --json";
            let again = slablab(Some(fault), &repeat);
            assert_eq!(again.status.code(), Some(1), "{repeat}");
            let again = &document(&again)["failures"][0];
            assert_eq!(again["violation"], failure["violation"], "{repeat}");
            assert_eq!(again["operation"], failure["operation"], "{repeat}");
        }
    }
}

#[test]
fn plain_and_ktap_output_have_the_verdict() {
    let options = "stress realloc --target sim --engine seed --ops 500";
    let text = |more: &str| {
        let output = slablab(Some(EngineFault::Segfault), &format!("{options} {more}"));
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = text("");
    assert!(
        table.contains("crashed with SIGSEGV") || table.contains("null pointer"),
        "{table}"
    );
    assert!(table.contains("repeat: slablab stress realloc"), "{table}");
    let ktap = text("--ktap");
    assert!(ktap.contains("not ok 1 stress.seed.realloc"), "{ktap}");
    assert!(ktap.contains("# repeat: slablab stress realloc"), "{ktap}");
}

#[test]
fn a_replay_ends_in_a_verdict_whatever_the_engine_does() {
    for fault in EngineFault::ALL {
        let options = "replay larson --percent 4 --target sim --passes 1 --pool 4";
        let output = slablab(Some(fault), &format!("{options} --json"));
        assert_eq!(output.status.code(), Some(1), "{fault:?}");
        let document = document(&output);
        for result in document["traces"][0]["engines"].as_array().unwrap() {
            let failure = &result["failure"];
            let about = format!("{fault:?}: {result}");
            let text = failure["violation"].as_str().expect(&about);
            let words = violation(fault);
            let is_told = words.iter().any(|words| text.contains(words));
            assert!(is_told, "{about}");
            assert!(failure["operation"].as_u64().unwrap() > 0, "{about}");
            let repeat = failure["repeat"].as_str().unwrap();
            assert!(
                repeat.starts_with("slablab replay larson --target sim"),
                "{about}"
            );
        }
    }
}

#[test]
fn the_exact_operation_of_a_call_of_many_is_named() {
    // The faulty engine fails in the fourth allocation.
    let output = slablab(
        Some(EngineFault::Segfault),
        "replay larson --percent 1 --target sim --engine seed --pool 4 --json",
    );
    let failure = &document(&output)["traces"][0]["engines"][0]["failure"];
    assert_eq!(failure["operation"], 4, "{failure}");
    assert!(
        failure["what"].as_str().unwrap().starts_with("allocate "),
        "{failure}"
    );
}

#[test]
fn debug_mode_refuses_an_engine_that_writes_too_much_of_free_blocks() {
    for command in ["stress mixed --ops 100 --debug", "inject SLAB_FREE_DOUBLE"] {
        let arguments = format!("{command} --target sim --engine seed");
        let begun = Instant::now();
        let output = slablab(Some(EngineFault::LongerLinks), &arguments);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("seed does not support debug mode"),
            "{command}: {text}"
        );
        assert!(begun.elapsed() < Duration::from_secs(20), "{command}");
    }
}
