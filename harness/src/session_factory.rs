// SPDX-License-Identifier: GPL-2.0

//! From the command line to a session: which target, which engine, which pool.

use std::sync::Arc;

use anyhow::{
    Context,
    anyhow,
    bail, //
};
use clap::{
    Args,
    ValueEnum,
    builder::{
        PossibleValue,
        PossibleValuesParser,
        TypedValueParser, //
    }, //
};
use serde::{
    Deserialize,
    Serialize, //
};

use slab_heap::debug::FREE_BLOCK_BYTES_MAX;

use crate::{
    arguments::pool_mib,
    device::{
        Errno,
        open_device, //
    },
    sim::{
        Pool,
        Sim, //
    },
    target::Target,
    uapi::{
        self,
        Engine, //
    },
};

/// Where the engines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TargetKind {
    /// In the kernel, behind /dev/slablab.
    Device,
    /// In this process, without a kernel module.
    Sim,
}

impl TargetKind {
    /// Returns the word of the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Sim => "sim",
        }
    }
}

/// Parses the name of an engine.
pub(crate) fn engine_name() -> impl TypedValueParser<Value = Engine> {
    PossibleValuesParser::new(engine_names())
        .try_map(|name| Engine::from_name(&name).ok_or("no such engine"))
}

/// Returns the names of all engines, with their help.
fn engine_names() -> impl Iterator<Item = PossibleValue> {
    Engine::ALL.iter().map(|engine| {
        let help = engine.comment().trim_end_matches('.');
        PossibleValue::new(engine.name()).help(help)
    })
}

/// Engines, as --engine names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineChoice {
    /// One.
    One(Engine),
    /// All that the target has.
    All,
}

/// Parses the name of an engine, or `all`.
pub(crate) fn engine_choice() -> impl TypedValueParser<Value = EngineChoice> {
    let all = PossibleValue::new("all").help("All engines of the target, one after the other");
    PossibleValuesParser::new(engine_names().chain([all]))
        .map(|name| Engine::from_name(&name).map_or(EngineChoice::All, EngineChoice::One))
}

/// The arguments that choose the backend and the pool.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArgs {
    /// Where the engines are
    #[arg(long, value_enum, default_value = "device")]
    pub(crate) target: TargetKind,

    /// Size in MiB of the private pool, which exists during the run only
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    #[arg(value_parser = pool_mib())]
    pub(crate) pool: u64,

    /// Use the pool that all programs share instead of a private one
    #[arg(long, conflicts_with = "pool")]
    pub(crate) shared: bool,

    /// Use debug mode in the private pool: red zones, poison, and reports of misuse
    #[arg(long, conflicts_with = "shared")]
    pub(crate) debug: bool,
}

/// Opens sessions as the arguments say.
pub(crate) struct SessionFactory {
    kind: TargetKind,
    /// The bytes of each session's own pool, or `None` for the shared one.
    private_bytes: Option<u64>,
    /// Its own pool is in debug mode.
    debug: bool,
    /// The pools that this process's sessions share.
    pools: Vec<Arc<Pool>>,
}

impl SessionFactory {
    /// Prepares to open sessions.
    pub(crate) fn new(args: &TargetArgs) -> Self {
        Self {
            kind: args.target,
            private_bytes: (!args.shared).then_some(args.pool << 20),
            debug: args.debug,
            pools: Vec::new(),
        }
    }

    /// Prepares to open sessions on the shared pool.
    pub(crate) fn shared(kind: TargetKind) -> Self {
        Self {
            kind,
            private_bytes: None,
            debug: false,
            pools: Vec::new(),
        }
    }

    /// Prepares to open sessions with a pool of their own of so many bytes.
    pub(crate) fn private(kind: TargetKind, bytes: u64) -> Self {
        Self {
            kind,
            private_bytes: Some(bytes),
            debug: false,
            pools: Vec::new(),
        }
    }

    /// Returns the engines that were chosen.
    pub(crate) fn chosen(&self, choice: EngineChoice) -> anyhow::Result<Vec<Engine>> {
        match choice {
            EngineChoice::All => {
                let mut engines = self.engines()?;
                // It has no pool, and so no debug mode.
                engines.retain(|engine| !self.debug || *engine != Engine::Slub);
                Ok(engines)
            }
            EngineChoice::One(engine) => Ok(vec![engine]),
        }
    }

