// SPDX-License-Identifier: GPL-2.0

//! Tests whether every request of a trace succeeds.

use slablab_trace::{
    Kind,
    Op,
    Trace, //
};

use crate::{
    device::Errno,
    isolation::underway,
    target::Target,
    uapi::{
        self,
        slablab_operation,
        slablab_submit, //
    },
};

/// The handle of a block, or the operation that allocates it.
#[derive(Clone, Copy, Default)]
struct BlockOperand {
    /// The handle, after the call that allocates the block has returned.
    handle: u32,
    /// The number of the call that allocates the block, and the position of the allocation in that call.
    call: usize,
    place: u32,
}

/// Runs a trace with the fewest possible calls, and returns whether all operations succeeded. The blocks stay
/// live.
///
/// # Errors
///
/// When a call fails with an error that is no refusal.
pub fn fits(target: &dyn Target, trace: &Trace) -> Result<bool, Errno> {
    let mut operands = vec![BlockOperand::default(); trace.blocks()];
    let calls = trace.ops().chunks(uapi::SLABLAB_OPERATIONS_MAX as usize);
    let mut operations = Vec::new();
    for (call, ops) in (1..).zip(calls) {
        operations.clear();
        for (place, op) in (0..).zip(ops) {
            if let Kind::Alloc { .. } = op.kind {
                let handle = 0;
                operands[op.id as usize] = BlockOperand {
                    handle,
                    call,
                    place,
                };
            }
            operations.push(operation(op, operands[op.id as usize], call));
        }
        let first = ((call - 1) * uapi::SLABLAB_OPERATIONS_MAX as usize + 1) as u64;
        underway::operations(first..first + ops.len() as u64);
        let answer = target.submit(&mut operations)?;
        if !served(&answer)? {
            return Ok(false);
        }
        for (op, reply) in ops.iter().zip(&operations) {
            operands[op.id as usize].handle = reply.handle;
        }
    }
    Ok(true)
}

/// Returns whether all operations of a SUBMIT succeeded. `false` means that one of them was refused.
///
/// # Errors
///
/// When a call fails with an error that is no refusal.
pub(super) fn served(answer: &slablab_submit) -> Result<bool, Errno> {
    if answer.error == 0 {
        return Ok(true);
    }
    match Errno::from_raw_os_error(answer.error as i32) {
        Errno::NOMEM | Errno::DQUOT | Errno::OPNOTSUPP => Ok(false),
        errno => Err(errno),
    }
}

/// Returns the operation of a SUBMIT, without a handle.
pub(super) fn request(kind: Kind) -> slablab_operation {
    let (kind, bytes, align) = match kind {
        Kind::Alloc { bytes, align } => (uapi::SLABLAB_OP_ALLOC, bytes, align),
        Kind::Realloc { bytes } => (uapi::SLABLAB_OP_REALLOC, bytes, 1),
        Kind::Free => (uapi::SLABLAB_OP_FREE, 0, 1),
    };
    slablab_operation {
        kind: kind as u8,
        align_log2: align.trailing_zeros() as u8,
        bytes: bytes.into(),
        ..Default::default()
    }
}

fn operation(op: &Op, operand: BlockOperand, call: usize) -> slablab_operation {
    let mut operation = request(op.kind);
    match op.kind {
        Kind::Alloc { .. } => {}
        _ if operand.call == call => {
            operation.flags = uapi::SLABLAB_OP_EARLIER as u16;
            operation.handle = operand.place;
        }
        _ => operation.handle = operand.handle,
    }
    operation
}
