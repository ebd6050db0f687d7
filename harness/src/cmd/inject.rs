// SPDX-License-Identifier: GPL-2.0

//! `slablab inject`: misuses a heap on purpose, and shows what debug mode reports.

use std::process::ExitCode;

use anyhow::{
    Context,
    bail, //
};
use clap::{
    Args,
    builder::{
        PossibleValuesParser,
        TypedValueParser, //
    },
};
use serde::Serialize;

use crate::{
    affinity::CpuPin,
    arguments::{
        pool_mib,
        size, //
    },
    device::Errno,
    isolated_command,
    isolation::{
        self,
        Patience,
        Watched, //
    },
    report::{
        self,
        BAD,
        Cell,
        GOOD,
        NONE,
        Side,
        Table,
        blocks,
        bytes, //
    },
    session_factory::{
        SessionFactory,
        TargetArgs,
        TargetKind,
        engine_name, //
    },
    target::Target,
    uapi::{
        Engine,
        Fault,
        Misuse,
        NO_OFFSET,
        Rule,
        slablab_owner,
        slablab_report, //
    },
};

/// The maximum number of retries of a misuse whose block another thread allocated.
const TRIES: usize = 16;

/// The largest block that can be misused.
const BLOCK_BYTES_MAX: u64 = 1 << 30;

/// Misuse a heap on purpose: overruns, writes after free, bad frees
///
/// The kernel (with --target sim: this process) misuses a block of a private pool in debug mode. The
/// table shows what debug mode reported: the kind of misuse, its place, and the operations that
/// allocated the block, freed it and detected the misuse. Damaged blocks are quarantined; the pool
/// stays usable. The names are those of LKDTM, Linux's own collection of misuses, where LKDTM has
/// one.
///
/// The exit status is 1 if a misuse was not reported or was reported as another kind of misuse. A
/// misuse on the device needs CAP_SYS_ADMIN.
#[derive(Args)]
pub(crate) struct InjectArgs {
    /// Misuses to inject [default: all]
    #[arg(value_name = "MISUSE", ignore_case = true, value_parser = misuses())]
    misuses: Vec<Misuse>,

    /// List the misuses without injecting any
    #[arg(long, exclusive = true)]
    list: bool,

    /// Where the engines run
    #[arg(long, value_enum, default_value = "device")]
    target: TargetKind,

    /// The engine
    #[arg(long, value_parser = engine_name(), default_value = "hybrid")]
    engine: Engine,

    /// Size of the blocks in bytes; a misuse that needs a larger block uses its minimum size
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    #[arg(value_parser = block_bytes)]
    size: u64,

    /// Size of the pool in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4)]
    #[arg(value_parser = pool_mib())]
    pool: u64,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Parses the size of a block.
fn block_bytes(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes @ 1..=BLOCK_BYTES_MAX => Ok(bytes),
        _ => Err("the size of a block must be from 1 byte to 1g".to_owned()),
    }
}

/// Parses the name of a misuse.
fn misuses() -> impl TypedValueParser<Value = Misuse> {
    let name = |misuse: &Misuse| misuse.name();
    PossibleValuesParser::new(Misuse::ALL.iter().map(name)).map(|text| {
        let is_it = |misuse: &&Misuse| misuse.name().eq_ignore_ascii_case(&text);
        *Misuse::ALL.iter().find(is_it).unwrap_or(&Misuse::ALL[0])
    })
}

/// Describes a misuse.
fn what(misuse: Misuse) -> &'static str {
    match misuse {
        Misuse::SlabLinearOverflow => "write the byte behind a block",
        Misuse::SlabLinearOverflow8 => "write the 8 bytes behind a block",
        Misuse::SlabLinearOverflow32 => "write the 32 bytes behind a block",
        Misuse::VmallocLinearOverflow => "write the byte behind a block of whole pages",
        Misuse::SlabLinearUnderflow => "write the 8 bytes in front of a block",
        Misuse::WriteAfterFree => "write into a free block",
        Misuse::WriteBuddyAfterFree => "write into a free block of whole pages",
        Misuse::SlabFreeDouble => "free a block twice",
        Misuse::SlabFreeDoubleDelayed => {
            "free a block, then other blocks, then the first block again"
        }
        Misuse::SlabFreeDoubleReused => "free a block again after it was allocated to a new owner",
        Misuse::SlabFreeInterior => "free an address inside a block",
        Misuse::SlabFreeForeign => "free an address outside of the pool",
        Misuse::SlabFreeInvented => "free an address at which no block ever began",
        Misuse::SlabFreeUnaligned => "free an address that is not a multiple of 8",
        Misuse::SlabFreeCross => "free a block with twice its size",
        Misuse::SlabLinearOverflow1M => "write the 1 MiB behind a block",
        Misuse::ReallocAfterFree => "reallocate a free block",
        Misuse::ReadAfterFree => "read a free block",
    }
}

