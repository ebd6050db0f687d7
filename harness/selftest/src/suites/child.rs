// SPDX-License-Identifier: GPL-2.0

//! Child programs of tests.
//!
//! The program executes itself with a hidden option. A child prints lines to standard output and
//! reports a failure by its exit status.

use std::{
    env,
    io::{
        self,
        BufRead,
        BufReader,
        Read,
        Write, //
    },
    os::fd::{
        AsFd,
        AsRawFd, //
    },
    process::{
        self,
        Command,
        Stdio, //
    },
    sync::OnceLock,
};

use clap::ValueEnum;
use rustix::{
    process::{
        Pid,
        Signal,
        WaitOptions,
        kill_process,
        waitpid, //
    },
    thread::{
        UnshareFlags,
        unshare_unsafe, //
    },
};

use crate::{
    device::{
        Device,
        Errno,
        position, //
    },
    rng::Rng,
    target::Target,
    uapi::{
        self,
        Engine,
        slablab_alloc,
        slablab_inject, //
    },
};

use super::{
    fixture::{
        filled,
        intact,
        pattern,
        shared, //
    },
    memory::submit,
    verdict::{
        About,
        TestError,
        TestResult,
        check_eq, //
    },
};

/// Bytes of the blocks that children have.
pub(super) const SIZE: u64 = 3000;

/// The program of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Allocates, writes, moves and frees until it is killed.
    Stress,
    /// Fills its blocks, and tries the handles of another program.
    Neighbour,
    /// Allocates in the session that is its standard input, and stays.
    Heir,
    /// Opens a session, which other programs take over, and stays.
    Lender,
    /// Starts a [`Guest`](Self::Guest) in a pid namespace of its own, in the session that is its
    /// standard input, and prints the guest's process number.
    Host,
    /// Allocates in the session that is its standard input, misuses its pool, and prints its own number.
    Guest,
    /// Runs a very long bench.
    Bench,
    /// Misuses a pool of its own.
    Vandal,
    /// Allocates sessions, private pools and blocks until each is refused, and stays.
    Glutton,
}

impl Role {
    /// Returns the word of the command line.
    fn word(self) -> &'static str {
        match self {
            Self::Stress => "stress",
            Self::Neighbour => "neighbour",
            Self::Heir => "heir",
            Self::Lender => "lender",
            Self::Host => "host",
            Self::Guest => "guest",
            Self::Bench => "bench",
            Self::Vandal => "vandal",
            Self::Glutton => "glutton",
        }
    }

    /// Plays the role.
    pub(crate) fn play(self, engine: Engine) -> TestResult {
        match self {
            Self::Stress => stress(engine),
            Self::Neighbour => neighbour(engine),
            Self::Heir => heir(),
            Self::Lender => lender(engine),
            Self::Host => host(engine),
            Self::Guest => guest(),
            Self::Bench => bench(),
            Self::Vandal => super::misuse::vandal(engine),
            Self::Glutton => glutton(engine),
        }
    }
}

/// Prints a line of numbers.
fn say(numbers: impl IntoIterator<Item = u32>) -> TestResult {
    let words: Vec<_> = numbers
        .into_iter()
        .map(|number| number.to_string())
        .collect();
    println!("{}", words.join(" "));
    Ok(io::stdout().flush()?)
}

