// SPDX-License-Identifier: GPL-2.0

//! The museum: inputs of bug reports, on every allocator.
//!
//! An allocator that has the bug may damage memory, crash or never return. So the benchmark runs itself once for
//! each allocator and exhibit, and a child that crashes or does not end in time is a wrong answer.

use std::{
    env,
    io::{
        Read,
        Write, //
    },
    os::unix::process::ExitStatusExt,
    panic::{
        self,
        AssertUnwindSafe, //
    },
    process::{
        Command,
        ExitStatus,
        Stdio, //
    },
    thread,
    time::{
        Duration,
        Instant, //
    },
};

use anyhow::{
    Context,
    bail, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use slablab_trace::{
    Kind,
    Trace,
    museum::{
        self,
        Exhibit, //
    },
    search, //
};

use crate::{
    check::CheckedHeap,
    heap::BenchHeap,
    peers::{
        self,
        AllocatorRole,
        Peer, //
    },
    pool::MappedPool, //
};

/// The timeout of a child.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The size of the largest pool that the search for the smallest pool tries, as a multiple of the exhibit's pool.
const MAX_POOLS: u64 = 4;

/// The answers of an allocator to an exhibit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// The allocator serves the trace in the exhibit's pool.
    Right,
    /// The allocator refuses a request in the exhibit's pool. All answers are correct.
    Refused,
    /// An answer is wrong, or the allocator crashes or does not return.
    Wrong(String),
}

/// The result of an allocator and an exhibit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MuseumCell {
    /// The answers.
    pub(crate) verdict: Verdict,
    /// The size of the smallest pool in which the allocator serves the trace, in bytes; `None` when the allocator
    /// has no pool, when no pool was large enough, and for an exhibit that is about a pool of one size.
    pub(crate) smallest_pool: Option<u64>,
}

/// The result of replaying an exhibit once.
fn replay(exhibit: &Exhibit, trace: &Trace, heap: &dyn BenchHeap) -> Verdict {
    let checked = CheckedHeap::may_refuse(heap);
    let mut blocks = vec![None; trace.blocks()];
    let mut refused = false;
    for op in trace.ops() {
        let place = &mut blocks[op.id as usize];
        let bytes = match (op.kind, place.take()) {
            (Kind::Alloc { bytes, align }, _) => {
                let (size, align) = (bytes as usize, align as usize);
                *place = checked.alloc(size, align).map(|block| (block, size, align));
                bytes
            }
            (Kind::Realloc { bytes }, Some((block, size, align))) => {
                let new = bytes as usize;
                // SAFETY: The block was in its slot of `blocks`, so it is live and has this layout.
                let moved = unsafe { checked.realloc(block, size, align, new) };
                *place = moved.map(|block| (block, new, align));
                bytes
            }
            (Kind::Free, Some((block, size, align))) => {
                // SAFETY: The block was in its slot of `blocks`, so it is live and has this layout. `take`
                // emptied the slot, so the block is not used after its free.
                unsafe { checked.free(block, size, align) };
                continue;
            }
            // The allocation of the block was refused.
            (Kind::Realloc { .. } | Kind::Free, None) => continue,
        };
        if place.is_none() && !exhibit.may_refuse(bytes) {
            refused = true;
            break;
        }
    }
    match checked.result() {
        Err(wrong) => Verdict::Wrong(wrong.to_string()),
        Ok(_) if refused => Verdict::Refused,
        Ok(_) => Verdict::Right,
    }
}