/// An operation and the process that executed it, for JSON.
#[derive(Serialize)]
struct OperationOwner {
    operation: u64,
    pid: u32,
}

/// The result of one misuse, for JSON.
#[derive(Serialize)]
struct MisuseResult {
    misuse: Misuse,
    reported: Option<Fault>,
    expected: Fault,
    offset: Option<u64>,
    size: u64,
    named_size: u64,
    byte: i64,
    damaged_bytes: u64,
    allocated: Option<OperationOwner>,
    freed: Option<OperationOwner>,
    noticed: Option<OperationOwner>,
}

/// The results of all misuses, for JSON.
#[derive(Serialize)]
struct InjectDocument {
    engine: Engine,
    passed: bool,
    misuses: Vec<MisuseResult>,
    quarantined_blocks: u64,
    quarantined_bytes: u64,
    /// The rule of the engine's metadata that CHECK found violated.
    broken: Option<Rule>,
}

/// Runs the subcommand.
pub(crate) fn run(args: InjectArgs) -> anyhow::Result<ExitCode> {
    if args.list {
        report::print(list())?;
        return Ok(ExitCode::SUCCESS);
    }
    let patience = Patience::Limited(isolation::patience());
    isolated_command::run(args.target, patience, || inject_all(&args))
}

/// Injects the chosen misuses.
fn inject_all(args: &InjectArgs) -> anyhow::Result<ExitCode> {
    let engine = args.engine;
    if engine == Engine::Slub {
        bail!("slub has no pools and therefore no debug mode: choose another engine with --engine");
    }
    // Some misuses need the freed block again: it is in the cache of the CPU that freed it.
    let _here = CpuPin::current().context("cannot pin the thread to one CPU")?;
    let mut session_factory = SessionFactory::new(&TargetArgs {
        target: args.target,
        pool: args.pool,
        shared: false,
        debug: true,
    });
    let target = Watched(session_factory.open(engine)?);
    let chosen = if args.misuses.is_empty() {
        Misuse::ALL
    } else {
        args.misuses.as_slice()
    };
    let document = InjectDocument::of(&target, chosen, args.size)?;
    report::print(if args.json {
        serde_json::to_string_pretty(&document)? + "\n"
    } else {
        document.text()
    })?;
    Ok(if document.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the table of all misuses.
fn list() -> String {
    let mut table = Table::new([
        ("misuse", Side::Left),
        ("action", Side::Left),
        ("expected report", Side::Left),
    ]);
    for misuse in Misuse::ALL {
        table.row([
            misuse.name().into(),
            what(*misuse).into(),
            match misuse.expected() {
                Fault::None => "none (KASAN reports it if the kernel has KASAN)".into(),
                fault => fault.name().into(),
            },
        ]);
    }
    table.to_string()
}

/// Injects a misuse. Retries if another thread allocated the block of the misuse.
fn inject(target: &dyn Target, misuse: Misuse, size: u64) -> anyhow::Result<slablab_report> {
    let mut left = TRIES;
    loop {
        match target.inject(misuse.raw(), size) {
            Err(Errno::AGAIN) if left > 0 => left -= 1,
            Err(Errno::AGAIN) => bail!(
                "{misuse} must allocate the block that it freed, but in {TRIES} attempts the engine \
                 allocated another block"
            ),
            Err(Errno::PERM) => {
                bail!("a misuse on the device needs CAP_SYS_ADMIN; --target sim needs no privilege")
            }
            result => return result.with_context(|| format!("INJECT {misuse} failed")),
        }
    }
}

impl OperationOwner {
    /// Returns an owner, or `None` if the report has none.
    fn of(owner: slablab_owner) -> Option<Self> {
        let slablab_owner { operation, pid, .. } = owner;
        (operation > 0).then_some(Self { operation, pid })
    }

    fn cell(owner: &Option<Self>) -> Cell {
        match owner {
            Some(Self { operation, pid }) => format!("#{operation}, PID {pid}").into(),
            None => NONE.into(),
        }
    }
}

impl MisuseResult {
    fn of(misuse: Misuse, report: &slablab_report) -> Self {
        Self {
            misuse,
            reported: Fault::from_raw(report.fault),
            expected: misuse.expected(),
            // Without a report, the offset is meaningless.
            offset: (report.fault != 0 && report.offset != NO_OFFSET).then_some(report.offset),
            size: report.size,
            named_size: report.named_size,
            byte: report.byte,
            damaged_bytes: report.damaged_bytes,
            allocated: OperationOwner::of(report.allocated),
            freed: OperationOwner::of(report.freed),
            noticed: OperationOwner::of(report.noticed),
        }
    }

    /// Returns whether the misuse was reported as expected.
    fn is_named(&self) -> bool {
        self.reported == Some(self.expected)
    }

    fn row(&self) -> [Cell; 8] {
        let style = if self.is_named() { GOOD } else { BAD };
        let reported = match self.reported {
            Some(Fault::None) => "not reported",
            reported => reported.map_or("unknown", Fault::name),
        };
        let offset = match self.offset {
            Some(offset) => format!("{offset:#x}"),
            None => NONE.to_owned(),
        };
        let damage = match self.damaged_bytes {
            0 => self.byte.to_string(),
            bytes => format!("{}…{}", self.byte, self.byte + bytes as i64 - 1),
        };
        [
            self.misuse.name().into(),
            Cell::styled(reported, style),
            offset.into(),
            match self.size {
                0 => NONE.into(),
                size => bytes(size).into(),
            },
            damage.into(),
            OperationOwner::cell(&self.allocated),
            OperationOwner::cell(&self.freed),
            OperationOwner::cell(&self.noticed),
        ]
    }
}

impl InjectDocument {
    /// Injects all chosen misuses.
    fn of(target: &dyn Target, chosen: &[Misuse], size: u64) -> anyhow::Result<Self> {
        let mut misuses = Vec::new();
        for misuse in chosen {
            misuses.push(MisuseResult::of(*misuse, &inject(target, *misuse, size)?));
        }
        let stats = target.stats().context("STATS failed")?;
        let check = target.check().context("CHECK failed")?;
        let broken = Rule::from_raw(check.rule).filter(|rule| *rule != Rule::None);
        Ok(Self {
            engine: Engine::from_raw(stats.engine).unwrap_or(Engine::Default),
            passed: misuses.iter().all(MisuseResult::is_named) && broken.is_none(),
            misuses,
            quarantined_blocks: stats.quarantined_blocks,
            quarantined_bytes: stats.quarantined_bytes,
            broken,
        })
    }

    fn text(&self) -> String {
        let mut table = Table::new([
            ("misuse", Side::Left),
            ("reported", Side::Left),
            ("block offset", Side::Right),
            ("block size", Side::Right),
            ("byte in block", Side::Right),
            ("allocated", Side::Left),
            ("freed", Side::Left),
            ("detected", Side::Left),
        ]);
        for result in &self.misuses {
            table.row(result.row());
        }
        let is_noticed = |result: &&MisuseResult| result.expected != Fault::None;
        let noticed = self.misuses.iter().filter(is_noticed);
        let named = noticed.clone().filter(|result| result.is_named());
        let reads = match self.misuses.iter().all(|result| is_noticed(&result)) {
            true => "",
            false => {
                "\nDebug mode does not detect reads. KASAN reports them in the kernel log, if \
                 the kernel has KASAN."
            }
        };
        let check = match self.broken {
            None => "CHECK found no violation".to_owned(),
            Some(rule) => format!("{BAD}CHECK found a violation: {rule}{BAD:#}"),
        };
        format!(
            "{table}\n{} of {} misuses reported as expected; quarantined: {}, {}; {check}{reads}\n",
            named.count(),
            noticed.count(),
            blocks(self.quarantined_blocks),
            bytes(self.quarantined_bytes),
        )
    }
}
