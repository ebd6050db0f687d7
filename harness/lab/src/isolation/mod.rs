// SPDX-License-Identifier: GPL-2.0

//! Runs an engine that may be faulty in a child process.
//!
//! A faulty engine can crash its process, panic, or never return. [`run`] forks, works in the child,
//! and sends the result through a pipe. Before each request, the child writes the request to shared
//! memory (`page`, [`underway`]), so the parent can report the operation and the request in which
//! the child ended. Such an end is a test result like any other.

mod page;
pub mod underway;
mod watched;

use std::{
    fmt,
    fs::File,
    io::{
        self,
        IsTerminal,
        Read,
        Write, //
    },
    panic, process, thread,
    time::{
        Duration,
        Instant, //
    },
};

use anyhow::Context;
use rustix::{
    event::{
        PollFd,
        PollFlags,
        Timespec,
        poll, //
    },
    pipe::{
        PipeFlags,
        pipe_with, //
    },
    process::{
        Pid,
        Resource,
        Rlimit,
        Signal,
        WaitOptions,
        WaitStatus,
        getppid,
        kill_process,
        set_parent_process_death_signal,
        setrlimit,
        waitpid, //
    },
};
use serde::{
    Serialize,
    de::DeserializeOwned, //
};

use self::page::{
    SharedPage,
    SharedPageMapping, //
};
pub use self::{
    page::{
        TargetCall,
        Underway, //
    },
    watched::Watched,
};

/// The time without a new request after which the current request counts as endless. The longest
/// request of a correct engine, a CHECK of 4 GiB in debug mode, takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The environment variable with which tests of faulty engines shorten the time limit, in seconds.
#[cfg(feature = "test-support")]
pub const PATIENCE_VARIABLE: &str = "SLABLAB_TEST_PATIENCE";

/// Returns the time limit of a request.
pub fn patience() -> Duration {
    #[cfg(feature = "test-support")]
    if let Ok(seconds) = std::env::var(PATIENCE_VARIABLE) {
        return Duration::from_secs(
            seconds
                .parse()
                .expect("SLABLAB_TEST_PATIENCE must be a number of seconds"),
        );
    }
    PATIENCE
}

/// The time without a new request after which a request to the device counts as endless. Emulated CPUs,
/// a debug kernel and a busy host make requests slow.
pub const DEVICE_PATIENCE: Duration = Duration::from_secs(60);

/// The time in which a killed child ends, unless it is in the kernel and never returns.
const GRACE: Duration = Duration::from_secs(5);

/// The interval at which the parent polls the page.
const TICK: Duration = Duration::from_millis(50);

/// The exit status of a child that panicked.
const PANICKED: i32 = 101;

/// The time limit of a request of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The child is killed when a request, or the time between two requests, exceeds this limit.
    Limited(Duration),
    /// The child is killed when a request exceeds this limit. The time between two requests is not limited,
    /// because the child waits for its user.
    Request(Duration),
}

/// The reason why a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// A new block violates a rule; the text names the rule and the block.
    Violation(String),
    /// A panic, with its text.
    Panic(String),
    /// A signal.
    Signal(i32),
    /// A request did not end within this time.
    Endless(Duration),
    /// The child exited with this status and without a result.
    Status(Option<i32>),
}

/// The end of a child that has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The reason.
    pub end: EndReason,
    /// The state of the thread in which the child ended.
    pub underway: Underway,
    /// The sum of the operation numbers of all threads.
    pub operations: u64,
    /// The bytes of the pool; 0 if the child did not record them.
    pub pool_bytes: u64,
    /// The child was killed and did not end, because it is in the kernel, which does not return.
    pub is_stuck: bool,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            EndReason::Violation(text) => f.write_str(text)?,
            EndReason::Panic(text) => write!(f, "the engine panicked: {text}")?,
            EndReason::Signal(signal) => {
                write!(f, "the engine crashed with {}", signal_name(*signal))?;
                if *signal == libc::SIGSEGV {
                    f.write_str(" (it used up its stack, or accessed memory that does not exist)")?;
                }
            }
            EndReason::Endless(limit) => write!(
                f,
                "the engine did not answer within {} seconds",
                limit.as_secs_f64()
            )?,
            EndReason::Status(status) => write!(
                f,
                "the engine ended the process with status {}",
                status.unwrap_or(-1)
            )?,
        }
        match &self.underway.request {
            Some(request) => write!(f, ", in {request}"),
            // A process of a sound engine does not crash here.
            None if matches!(self.end, EndReason::Signal(_)) => f.write_str(
                ", between two requests: the engine had corrupted memory outside the pool",
            ),
            None => f.write_str(", between two requests"),
        }
    }
}

