// SPDX-License-Identifier: GPL-2.0

//! The stages of the benchmark.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    time::Duration, //
};

use anyhow::{
    Context,
    anyhow, //
};
use slablab_report::Stage;
use slablab_trace::museum::Exhibit;

use crate::{
    calibration::Calibration,
    callgrind,
    clock::TimestampClock,
    machine,
    museum,
    pattern::{
        self,
        TimedPattern,
        worst::{
            self,
            Worst, //
        }, //
    },
    peers::{
        self,
        AllocatorRole,
        Peer, //
    },
    pool::MappedPool,
    results::{
        self,
        AllocatorDescription,
        FreeTimes,
        Instructions,
        MuseumRow,
        PatternRow,
        Results,
        RunConditions,
        Space,
        Time, //
    },
    space::{
        self,
        TraceRun,
        groups, //
    },
    statistics::quantile,
    targets,
    timing::{
        self,
        TimingConfig, //
    }, //
};

/// The options of a run.
pub(crate) struct BenchPlan {
    /// Whether every stage is brief.
    pub(crate) quick: bool,
    /// The words that select allocators by a part of the name. An empty list selects all.
    pub(crate) heaps: Vec<String>,
    /// The words that select patterns by a part of the name. An empty list selects all.
    pub(crate) patterns: Vec<String>,
    /// The words that select traces of the space stage by their group or a part of the name. An empty list selects
    /// all.
    pub(crate) traces: Vec<String>,
    /// The alignments of the space stage in bytes.
    pub(crate) aligns: Vec<usize>,
    /// The number of rounds, or `None` for the default.
    pub(crate) rounds: Option<usize>,
    /// The seed of all random numbers.
    pub(crate) seed: u64,
    /// Whether to count instructions.
    pub(crate) callgrind: bool,
    /// The directory of the output files.
    pub(crate) out: PathBuf,
}

impl BenchPlan {
    /// Returns whether the pattern `name` is selected.
    fn wants(&self, name: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|word| name.contains(&**word))
    }

    /// Returns whether anything is selected.
    pub(crate) fn measures(&self) -> bool {
        !self.timed().is_empty()
            || !self.freed().is_empty()
            || self.wants_space()
            || self.exhibits().next().is_some()
    }

    /// Returns whether the space stage runs.
    fn wants_space(&self) -> bool {
        self.wants("space") && !groups::patterns(&self.traces).is_empty()
    }

    /// Returns the selected allocators. The baseline and hybrid are always selected.
    fn peers(&self) -> Vec<Peer> {
        let wanted = |peer: &Peer| {
            self.heaps.is_empty()
                || peer.role == AllocatorRole::Baseline
                || peer.name == "hybrid"
                || self.heaps.iter().any(|word| peer.name.contains(&**word))
        };
        peers::all().into_iter().filter(wanted).collect()
    }

    /// Returns the selected patterns of pairs.
    fn timed(&self) -> Vec<TimedPattern> {
        let patterns = pattern::all(self.quick).into_iter();
        patterns.filter(|of| self.wants(&of.name)).collect()
    }

    /// Returns the selected patterns of single frees.
    fn freed(&self) -> Vec<Worst> {
        let patterns = Worst::all(self.quick).into_iter();
        patterns.filter(|of| self.wants(of.name)).collect()
    }

    /// Returns the selected exhibits of the museum.
    fn exhibits(&self) -> impl Iterator<Item = &'static Exhibit> {
        slablab_trace::museum::all().filter(|exhibit| self.wants(exhibit.pattern.name))
    }

    /// Returns the numbers of rounds and repetitions, and the length of a repetition.
    fn config(&self) -> TimingConfig {
        let (rounds, repetitions, microseconds) = if self.quick {
            (1, 3, 50)
        } else {
            (9, 5, 1_000)
        };
        TimingConfig {
            rounds: self.rounds.unwrap_or(rounds),
            repetitions,
            length: Duration::from_micros(microseconds),
        }
    }
}

