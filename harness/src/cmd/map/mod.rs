// SPDX-License-Identifier: GPL-2.0

//! `slablab map`: the use of each page of a pool.

mod demo;
mod picture;

use std::{
    io,
    process::ExitCode, //
};

use anyhow::{
    Context,
    bail, //
};
use clap::Args;
use serde::Serialize;

use crate::{
    arguments::{
        pool_mib,
        seed, //
    },
    device::Errno,
    drawing::{
        Drawing,
        DrawingError,
        Origin, //
    },
    isolated_command,
    isolation::{
        self,
        Patience,
        Watched, //
    },
    map::{
        PoolMap,
        Use,
        object_bytes, //
    },
    report,
    session_factory::{
        SessionFactory,
        TargetArgs,
        TargetKind,
        engine_name, //
    },
    target::Target,
    uapi::{
        AllocatorRule,
        Engine,
        SLABLAB_EVENTS_MAX, //
    },
};

/// The width of the map in columns if the output is no terminal.
const WIDTH: usize = 80;

/// Draw a pool: the use of each page, the fill of slabs and mixed pages, the sizes of the free blocks
///
/// The default is the shared pool of hybrid in the kernel. The pool is empty unless a program uses
/// it: start `slablab stress --engine hybrid --shared &` first. With --demo, the command draws a
/// private pool after some thousand random allocations and frees of 8 bytes to 64 KiB; the same seed
/// gives the same picture in the kernel and with --target sim. To see the effect of one allocation,
/// use the command `map` in `slablab shell --engine hybrid --pool 1`.
///
/// The engine seed does not support MAP. Its pool is drawn from a model of the seed that repeats all
/// operations, so the pool must be new: use --demo, or `slablab shell --engine seed`.
#[derive(Args)]
pub(crate) struct MapArgs {
    /// Where the engines run
    #[arg(long, value_enum, default_value = "device")]
    target: TargetKind,

    /// The engine; for seed, only a new pool can be drawn
    #[arg(long, value_parser = engine_name(), default_value = "hybrid")]
    engine: Engine,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Fill a private pool with random operations of this seed, and draw it
    #[arg(long, value_name = "SEED", num_args = 0..=1, default_missing_value = "1")]
    #[arg(value_parser = seed())]
    demo: Option<u64>,

    /// Size of the pool of --demo in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4, requires = "demo")]
    #[arg(value_parser = pool_mib())]
    pool: u64,
}

/// An extent, for JSON.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum MapBlock {
    Free {
        page: u32,
        pages: u32,
    },
    Large {
        page: u32,
        pages: u32,
    },
    Slab {
        page: u32,
        pages: u32,
        object_bytes: u64,
        objects: u16,
        used: u16,
    },
    Mixed {
        page: u32,
        pages: u32,
        blocks: u16,
        used_bytes: u16,
        largest_free_bytes: u16,
    },
}

/// A region, for JSON.
#[derive(Serialize)]
struct MapRegion {
    pages: u32,
    blocks: Vec<MapBlock>,
}

/// A map, for JSON.
#[derive(Serialize)]
struct MapDocument {
    page_bytes: u32,
    regions: Vec<MapRegion>,
}

/// Draws the pool.
pub(crate) fn run(args: MapArgs) -> anyhow::Result<ExitCode> {
    let patience = Patience::Limited(isolation::patience());
    isolated_command::run(args.target, patience, || draw(&args))
}

/// Draws the pool that the arguments name.
fn draw(args: &MapArgs) -> anyhow::Result<ExitCode> {
    let mut session_factory = SessionFactory::new(&TargetArgs {
        target: args.target,
        pool: args.pool,
        shared: args.demo.is_none(),
        debug: false,
    });
    let engine = args.engine;
    let target = Watched(session_factory.open(engine)?);
    let origin = Origin {
        is_new: args.demo.is_some() || args.target == TargetKind::Sim,
        debug: false,
    };
    let mut drawing = Drawing::begin(&target, origin).context("INFO failed")?;
    if drawing.follows_events() {
        target.record(SLABLAB_EVENTS_MAX).context("EVENTS failed")?;
    }
    if let Some(seed) = args.demo {
        demo::fill(&target, seed)?;
    }
    // The map of a wrong allocator shows what its program got until then, but not what is wrong.
    if let Some(violation) = allocator_violation(&target) {
        bail!("{violation}");
    }
    let map = drawing.map()?;
    let classes = class_bytes(&target).context("STATS failed")?;
    report::print(if args.json {
        serde_json::to_string_pretty(&MapDocument::new(&map, &classes))? + "\n"
    } else {
        picture::draw(&map, &classes, has_slabs(&target), width())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the output of the shell's command `map`.
pub(crate) fn text(target: &dyn Target, drawing: &mut Drawing<'_>) -> Result<String, DrawingError> {
    let map = drawing.map()?;
    Ok(picture::draw(
        &map,
        &class_bytes(target)?,
        has_slabs(target),
        width(),
    ))
}

/// Returns whether the engine of a session has slabs and blocks of whole pages. In the other engines, blocks of all sizes
/// share pages.
fn has_slabs(target: &dyn Target) -> bool {
    let engine = target
        .info()
        .ok()
        .and_then(|info| Engine::from_raw(info.engine));
    matches!(engine, Some(Engine::Seed | Engine::Hybrid))
}

/// Returns the rule that the allocator of the engine `student` broke, if any.
fn allocator_violation(target: &dyn Target) -> Option<String> {
    let violation = target.violation().ok()?;
    (violation.rule != AllocatorRule::None.raw()).then(|| violation.to_string())
}

/// Returns the bytes of each class's objects.
fn class_bytes(target: &dyn Target) -> Result<Vec<u64>, Errno> {
    let stats = target.stats()?;
    let classes = stats.classes.iter().take(stats.class_count as usize);
    Ok(classes.map(|class| class.block_bytes).collect())
}

/// Returns the width of the terminal in columns.
fn width() -> usize {
    rustix::termios::tcgetwinsize(io::stdout())
        .map(|size| usize::from(size.ws_col))
        .ok()
        .filter(|columns| *columns > 0)
        .unwrap_or(WIDTH)
}

impl MapDocument {
    fn new(map: &PoolMap, classes: &[u64]) -> Self {
        let regions = map.regions.iter().map(|region| {
            let blocks = region.extents.iter().map(|extent| {
                let (page, pages) = (extent.page, extent.pages);
                match extent.what {
                    Use::Free => MapBlock::Free { page, pages },
                    Use::Large => MapBlock::Large { page, pages },
                    Use::Slab {
                        class,
                        objects,
                        used,
                    } => MapBlock::Slab {
                        page,
                        pages,
                        object_bytes: object_bytes(classes, class),
                        objects,
                        used,
                    },
                    Use::Mixed {
                        blocks,
                        used_bytes,
                        largest_free_bytes,
                    } => MapBlock::Mixed {
                        page,
                        pages,
                        blocks,
                        used_bytes,
                        largest_free_bytes,
                    },
                }
            });
            MapRegion {
                pages: region.pages,
                blocks: blocks.collect(),
            }
        });
        Self {
            page_bytes: map.page_bytes,
            regions: regions.collect(),
        }
    }
}
