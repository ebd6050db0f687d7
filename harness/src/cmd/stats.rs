// SPDX-License-Identifier: GPL-2.0

//! `slablab stats`: the statistics of an engine.

use std::{
    collections::BTreeMap,
    io::{
        self,
        IsTerminal, //
    },
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::{
    report::{
        self,
        Side,
        Table,
        blocks,
        bytes,
        count, //
    },
    session_factory::{
        SessionFactory,
        TargetKind,
        engine_name, //
    },
    uapi::{
        self,
        Cause,
        Engine,
        Fault,
        slablab_class_stats,
        slablab_order_stats,
        slablab_stats, //
    },
};

/// The escape sequence that clears a terminal and moves the cursor to the upper left corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Show the statistics of the shared pool, in total and per size class
#[derive(Args)]
pub(crate) struct StatsArgs {
    /// Where the engines run
    #[arg(long, value_enum, default_value = "device")]
    target: TargetKind,

    /// The engine
    #[arg(long, value_parser = engine_name(), default_value = "default")]
    engine: Engine,

    /// Print JSON; with --watch, one document per line
    #[arg(long)]
    json: bool,

    /// Repeat every second until interrupted
    #[arg(long)]
    watch: bool,
}

/// The statistics, with names for JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stats {
    engine: Option<Engine>,
    regions: u32,
    total_bytes: u64,
    used_bytes: u64,
    available_bytes: u64,
    pool_bytes: u64,
    live_bytes: u64,
    cached_bytes: u64,
    magazine_bytes: u64,
    free_bytes: u64,
    largest_free_bytes: u64,
    short_free_runs: u64,
    short_free_bytes: u64,
    requested_bytes: u64,
    live_blocks: u64,
    allocations: u64,
    frees: u64,
    refusals: BTreeMap<&'static str, u64>,
    buddy: BuddyFigures,
    classes: Vec<ClassFigures>,
    orders: Vec<OrderFigures>,
    debug: Debug,
    session: SessionFigures,
}

