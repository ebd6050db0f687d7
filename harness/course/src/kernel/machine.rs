// SPDX-License-Identifier: GPL-2.0

//! The virtual machine: the script that builds and boots it, and what its files say about its end.

use std::{
    fs,
    io::{
        BufRead,
        BufReader, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::{
        Command,
        ExitStatus,
        Stdio, //
    },
};

use anyhow::{
    Context,
    bail, //
};

use super::{
    console::{
        self,
        Reason, //
    },
    runner::Event,
};

/// The learner's file, as messages name it.
const FILE: &str = "rust/student/lib.rs";

/// The virtual machine of a checkout.
pub(super) struct Machine<'run> {
    pub(super) checkout: &'run Path,
    /// Whether the kernel is the debug kernel.
    pub(super) is_debug: bool,
}

impl Machine<'_> {
    fn script(&self, action: &str) -> Command {
        let mut command = Command::new(self.checkout.join("scripts/course-kernel.sh"));
        if self.is_debug {
            command.arg("--debug");
        }
        command.arg(action).stdin(Stdio::null());
        command
    }

    /// Returns whether the kernel is built.
    pub(super) fn has_kernel(&self) -> anyhow::Result<bool> {
        Ok(run(&mut self.script("has"))?.success())
    }

    /// Installs the packages and builds the kernel.
    pub(super) fn build_kernel(&self) -> anyhow::Result<()> {
        if !run(&mut self.script("build"))?.success() {
            bail!("the kernel cannot be built: see the messages above");
        }
        Ok(())
    }

    /// Builds the module with the learner's allocator.
    pub(super) fn build_module(&self) -> anyhow::Result<()> {
        if !run(&mut self.script("image"))?.success() {
            bail!("the module with your allocator cannot be built: see the messages above");
        }
        Ok(())
    }

    /// Returns the functions of the module that have too many local variables for the kernel, each with its bytes of
    /// stack, as words.
    pub(super) fn large_frames(&self) -> anyhow::Result<Vec<String>> {
        let output = self
            .script("frames")
            .output()
            .context("cannot run scripts/course-kernel.sh")?;
        if output.status.success() {
            return Ok(Vec::new());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let frames = text.lines().filter_map(|line| line.trim().split_once(' '));
        let frames = frames.map(|(bytes, name)| {
            format!("{name} uses {bytes} bytes of stack, but a function in the kernel may use 4096")
        });
        Ok(frames.collect())
    }

    /// Boots, runs the command with these arguments, and passes each event to `on_event`.
    pub(super) fn boot(
        &self,
        arguments: &[String],
        on_event: impl FnMut(Event),
    ) -> anyhow::Result<ExitStatus> {
        events(self.script("boot").args(arguments), on_event)
    }

    /// Returns the file with the console of the machine.
    pub(super) fn console(&self) -> PathBuf {
        self.log("console")
    }

    fn log(&self, extension: &str) -> PathBuf {
        let kernel = if self.is_debug {
            "debug-kernel"
        } else {
            "kernel"
        };
        self.checkout
            .join(format!("build/log/course-{kernel}.{extension}"))
    }

    /// Returns why the machine ended, in words, from its console and from the messages of vm.sh.
    pub(super) fn end(&self) -> anyhow::Result<String> {
        let console = fs::read(self.console()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let messages = fs::read(self.log("log")).unwrap_or_default();
        let messages = String::from_utf8_lossy(&messages);
        if let Some(stop) = console::stop(&console) {
            let line = match &stop.reason {
                Reason::Panic { file, line, .. } if file.ends_with(FILE) => Some(*line),
                _ => self.line(&stop.places)?,
            };
            return Ok(words(&stop.reason, line));
        }
        if let Some((number, report)) = self.report()? {
            let lines: Vec<_> = console
                .lines()
                .skip(number - 1)
                .map(str::trim_end)
                .collect();
            let line = self.line(&console::places(&lines))?;
            let place = line.map_or_else(String::new, |line| format!(", at {FILE}, line {line}"));
            return Ok(format!(
                "a checker of the kernel found a fault{place}: {report}"
            ));
        }
        let error = messages
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("error: "));
        Ok(match error {
            Some(error) => format!("the virtual machine ended without a verdict: {error}"),
            None => "the virtual machine ended without a verdict".to_owned(),
        })
    }

    /// Returns the first report of the kernel's checkers in the console, and the number of its line.
    pub(super) fn report(&self) -> anyhow::Result<Option<(usize, String)>> {
        let output = Command::new("awk")
            .arg("-f")
            .arg(self.checkout.join("scripts/reports.awk"))
            .arg(self.console())
            .output()
            .context("cannot run awk")?;
        let reports = String::from_utf8_lossy(&output.stdout);
        // LINE: KIND: TEXT
        let first = reports
            .lines()
            .next()
            .and_then(|report| report.split_once(": "));
        Ok(first.and_then(|(number, report)| Some((number.parse().ok()?, report.to_owned()))))
    }

    /// Returns the line of the learner's file at the first of these places that is in the file.
    fn line(&self, places: &[String]) -> anyhow::Result<Option<u32>> {
        if places.is_empty() {
            return Ok(None);
        }
        let output = self
            .script("line")
            .args(places)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run scripts/course-kernel.sh")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
    }
}

