// SPDX-License-Identifier: GPL-2.0

//! The whole benchmark, stage by stage.

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

use crate::{
    callgrind,
    clock::Clock,
    machine,
    pattern::{
        self,
        Pattern,
        worst::{
            self,
            Worst, //
        }, //
    },
    peers::{
        self,
        Peer,
        Role, //
    },
    pool::Pool,
    results::{
        self,
        About,
        Allocator,
        Free,
        Instructions,
        Results,
        Row,
        Space,
        Time, //
    },
    space,
    statistics::quantile,
    targets,
    timing::{
        self,
        Effort, //
    },
    yardstick::Yardstick,
};

/// What is asked for.
pub(crate) struct Plan {
    /// Everything briefly.
    pub(crate) quick: bool,
    /// Words, one of which is in the name of an allocator that is measured; none for all.
    pub(crate) heaps: Vec<String>,
    /// The same for patterns.
    pub(crate) patterns: Vec<String>,
    /// Rounds, if not the usual number.
    pub(crate) rounds: Option<usize>,
    /// What everything is drawn from.
    pub(crate) seed: u64,
    /// Whether instructions are counted.
    pub(crate) callgrind: bool,
    /// The folder of what is written.
    pub(crate) out: PathBuf,
}

impl Plan {
    /// Says whether something with this name is to be measured.
    fn wants(&self, name: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|word| name.contains(&**word))
    }

    /// Says whether there is anything to measure.
    pub(crate) fn measures(&self) -> bool {
        !self.timed().is_empty() || !self.freed().is_empty() || self.wants("space")
    }

    /// Returns the allocators that are to be measured.
    fn peers(&self) -> Vec<Peer> {
        let wanted = |peer: &Peer| {
            self.heaps.is_empty()
                || peer.role == Role::Baseline
                || peer.name == "hybrid"
                || self.heaps.iter().any(|word| peer.name.contains(&**word))
        };
        peers::all().into_iter().filter(wanted).collect()
    }

    /// Returns the patterns that are to be timed.
    fn timed(&self) -> Vec<Pattern> {
        let patterns = pattern::all(self.quick).into_iter();
        patterns.filter(|of| self.wants(&of.name)).collect()
    }

    /// Returns the patterns of single frees.
    fn freed(&self) -> Vec<Worst> {
        let patterns = Worst::all(self.quick).into_iter();
        patterns.filter(|of| self.wants(of.name)).collect()
    }

    /// Returns how thorough timing is.
    fn effort(&self) -> Effort {
        let (rounds, repetitions, microseconds) = if self.quick {
            (1, 3, 50)
        } else {
            (9, 5, 1_000)
        };
        Effort {
            rounds: self.rounds.unwrap_or(rounds),
            repetitions,
            length: Duration::from_micros(microseconds),
        }
    }
}

/// Measures everything.
///
/// # Errors
///
/// The first wrong answer, or what the system says.
pub(crate) fn all(plan: &Plan) -> anyhow::Result<Results> {
    let peers = plan.peers();
    let effort = plan.effort();
    let mut results = Results {
        about: About {
            date: machine::date(),
            processor: machine::processor(),
            kernel: machine::kernel(),
            repetitions: effort.rounds * effort.repetitions,
            rounds: effort.rounds,
            repetition_microseconds: effort.length.as_micros() as u64,
            seed: plan.seed,
            quick: plan.quick,
            ..About::default()
        },
        allocators: allocators(&peers),
        ..Results::default()
    };
    times(plan, &peers, &mut results)?;
    frees(plan, &peers, &mut results)?;
    if plan.wants("space") {
        spaces(plan, &peers, &mut results)?;
    }
    results.about.no_instructions = match plan.callgrind {
        true => callgrind::missing(),
        false => Some("not asked for".into()),
    };
    if results.about.no_instructions.is_none() {
        instructions(plan, &peers, &mut results)?;
    }
    if plan.heaps.is_empty() {
        results.targets = targets::judge(&results);
    }
    Ok(results)
}

/// Describes the allocators.
fn allocators(peers: &[Peer]) -> Vec<Allocator> {
    let versions = peers::versions();
    let described = peers.iter().map(|peer| {
        let version = versions
            .iter()
            .find(|(name, _)| peer.name.starts_with(name));
        Allocator {
            name: peer.name.into(),
            version: version.map_or(String::new(), |(_, version)| version.clone()),
            threads: peer.threads,
            baseline: peer.role == Role::Baseline,
            ours: peer.role == Role::Ours,
            pool: peer.has_pool(),
        }
    });
    described.collect()
}