/// Reports of debug mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Debug {
    reports: BTreeMap<&'static str, u64>,
    quarantined_blocks: u64,
    quarantined_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct BuddyFigures {
    user_bytes: u64,
    actual_bytes: u64,
    total_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ClassFigures {
    block_bytes: u64,
    total_blocks: u64,
    used_blocks: u64,
    magazine_blocks: u64,
    growths: u64,
}

/// Blocks of whole pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct OrderFigures {
    block_bytes: u64,
    used_blocks: u64,
    magazine_blocks: u64,
    free_blocks: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SessionFigures {
    blocks: u64,
    bytes: u64,
    allocations: u64,
    frees: u64,
    reallocations: u64,
    refusals: BTreeMap<&'static str, u64>,
}

/// Runs the subcommand.
pub(crate) fn run(args: StatsArgs) -> anyhow::Result<ExitCode> {
    let mut session_factory = SessionFactory::shared(args.target);
    let target = session_factory.open(args.engine)?;
    let clear = args.watch && !args.json && io::stdout().is_terminal();
    loop {
        let stats = Stats::from(&*target.stats().context("STATS failed")?);
        let text = match (args.json, args.watch) {
            (true, true) => serde_json::to_string(&stats)? + "\n",
            (true, false) => serde_json::to_string_pretty(&stats)? + "\n",
            (false, _) => stats.lines(),
        };
        report::print(if clear {
            CLEAR.to_owned() + &text
        } else {
            text
        })?;
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Returns the non-zero counts of refusals, keyed by the name of the cause.
pub(crate) fn refusals(counts: &[u64]) -> BTreeMap<&'static str, u64> {
    Cause::ALL
        .iter()
        .filter_map(|cause| Some((cause.name(), *counts.get(cause.raw() as usize)?)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

impl From<&slablab_class_stats> for ClassFigures {
    fn from(class: &slablab_class_stats) -> Self {
        Self {
            block_bytes: class.block_bytes,
            total_blocks: class.total_blocks,
            used_blocks: class.used_blocks,
            magazine_blocks: class.magazine_blocks,
            growths: class.growths,
        }
    }
}

impl From<(u32, &slablab_order_stats)> for OrderFigures {
    fn from((order, stats): (u32, &slablab_order_stats)) -> Self {
        Self {
            block_bytes: uapi::PAGE_BYTES << order,
            used_blocks: stats.used_blocks,
            magazine_blocks: stats.magazine_blocks,
            free_blocks: stats.free_blocks,
        }
    }
}

impl From<&slablab_stats> for Stats {
    fn from(stats: &slablab_stats) -> Self {
        Self {
            engine: Engine::from_raw(stats.engine),
            regions: stats.regions,
            total_bytes: stats.total_bytes,
            used_bytes: stats.used_bytes,
            available_bytes: stats.available_bytes,
            pool_bytes: stats.pool_bytes,
            live_bytes: stats.live_bytes,
            cached_bytes: stats.cached_bytes,
            magazine_bytes: stats.magazine_bytes,
            free_bytes: stats.free_bytes,
            largest_free_bytes: stats.largest_free_bytes,
            short_free_runs: stats.short_free_runs,
            short_free_bytes: stats.short_free_bytes,
            requested_bytes: stats.requested_bytes,
            live_blocks: stats.live_blocks,
            allocations: stats.allocations,
            frees: stats.frees,
            refusals: refusals(&stats.refusals),
            buddy: BuddyFigures {
                user_bytes: stats.buddy_user_bytes,
                actual_bytes: stats.buddy_actual_bytes,
                total_bytes: stats.buddy_total_bytes,
            },
            classes: stats
                .classes
                .iter()
                .take(stats.class_count as usize)
                .map(ClassFigures::from)
                .collect(),
            orders: (0..)
                .zip(&stats.orders)
                .map(OrderFigures::from)
                .filter(|order| order.used_blocks + order.magazine_blocks + order.free_blocks > 0)
                .collect(),
            debug: Debug {
                reports: Fault::ALL
                    .iter()
                    .map(|fault| (fault.name(), stats.reports[fault.raw() as usize]))
                    .filter(|(_, count)| *count > 0)
                    .collect(),
                quarantined_blocks: stats.quarantined_blocks,
                quarantined_bytes: stats.quarantined_bytes,
            },
            session: SessionFigures {
                blocks: stats.session_blocks,
                bytes: stats.session_bytes,
                allocations: stats.session_allocations,
                frees: stats.session_frees,
                reallocations: stats.session_reallocations,
                refusals: refusals(&stats.session_refusals),
            },
        }
    }
}

impl Stats {
    /// Returns the statistics as text.
    pub(crate) fn lines(&self) -> String {
        let engine = self.engine.map_or("unknown", Engine::name);
        let mut text = String::new();
        let mut line = |name: &str, value: String| text += &format!("{name:<13} {value}\n");
        line("engine", engine.to_owned());
        if self.pool_bytes > 0 {
            // The engine `student` does not know whether an allocator has slabs or magazines.
            let mut parts = vec![format!("{} live", bytes(self.live_bytes))];
            if self.engine != Some(Engine::Student) {
                parts.push(format!("{} in magazines", bytes(self.magazine_bytes)));
            }
            if self.has_slabs() {
                let in_slabs = self.cached_bytes - self.magazine_bytes;
                parts.push(format!("{} in slabs", bytes(in_slabs)));
            }
            parts.push(format!("{} free", bytes(self.free_bytes)));
            line(
                "pool",
                format!("{} = {}", bytes(self.pool_bytes), parts.join(" + ")),
            );
            if self.largest_free_bytes > 0 {
                line("largest free", bytes(self.largest_free_bytes));
            }
            line(
                "engine counts",
                format!(
                    "total {}, used {}, available {}",
                    bytes(self.total_bytes),
                    bytes(self.used_bytes),
                    bytes(self.available_bytes)
                ),
            );
        }
        if self.buddy.total_bytes > 0 {
            line(
                "buddy system",
                format!(
                    "{} requested, {} allocated, {} in total",
                    bytes(self.buddy.user_bytes),
                    bytes(self.buddy.actual_bytes),
                    bytes(self.buddy.total_bytes)
                ),
            );
        }
        line(
            "blocks",
            format!(
                "{} live ({} requested); {} allocated, {} freed",
                count(self.live_blocks),
                bytes(self.requested_bytes),
                count(self.allocations),
                count(self.frees)
            ),
        );
        line("refused", by_cause(&self.refusals));
        let debug = &self.debug;
        if !debug.reports.is_empty() {
            line(
                "misuse",
                format!(
                    "{}; quarantined: {}, {}",
                    by_cause(&debug.reports),
                    blocks(debug.quarantined_blocks),
                    bytes(debug.quarantined_bytes)
                ),
            );
        }
        let session = &self.session;
        line(
            "this session",
            format!(
                "{}, {}; {} allocated, {} freed, {} reallocated, refused: {}",
                blocks(session.blocks),
                bytes(session.bytes),
                count(session.allocations),
                count(session.frees),
                count(session.reallocations),
                by_cause(&session.refusals)
            ),
        );
        if !self.classes.is_empty() {
            text.push('\n');
            text += &self.class_table();
        }
        if !self.orders.is_empty() || self.short_free_runs > 0 {
            text.push('\n');
            text += &self.order_table();
        }
        text
    }

    /// Returns whether the engine has slabs.
    fn has_slabs(&self) -> bool {
        matches!(
            self.engine,
            Some(Engine::Seed | Engine::Hybrid | Engine::Slub)
        )
    }

    /// Returns whether the free memory of the engine consists of runs of any length.
    fn has_runs(&self) -> bool {
        !self.has_slabs() && self.engine != Some(Engine::Student)
    }

    fn order_table(&self) -> String {
        if self.has_runs() {
            return self.large_table() + &self.run_table();
        }
        let mut table = Table::new([
            ("page block", Side::Right),
            ("used", Side::Right),
            ("magazines", Side::Right),
            ("free", Side::Right),
        ]);
        for order in &self.orders {
            table.row([
                bytes(order.block_bytes).into(),
                count(order.used_blocks).into(),
                count(order.magazine_blocks).into(),
                count(order.free_blocks).into(),
            ]);
        }
        report::plain(&table.to_string())
    }

    /// Returns the blocks that are larger than those of the size classes, by size rounded up to a power of two.
    fn large_table(&self) -> String {
        let mut table = Table::new([
            ("blocks up to", Side::Right),
            ("used", Side::Right),
            ("magazines", Side::Right),
        ]);
        let has_blocks = |order: &&OrderFigures| order.used_blocks + order.magazine_blocks > 0;
        if !self.orders.iter().any(|order| has_blocks(&order)) {
            return String::new();
        }
        for order in self.orders.iter().filter(has_blocks) {
            table.row([
                bytes(order.block_bytes).into(),
                count(order.used_blocks).into(),
                count(order.magazine_blocks).into(),
            ]);
        }
        report::plain(&table.to_string()) + "\n"
    }

    /// Returns the free runs, by length rounded down to a power of two.
    fn run_table(&self) -> String {
        let mut table = Table::new([("free runs", Side::Right), ("number", Side::Right)]);
        if self.short_free_runs > 0 {
            table.row([
                format!("below {}", bytes(uapi::PAGE_BYTES)).into(),
                format!(
                    "{} ({})",
                    count(self.short_free_runs),
                    bytes(self.short_free_bytes)
                )
                .into(),
            ]);
        }
        for order in self.orders.iter().filter(|order| order.free_blocks > 0) {
            table.row([
                format!("from {}", bytes(order.block_bytes)).into(),
                count(order.free_blocks).into(),
            ]);
        }
        report::plain(&table.to_string())
    }

    fn class_table(&self) -> String {
        let mut table = Table::new(
            [
                ("class", Side::Right),
                ("blocks", Side::Right),
                ("used", Side::Right),
                ("magazines", Side::Right),
            ]
            .into_iter()
            // Only slabs grow.
            .chain(self.has_slabs().then_some(("growths", Side::Right))),
        );
        for class in &self.classes {
            let counts = [
                class.total_blocks,
                class.used_blocks,
                class.magazine_blocks,
                class.growths,
            ];
            let counts = counts.iter().take(if self.has_slabs() { 4 } else { 3 });
            table.row(
                core::iter::once(bytes(class.block_bytes).into())
                    .chain(counts.map(|number| count(*number).into())),
            );
        }
        report::plain(&table.to_string())
    }
}

/// Formats counts by cause, such as `4,775 too big, 3 fragmented`.
pub(crate) fn by_cause(refusals: &BTreeMap<&'static str, u64>) -> String {
    if refusals.is_empty() {
        return "none".to_owned();
    }
    let parts: Vec<_> = refusals
        .iter()
        .map(|(cause, number)| format!("{} {cause}", count(*number)))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sim::Sim,
        target::Target as _, //
    };

    /// Returns the statistics of an engine after some allocations, as text.
    fn lines(engine: Engine) -> String {
        let sim = Sim::private(engine, 1 << 20).unwrap();
        let sizes = [100, 100, 5000, 20_000, 300];
        let blocks = sizes.map(|size| sim.alloc(size, 8).unwrap().handle);
        for freed in [1, 3] {
            sim.free(blocks[freed]).unwrap();
        }
        Stats::from(&*sim.stats().unwrap()).lines()
    }

    #[test]
    fn an_engine_with_runs_reports_neither_slabs_nor_a_buddy_system() {
        let (slabs, runs) = (lines(Engine::Hybrid), lines(Engine::Extent));
        for part in [
            " in slabs",
            "\nbuddy system",
            "  growths",
            "page block  used",
        ] {
            assert!(slabs.contains(part), "{slabs}");
            assert!(!runs.contains(part), "{runs}");
        }
        for part in ["\nblocks up to  used", "free runs", "from 512 KiB"] {
            assert!(runs.contains(part), "{runs}");
            assert!(!slabs.contains(part), "{slabs}");
        }
        for text in [&slabs, &runs] {
            assert!(text.contains("\nlargest free"), "{text}");
        }
    }
}