/// Runs all stages.
///
/// # Errors
///
/// Returns the first wrong answer of an allocator, or an error of the operating system.
pub(crate) fn all(plan: &BenchPlan) -> anyhow::Result<Results> {
    let peers = plan.peers();
    let config = plan.config();
    let mut results = Results {
        about: RunConditions {
            date: machine::date(),
            processor: machine::processor(),
            kernel: machine::kernel(),
            repetitions: config.rounds * config.repetitions,
            rounds: config.rounds,
            repetition_microseconds: config.length.as_micros() as u64,
            seed: plan.seed,
            quick: plan.quick,
            ..RunConditions::default()
        },
        allocators: allocators(&peers),
        ..Results::default()
    };
    times(plan, &peers, &mut results)?;
    frees(plan, &peers, &mut results)?;
    if plan.wants_space() {
        spaces(plan, &peers, &mut results)?;
    }
    exhibits(plan, &peers, &mut results)?;
    results.about.no_instructions = match plan.callgrind {
        true => callgrind::unavailable(),
        false => Some("--no-callgrind was given".into()),
    };
    if results.about.no_instructions.is_none() {
        instructions(plan, &peers, &mut results)?;
    }
    results.targets = targets::judge(&results, plan.heaps.is_empty());
    Ok(results)
}

/// Returns the descriptions of the allocators.
fn allocators(peers: &[Peer]) -> Vec<AllocatorDescription> {
    let versions = peers::versions();
    let described = peers.iter().map(|peer| {
        let version = versions
            .iter()
            .find(|(name, _)| peer.name.starts_with(name));
        AllocatorDescription {
            name: peer.name.into(),
            version: version.map_or(String::new(), |(_, version)| version.clone()),
            threads: peer.threads,
            baseline: peer.role == AllocatorRole::Baseline,
            ours: peer.role == AllocatorRole::Ours,
            pool: peer.has_pool(),
        }
    });
    described.collect()
}

/// Times the patterns.
fn times(plan: &BenchPlan, peers: &[Peer], results: &mut Results) -> anyhow::Result<()> {
    let (patterns, config) = (plan.timed(), plan.config());
    let calibration = Calibration::new();
    let stage = Stage::new("time", patterns.len() * config.rounds * config.repetitions);
    for pattern in &patterns {
        stage.doing(&pattern.title);
        let timed = timing::compare(pattern, peers, plan.seed, config, &calibration, || {
            stage.step()
        })?;
        let mut cells = Vec::with_capacity(timed.len());
        for of in timed {
            results.about.redone += of.redone;
            results.about.disturbed += of.disturbed;
            results.about.checked_blocks += of.checked_blocks;
            cells.push(Some(Time {
                nanoseconds: of.nanoseconds,
                pairs: of.pairs,
                redone: of.redone,
                disturbed: of.disturbed,
            }));
        }
        results.times.push(PatternRow {
            pattern: pattern.name.clone(),
            title: pattern.title.clone(),
            cells,
        });
    }
    Ok(())
}

/// Times single frees.
///
/// Every repetition frees the same blocks in the same order, so the time of the n-th free is the median
/// of all n-th frees. An interrupt in one repetition does not change the median.
fn frees(plan: &BenchPlan, peers: &[Peer], results: &mut Results) -> anyhow::Result<()> {
    let clock = TimestampClock::new();
    for worst in plan.freed() {
        let stage = Stage::new(worst.title, worst.repetitions * peers.len());
        let grain = peers.iter().map(|peer| peer.grain).max().unwrap_or(1);
        let pool = MappedPool::new(worst.pool_bytes().next_multiple_of(grain))?;
        let mut samples: Vec<Option<Vec<Vec<f64>>>> = vec![Some(Vec::new()); peers.len()];
        for _ in 0..worst.repetitions {
            for (peer, samples) in peers.iter().zip(&mut samples) {
                stage.step();
                if samples.is_none() {
                    continue;
                }
                stage.doing(peer.name);
                let baseline = peer.role == AllocatorRole::Baseline;
                let sample = if peer.has_pool() {
                    let within = peer.within(&pool, pool.memory().bytes);
                    within.map(|of| worst::sample(&worst, &*of.heap, plan.seed, &clock, baseline))
                } else {
                    let of = peer.make(0)?;
                    let heap = &*of.heap;
                    Some(worst::sample(&worst, heap, plan.seed, &clock, baseline))
                };
                let sample = sample.transpose().context(peer.name)?.flatten();
                match sample {
                    Some(sample) => samples.as_mut().map(|all| all.push(sample)),
                    None => {
                        *samples = None;
                        None
                    }
                };
            }
        }
        results.frees.push(PatternRow {
            pattern: worst.name.into(),
            title: worst.title.into(),
            cells: samples.into_iter().map(|all| all.map(summarize)).collect(),
        });
    }
    Ok(())
}

