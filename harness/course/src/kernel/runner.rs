// SPDX-License-Identifier: GPL-2.0

//! Runs tests on the engine `student`, in the kernel or in a process, and prints an event for each step.
//!
//! An event is printed before a test begins. When the kernel stops, the last event names the test.

use std::{
    io,
    path::Path,
    process::{
        Command,
        Stdio, //
    },
    thread,
    time::Duration, //
};

use anyhow::Context;
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_lab::{
    device::Device,
    isolation::{
        self,
        Patience,
        Watched,
        underway, //
    },
    oracle::{
        Client,
        ClientBlock,
        Oracle,
        Violation, //
    },
    sim::Sim,
    target::Target,
    uapi::{
        self,
        Engine, //
    },
};
use slablab_trace::rng::Rng;

use crate::suites::{
    self,
    CourseTest, //
};

/// The place where the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A process.
    Process,
    /// The kernel, through its device.
    Kernel,
}

/// A step of a run: a line of the output, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The test with this sentence begins.
    Begin(String),
    /// The test passed. The number is the hash of all answers.
    Passed(u64),
    /// The test failed.
    Failed(String),
}

/// The sentence of the random operations.
pub(super) const RANDOM_SENTENCE: &str = "2,000 random operations are answered";

/// Random operations, which use the allocator in other ways than the tests of the exercise.
static RANDOM: CourseTest = CourseTest {
    sentence: RANDOM_SENTENCE,
    pool_bytes: 256 << 10,
    run: random,
};

/// The number of random operations.
const RANDOM_OPERATIONS: usize = 2000;

/// The sentence of the first step in the kernel.
const LOADED_SENTENCE: &str = "the module is loaded";

/// The module in the virtual machine.
const MODULE: &str = "/lib/slablab.ko";

/// The time in which the host must stop the machine when the kernel does not return from a call.
const STOP_TIME: Duration = Duration::from_secs(60);

/// Runs the tests with these sentences, up to the first failure. `patience` is the time after which a request counts
/// as endless.
///
/// # Errors
///
/// There is no test with one of the sentences, no process can be created, or the output is closed.
pub fn run(place: Place, sentences: &[String], patience: Duration) -> anyhow::Result<bool> {
    if place == Place::Kernel && !Path::new(uapi::DEVICE).exists() {
        print(&Event::Begin(LOADED_SENTENCE.to_owned()))?;
        if let Some(failure) = load_module(patience)? {
            print(&Event::Failed(failure))?;
            return Ok(false);
        }
    }
    for sentence in sentences {
        let test = match sentence.as_str() {
            RANDOM_SENTENCE => &RANDOM,
            sentence => {
                suites::named(sentence).with_context(|| format!("there is no test '{sentence}'"))?
            }
        };
        print(&Event::Begin(sentence.clone()))?;
        let ended = isolation::run(Patience::Limited(patience), || trace(place, test))?;
        match ended {
            Ok(Ok(trace)) => {
                print(&Event::Passed(trace))?;
                continue;
            }
            Ok(Err(failure)) => print(&Event::Failed(failure))?,
            Err(death) if place == Place::Kernel && death.is_stuck => {
                stop_machine(sentence);
                print(&Event::Failed(death.to_string()))?;
            }
            Err(death) => print(&Event::Failed(death.to_string()))?,
        }
        return Ok(false);
    }
    Ok(true)
}

/// Loads the module, and returns the failure in words. The shared pool of the engine is created, so the allocator's
/// `new` runs.
fn load_module(patience: Duration) -> anyhow::Result<Option<String>> {
    let mut child = Command::new("insmod")
        .arg(MODULE)
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run insmod")?;
    // The pieces are counted, so that time in which the whole machine stood still does not count.
    let piece = Duration::from_millis(50);
    let mut rest = 2 * patience;
    while child.try_wait()?.is_none() {
        if rest.is_zero() {
            stop_machine(LOADED_SENTENCE);
        }
        rest = rest.saturating_sub(piece);
        thread::sleep(piece);
    }
    let output = child.wait_with_output()?;
    let message = String::from_utf8_lossy(&output.stderr);
    Ok((!output.status.success()).then(|| message.trim().to_owned()))
}

/// Lets the host stop the machine, because the kernel does not return from a call of the test.
fn stop_machine(sentence: &str) {
    underway::log_stuck(sentence);
    thread::sleep(STOP_TIME);
}

fn print(event: &Event) -> io::Result<()> {
    use io::Write as _;
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, event)?;
    output.write_all(b"\n")?;
    output.flush()
}

/// Runs a test on a new pool, and returns the hash of all answers, or the failure in words.
fn trace(place: Place, test: &CourseTest) -> Result<u64, String> {
    let target = target(place, test.pool_bytes)?;
    let result = Oracle::new(&target, 1).and_then(|oracle| {
        (test.run)(&mut oracle.client())?;
        oracle.check()?;
        Ok(oracle.trace())
    });
    result.map_err(|violation| violation.to_string())
}

/// Opens a session with a private pool.
fn target(place: Place, pool_bytes: u64) -> Result<Watched, String> {
    let target: Box<dyn Target> = match place {
        Place::Process => {
            let sim = Sim::private(Engine::Student, pool_bytes);
            Box::new(sim.map_err(|errno| format!("the pool cannot be created: {errno}"))?)
        }
        Place::Kernel => {
            let device = Device::open();
            let device = device.map_err(|errno| format!("the device cannot be opened: {errno}"))?;
            Box::new(device)
        }
    };
    let target = Watched(target);
    if place == Place::Kernel {
        // The watched target records this request, in which the allocator's `new` runs.
        let bound = target.bind(
            Engine::Student.raw(),
            uapi::SLABLAB_BIND_PRIVATE,
            pool_bytes,
        );
        bound.map_err(|errno| format!("the pool cannot be created: {errno}"))?;
    }
    Ok(target)
}

/// Allocates, resizes and frees blocks at random.
fn random(client: &mut Client<'_>) -> Result<(), Violation> {
    let mut rng = Rng::new(16);
    let mut live: Vec<ClientBlock> = Vec::new();
    for _ in 0..RANDOM_OPERATIONS {
        let choice = rng.below(10);
        if choice < 5 || live.is_empty() {
            let size = rng.doubling(1, 8192);
            let align = 1 << rng.below(10);
            // A refusal is a right answer.
            live.extend(client.alloc(size, align)?);
            continue;
        }
        let at = rng.index(live.len());
        if choice < 7 {
            let size = rng.doubling(1, 8192);
            let _ = client.realloc(&mut live[at], size)?;
        } else {
            client.free(live.swap_remove(at))?;
        }
    }
    live.into_iter().try_for_each(|block| client.free(block))
}
