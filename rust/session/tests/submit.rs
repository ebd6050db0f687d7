// SPDX-License-Identifier: GPL-2.0

//! Submissions in segments that are committed or rolled back.

use super::*;
use slab_heap::{
    Cost,

    check::{
        self,
        Progress,
        Walk, //
    }, //
};

/// An operation with its result.
#[derive(Clone, Debug)]
pub(super) struct SubmittedOperation {
    pub(super) operation: Operation,
    pub(super) reply: Option<Reply>,
    pub(super) freed: Option<Handle>,
    pub(super) error: Option<SessionError>,
}

impl EncodedOperation for SubmittedOperation {
    fn decode(&self) -> Result<Operation, SessionError> {
        Ok(self.operation)
    }

    fn allocated(&self) -> Option<Handle> {
        match self.operation {
            Operation::Allocate { .. } => self.reply.map(|reply| reply.handle),
            _ => None,
        }
    }

    fn on_served(&mut self, reply: &Reply) {
        self.reply = Some(*reply);
    }

    fn on_freed(&mut self, handle: Handle, _cost: Cost) {
        self.freed = Some(handle);
    }

    fn on_error(&mut self, error: SessionError) {
        self.error = Some(error);
    }
}

pub(super) fn op(operation: Operation) -> SubmittedOperation {
    SubmittedOperation {
        operation,
        reply: None,
        freed: None,
        error: None,
    }
}

pub(super) fn alloc_op(size: u64) -> SubmittedOperation {
    op(Operation::Allocate { size, align: 8 })
}

pub(super) fn free_op(handle: Handle) -> SubmittedOperation {
    op(Operation::Free(BlockRef::Handle(handle.to_bits())))
}

/// Returns the number of operations that a segment executed, and the error that ended it.
fn ended<E: Engine>(
    segment: &Segment<'_, TestPlatform<'_, E>, SubmittedOperation>,
) -> (usize, Option<SessionError>) {
    let error = segment.failed().map(|(op, error)| {
        assert_eq!(op.error, Some(error));
        error
    });
    (segment.done().len(), error)
}

/// Executes the next segment of a submission.
pub(super) fn execute<'a, 'e, E: Engine>(
    session: &'a SessionOn<'e, E>,
    ops: &'a mut [SubmittedOperation],
    base: usize,
    first: usize,
) -> Segment<'a, TestPlatform<'e, E>, SubmittedOperation> {
    let mut segment = session.segment(ops, base, first);
    segment.execute();
    segment
}

/// Submits all operations and commits each segment. Returns the number of successful operations, and the error
/// that ended the submission.
pub(super) fn submit<E: Engine>(
    session: &SessionOn<'_, E>,
    ops: &mut [SubmittedOperation],
) -> (usize, Option<SessionError>) {
    let mut done = 0;
    while done < ops.len() {
        let segment = execute(session, ops, 0, done);
        let (count, error) = ended(&segment);
        segment.commit();
        done += count;
        if error.is_some() {
            return (done, error);
        }
    }
    (done, None)
}

pub(super) fn handle(op: &SubmittedOperation) -> Handle {
    op.reply.unwrap().handle
}

pub(super) fn assert_sound(pool: &SeedPool) {
    assert_engine_sound(&pool.engine);
}

pub(super) fn assert_engine_sound(engine: &impl Engine) {
    let mut walk = Walk::new();
    let checked = engine.interfaces().check.unwrap();
    let walked = check::run(&mut walk, |walk| checked.check(walk));
    assert_eq!(walked, Ok(Progress::Sound));
}

#[test]
fn operations_run_in_order() {
    let pool = SeedPool::new();
    let session = pool.session();
    let mut ops = vec![alloc_op(64); 30];
    assert_eq!(submit(&session, &mut ops), (30, None));
    for (number, op) in ops.iter().enumerate() {
        assert_eq!(bytes(&session, handle(op)), [0; 64]);
        assert_eq!(handle(op).to_bits() & INDEX_MAX, number as u32);
    }
    let mut frees: Vec<_> = ops.iter().map(|op| free_op(handle(op))).collect();
    frees.push(free_op(handle(&ops[0])));
    assert_eq!(
        submit(&session, &mut frees),
        (30, Some(SessionError::NoSuchBlock))
    );
    let stats = session.stats();
    assert_eq!((stats.blocks, stats.bytes), (0, 0));
    assert_eq!((stats.allocations, stats.frees), (30, 30));
}

#[test]
fn an_uncommitted_segment_leaves_no_block() {
    let pool = SeedPool::new();
    let session = pool.session();
    let kept = allocate(&session, 100, 8).unwrap().handle;
    let before = (pool.totals().live_blocks, session.stats());
    let mut ops = vec![alloc_op(64); 20];
    ops.insert(10, op(Operation::Free(BlockRef::Earlier(3))));
    let segment = execute(&session, &mut ops, 0, 0);
    assert_eq!(ended(&segment), (21, None));
    let first = handle(&segment.done()[0]);
    assert_eq!(bytes(&session, first), [0; 64]);
    drop(segment);
    let after = session.stats();
    assert_eq!(
        (after.blocks, after.bytes),
        (before.1.blocks, before.1.bytes)
    );
    assert_eq!(pool.totals().live_blocks, before.0);
    assert_eq!(session.free(first), Err(SessionError::NoSuchBlock));
    // The block that the segment allocated and freed counts as allocated and freed.
    assert_eq!((after.allocations, after.frees), (2, 1));
    assert!(session.free(kept).is_ok());
    assert_sound(&pool);
}