/// Summarizes repetitions of the same frees; see [`FreeTimes`].
fn summarize(repetitions: Vec<Vec<f64>>) -> FreeTimes {
    let frees = repetitions[0].len();
    let median = |free: usize| {
        let mut of: Vec<_> = repetitions.iter().map(|all| all[free]).collect();
        of.sort_unstable_by(f64::total_cmp);
        quantile(&of, 0.5)
    };
    let mut medians: Vec<_> = (0..frees).map(median).collect();
    medians.sort_unstable_by(f64::total_cmp);
    FreeTimes {
        median: quantile(&medians, 0.5),
        p99: quantile(&medians, 0.99),
        max: medians[frees - 1],
        frees,
        repetitions: repetitions.len(),
    }
}

/// Measures the memory that traces need.
fn spaces(plan: &BenchPlan, peers: &[Peer], results: &mut Results) -> anyhow::Result<()> {
    let percent = if plan.quick { 10 } else { 100 };
    let traces: Vec<_> = (groups::patterns(&plan.traces).into_iter())
        .map(|pattern| (pattern, pattern.make(plan.seed, percent)))
        .collect();
    let runs: Vec<_> = (plan.aligns.iter())
        .flat_map(|align| traces.iter().map(move |(_, trace)| (*align, trace)))
        .map(|(align, trace)| TraceRun { trace, align })
        .collect();
    let stage = Stage::new("space", runs.len() * peers.len());
    let found = space::measure(&runs, peers, |what| {
        stage.doing(what);
        stage.step();
    })?;
    let patterns = traces.iter().map(|(pattern, _)| pattern).cycle();
    for ((run, required), pattern) in runs.iter().zip(found).zip(patterns) {
        let share = |bytes: usize| run.trace.peak_bytes() as f64 / bytes as f64;
        let cells = required.into_iter().map(|required| {
            let of = required?;
            Some(results::SmallestPool {
                pool_bytes: of.pool_bytes,
                metadata_bytes: of.metadata_bytes,
                cache_bytes: of.cache_bytes,
                utilisation: share(of.pool_bytes),
                utilisation_bound: share(of.usable_peak_bytes),
                utilisation_with_metadata: share(of.pool_bytes + of.metadata_bytes),
                utilisation_with_caches: share(of.pool_bytes + of.metadata_bytes + of.cache_bytes),
            })
        });
        results.space.push(Space {
            trace: run.trace.name.clone(),
            groups: groups::of(pattern).map(Into::into).collect(),
            align: run.align,
            operations: run.trace.ops().len(),
            peak_bytes: run.trace.peak_bytes() as usize,
            bound: space::bound(run.trace, run.align),
            cells: cells.collect(),
        });
    }
    Ok(())
}

/// Runs the exhibits of the museum.
fn exhibits(plan: &BenchPlan, peers: &[Peer], results: &mut Results) -> anyhow::Result<()> {
    let exhibits: Vec<_> = plan.exhibits().collect();
    if exhibits.is_empty() {
        return Ok(());
    }
    let stage = Stage::new("museum", exhibits.len() * peers.len());
    for exhibit in exhibits {
        let mut cells = Vec::with_capacity(peers.len());
        for peer in peers {
            stage.doing(&format!("{} {}", exhibit.pattern.name, peer.name));
            stage.step();
            cells.push(museum::run(peer, exhibit)?);
        }
        results.museum.push(MuseumRow {
            exhibit: exhibit.pattern.name.into(),
            address: exhibit.address.into(),
            pool_bytes: exhibit.pool_bytes,
            cells,
        });
    }
    Ok(())
}

