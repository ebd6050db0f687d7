// SPDX-License-Identifier: GPL-2.0

//! Runs a command with limits on time, memory and output.

use std::{
    ffi::OsStr,
    io::{
        self,
        Read, //
    },
    os::unix::process::{
        CommandExt as _,
        ExitStatusExt as _, //
    },
    process::{
        Child,
        Command,
        ExitStatus,
        Stdio, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    },
};

use rustix::process::{
    Pid,
    Signal,
    kill_process_group, //
};

/// The interval at which the time is compared with its limit.
const TICK: Duration = Duration::from_millis(20);

/// The time that a command has to remove its files after the signal to end.
const GRACE: Duration = Duration::from_secs(5);

/// The limits of a command and of its child processes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The time until the command is ended, in seconds.
    pub seconds: u64,
    /// The processor time of each process, in seconds.
    pub cpu_seconds: Option<u64>,
    /// The address space of each process, in bytes.
    pub memory_bytes: Option<u64>,
    /// The largest file that a process can write, in bytes.
    pub file_bytes: Option<u64>,
    /// The bytes of each of the two outputs that are kept. A longer standard output is a failure, and the command can
    /// write no more of it. A longer standard error is read and left out.
    pub output_bytes: u64,
}

/// The end of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The command ended itself with this status.
    Status(i32),
    /// The command was ended at a limit, which the text names.
    Limit(String),
    /// The command was ended by another signal.
    Signal(i32),
}

/// A command that has ended.
#[derive(Debug)]
pub struct Run {
    /// The end.
    pub ended: Ended,
    /// The standard output.
    pub output: Vec<u8>,
    /// The standard error, up to the limit.
    pub errors: Vec<u8>,
}

impl Limits {
    /// Returns a command that sets these limits and then executes `program` with the arguments that the caller adds.
    /// The limits hold from the first instruction of the program on, also for its child processes.
    ///
    /// `prlimit` of util-linux sets them, because a parent process could set them only after the child has begun.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("prlimit");
        let limits = [
            ("cpu", self.cpu_seconds),
            ("as", self.memory_bytes),
            ("fsize", self.file_bytes),
            ("core", Some(0)),
        ];
        for (resource, most) in limits {
            if let Some(most) = most {
                command.arg(format!("--{resource}={most}"));
            }
        }
        command.arg("--").arg(program);
        command
    }

    /// Runs a command that [`Limits::command`] returned, without input, to its end.
    ///
    /// # Errors
    ///
    /// `prlimit` cannot be started. If the program cannot be started, the status is that of `prlimit`.
    pub fn run(&self, mut command: Command) -> io::Result<Run> {
        // A group of its own, so that the child processes of the command end with it.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let most = self.output_bytes;
        let output = thread::spawn(move || output.map(|output| read(output, most + 1, false)));
        let errors = thread::spawn(move || errors.map(|errors| read(errors, most, true)));
        let begun = Instant::now();
        let mut late = None;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(self.seconds) {
                late = Some(format!("it did not end within {} s", self.seconds));
                break end(&mut child)?;
            }
            thread::sleep(TICK);
        };
        // Processes that the command left behind would keep the pipes open.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        let mut output = joined(output);
        let errors = joined(errors);
        if output.len() as u64 > most {
            output.clear();
            late = Some(format!("it printed more than {} KiB", most >> 10));
        }
        let ended = match late {
            Some(limit) => Ended::Limit(limit),
            None => self.ended(status),
        };
        Ok(Run {
            ended,
            output,
            errors,
        })
    }

    /// Returns the end of a command that was not ended by this process.
    fn ended(&self, status: ExitStatus) -> Ended {
        let signal = match (status.code(), status.signal()) {
            (Some(code), _) => return Ended::Status(code),
            (None, signal) => signal.unwrap_or_default(),
        };
        // A process at the hard limit of its processor time is killed.
        let is = |other: Signal| other.as_raw() == signal;
        match (self.cpu_seconds, self.file_bytes) {
            (Some(seconds), _) if is(Signal::XCPU) || is(Signal::KILL) => {
                Ended::Limit(format!("it used more than {seconds} s of processor time"))
            }
            (_, Some(bytes)) if is(Signal::XFSZ) => {
                Ended::Limit(format!("it wrote a file of more than {} MiB", bytes >> 20))
            }
            _ => Ended::Signal(signal),
        }
    }
}