/// Returns the name of a signal that a fault raises.
pub fn signal_name(number: i32) -> String {
    let known = [
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGKILL, "SIGKILL"),
    ];
    let found = known.iter().find(|(signal, _)| *signal == number);
    found.map_or_else(
        || format!("signal {number}"),
        |(_, name)| (*name).to_owned(),
    )
}

/// A violated rule about new blocks. A pool of this process panics with this value.
pub struct BlockViolation(pub String);

/// Runs `work` in a child process, and returns its result or the reason why the child ended.
///
/// # Errors
///
/// When no child can be created.
pub fn run<T: Serialize + DeserializeOwned>(
    patience: Patience,
    work: impl FnOnce() -> T,
) -> anyhow::Result<Result<T, Death>> {
    let page =
        SharedPageMapping::new().context("cannot map memory to share with a child process")?;
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).context("cannot create a pipe to a child process")?;
    io::stdout().flush()?;
    // SAFETY: The child of a process with several threads may call only async-signal-safe functions. This
    // process has one thread here: the command starts threads only in its children, and in functions that
    // join them before they return.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("cannot start a child process"),
        0 => {
            drop(reader);
            child(page.leak(), File::from(writer), work)
        }
        child => {
            drop(writer);
            let child = Pid::from_raw(child).context("fork returned an invalid process ID")?;
            let (result, status, end) = attend(child, &page, File::from(reader), patience)?;
            if status.is_some_and(|status| status.exit_status() == Some(0)) {
                if let Ok(result) = serde_json::from_slice(&result) {
                    return Ok(Ok(result));
                }
            }
            Ok(Err(Death {
                end: end.unwrap_or_else(|| EndReason::of(&page, status)),
                underway: page.slot_at_end().read(),
                operations: page.operations(),
                pool_bytes: page.pool_bytes(),
                is_stuck: status.is_none(),
            }))
        }
    }
}

impl Death {
    /// Returns whether the child ended because the reader of its output had closed it.
    pub fn is_closed_output(&self) -> bool {
        self.end == EndReason::Signal(libc::SIGPIPE)
    }
}

impl EndReason {
    /// Returns the reason why a child ended that the parent did not kill.
    fn of(page: &SharedPage, status: Option<WaitStatus>) -> Self {
        match page.text() {
            Some(text) => match text.strip_prefix(VIOLATION_MARK) {
                Some(violation) => Self::Violation(violation.to_owned()),
                None => Self::Panic(text),
            },
            None => match status.and_then(|status| status.terminating_signal()) {
                Some(signal) => Self::Signal(signal),
                None => Self::Status(status.and_then(|status| status.exit_status())),
            },
        }
    }
}

/// The prefix of the text of a [`BlockViolation`] in the page.
const VIOLATION_MARK: &str = "\0";

/// Runs the work of a child, sends the result, and ends the process.
fn child<T: Serialize>(page: &'static SharedPage, mut writer: File, work: impl FnOnce() -> T) -> ! {
    let parent = getppid();
    // If the parent is killed, no process would end an endless request.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if getppid() != parent {
        process::exit(PANICKED);
    }
    // A crash is an expected result, so no core dump is written.
    let none = Rlimit {
        current: Some(0),
        maximum: None,
    };
    let _ = setrlimit(Resource::Core, none);
    underway::watch(page);
    catch_signals();
    panic::set_hook(Box::new(|info| {
        let text = match info.payload().downcast_ref::<BlockViolation>() {
            Some(BlockViolation(text)) => format!("{VIOLATION_MARK}{text}"),
            None => {
                let payload = info.payload();
                let text = payload.downcast_ref::<&str>().copied();
                let owned = payload.downcast_ref::<String>().map(String::as_str);
                let what = text.or(owned).unwrap_or("no message");
                match info.location() {
                    Some(place) => format!("{what}, at {}:{}", place.file(), place.line()),
                    None => what.to_owned(),
                }
            }
        };
        if !underway::record_panic(&text) {
            wait_for_first();
        }
        // Unwinding would drop blocks, and so call the faulty engine again.
        leave(PANICKED)
    }));
    let result = work();
    let written = serde_json::to_vec(&result).map(|bytes| writer.write_all(&bytes));
    leave(match written {
        Ok(Ok(())) => 0,
        _ => PANICKED,
    })
}

/// Ends the process without flushing buffers: their contents belong to the parent.
fn leave(status: i32) -> ! {
    // SAFETY: `_exit` has no requirement for memory safety. It runs no destructor, and nothing of this
    // process is needed any more.
    unsafe { libc::_exit(status) }
}

