// SPDX-License-Identifier: GPL-2.0

//! Threads of the host on a smaller number of simulated CPUs. The threads allocate, resize and free blocks, send
//! blocks to each other and migrate, while another thread checks the engine.

use core::sync::atomic::{
    AtomicBool,
    Ordering::Relaxed, //
};
use std::{
    sync::{
        Mutex,
        mpsc::{
            Receiver,
            Sender,
            channel, //
        },
    },
    thread,
    vec::Vec, //
};

use super::is_whole;
use crate::{
    Cost, Engine, Offset, PAGE_BYTES,
    check::{
        self,
        Progress,
        Walk, //
    },
    testing::{
        CPU,
        HostMemory,
        blocks::{
            ReportedStatistics,
            ShadowMap, //
        },
        heaps::{
            OnHost,
            TestHeap,
            on_cpus,
            on_each_heap, //
        },
        layout,
        numbers::Numbers,
        prelude::*,
        sound, //
    },
};

on_each_heap! {
    four_threads_on_two_cpus_keep_the_engine_sound,
    four_threads_on_three_cpus_keep_a_small_pool_sound,
}

/// The number of threads that allocate and free.
const THREADS: usize = 4;

/// The number of operations of each thread.
const OPERATIONS: usize = 30_000;

/// The sizes that the threads request.
const SIZES: [usize; 8] = [8, 64, 100, 512, 3000, 4096, 8192, 20_000];

/// A thread that allocates and frees blocks.
struct WorkerThread<'a, H: TestHeap> {
    engine: &'a OnHost<H>,
    /// The live blocks of all threads.
    blocks: &'a Mutex<ShadowMap>,
    /// The live blocks that the thread will free or send.
    own: Vec<Offset>,
    numbers: Numbers,
    cpus: usize,
    /// The receiver of blocks that other threads send to the thread.
    inbox: Receiver<Offset>,
    /// The senders to all threads.
    outboxes: Vec<Sender<Offset>>,
}

impl<H: TestHeap> WorkerThread<'_, H> {
    fn run(mut self) {
        for _ in 0..OPERATIONS {
            match self.numbers.below(16) {
                0 => CPU.set(self.numbers.below(self.cpus)),
                1..3 => self.own.extend(self.inbox.try_iter()),
                3..5 => {
                    let to = self.numbers.below(self.outboxes.len());
                    if let Some(block) = self.own.pop() {
                        self.outboxes[to].send(block).unwrap();
                    }
                }
                5 if self.numbers.below(100) == 0 => {
                    self.engine.shrink();
                }
                5..10 => self.allocate(),
                10 => self.resize(),
                _ => self.free(),
            }
        }
        drop(self.outboxes);
        // The iterator ends when all threads have dropped their senders.
        self.own.extend(self.inbox.iter());
        while !self.own.is_empty() {
            let (engine, numbers) = (self.engine, &mut self.numbers);
            let block = self.own.swap_remove(numbers.below(self.own.len()));
            CPU.set(numbers.below(self.cpus));
            release(engine, self.blocks, block);
        }
    }

    fn allocate(&mut self) {
        let layout = layout(SIZES[self.numbers.below(SIZES.len())], 8);
        let mut cost = Cost::default();
        // The lock of `blocks` is not held here, so that threads call the engine concurrently.
        if let Ok(block) = self.engine.allocate(layout, &mut cost) {
            let fill = self.numbers.below(256) as u8;
            let mut blocks = self.blocks.lock().unwrap();
            blocks.insert(self.engine, block, layout, cost.class(), fill);
            self.own.push(self.engine.offset(block.start).unwrap());
        }
    }

    /// Resizes a block in place, if that is possible, while other threads free the blocks beside it.
    fn resize(&mut self) {
        let Some(offset) = self.own.last().copied() else {
            return;
        };
        let live = self.blocks.lock().unwrap().remove(offset);
        let new = layout(self.numbers.below(20_000), 8);
        let mut cost = Cost::default();
        // SAFETY: The block is live with this layout and belongs to this thread. The new layout has the same alignment.
        let is_resized = unsafe { (self.engine).resize(live.block, live.layout, new, &mut cost) };
        let now = if is_resized { new } else { live.layout };
        let fill = self.numbers.below(256) as u8;
        let mut blocks = self.blocks.lock().unwrap();
        blocks.insert(self.engine, live.block, now, live.class, fill);
    }

    fn free(&mut self) {
        if !self.own.is_empty() {
            let nth = self.numbers.below(self.own.len());
            release(self.engine, self.blocks, self.own.swap_remove(nth));
        }
    }
}

/// Frees a live block.
fn release<H: TestHeap>(engine: &OnHost<H>, blocks: &Mutex<ShadowMap>, block: Offset) {
    let live = blocks.lock().unwrap().remove(block);
    let mut cost = Cost::default();
    // SAFETY: The block was live with this layout, and was removed, so it is freed once.
    unsafe { engine.free(live.block, live.layout, &mut cost) }.unwrap();
}

/// Runs the threads on a pool of `bytes` bytes and `cpus` CPUs.
fn run_threads<H: TestHeap>(cpus: usize, bytes: usize) {
    let memory = HostMemory::new(bytes);
    let engine = on_cpus::<H>(cpus);
    memory.lend(&engine).unwrap();
    let blocks = Mutex::new(ShadowMap::default());
    let (outboxes, inboxes): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    let done = AtomicBool::new(false);
    let checks = thread::scope(|scope| {
        let checker = scope.spawn(|| {
            let mut checks = 0;
            while !done.load(Relaxed) {
                let result = check::run(&mut Walk::new(), |walk| engine.check(walk));
                assert!(matches!(result, Ok(Progress::Sound | Progress::Disturbed)));
                ReportedStatistics::of(&engine);
                checks += 1;
            }
            checks
        });
        let workers: Vec<_> = (1..)
            .zip(inboxes)
            .map(|(number, inbox)| {
                let worker = WorkerThread {
                    engine: &engine,
                    blocks: &blocks,
                    own: Vec::new(),
                    numbers: Numbers(0x5eed * number),
                    cpus,
                    inbox,
                    outboxes: outboxes.clone(),
                };
                scope.spawn(|| worker.run())
            })
            .collect();
        drop(outboxes);
        let ends: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Relaxed);
        assert!(ends.iter().all(Result::is_ok), "a worker failed");
        checker.join().unwrap()
    });
    assert!(checks > 0);
    sound(&engine);
    ReportedStatistics::of(&engine).agree(&blocks.lock().unwrap());
    assert_eq!(ReportedStatistics::of(&engine).totals.live_blocks, 0);
    is_whole(&engine, &[memory]);
}

fn four_threads_on_two_cpus_keep_the_engine_sound<H: TestHeap>() {
    run_threads::<H>(2, 2 << 20);
}

fn four_threads_on_three_cpus_keep_a_small_pool_sound<H: TestHeap>() {
    // The pool is so small that requests are refused, and that requests flush the magazines of other CPUs.
    run_threads::<H>(3, 32 * PAGE_BYTES);
}
