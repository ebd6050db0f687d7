#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests slablab in an arm64 machine, stage by stage: the index masks of slab_heap, the prompt, the self-test, the latency
# of preemption, the memory budgets, the offsets of each engine compared with those of sim on this machine, and the
# benches. The last line is "N passed, N failed, N skipped".
#
# KDIR= names a built arm64 kernel. The script is not a part of `make test`, which tests the architecture of this machine.

set -eu
export ARCH=arm64
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stages.sh"
cd "$top"

export CONSOLE=$logs/arm64.console
command=build/target/release/slablab
selftest=$logs/selftest-arm64.ktap
heap=$build/arm64/slab_heap

host_command() { make command ARCH=arm64; }
guest() { make initramfs ARCH=arm64; }

guest_tests() {
	set -o pipefail
	scripts/vm.sh -t 2400 "${selftest_command[@]}" | tee "$selftest"
}

# The unit tests whose code depends on the processor.
heap_tests() {
	[ -n "$cross" ] || { echo "skipped: 'make test-class' runs the tests on this machine"; return 0; }
	mkdir -p "$(dirname "$heap")"
	scripts/cross.sh heap-tests "$heap"
	scripts/vm.sh -n -f "$heap" /job/files/slab_heap nospec::
}

# The clock of the machine counts instructions, so that 50 ms are the same on every host.
patience() { scripts/vm.sh -i -t 900 slablab selftest --filter patience/; }

# results TARGET COMMAND...: prints the final statistics of a run with all workloads, which contain a hash of all offsets
results() {
	local target=$1
	shift
	"$@" stress churn mixed exhaust fragment realloc abuse --target "$target" --seed 7 --ops 20000 \
		--engine "$engine" --json |
		sed -n '/^  "final"/,/^  \]/p'
}

# same_offsets ENGINE: compares the device in the arm64 machine with sim on this machine and in the arm64 machine
same_offsets() {
	local engine=$1 here
	here=$(results sim "$command")
	[ "$(grep -c '"trace"' <<<"$here")" = 6 ]
	diff <(echo "$here") <(results sim scripts/vm.sh -t 600 slablab)
	diff <(echo "$here") <(results device scripts/vm.sh -t 600 slablab)
	grep '"trace"' <<<"$here"
}

benches() { make bench BRIEF=1 ARCH=arm64; }

rm -f "$selftest"
stage "the command slablab" once host_command
stage "module and command for arm64" once guest
stage "index masks on arm64" once heap_tests
stage "prompt in the arm64 machine" once scripts/tests/prompt.sh
stage "tests in the arm64 machine" ktap_results guest_tests
stage "preemption latency on arm64" once patience
stage "budgets of a small arm64 machine" once scripts/tests/budgets.sh
for engine in seed hybrid extent; do
	stage "the same offsets on arm64, $engine" once same_offsets "$engine"
done
stage "benches on arm64" once benches
say "skipped, because they are about x86-64: 32-bit programs (ia32), instructions with a lock prefix, stack frames, gdb"
finish