/// Searches the smallest pool in which the allocator serves the trace. `right` says whether it does so in the
/// exhibit's pool. Returns a wrong answer in a smaller pool as an error.
fn smallest(
    peer: &Peer,
    exhibit: &Exhibit,
    trace: &Trace,
    right: bool,
) -> anyhow::Result<Result<Option<u64>, String>> {
    if !peer.has_pool() || exhibit.may_refuse_from.is_some() {
        return Ok(Ok(None));
    }
    let grain = peer.grain as u64;
    // The result is not larger than a pool that is known to be large enough, also where a trace fits into a pool
    // and not into a larger one.
    let largest = match right {
        true => exhibit.pool_bytes,
        false => (exhibit.pool_bytes * MAX_POOLS).max(8 << 20),
    };
    let pool = MappedPool::new(largest as usize)?;
    let first = trace.peak_bytes().div_ceil(grain).max(1);
    let found = search::smallest(first..=largest / grain, |grains| {
        let bytes = grains * grain;
        // Some allocators panic when their pool is too small for their metadata.
        let verdict = panic::catch_unwind(AssertUnwindSafe(|| {
            let within = peer.within(&pool, bytes as usize);
            within.map_or(Verdict::Refused, |within| {
                replay(exhibit, trace, &*within.heap)
            })
        }));
        match verdict.unwrap_or(Verdict::Refused) {
            Verdict::Right => Ok(true),
            Verdict::Refused => Ok(false),
            Verdict::Wrong(why) => Err(format!("{why}, in a pool of {} KiB", bytes / 1024)),
        }
    });
    Ok(found.map(|grains| grains.map(|grains| grains * grain)))
}

/// Runs an allocator on an exhibit in this process, and prints the result before the search for the smallest pool
/// and after it, because the search may crash.
///
/// # Errors
///
/// Fails when the allocator or the exhibit does not exist, when a pool cannot be mapped, or when standard output
/// is closed.
pub(crate) fn child(heap: &str, name: &str) -> anyhow::Result<()> {
    let peer = peers::all().into_iter().find(|peer| peer.name == heap);
    let peer = peer.with_context(|| format!("there is no allocator {heap}"))?;
    let exhibit = museum::all().find(|exhibit| exhibit.pattern.name == name);
    let exhibit = exhibit.with_context(|| format!("there is no exhibit {name}"))?;
    let trace = exhibit.trace();
    let instance = peer.make(exhibit.pool_bytes as usize)?;
    let mut cell = MuseumCell {
        verdict: replay(exhibit, &trace, &*instance.heap),
        smallest_pool: None,
    };
    drop(instance);
    let print = |cell: &MuseumCell| -> anyhow::Result<()> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", serde_json::to_string(cell)?)?;
        Ok(stdout.flush()?)
    };
    print(&cell)?;
    if !matches!(cell.verdict, Verdict::Wrong(_)) {
        panic::set_hook(Box::new(|_| ()));
        match smallest(&peer, exhibit, &trace, cell.verdict == Verdict::Right)? {
            Ok(smallest) => cell.smallest_pool = smallest,
            Err(why) => cell.verdict = Verdict::Wrong(why),
        }
        print(&cell)?;
    }
    Ok(())
}

