// SPDX-License-Identifier: GPL-2.0

//! Opens sessions with the target, the engine and the pool that the command line chooses.

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
use slablab_peers::PeerKind;

use crate::{
    arguments::pool_mib,
    device::{
        Errno,
        open_device, //
    },
    outdated_student,
    report::bytes,
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

/// The place where the engines run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TargetKind {
    /// In the kernel, through /dev/slablab.
    Device,
    /// In this process, without a kernel module.
    Sim,
}

impl TargetKind {
    /// Returns the name of the target on the command line.
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

/// The value of `--engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineChoice {
    /// One engine.
    One(Engine),
    /// All engines of the target.
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
    /// Where the engines run
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

/// Opens sessions with the target and the pool that the arguments choose.
pub(crate) struct SessionFactory {
    kind: TargetKind,
    /// The size of each session's private pool, or `None` if sessions use the shared pool.
    private_bytes: Option<u64>,
    /// Whether private pools are in debug mode.
    debug: bool,
    /// The shared pools of the target `sim`, one per engine.
    pools: Vec<Arc<Pool>>,
}

impl SessionFactory {
    /// Creates a factory for the target and the pool of the arguments.
    pub(crate) fn new(args: &TargetArgs) -> Self {
        Self {
            kind: args.target,
            private_bytes: (!args.shared).then_some(args.pool << 20),
            debug: args.debug,
            pools: Vec::new(),
        }
    }

    /// Creates a factory of sessions on the shared pool.
    pub(crate) fn shared(kind: TargetKind) -> Self {
        Self {
            kind,
            private_bytes: None,
            debug: false,
            pools: Vec::new(),
        }
    }

    /// Creates a factory of sessions with private pools of `bytes` bytes.
    pub(crate) fn private(kind: TargetKind, bytes: u64) -> Self {
        Self {
            kind,
            private_bytes: Some(bytes),
            debug: false,
            pools: Vec::new(),
        }
    }

    /// Returns the engines of `choice`.
    pub(crate) fn chosen(&self, choice: EngineChoice) -> anyhow::Result<Vec<Engine>> {
        // Before a command starts child processes, so that they do not repeat it.
        if choice == EngineChoice::One(Engine::Student) && self.kind == TargetKind::Sim {
            outdated_student::notice();
        }
        match choice {
            EngineChoice::All => {
                let mut engines = self.engines()?;
                // slub has no pool, and therefore no debug mode.
                engines.retain(|engine| !self.debug || *engine != Engine::Slub);
                Ok(engines)
            }
            EngineChoice::One(engine) => Ok(vec![engine]),
        }
    }

    /// Returns all engines of the target.
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

    /// Returns the engine of a session on `engine`. The default engine of the device is known only after a
    /// session was opened: `Engine::Default` is returned unchanged.
    pub(crate) fn engine_of(&self, engine: Engine) -> Engine {
        match (engine, self.kind) {
            (Engine::Default, TargetKind::Sim) => Pool::DEFAULT_ENGINE,
            _ => engine,
        }
    }

    /// Opens a session on `engine`, with a private pool unless the factory is for the shared pool.
    pub(crate) fn open(&mut self, engine: Engine) -> anyhow::Result<Box<dyn Target>> {
        match self.kind {
            TargetKind::Sim => self.open_sim(engine),
            TargetKind::Device => self.open_bound(engine),
        }
    }

    /// Opens a session with a private pool that a peer manages. Peers run in this process only.
    pub(crate) fn open_peer(kind: &PeerKind, pool_bytes: u64) -> anyhow::Result<Box<dyn Target>> {
        let sim = Sim::peer(kind, pool_bytes);
        let about = || {
            let name = kind.facts().name;
            format!("{name} cannot use a pool of {}", bytes(pool_bytes))
        };
        Ok(Box::new(sim.with_context(about)?))
    }

    /// Opens a session that has not chosen its engine yet.
    pub(crate) fn open_unbound(&mut self) -> anyhow::Result<Box<dyn Target>> {
        match self.kind {
            TargetKind::Sim => self.open_sim(Engine::Default),
            TargetKind::Device => Ok(Box::new(open_device()?)),
        }
    }

    fn open_sim(&mut self, engine: Engine) -> anyhow::Result<Box<dyn Target>> {
        if engine == Engine::Student {
            outdated_student::notice();
        }
        if engine != Engine::Student && !Pool::ENGINES.contains(&self.engine_of(engine)) {
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

    /// Returns the shared pool of `engine` in this process.
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
                    "cannot create a private pool of {} MiB for {engine}: use a smaller --pool, \
                     or --shared",
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
            // The shared pool was requested, or the engine has no pools, so that all sessions share the engine.
            Some(Err(_)) | None => device
                .bind(engine.raw(), 0, 0)
                .with_context(|| format!("cannot use the engine {engine}"))?,
        }
        Ok(Box::new(device))
    }
}

/// Returns the error for an engine that does not support debug mode.
fn no_debug_mode(engine: Engine) -> anyhow::Error {
    if engine == Engine::Student {
        return anyhow!(
            "{engine} does not support debug mode, and does not need it: each access of the allocator is checked"
        );
    }
    anyhow!(
        "{engine} does not support debug mode: debug mode needs a pool, and an engine that writes at \
         most the first {FREE_BLOCK_BYTES_MAX} bytes of a free block"
    )
}