#[test]
fn a_reallocation_is_a_segment_that_rolls_back() {
    let pool = SeedPool::new();
    let session = pool.session();
    let block = allocate(&session, 100, 8).unwrap().handle;
    fill(&session, block, 7);
    let before = session.stats();
    let realloc = op(Operation::Reallocate(
        BlockRef::Handle(block.to_bits()),
        5000,
    ));
    let mut ops = [alloc_op(64), realloc, alloc_op(64)];
    let segment = execute(&session, &mut ops, 0, 0);
    assert_eq!(ended(&segment), (1, None));
    drop(segment);
    let segment = execute(&session, &mut ops[1..], 1, 0);
    assert_eq!(ended(&segment), (1, None));
    assert_eq!(session.free(block), Err(SessionError::Pinned));
    drop(segment);
    assert_eq!(bytes(&session, block), [7; 100]);
    assert_eq!(session.stats(), before);
    assert_eq!(submit(&session, &mut ops), (3, None));
    assert_eq!(bytes(&session, block).len(), 5000);
}

#[test]
fn a_block_freed_by_its_submission_is_not_zeroed() {
    // `seed` stores list links in free blocks: zeroing a freed block would destroy the list.
    let pool = SeedPool::new();
    let session = pool.session();
    let mut ops = Vec::new();
    for n in 0..8 {
        ops.push(alloc_op(64));
        ops.push(op(Operation::Free(BlockRef::Earlier(3 * n))));
        ops.push(alloc_op(64));
    }
    assert_eq!(submit(&session, &mut ops), (24, None));
    assert_sound(&pool);
    assert_eq!(session.stats().blocks, 8);
}

#[test]
fn a_block_ref_must_name_an_earlier_allocation() {
    let pool = SeedPool::new();
    let session = pool.session();
    let block = allocate(&session, 100, 8).unwrap().handle;
    for number in [1, 2, 3, u32::MAX] {
        let mut ops = [
            alloc_op(8),
            free_op(allocate(&session, 8, 8).unwrap().handle),
            op(Operation::Free(BlockRef::Earlier(number))),
        ];
        assert_eq!(
            submit(&session, &mut ops),
            (2, Some(SessionError::BadOperation)),
            "{number}"
        );
        assert_eq!(ops[2].error, Some(SessionError::BadOperation));
    }
    // Operations are numbered from the start of the submission, and this call starts at number 64.
    let mut ops = [alloc_op(8), op(Operation::Free(BlockRef::Earlier(64)))];
    let segment = execute(&session, &mut ops, 64, 0);
    assert_eq!(ended(&segment), (2, None));
    segment.commit();
    let mut ops = [alloc_op(8), op(Operation::Free(BlockRef::Earlier(63)))];
    let segment = execute(&session, &mut ops, 64, 0);
    assert_eq!(ended(&segment), (1, Some(SessionError::BadOperation)));
    segment.commit();
    assert!(session.free(block).is_ok());
}

#[test]
fn a_refused_operation_is_counted_and_ends_the_submission() {
    let pool = SeedPool::new();
    let session = pool.limited(1000, 3);
    let mut ops = vec![alloc_op(64); 5];
    assert_eq!(
        submit(&session, &mut ops),
        (3, Some(SessionError::QuotaHandles))
    );
    let mut frees: Vec<_> = ops[..2].iter().map(|op| free_op(handle(op))).collect();
    frees.push(alloc_op(2000));
    assert_eq!(
        submit(&session, &mut frees),
        (2, Some(SessionError::QuotaBytes))
    );
    // A free releases its quota for later operations of the same submission.
    let last = handle(&ops[2]);
    let mut ops = [alloc_op(512), free_op(last), alloc_op(256), alloc_op(0)];
    assert_eq!(
        submit(&session, &mut ops),
        (3, Some(SessionError::SizeZero))
    );
    assert_eq!(session.stats().refusals[RefusalCause::Quota as usize], 2);
}

#[test]
fn the_table_grows_in_the_middle_of_a_submission() {
    let pool = SeedPool::new();
    let session = pool.session();
    let mut ops = vec![alloc_op(8); 2500];
    assert_eq!(submit(&session, &mut ops), (2500, None));
    CHUNKS_LEFT.set(0);
    let mut ops = vec![alloc_op(8); 2500];
    assert_eq!(
        submit(&session, &mut ops),
        (4096 - 2500, Some(SessionError::NoTable))
    );
    assert_eq!(pool.totals().live_blocks, 4096);
}