/// Runs an allocator on an exhibit in a child process. Returns `None` for the baseline and for allocators
/// without a lock, which are the same allocators as those with one.
///
/// # Errors
///
/// Fails when the child cannot be started.
pub(crate) fn run(peer: &Peer, exhibit: &Exhibit) -> anyhow::Result<Option<MuseumCell>> {
    if peer.role == AllocatorRole::Baseline || !peer.threads {
        return Ok(None);
    }
    let mut child = Command::new(env::current_exe()?)
        .args(["--exhibit", peer.name, exhibit.pattern.name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start a child process")?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begun.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let mut printed = String::new();
    let Some(mut stdout) = child.stdout.take() else {
        bail!("the child has no standard output");
    };
    stdout.read_to_string(&mut printed)?;
    Ok(Some(result(&printed, status)))
}

/// Returns the result of a child: the last line that it printed, unless it ended badly. `status` is `None` for a
/// child that did not end in time.
fn result(printed: &str, status: Option<ExitStatus>) -> MuseumCell {
    let last =
        (printed.lines().rev()).find_map(|line| serde_json::from_str::<MuseumCell>(line).ok());
    let end = match (status, status.and_then(|status| status.signal())) {
        (None, _) => "no result after a minute".into(),
        (Some(_), Some(signal)) => format!("killed by signal {signal}"),
        (Some(status), None) => format!("{status}"),
    };
    match last {
        Some(cell) if status.is_some_and(|status| status.success()) => cell,
        Some(cell) if matches!(cell.verdict, Verdict::Wrong(_)) => cell,
        Some(_) => MuseumCell {
            verdict: Verdict::Wrong(format!("{end}, in the search for the smallest pool")),
            smallest_pool: None,
        },
        None => MuseumCell {
            verdict: Verdict::Wrong(end),
            smallest_pool: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::PAGE_BYTES;

    fn exhibit(name: &str) -> &'static Exhibit {
        let found = museum::all().find(|exhibit| exhibit.pattern.name == name);
        found.unwrap()
    }

    fn peer(name: &str) -> Peer {
        peers::all()
            .into_iter()
            .find(|peer| peer.name == name)
            .unwrap()
    }

    fn verdict(peer: &Peer, exhibit: &Exhibit) -> Verdict {
        let instance = peer.make(exhibit.pool_bytes as usize).unwrap();
        replay(exhibit, &exhibit.trace(), &*instance.heap)
    }

    #[test]
    fn engines_of_slablab_give_no_wrong_answer() {
        for exhibit in museum::all() {
            let name = exhibit.pattern.name;
            assert_eq!(verdict(&peer("hybrid"), exhibit), Verdict::Right, "{name}");
            let seed = verdict(&peer("seed"), exhibit);
            assert!(!matches!(seed, Verdict::Wrong(_)), "{name}: {seed:?}");
        }
        let refused = exhibit("museum/jemalloc-2867");
        assert_eq!(verdict(&peer("seed"), refused), Verdict::Refused);
    }

    /// A bump allocator that ignores alignments, never frees, and refuses blocks of more than a page.
    struct Unaligned {
        memory: MappedPool,
        next: std::cell::Cell<usize>,
    }

    impl BenchHeap for Unaligned {
        fn alloc(&self, size: usize, _align: usize) -> Option<slab_heap::Block> {
            let start = self.next.get();
            if size > PAGE_BYTES || start + size > self.memory.memory().bytes {
                return None;
            }
            self.next.set(start + size.next_multiple_of(8));
            // SAFETY: The block lies in the pool, as checked above.
            let start = unsafe { self.memory.memory().start.add(start) };
            Some(slab_heap::Block { start })
        }

        unsafe fn free(&self, _block: slab_heap::Block, _size: usize, _align: usize) {}
    }

    #[test]
    fn a_wrong_allocator_is_wrong_and_a_small_one_refuses() {
        let unaligned = || Unaligned {
            memory: MappedPool::new(1 << 20).unwrap(),
            next: std::cell::Cell::new(0),
        };
        let verdict = |name| {
            let exhibit = exhibit(name);
            replay(exhibit, &exhibit.trace(), &unaligned())
        };
        assert_eq!(
            verdict("museum/mimalloc-206"),
            Verdict::Wrong("a block of 8 bytes is not aligned to 16".into())
        );
        assert_eq!(verdict("museum/wee-alloc-106"), Verdict::Refused);
        // This allocator refuses exactly the requests that the exhibit allows to refuse.
        assert_eq!(verdict("museum/zephyr-90306"), Verdict::Right);
    }

    #[test]
    fn the_smallest_pool_of_a_trace_is_found() {
        let found = |name, heap| {
            let (exhibit, peer) = (exhibit(name), peer(heap));
            let right = verdict(&peer, exhibit) == Verdict::Right;
            smallest(&peer, exhibit, &exhibit.trace(), right).unwrap()
        };
        let whole = "museum/buddy-system-allocator-20";
        assert_eq!(found(whole, "hybrid"), Ok(Some(64 << 10)));
        assert_eq!(found(whole, "talc"), Ok(Some(68 << 10)));
        assert_eq!(found(whole, "glibc"), Ok(None));
        assert_eq!(found("museum/zephyr-90306", "hybrid"), Ok(None));
        assert_eq!(found("museum/mimalloc-1400", "seed"), Ok(None));
    }

    #[test]
    fn a_child_that_crashes_or_never_ends_is_wrong() {
        let right = MuseumCell {
            verdict: Verdict::Right,
            smallest_pool: Some(4096),
        };
        let line = serde_json::to_string(&right).unwrap() + "\n";
        let (ended, crashed) = (ExitStatus::from_raw(0), ExitStatus::from_raw(11));
        assert_eq!(result(&format!("{line}{line}"), Some(ended)), right);
        let wrong = |printed, status| match result(printed, status).verdict {
            Verdict::Wrong(why) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong("", Some(crashed)), "killed by signal 11");
        assert_eq!(wrong("{", None), "no result after a minute");
        assert_eq!(
            wrong(&line, Some(crashed)),
            "killed by signal 11, in the search for the smallest pool"
        );
    }
}
