// SPDX-License-Identifier: GPL-2.0

//! Measures the rows: each thread of a row runs on its own processor.

use std::thread;

use anyhow::{
    Context,
    anyhow,
    bail, //
};
use indicatif::{
    ProgressBar,
    ProgressStyle, //
};
use rustix::thread::{
    CpuSet,
    sched_getaffinity,
    sched_setaffinity, //
};

use super::{
    BenchArgs,
    calls,
    document::{
        BenchDocument,
        BenchRow,
        Measured, //
    },
    suite::{
        BenchJob,
        Group,
        jobs, //
    }, //
};
use crate::{
    clock::Clock,
    device::{
        Device,
        Errno,
        open_device, //
    },
    errno::Name,
    target::Target,
    uapi::{
        BenchSubject,
        slablab_bench, //
    },
};

/// Repetitions of a measurement in nanoseconds, which varies from run to run.
const REPEATS: usize = 5;

/// Repetitions of a measurement of single operations: samples with a timer tick are left out, but other
/// interrupts are not detected.
const REPEATS_SINGLY: usize = 3;

/// Measures the rows that the arguments choose.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<BenchDocument> {
    let device = open_device()?;
    let cpus = processors()?;
    let clock = Clock::of_this_machine();
    let mut document = BenchDocument {
        clock,
        cpus: cpus.len(),
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        rows: Vec::new(),
        calls: Vec::new(),
        left_out: Vec::new(),
    };
    let mut chosen = Vec::new();
    for group in args.groups() {
        let hopeless = args
            .subjects()
            .into_iter()
            .filter(|subject| group.is_hopeless_for(*subject));
        document.left_out.extend(hopeless.map(|subject| {
            format!(
                "{group:?}: {subject} compares all free blocks at each free, which takes minutes"
            )
        }));
        match obstacle(group, &device, cpus.len())? {
            Some(why) => document.left_out.push(why),
            None => chosen.push(group),
        }
    }
    let jobs: Vec<_> = chosen
        .iter()
        .flat_map(|group| jobs(*group, args.brief))
        .collect();
    let progress = progress(jobs.len());
    for job in &jobs {
        progress.set_message(format!("{}: {}", job.group.title(), job.name));
        document.rows.push(row(
            &device,
            job,
            &args.subjects(),
            &cpus,
            clock,
            args.brief,
        )?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    drop(progress);
    if chosen.contains(&Group::Calls) {
        document.calls = calls::run(args.brief)?;
    }
    Ok(document)
}

/// Returns the reason why a group cannot be measured on this machine, or `None` if it can.
fn obstacle(group: Group, device: &Device, cpus: usize) -> anyhow::Result<Option<String>> {
    if cpus < group.cpus() {
        return Ok(Some(format!("{}: needs two processors", group.title())));
    }
    let needed = jobs(group, true)
        .iter()
        .map(|job| job.bench.pool_bytes)
        .max();
    let info = device.info().context("INFO failed")?;
    let free = info
        .private_bytes_max
        .saturating_sub(info.private_bytes_used);
    if needed.is_some_and(|needed| needed >= free) {
        return Ok(Some(format!(
            "{}: private pools may have only {} MiB more; the module parameter private_mib_total \
             raises the limit",
            group.title(),
            free >> 20
        )));
    }
    Ok(None)
}

/// Measures one row.
fn row(
    device: &Device,
    job: &BenchJob,
    subjects: &[BenchSubject],
    cpus: &[usize],
    clock: Clock,
    brief: bool,
) -> anyhow::Result<BenchRow> {
    let repeats = match clock {
        _ if brief => 1,
        Clock::Nanoseconds => REPEATS,
        Clock::Instructions if job.is_singly() => REPEATS_SINGLY,
        Clock::Instructions => 1,
    };
    let mut results = Vec::new();
    let affordable = |subject: &&BenchSubject| !job.group.is_hopeless_for(**subject);
    for subject in subjects.iter().filter(affordable) {
        let mut times = Vec::new();
        for _ in 0..repeats {
            match together(device, &job.for_subject(*subject), cpus) {
                Ok(replies) => times.push(Measured::new(*subject, job.is_singly(), &replies)),
                Err(Errno::OPNOTSUPP) if *subject == BenchSubject::Student => {
                    bail!(
                        "the module has no engine student: 'make initramfs STUDENT=1' builds one that has it"
                    );
                }
                Err(Errno::OPNOTSUPP) => break,
                Err(errno) => {
                    let what = format!("{}: {}: {subject}", job.group.title(), job.name);
                    return Err(anyhow!("BENCH failed with {}", Name(errno)).context(what));
                }
            }
        }
        times.sort_by(|one, other| one.cost.total_cmp(&other.cost));
        // A wrong result is always reported. Otherwise the median of the nanoseconds is reported.
        // Instruction counts differ by interrupts only, so the run with the smallest maximum is reported.
        let wrong = times.iter().position(|measured| !measured.is_right());
        let longest = |index: &usize| times[*index].singly.map(|singly| singly.max);
        let quietest = (0..times.len()).min_by_key(longest);
        let chosen = match clock {
            Clock::Instructions => quietest,
            Clock::Nanoseconds => Some(times.len() / 2),
        };
        results.extend(wrong.or(chosen).and_then(|index| times.get(index).cloned()));
    }
    Ok(BenchRow {
        group: job.group,
        name: job.name.clone(),
        block_bytes: job.bench.size,
        threads: job.bench.threads,
        results,
    })
}

/// Calls BENCH on one file from as many threads as the row has, each on its own processor.
fn together(
    device: &Device,
    bench: &slablab_bench,
    cpus: &[usize],
) -> Result<Vec<slablab_bench>, Errno> {
    thread::scope(|scope| {
        let on = |cpu: usize| move || pinned(cpu).and_then(|()| device.bench(bench));
        let threads: Vec<_> = (0..bench.threads as usize)
            .map(|index| scope.spawn(on(cpus[index % cpus.len()])))
            .collect();
        // If one thread fails, the others fail with a general error: report the first thread's own error.
        let replies: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(Errno::IO)))
            .collect();
        let failed =
            |reply: &&Result<_, Errno>| matches!(reply, Err(errno) if *errno != Errno::CANCELED);
        if let Some(Err(errno)) = replies.iter().find(failed) {
            return Err(*errno);
        }
        replies.into_iter().collect()
    })
}

/// Pins this thread to a processor.
fn pinned(cpu: usize) -> Result<(), Errno> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)
}

/// Returns the processors that may be used.
fn processors() -> anyhow::Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("sched_getaffinity failed")?;
    let cpus: Vec<_> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect();
    if cpus.is_empty() {
        bail!("there are no processors");
    }
    Ok(cpus)
}

/// Creates the progress bar, which is shown on a terminal only.
fn progress(rows: usize) -> ProgressBar {
    let bar = ProgressBar::new(rows as u64);
    if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}
