#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests vm.sh: the input of the command, the warning about files that are lost with the machine, and the stacks
# and the last operation that are printed for a machine that does not finish or is stuck. The test needs the initramfs and the
# kernel.

set -eu
. "$(dirname "$0")/../lib.sh"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0

# prints NAME PATTERN: a test that passes if the log has a line with the pattern
prints() {
	if grep -qE -- "$2" "$log"; then
		echo "ok: $1"
	else
		echo "not ok: $1"
		failed=1
	fi
}

export CONSOLE=$logs/vm.console
echo "a line" | "$top/scripts/vm.sh" -s sh -c 'cat && echo text >kept' >"$log" 2>&1 || failed=1
prints "-s passes the standard input" '^a line$'
prints "files in the machine are named" '^these files are deleted with the machine; print them to keep them: kept$'
echo "a line" | "$top/scripts/vm.sh" cat >"$log" 2>&1 || failed=1
[ ! -s "$log" ] || { echo "not ok: without -s there is no input, and nothing is lost" && failed=1; }

run='slablab stress churn --target device --engine hybrid --seed 7 --pool 64'
if "$top/scripts/vm.sh" -t 20 slablab stress churn --engine hybrid --seed 7 \
	--ops 1000000000 >"$log" 2>&1; then
	echo "not ok: a timeout is a failure"
	failed=1
fi
prints "the timeout is the error" '^error: the machine did not finish in 20 s'
prints "the first CPU has a stack" '^Kernel panic - not syncing: NMI'
prints "the other CPU has a stack" '^NMI backtrace for cpu '
prints "the run and its operation are named" "^the kernel was running: $run --ops [0-9]+$"

if "$top/scripts/vm.sh" -t 100 sh -c 'echo "<3>stuck: a test" >/dev/kmsg && sleep 100' >"$log" 2>&1; then
	echo "not ok: a stuck machine is a failure"
	failed=1
fi
prints "a stuck machine ends before its timeout" '^error: the kernel does not return from a call'
prints "a stuck machine prints its stacks" '^Kernel panic - not syncing: NMI'
[ "$failed" -eq 0 ] || cat "$log"
exit $failed
