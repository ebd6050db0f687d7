#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the module on the kernel that reports every bug it can, and counts what was done.
#
#   test-debug.sh               every stage whole, in a machine of its own
#   test-debug.sh STAGE...      these
#   test-debug.sh --brief       a part of each, together in one machine: some minutes
#
# What the stages are is in guest/debug. A stage fails when something did not hold, when a checker of
# the kernel reported anything, and when kmemleak found a leak.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

# Each with the seconds that it may take where processors are emulated.
declare -A stages=([selftest]=3600 [stress]=1800)
order=(selftest stress)
brief_seconds=600

tree=$(KDIR='' scripts/kernel.sh path lab+debug)
image=$build/debug/initramfs.cpio
runs=() failed=''

debug_image() { make initramfs KDIR="$tree" MO="$build/debug/module" image="$image"; }

# machine NAME SECONDS ARGUMENT...: runs guest/debug in a machine. Under emulation ACPI's interpreter is
# too slow for its own interrupt; KASAN and kmemleak want memory.
machine() {
	local name=$1 seconds=$2 log=$logs/debug-$1.log
	shift 2
	KDIR=$tree INITRAMFS=$image CONSOLE=$logs/debug-$name.console watch "debug kernel, $name" "$log" \
		scripts/vm.sh -t "$seconds" -m 2048 -k "loglevel=7 acpi=noirq kmemleak=on" debug "$@"
	runs+=("$name")
	[ "$status" -eq 0 ] || { cat "$log" >&2; failed=yes; }
}

# counts: what was done, by kind: the tests of KTAP, the operations of `slablab stress --json`, the
# lines "count: NUMBER WHAT", and what the kernel's checkers reported
counts() {
	local run
	for run in "${runs[@]}"; do
		awk '/^count: / { print substr($0, 8) }
			/^      "operations": / { print $2 + 0, "operations" }
			/^ *(not )?ok [0-9]+ / && !/^(not )?ok/ && !/# SKIP/ { print 1, "tests" }' "$logs/debug-$run.log"
		echo "$(awk -f scripts/reports.awk "$logs/debug-$run.console" | wc -l) reports"
	done | awk '{ number = $1; sub(/^[0-9]+ /, ""); sum[$0] += number }
		END { for (kind in sum) printf "%10d %s\n", sum[kind], kind }' | sort -k 2
}

brief=''
if [ "${1:-}" = --brief ]; then
	brief=$1
	shift
fi
[ $# -eq 0 ] || order=("$@")
for stage in "${order[@]}"; do
	[ -n "${stages[$stage]:-}" ] || die "no stage $stage: there are ${!stages[*]}"
done

step "module for the debug kernel" "$logs/debug-build.log" debug_image
if [ -n "$brief" ]; then
	machine brief "$brief_seconds" --brief "${order[@]}"
else
	for stage in "${order[@]}"; do
		machine "$stage" "${stages[$stage]}" "$stage"
	done
fi
counts
[ -z "$failed" ]