/// Waits until the first thread that died has ended the process. A thread that ended the process earlier would
/// cut off the text that the first thread records. Async-signal-safe.
fn wait_for_first() -> ! {
    loop {
        // SAFETY: `pause` has no requirement, and is async-signal-safe.
        unsafe { libc::pause() };
    }
}

/// Records the thread that receives a signal, and raises the signal again with its default action.
extern "C" fn note(signal: libc::c_int) {
    if !underway::accuse() {
        wait_for_first();
    }
    // SAFETY: `signal` is async-signal-safe, and the default action needs no handler.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: `raise` is async-signal-safe. The signal is blocked until the handler returns, and then has its
    // default action.
    unsafe { libc::raise(signal) };
}

/// Installs the handler for the signals of crashes.
fn catch_signals() {
    for signal in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGABRT,
        libc::SIGFPE,
        libc::SIGTRAP,
    ] {
        // SAFETY: All zeros is a valid value of `sigaction`: no flags and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // The handler runs on the signal stack of the standard library, because the thread's own stack may be
        // used up.
        action.sa_flags = libc::SA_ONSTACK;
        // SAFETY: `action` is initialised, and a null pointer for the old action is allowed. The handler is
        // async-signal-safe: it reads thread-local memory without destructors, writes atomics, and calls
        // `pause`, `signal` and `raise`.
        unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    }
}

/// Waits for a child, and returns its status if it has ended.
fn wait(child: Pid, options: WaitOptions) -> anyhow::Result<Option<WaitStatus>> {
    loop {
        match waitpid(Some(child), options) {
            Ok(ended) => return Ok(ended.map(|(_, status)| status)),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for a child process"),
        }
    }
}

/// Waits for a child for at most `limit`, and returns its status if it has ended.
fn wait_for(child: Pid, limit: Duration) -> anyhow::Result<Option<WaitStatus>> {
    let begun = Instant::now();
    loop {
        let status = wait(child, WaitOptions::NOHANG)?;
        if status.is_some() || begun.elapsed() >= limit {
            return Ok(status);
        }
        thread::sleep(TICK);
    }
}

/// Reads the result of a child until the child ends, and kills the child if it exceeds the limit. The status
/// is `None` if the child does not end although it was killed.
fn attend(
    child: Pid,
    page: &SharedPage,
    mut reader: File,
    patience: Patience,
) -> anyhow::Result<(Vec<u8>, Option<WaitStatus>, Option<EndReason>)> {
    let mut result = Vec::new();
    let mut end = None;
    let (mut moves, mut idle) = (page.moves(), Duration::ZERO);
    let mut before = Instant::now();
    loop {
        let mut ready = [PollFd::new(&reader, PollFlags::IN)];
        let tick = Timespec {
            tv_sec: 0,
            tv_nsec: TICK.as_nanos() as i64,
        };
        match poll(&mut ready, Some(&tick)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                let mut piece = [0; 4096];
                match reader.read(&mut piece)? {
                    0 => break,
                    count => result.extend_from_slice(&piece[..count]),
                }
                idle = Duration::ZERO;
            }
            Err(errno) => return Err(errno).context("cannot wait for a child process"),
        }
        // Time in which this process itself was stopped does not count.
        idle += before.elapsed().min(2 * TICK);
        before = Instant::now();
        if moves != page.moves() {
            (moves, idle) = (page.moves(), Duration::ZERO);
        }
        let limit = match patience {
            Patience::Limited(limit) => Some(limit),
            Patience::Request(limit) if page.is_in_a_request() => Some(limit),
            Patience::Request(_) => None,
        };
        if let Some(limit) = limit {
            if idle > limit {
                end = Some(EndReason::Endless(limit));
                let _ = kill_process(child, Signal::KILL);
                break;
            }
        }
    }
    let status = match end {
        Some(_) => wait_for(child, GRACE)?,
        None => wait(child, WaitOptions::empty())?,
    };
    let exited = status.is_some_and(|status| status.exited());
    if (end.is_some() || !exited) && io::stderr().is_terminal() {
        // Clear the line in which the child showed its progress.
        eprint!("\r\x1b[2K");
    }
    Ok((result, status, end))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_that_does_not_end_is_given_up() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let (pid, begun) = (Pid::from_child(&child), Instant::now());
        let limit = Duration::from_millis(100);
        assert!(wait_for(pid, limit).unwrap().is_none());
        assert!(begun.elapsed() >= limit);
        child.kill().unwrap();
        let status = wait_for(pid, Duration::from_secs(60)).unwrap();
        let signal = status.and_then(|status| status.terminating_signal());
        assert_eq!(signal, Some(libc::SIGKILL));
        assert!(child.wait().is_err(), "the child was already reaped");
    }
}