/// Runs a command of the script.
fn run(command: &mut Command) -> anyhow::Result<ExitStatus> {
    command
        .status()
        .context("cannot run scripts/course-kernel.sh")
}

/// Runs a command that prints events, and passes each event to `on_event`.
pub(super) fn events(
    command: &mut Command,
    mut on_event: impl FnMut(Event),
) -> anyhow::Result<ExitStatus> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", Path::new(command.get_program()).display()))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            // A line that is cut off by the end of the machine is no event.
            if let Ok(event) = serde_json::from_slice(&line.context("cannot read the events")?) {
                on_event(event);
            }
        }
    }
    child.wait().context("cannot wait for the tests")
}

/// Returns the reason of a stop in words. `line` is the line of the learner's file, if it is known.
fn words(reason: &Reason, line: Option<u32>) -> String {
    let place = line.map(|line| format!("{FILE}, line {line}"));
    match (reason, place) {
        (Reason::Panic { message, .. }, Some(place)) => format!(
            "the kernel stopped at {place}: {message}\n\
             A panic ends a process, but in the kernel it ends the machine."
        ),
        (
            Reason::Panic {
                file,
                line,
                message,
            },
            None,
        ) => {
            format!("the kernel stopped at {file}, line {line}, outside of your file: {message}")
        }
        (Reason::StackOverflow { bytes }, place) => format!(
            "the kernel's stack is full at {}: a stack of the kernel has only {} KiB, so a function that calls \
             itself often overflows it",
            place.as_deref().unwrap_or("a place outside of your file"),
            bytes >> 10
        ),
        (Reason::Stuck, Some(place)) => format!(
            "the kernel does not return from your allocator: it was at {place}, in a loop that does not end"
        ),
        (Reason::Stuck, None) => {
            "the kernel does not return from a call, and it was not in your file when the \
                                  machine was stopped"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        os,
        process, //
    };

    use super::*;

    #[test]
    fn each_stop_is_a_sentence_with_the_line() {
        let panic = Reason::Panic {
            file: "core/src/slice.rs".to_owned(),
            line: 7,
            message: "index out of bounds".to_owned(),
        };
        let stack = Reason::StackOverflow { bytes: 16384 };
        for reason in [&panic, &stack, &Reason::Stuck] {
            assert!(words(reason, Some(36)).contains("at rust/student/lib.rs, line 36"));
            assert!(!words(reason, None).contains("lib.rs"));
        }
        assert!(words(&panic, None).contains("at core/src/slice.rs, line 7"));
        assert!(words(&stack, None).contains("only 16 KiB"));
    }

    #[test]
    fn a_report_of_a_checker_is_the_reason_of_the_end() {
        let checkout = env::temp_dir().join(format!("slablab-course-{}", process::id()));
        let log = checkout.join("build/log");
        fs::create_dir_all(&log).unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
        os::unix::fs::symlink(scripts, checkout.join("scripts")).unwrap();
        let machine = Machine {
            checkout: &checkout,
            is_debug: true,
        };
        let end = |console, messages| {
            fs::write(machine.console(), console).unwrap();
            fs::write(log.join("course-debug-kernel.log"), messages).unwrap();
            machine.end().unwrap()
        };
        let report = "Linux version 7.3.4\nBUG: KASAN: slab-out-of-bounds in f+0x1/0x2\n";
        let reported = end(report, "error: the kernel's checkers reported a bug\n");
        let timeout = end("Linux version 7.3.4\n", "noise\nerror: it did not finish\n");
        let silence = end("", "");
        fs::remove_dir_all(&checkout).unwrap();
        assert_eq!(
            reported,
            "a checker of the kernel found a fault: KASAN: BUG: KASAN: slab-out-of-bounds in f+0x1/0x2"
        );
        assert_eq!(
            timeout,
            "the virtual machine ended without a verdict: it did not finish"
        );
        assert_eq!(silence, "the virtual machine ended without a verdict");
    }

    #[test]
    fn lines_that_are_no_events_are_skipped() {
        let mut found = Vec::new();
        let text = "{\"begin\":\"a\"}\nnoise\n{\"passed\":7}\n{\"begin\":\"b\"}\n{\"pas";
        let mut command = Command::new("printf");
        let status = events(command.arg("%s").arg(text), |event| found.push(event)).unwrap();
        assert!(status.success());
        assert_eq!(
            found,
            [
                Event::Begin("a".to_owned()),
                Event::Passed(7),
                Event::Begin("b".to_owned())
            ]
        );
    }
}
