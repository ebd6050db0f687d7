#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests vm.sh -g and gdb.sh: gdb stops in `allocate` of the engine seed, shows the line of the source and the arguments of
# the call, and the command ends afterwards. The test needs gdb, the kernel, and the image of `make initramfs SYMBOLS=1`.

set -eu
. "$(dirname "$0")/../lib.sh"

type -P gdb >/dev/null || die "no gdb: run 'scripts/setup.sh gdb'"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# finds NAME PATTERN FILE: a test that passes if the file has a line with the pattern
finds() {
	if grep -qE -- "$2" "$3"; then
		echo "ok: $1"
	else
		echo "not ok: $1"
		failed=1
	fi
}

rm -f "$build/gdb/sections" # of a machine that was killed
CONSOLE=$logs/gdb.console "$top/scripts/vm.sh" -g -t 300 slablab stress churn --engine seed --seed 7 --ops 100 \
	>"$work/machine" 2>&1 </dev/null &
machine=$!
# The second machine cannot wait for gdb while the first does.
until [ -e "$build/gdb/sections" ] || ! kill -0 "$machine" 2>/dev/null; do sleep 0.1; done
if "$top/scripts/vm.sh" -g true >"$work/second" 2>&1; then failed=1; fi
finds "a second machine is refused" 'another machine of this checkout waits for gdb' "$work/second"

timeout 120 "$top/scripts/gdb.sh" -batch -ex 'break slab_heap::seed::engine::State::allocate' -ex continue \
	-ex 'backtrace -frame-arguments scalars' -ex 'delete' >"$work/session" 2>&1 </dev/null || failed=1
wait "$machine" || failed=1

line=$(sed -n 's/^#0 .* at .*rust\/heap\/seed\/engine\.rs:\([0-9]*\)$/\1/p' "$work/session")
first=$(grep -n 'fn allocate(&mut self' "$top/rust/heap/seed/engine.rs" | head -n 1 | cut -d : -f 1)
if [ -n "$line" ] && [ "$line" -ge "$first" ] && [ "$line" -le $((first + 10)) ]; then
	echo "ok: gdb stops in allocate of seed"
else
	echo "not ok: gdb stops in line '$line' of seed/engine.rs, and allocate begins in line $first"
	failed=1
fi
finds "the stack has the request of the session" 'Session<.*>::allocate.*size=[0-9]+, align=[0-9]+' "$work/session"
finds "the stack has the ioctl" 'slablab_main::device::.*ioctl.*/rust/device\.rs:[0-9]+$' \
	"$work/session"
finds "the command continues after gdb has left" '^seed passed: ' "$work/machine"
[ "$failed" -eq 0 ] || cat "$work/session" "$work/machine"
exit $failed