/// Parses a line of numbers.
fn numbers(line: &str) -> Vec<u32> {
    line.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Stays until killed.
fn stay() -> TestResult {
    loop {
        std::thread::park();
    }
}

fn stress(engine: Engine) -> TestResult {
    let device = shared(engine)?;
    let mut random = Rng::new(u64::from(process::id()));
    let mut handles = Vec::new();
    let ones = vec![0xff; 1 << 16];
    say([])?;
    loop {
        let size = random.doubling(1, 1 << 16);
        match random.below(8) {
            0..4 => {
                let Ok(block) = device.alloc(size, 1) else {
                    continue;
                };
                device.write(block.handle, 0, &ones[..size as usize])?;
                handles.push(block.handle);
            }
            4 if !handles.is_empty() => {
                // A refusal leaves the block as it was: nothing to do.
                let _ = device.realloc(handles[random.index(handles.len())], size);
            }
            _ if !handles.is_empty() => {
                device.free(handles.swap_remove(random.index(handles.len())))?;
            }
            _ => {}
        }
    }
}

fn neighbour(engine: Engine) -> TestResult {
    let device = shared(engine)?;
    let seed = u64::from(process::id()) << 20;
    let mut mine = Vec::new();
    for n in 0..200 {
        mine.push((filled(&device, SIZE, seed + n)?, seed + n));
    }
    say(mine.iter().map(|(handle, _)| *handle))?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let theirs = numbers(&line);
    check_eq("numbers", theirs.len(), 200)?;

    let mut random = Rng::new(seed);
    let guesses: Vec<_> = (0..2_000).map(|_| random.next() as u32 >> 1).collect();
    let near = theirs
        .iter()
        .flat_map(|handle| [*handle, handle + 1, handle ^ (1 << 20)]);
    for number in near.chain(guesses.iter().copied()) {
        let mut bytes = vec![0; SIZE as usize];
        match mine.iter().find(|(handle, _)| *handle == number) {
            Some((handle, seed)) => intact(&device, *handle, SIZE, *seed)?,
            None => {
                let nothing = device.read(number, 0, &mut bytes).is_err()
                    && device.write(number, 0, &[0; 64]).is_err()
                    && device.realloc(number, 1).is_err()
                    && device.free(number).is_err();
                check_eq("number names nothing", nothing, true).about(number)?;
            }
        }
    }
    // The other program does the same: the blocks of both must be intact.
    say([])?;
    io::stdin().read_line(&mut line)?;
    for (handle, seed) in mine {
        intact(&device, handle, SIZE, seed)?;
    }
    Ok(())
}

fn heir() -> TestResult {
    let session = io::stdin();
    let mut handles = Vec::new();
    for n in 0..10 {
        let mut alloc = slablab_alloc {
            size: SIZE,
            align: 8,
            ..Default::default()
        };
        submit(&session, uapi::SLABLAB_NR_ALLOC, &mut alloc)?;
        let bytes = pattern(n, SIZE as usize);
        let written = rustix::io::pwrite(&session, &bytes, position(alloc.handle, 0))?;
        check_eq("written", written, bytes.len())?;
        handles.push(alloc.handle);
    }
    say(handles)?;
    stay()
}

fn host(engine: Engine) -> TestResult {
    // SAFETY: Only children are in the new namespace.
    match unsafe { unshare_unsafe(UnshareFlags::NEWPID) } {
        // The kernel has no such namespaces.
        Err(Errno::INVAL) => return say([]),
        result => result?,
    }
    let session = io::stdin().as_fd().try_clone_to_owned()?;
    let mut guest = Child::start_on(Role::Guest, engine, session.into())?;
    let own = guest.heard()?;
    say(own.into_iter().chain([guest.id()]))?;
    guest.succeeds()
}

fn guest() -> TestResult {
    let session = io::stdin();
    let mut alloc = slablab_alloc {
        size: SIZE,
        align: 8,
        ..Default::default()
    };
    submit(&session, uapi::SLABLAB_NR_ALLOC, &mut alloc)?;
    let mut inject = slablab_inject {
        misuse: uapi::SLABLAB_MISUSE_SLAB_LINEAR_OVERFLOW,
        size: 100,
        ..Default::default()
    };
    submit(&session, uapi::SLABLAB_NR_INJECT, &mut inject)?;
    say([process::id()])
}

fn lender(engine: Engine) -> TestResult {
    let device = shared(engine)?;
    let handle = filled(&device, SIZE, 1)?;
    say([device.as_fd().as_raw_fd() as u32, handle])?;
    stay()
}

fn bench() -> TestResult {
    let device = Device::open()?;
    say([])?;
    device.bench(&super::bench::endless())?;
    Ok(())
}

fn glutton(engine: Engine) -> TestResult {
    let mut sessions = Vec::new();
    let errno = loop {
        match Device::open() {
            Ok(device) => sessions.push(device),
            Err(errno) => break errno,
        }
    };
    check_eq("refusal of a session", errno, Errno::NFILE)?;
    for (n, device) in sessions.iter().enumerate() {
        // Every other one takes a private pool while there is a budget.
        let private = device.bind(Engine::Hybrid.raw(), uapi::SLABLAB_BIND_PRIVATE, 1 << 20);
        if n % 2 == 0 || private.is_err() {
            // Bound already, where it has a pool to itself.
            let _ = device.bind(engine.raw(), 0, 0);
        }
        for size in [1 << 20, 1 << 16, 4096, 64] {
            while device.alloc(size, 1).is_ok() {}
        }
    }
    say([sessions.len() as u32])?;
    stay()
}

/// A fork of this program that repeats one action until it is killed.
pub(super) struct Fork(Pid);

impl Fork {
    /// Makes a child that calls `act`, which makes system calls and touches memory that is there, and
    /// nothing else: other threads may have held locks.
    pub(super) fn new(mut act: impl FnMut()) -> TestResult<Self> {
        // SAFETY: By the contract of this function, `act` uses no lock that another thread could have held.
        match unsafe { c::fork() } {
            0 => loop {
                act();
            },
            pid => match Pid::from_raw(pid) {
                Some(pid) if pid.as_raw_nonzero().get() > 0 => Ok(Self(pid)),
                _ => Err(TestError::failed("no child was made")),
            },
        }
    }
}

impl Drop for Fork {
    /// Kills it as `kill -9` does, and waits for its end.
    fn drop(&mut self) {
        // It may have ended already.
        let _ = kill_process(self.0, Signal::KILL);
        let _ = waitpid(Some(self.0), WaitOptions::empty());
    }
}

/// Functions of the C library that `rustix` does not provide.
mod c {
    unsafe extern "C" {
        pub(super) fn fork() -> std::ffi::c_int;
    }
}

/// A program that was started.
pub(super) struct Child {
    process: process::Child,
    output: BufReader<process::ChildStdout>,
}

/// The arguments behind which this program takes the options of the self-test.
static WORDS: OnceLock<&'static [&'static str]> = OnceLock::new();

