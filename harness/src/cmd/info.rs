// SPDX-License-Identifier: GPL-2.0

//! `slablab info`: the engines, the pool and the quotas.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::{
    report::{
        self,
        bytes,
        count, //
    },
    session_factory::{
        SessionFactory,
        TargetKind, //
    },
    uapi::{
        self,
        Engine,
        slablab_info, //
    },
};

/// Show the engines, the pool and the quotas
#[derive(Args)]
pub(crate) struct InfoArgs {
    /// Where the engines run
    #[arg(long, value_enum, default_value = "device")]
    target: TargetKind,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The reply of INFO, with names for JSON.
#[derive(Serialize)]
struct Info {
    abi_version: u32,
    engines: Vec<Engine>,
    engine: Option<Engine>,
    has_pool: bool,
    has_private_pools: bool,
    has_map: bool,
    has_mmap: bool,
    pool_bytes: u64,
    regions: u32,
    page_bytes: u32,
    session_bytes_max: u64,
    session_handles_max: u64,
    private_bytes_max: u64,
    private_bytes_used: u64,
    sessions_max: u32,
    sessions_used: u32,
    pool_charge: u64,
    session_memory_max: u64,
    session_memory_used: u64,
}

/// Runs the subcommand.
pub(crate) fn run(args: InfoArgs) -> anyhow::Result<ExitCode> {
    let target = SessionFactory::shared(args.target).open_unbound()?;
    let info = Info::from(target.info().context("INFO failed")?);
    if args.json {
        report::print(serde_json::to_string_pretty(&info)? + "\n")?;
    } else {
        report::print(info.lines())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the output of the shell's command `info`.
pub(crate) fn lines(info: slablab_info) -> String {
    Info::from(info).lines()
}

impl From<slablab_info> for Info {
    fn from(info: slablab_info) -> Self {
        Self {
            abi_version: info.abi_version,
            engines: info.engines().collect(),
            engine: Engine::from_raw(info.engine),
            has_pool: info.capabilities & uapi::SLABLAB_CAP_POOL != 0,
            has_private_pools: info.capabilities & uapi::SLABLAB_CAP_PRIVATE != 0,
            has_map: info.capabilities & uapi::SLABLAB_CAP_MAP != 0,
            has_mmap: info.capabilities & uapi::SLABLAB_CAP_MMAP != 0,
            pool_bytes: info.pool_bytes,
            regions: info.regions,
            page_bytes: info.page_bytes,
            session_bytes_max: info.session_bytes_max,
            session_handles_max: info.session_handles_max,
            private_bytes_max: info.private_bytes_max,
            private_bytes_used: info.private_bytes_used,
            sessions_max: info.sessions_max,
            sessions_used: info.sessions_used,
            pool_charge: info.pool_charge,
            session_memory_max: info.session_memory_max,
            session_memory_used: info.session_memory_used,
        }
    }
}

impl Info {
    fn lines(&self) -> String {
        // The mask of a process has the engines of `all`, without the learner's.
        let session = (self.engine).filter(|engine| *engine == Engine::Student);
        let session = session.filter(|engine| !self.engines.contains(engine));
        let engines = self.engines.iter().copied().chain(session);
        let engines: Vec<_> = engines.map(Engine::name).collect();
        let pool = if self.has_pool {
            let regions = match self.regions {
                1 => "one region".to_owned(),
                regions => format!("{regions} regions"),
            };
            format!(
                "{} in {regions}, pages of {}",
                bytes(self.pool_bytes),
                bytes(self.page_bytes.into())
            )
        } else {
            "none".to_owned()
        };
        let rows = [
            ("ABI version", self.abi_version.to_string()),
            ("engines", engines.join(", ")),
            (
                "session's engine",
                self.engine.map_or("unknown", Engine::name).to_owned(),
            ),
            ("session's pool", pool),
            (
                "quota of a session",
                format!(
                    "{} and {} blocks",
                    bytes(self.session_bytes_max),
                    count(self.session_handles_max)
                ),
            ),
            (
                "private pools",
                format!(
                    "{} of {} used",
                    bytes(self.private_bytes_used),
                    bytes(self.private_bytes_max)
                ),
            ),
            (
                "open sessions",
                format!("{} of at most {}", self.sessions_used, self.sessions_max),
            ),
            (
                "session memory",
                format!(
                    "{} of {} used",
                    bytes(self.session_memory_used),
                    bytes(self.session_memory_max)
                ),
            ),
        ];
        rows.iter()
            .map(|(name, value)| format!("{name:<22} {value}\n"))
            .collect()
    }
}