    /// Returns the engines that there are.
    pub(crate) fn engines(&self) -> anyhow::Result<Vec<Engine>> {
        match self.kind {
            TargetKind::Sim => Ok(Pool::ENGINES.to_vec()),
            TargetKind::Device => {
                let info = open_device()?
                    .info()
                    .with_context(|| format!("{}: INFO failed", uapi::DEVICE))?;
                Ok(info.engines().collect())
            }
        }
    }

    /// Returns the engine that a session on `engine` has, as far as that is known without one.
    pub(crate) fn engine_of(&self, engine: Engine) -> Engine {
        match (engine, self.kind) {
            (Engine::Default, TargetKind::Sim) => Pool::DEFAULT_ENGINE,
            _ => engine,
        }
    }

    /// Opens a session on `engine`, with a pool of its own if it is to have one.
    pub(crate) fn open(&mut self, engine: Engine) -> anyhow::Result<Box<dyn Target>> {
        match self.kind {
            TargetKind::Sim => self.open_sim(engine),
            TargetKind::Device => self.open_bound(engine),
        }
    }

    /// Opens a session that has not chosen its engine yet.
    pub(crate) fn open_unbound(&mut self) -> anyhow::Result<Box<dyn Target>> {
        match self.kind {
            TargetKind::Sim => self.open_sim(Engine::Default),
            TargetKind::Device => Ok(Box::new(open_device()?)),
        }
    }

    fn open_sim(&mut self, engine: Engine) -> anyhow::Result<Box<dyn Target>> {
        if !Pool::ENGINES.contains(&self.engine_of(engine)) {
            bail!("{engine} runs in the kernel only: use --target device");
        }
        let sim = match self.private_bytes {
            Some(bytes) if self.debug => Sim::debug(engine, bytes),
            Some(bytes) => Sim::private(engine, bytes),
            None => self.shared_pool(engine).map(|pool| Sim::on(pool, false)),
        };
        if self.debug && matches!(sim, Err(Errno::OPNOTSUPP)) {
            return Err(no_debug_mode(engine));
        }
        Ok(Box::new(sim.context("no memory for the pool")?))
    }

    /// Returns the pool that this process's sessions on `engine` share.
    fn shared_pool(&mut self, engine: Engine) -> Result<Arc<Pool>, Errno> {
        if let Some(pool) = self.pools.iter().find(|pool| pool.serves(engine)) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(Pool::new(engine, Pool::DEFAULT_BYTES, false)?);
        self.pools.push(Arc::clone(&pool));
        Ok(pool)
    }

    fn open_bound(&self, engine: Engine) -> anyhow::Result<Box<dyn Target>> {
        let device = open_device()?;
        let mut flags = uapi::SLABLAB_BIND_PRIVATE;
        if self.debug {
            flags |= uapi::SLABLAB_BIND_DEBUG;
        }
        let private = self.private_bytes.map(|bytes| {
            device.bind(engine.raw(), flags, bytes).with_context(|| {
                format!(
                    "cannot have a private pool of {} MiB for {engine}: try a smaller --pool, or \
                     --shared",
                    bytes >> 20
                )
            })
        });
        match private {
            Some(Err(error)) if error.downcast_ref() != Some(&Errno::OPNOTSUPP) => {
                return Err(error);
            }
            Some(Ok(())) => {}
            Some(Err(_)) if self.debug => return Err(no_debug_mode(engine)),
            // An engine without pools: all sessions share it.
            Some(Err(_)) | None => device
                .bind(engine.raw(), 0, 0)
                .with_context(|| format!("cannot use the engine {engine}"))?,
        }
        Ok(Box::new(device))
    }
}

/// Says that an engine cannot be in debug mode.
fn no_debug_mode(engine: Engine) -> anyhow::Error {
    anyhow!(
        "debug mode cannot guard {engine}: it needs a pool, in which the engine writes no more than \
         the first {FREE_BLOCK_BYTES_MAX} bytes of a free block"
    )
}