/// Sets the arguments behind which this program takes the options of the self-test.
pub(crate) fn start_children_with(words: &'static [&'static str]) {
    // They are the same each time.
    let _ = WORDS.set(words);
}

impl Child {
    /// Starts a program that has a pipe as its standard input.
    pub(super) fn start(role: Role, engine: Engine) -> TestResult<Self> {
        Self::start_on(role, engine, Stdio::piped())
    }

    /// Starts a program that has `session` as its standard input.
    pub(super) fn start_in(role: Role, engine: Engine, session: &Device) -> TestResult<Self> {
        Self::start_on(role, engine, session.as_fd().try_clone_to_owned()?.into())
    }

    fn start_on(role: Role, engine: Engine, input: Stdio) -> TestResult<Self> {
        let words = WORDS.get().copied().unwrap_or_default();
        let mut process = Command::new(env::current_exe()?)
            .args(words)
            .args(["--role", role.word(), "--role-engine", engine.name()])
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let Some(output) = process.stdout.take() else {
            return Err(TestError::failed("a child without a standard output"));
        };
        Ok(Self {
            process,
            output: BufReader::new(output),
        })
    }

    /// Returns the process's number.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a line and returns the numbers in it.
    #[track_caller]
    pub(super) fn heard(&mut self) -> TestResult<Vec<u32>> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(TestError::failed(format!(
                "the child ended: {}",
                self.violation()
            )));
        }
        Ok(numbers(&line))
    }

    /// Writes a line of numbers to the child.
    pub(super) fn tell(&mut self, numbers: &[u32]) -> TestResult {
        let words: Vec<_> = numbers.iter().map(u32::to_string).collect();
        let Some(input) = &mut self.process.stdin else {
            return Err(TestError::failed("a child that cannot listen"));
        };
        writeln!(input, "{}", words.join(" "))?;
        Ok(input.flush()?)
    }

    /// Kills it as `kill -9` does, and waits for its end.
    pub(super) fn kill(mut self) -> TestResult {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Waits for the end of the child, whose exit status must be 0.
    #[track_caller]
    pub(super) fn succeeds(mut self) -> TestResult {
        if self.process.wait()?.success() {
            return Ok(());
        }
        Err(TestError::failed(self.violation()))
    }

    /// Returns what it wrote to its standard error.
    fn violation(&mut self) -> String {
        let mut violation = String::new();
        if let Some(errors) = &mut self.process.stderr {
            // An error output that cannot be read counts as empty.
            let _ = errors.read_to_string(&mut violation);
        }
        violation.trim().to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