/// Times the patterns.
fn times(plan: &Plan, peers: &[Peer], results: &mut Results) -> anyhow::Result<()> {
    let (patterns, effort) = (plan.timed(), plan.effort());
    let yardstick = Yardstick::new();
    let stage = Stage::new("time", patterns.len() * effort.rounds * effort.repetitions);
    for pattern in &patterns {
        stage.doing(&pattern.title);
        let timed = timing::compare(pattern, peers, plan.seed, effort, &yardstick, || {
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
        results.times.push(Row {
            pattern: pattern.name.clone(),
            title: pattern.title.clone(),
            cells,
        });
    }
    Ok(())
}

/// Times single frees.
///
/// Every repetition frees the same blocks in the same order, so a free is known by its number: its
/// time is the median of the repetitions, which an interrupt in one of them does not move.
fn frees(plan: &Plan, peers: &[Peer], results: &mut Results) -> anyhow::Result<()> {
    let clock = Clock::new();
    for worst in plan.freed() {
        let stage = Stage::new(worst.title, worst.repetitions * peers.len());
        let grain = peers.iter().map(|peer| peer.grain).max().unwrap_or(1);
        let pool = Pool::new(worst.pool_bytes().next_multiple_of(grain))?;
        let mut taken: Vec<Option<Vec<Vec<f64>>>> = vec![Some(Vec::new()); peers.len()];
        for _ in 0..worst.repetitions {
            for (peer, taken) in peers.iter().zip(&mut taken) {
                stage.step();
                if taken.is_none() {
                    continue;
                }
                stage.doing(peer.name);
                let baseline = peer.role == Role::Baseline;
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
                    Some(sample) => taken.as_mut().map(|all| all.push(sample)),
                    None => {
                        *taken = None;
                        None
                    }
                };
            }
        }
        results.frees.push(Row {
            pattern: worst.name.into(),
            title: worst.title.into(),
            cells: taken.into_iter().map(|all| all.map(summed)).collect(),
        });
    }
    Ok(())
}

/// Sums up repetitions of the same frees.
fn summed(repetitions: Vec<Vec<f64>>) -> Free {
    let frees = repetitions[0].len();
    let median = |free: usize| {
        let mut of: Vec<_> = repetitions.iter().map(|all| all[free]).collect();
        of.sort_unstable_by(f64::total_cmp);
        quantile(&of, 0.5)
    };
    let mut medians: Vec<_> = (0..frees).map(median).collect();
    medians.sort_unstable_by(f64::total_cmp);
    Free {
        median: quantile(&medians, 0.5),
        p99: quantile(&medians, 0.99),
        max: medians[frees - 1],
        frees,
        repetitions: repetitions.len(),
    }
}

/// Finds out how much memory traces need. A lock makes no difference.
fn spaces(plan: &Plan, peers: &[Peer], results: &mut Results) -> anyhow::Result<()> {
    let percent = if plan.quick { 10 } else { 100 };
    let traces: Vec<_> = space::patterns()
        .map(|pattern| (pattern, pattern.make(plan.seed, percent)))
        .collect();
    let pool = Pool::new(space::pool_bytes(traces.iter().map(|(_, trace)| trace)))?;
    let stage = Stage::new("space", traces.len() * peers.len());
    for (pattern, trace) in &traces {
        let mut cells = Vec::with_capacity(peers.len());
        for peer in peers {
            stage.doing(&format!("{} {}", trace.name, peer.name));
            stage.step();
            if !peer.threads {
                cells.push(None);
                continue;
            }
            let need = space::smallest(peer, &pool, trace)
                .with_context(|| format!("{} at '{}'", peer.name, trace.name))?;
            cells.push(need.map(|need| {
                let share = |bytes: usize| trace.peak_bytes() as f64 / bytes as f64;
                results::Pool {
                    pool_bytes: need.pool_bytes,
                    beside_bytes: need.beside_bytes,
                    utilisation: share(need.pool_bytes),
                    utilisation_at_most: share(need.rounded_bytes),
                    utilisation_with_beside: share(need.pool_bytes + need.beside_bytes),
                }
            }));
        }
        results.space.push(Space {
            trace: trace.name.clone(),
            family: pattern.family.name().into(),
            operations: trace.ops().len(),
            peak_bytes: trace.peak_bytes() as usize,
            cells,
        });
    }
    Ok(())
}

/// Returns how many pairs are counted.
fn counted_pairs(quick: bool) -> u64 {
    if quick { 1_000 } else { 20_000 }
}

/// Counts instructions.
fn instructions(plan: &Plan, peers: &[Peer], results: &mut Results) -> anyhow::Result<()> {
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
                .with_context(|| format!("{} at '{title}'", peer.name))?;
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
        results.instructions.push(Row {
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
/// Names that there are not, and wrong answers.
pub(crate) fn counted(plan: &Plan, heap: &str, pattern: &str) -> anyhow::Result<()> {
    let peers = peers::all();
    let named = peers.iter().find(|peer| peer.name == heap);
    let peer = named.ok_or_else(|| anyhow!("no allocator is called {heap}"))?;
    let baseline = peer.role == Role::Baseline;
    if let Some(worst) = Worst::all(plan.quick).iter().find(|of| of.name == pattern) {
        let instance = peer.make(worst.pool_bytes())?;
        worst::sample(worst, &*instance.heap, plan.seed, &Clock::new(), baseline)?;
        return Ok(());
    }
    let patterns = pattern::all(plan.quick);
    let named = patterns.iter().find(|of| of.name == pattern);
    let pattern = named.ok_or_else(|| anyhow!("no pattern is called {pattern}"))?;
    let instance = peer.make(pattern.pool_bytes)?;
    let mut run = pattern.begin(&*instance.heap, plan.seed);
    let pairs = counted_pairs(plan.quick);
    run.pass(&*instance.heap, 1_000);
    timing::measured_pass(&mut *run, &*instance.heap, pairs);
    Ok(())
}