/// Returns the number of pairs in a run under callgrind.
fn counted_pairs(quick: bool) -> u64 {
    if quick { 1_000 } else { 20_000 }
}

/// Counts instructions.
fn instructions(plan: &BenchPlan, peers: &[Peer], results: &mut Results) -> anyhow::Result<()> {
    let mut patterns: Vec<(String, String)> = plan
        .timed()
        .into_iter()
        .filter(|of| !of.is_class_pair() && of.name != "replace-4k-used")
        .map(|of| (of.name, of.title))
        .collect();
    let freed = plan.freed().into_iter().filter(|of| of.blocks < 10_000);
    patterns.extend(freed.map(|of| (of.name.into(), of.title.into())));
    if plan.quick {
        patterns.truncate(1);
    }
    let folder = plan.out.join("callgrind");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let stage = Stage::new("instructions", patterns.len() * peers.len());
    for (name, title) in patterns {
        let mut cells = Vec::with_capacity(peers.len());
        for peer in peers {
            stage.doing(&format!("{title} {}", peer.name));
            stage.step();
            if plan.quick && !matches!(peer.name, "hybrid" | "(empty)") {
                cells.push(None);
                continue;
            }
            let seed = plan.seed.to_string();
            let mut arguments: Vec<OsString> = ["--count", peer.name, &name, "--seed", &seed]
                .map(Into::into)
                .into();
            if plan.quick {
                arguments.push("--quick".into());
            }
            let file = format!("{}.{name}", peer.name.replace(['(', ')', ' '], ""));
            let counted = callgrind::count(&arguments, &folder.join(file))
                .with_context(|| format!("{} with the pattern '{title}'", peer.name))?;
            let pairs = match Worst::all(plan.quick).iter().find(|of| of.name == name) {
                Some(worst) => worst.frees as u64,
                None => counted_pairs(plan.quick),
            } as f64;
            cells.push(counted.map(|counted| {
                Instructions {
                    per_pair: counted.instructions as f64 / pairs,
                    functions: (counted.functions.into_iter())
                        .map(|(function, count)| (function, count as f64 / pairs))
                        .collect(),
                }
            }));
        }
        results.instructions.push(PatternRow {
            pattern: name,
            title,
            cells,
        });
    }
    Ok(())
}

/// Runs one pattern on one allocator, for callgrind.
///
/// # Errors
///
/// Fails for an unknown name, and for a wrong answer.
pub(crate) fn counted(plan: &BenchPlan, heap: &str, pattern: &str) -> anyhow::Result<()> {
    let peers = peers::all();
    let named = peers.iter().find(|peer| peer.name == heap);
    let peer = named.ok_or_else(|| anyhow!("unknown allocator '{heap}'"))?;
    let baseline = peer.role == AllocatorRole::Baseline;
    if let Some(worst) = Worst::all(plan.quick).iter().find(|of| of.name == pattern) {
        let instance = peer.make(worst.pool_bytes())?;
        worst::sample(
            worst,
            &*instance.heap,
            plan.seed,
            &TimestampClock::new(),
            baseline,
        )?;
        return Ok(());
    }
    let patterns = pattern::all(plan.quick);
    let named = patterns.iter().find(|of| of.name == pattern);
    let pattern = named.ok_or_else(|| anyhow!("unknown pattern '{pattern}'"))?;
    let instance = peer.make(pattern.pool_bytes)?;
    let mut run = pattern.begin(&*instance.heap, plan.seed);
    let pairs = counted_pairs(plan.quick);
    run.pass(&*instance.heap, 1_000);
    timing::measured_pass(&mut *run, &*instance.heap, pairs);
    Ok(())
}