/// Reads up to `most` bytes, and then reads the rest without keeping it if `drains`.
fn read(mut from: impl Read, most: u64, drains: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The bytes that were read before an error are the output.
    let _ = from.by_ref().take(most).read_to_end(&mut bytes);
    if drains {
        let _ = io::copy(&mut from, &mut io::sink());
    }
    bytes
}

fn joined(thread: thread::JoinHandle<Option<Vec<u8>>>) -> Vec<u8> {
    thread.join().ok().flatten().unwrap_or_default()
}

/// Ends a command: first with a signal that lets it remove its files, then with a signal that it cannot ignore.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let begun = Instant::now();
    while begun.elapsed() < GRACE {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(TICK);
    }
    let _ = kill_process_group(group, Signal::KILL);
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        seconds: 60,
        cpu_seconds: None,
        memory_bytes: None,
        file_bytes: None,
        output_bytes: 1024,
    };

    fn shell(limits: Limits, script: &str) -> Run {
        let mut command = limits.command("sh");
        command.args(["-c", script]);
        limits.run(command).unwrap()
    }

    #[test]
    fn the_status_and_both_outputs_of_a_command_are_returned() {
        let run = shell(LIMITS, "echo result; echo message >&2; exit 3");
        assert_eq!(run.ended, Ended::Status(3));
        assert_eq!(
            (&run.output[..], &run.errors[..]),
            (&b"result\n"[..], &b"message\n"[..])
        );
    }

    #[test]
    fn a_command_that_does_not_end_is_ended_with_its_children() {
        let run = shell(
            Limits {
                seconds: 1,
                ..LIMITS
            },
            "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1; done",
        );
        assert_eq!(
            run.ended,
            Ended::Limit("it did not end within 1 s".to_owned())
        );
        let sleeper: i32 = String::from_utf8(run.output)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let mut tries = 0;
        while std::fs::read_to_string(format!("/proc/{sleeper}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            tries += 1;
            assert!(tries < 1000, "process {sleeper} was not ended");
            thread::sleep(TICK);
        }
    }

    #[test]
    fn a_command_that_uses_too_much_processor_time_is_ended() {
        let run = shell(
            Limits {
                cpu_seconds: Some(1),
                ..LIMITS
            },
            "while :; do :; done",
        );
        assert_eq!(
            run.ended,
            Ended::Limit("it used more than 1 s of processor time".to_owned())
        );
    }

    #[test]
    fn a_command_that_prints_for_ever_is_ended() {
        let run = shell(LIMITS, "exec 2>/dev/null; yes");
        assert_eq!(
            run.ended,
            Ended::Limit("it printed more than 1 KiB".to_owned())
        );
        assert!(run.output.is_empty());
    }

    #[test]
    fn messages_without_end_are_cut_off() {
        let run = shell(
            LIMITS,
            "i=0; while [ $i -lt 5000 ]; do echo message >&2; i=$((i + 1)); done",
        );
        assert_eq!((run.ended, run.errors.len()), (Ended::Status(0), 1024));
    }

    #[test]
    fn a_command_that_writes_a_large_file_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "exec dd if=/dev/zero of={}/file bs=1M count=4",
            folder.path().display()
        );
        let run = shell(
            Limits {
                file_bytes: Some(1 << 20),
                ..LIMITS
            },
            &script,
        );
        assert_eq!(
            run.ended,
            Ended::Limit("it wrote a file of more than 1 MiB".to_owned())
        );
    }

    #[test]
    fn a_command_that_needs_too_much_memory_fails() {
        let script = "x=0123456789abcdef; while :; do x=$x$x; done";
        let run = shell(
            Limits {
                memory_bytes: Some(64 << 20),
                ..LIMITS
            },
            script,
        );
        assert!(
            !matches!(run.ended, Ended::Status(0) | Ended::Limit(_)),
            "{:?}",
            run.ended
        );
    }
}
