#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests `slablab course check --kernel`: allocators that stop the kernel in different ways end in a verdict with the
# line of the learner's file. The test needs the kernel.
#
#   course-kernel.sh COMMAND
#
# COMMAND is the program slablab. The learner's file is restored at the end.

set -u
. "$(dirname "$0")/../lib.sh"
cd "$top" || exit
command=${1:?}
require_program "$command"
if ! scripts/course-kernel.sh has; then
	echo "skipped: no kernel: run 'make kernel'"
	exit 0
fi
file=rust/student/lib.rs
kept=$(mktemp) log=$(mktemp)
cp "$file" "$kept"
trap 'cp "$kept" "$file"; rm -f "$kept" "$log"' EXIT
failed=0

# allocator CODE: writes a bump allocator that executes the code in each allocation. In a process the code does not
# exist, so only the kernel stops.
allocator() {
	cat >"$file" <<EOF
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]

use slab_student::{Allocator, Error, Layout, Memory};

pub struct Student {
    next: usize,
}

impl Allocator for Student {
    fn new(_memory: &mut Memory) -> Result<Self, Error> {
        Ok(Self { next: 0 })
    }

    fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> {
        let block = self.next.next_multiple_of(layout.align());
        let end = block + layout.size();
        if end > memory.len() {
            return Ok(None);
        }
        self.next = end;
        #[cfg(MODULE)]
        {
            $1
        }
        Ok(Some(block))
    }

    fn free(&mut self, _memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(MODULE)]
fn depth(memory: &mut Memory, at: usize) -> Result<usize, Error> { // in depth
    if at == 0 {
        return Ok(0);
    }
    let below = depth(memory, at + 1)?; // in depth
    Ok(below ^ memory.len())
}
EOF
}

# check NAME STATUS CODE PATTERN [MARK]: checks an allocator. The output must have the pattern, in which LINE is the
# number of one of the lines with the mark.
check() {
	local name=$1 expected=$2 code=$3 pattern=$4 lines status
	allocator "$code"
	lines=$(grep -nF "${5:-// here}" "$file" | cut -d : -f 1 | paste -s -d '|')
	"$command" course check 1 --kernel >"$log" 2>&1
	status=$?
	if [ "$status" = "$expected" ] && grep -qE -- "${pattern//LINE/line ($lines)}" "$log"; then
		echo "ok: $name"
	else
		echo "not ok: $name: the exit status is $status, and the output:"
		cat "$log"
		failed=1
	fi
}

check "an allocator without a fault passes" 0 "let _ = depth;" "^exercise 1 passes in the kernel"
check "a panic has its line and message" 1 "self.next -= self.next.min(5000) * 2; // here" \
	"^the kernel stopped at $file, LINE: attempt to subtract with overflow"
check "a loop that does not end has its line" 1 \
	"while self.next > 5000 { self.next = self.next.rotate_left(3) | 1 << 20; } // here" \
	"^the kernel does not return from your allocator: it was at $file, LINE,"
check "an endless recursion has a line of its function" 1 "self.next ^= depth(memory, block + 8)?;" \
	"^the kernel's stack is full at $file, LINE: a stack of the kernel has only 16 KiB" "// in depth"
check "local variables that do not fit on the stack are found" 1 "self.next ^= core::hint::black_box([0; 4096])[block % 4096];" \
	"::allocate uses [0-9]+ bytes of stack, but a function in the kernel may use 4096"
exit $failed
