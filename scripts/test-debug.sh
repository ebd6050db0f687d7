#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the module on the kernel that reports every bug it can, and counts what was done.
#
#   test-debug.sh               every stage whole, in a machine of its own
#   test-debug.sh STAGE...      these
#   test-debug.sh --brief       a part of each, together in one machine: some minutes
#
# A stage is a function stage_NAME of this file or of guest/debug. It fails when something did not
# hold, when a checker of the kernel reported anything, and when kmemleak found a leak.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

# Each with the seconds that it may take where processors are emulated.
declare -A stages=([selftest]=3600 [stress]=1800 [concurrency]=3600 [fuzz]=3600 [stray]=600)
order=(selftest stress concurrency fuzz stray)
# Those that are run on other numbers of processors than two.
declare -A processors=([concurrency]="2 4")
brief_seconds=1500

runs=() failed=''

# build_image IMAGE ARGUMENT...
build_image() {
	local image=$1
	shift
	make initramfs KDIR="$tree" MO="${image%.cpio}" image="$image" "$@"
}

# boot NAME IMAGE ARGUMENT...: boots the debug kernel
boot() {
	local name=$1 image=$2
	shift 2
	debug_vm "$tree" "$image" "$logs/debug-$name.console" "$@"
}

# run NAME COMMAND...: runs a stage, or several, and remembers its log
run() {
	local name=$1 log=$logs/debug-$1.log
	shift
	watch "debug kernel, $name" "$log" "$@"
	runs+=("$name")
	[ "$status" -eq 0 ] || { cat "$log" >&2; failed=yes; }
}

# stage_stray: stray accesses to pools, on purpose. Each is reported once, by its name.
stage_stray() {
	local engine bytes told=$logs/debug-stray.told
	build_image "$build/debug/stray.cpio" STRAY=1
	boot stray "$build/debug/stray.cpio" -e -t "${stages[stray]}" true
	for engine in seed hybrid; do
		for bytes in 64 8192; do
			printf '%s\n' "stray: $engine $bytes: behind a block" "BUG: KASAN: slab-out-of-bounds" \
				"stray: $engine $bytes: a freed block" "BUG: KASAN: slab-use-after-free" \
				"stray: $engine $bytes: before a block" "BUG: KASAN: slab-use-after-free" \
				"stray: $engine $bytes: no more"
		done
	done >"$told.expected"
	grep -oE 'stray: [a-z0-9: ]+|BUG: KASAN: [a-z-]+' "$logs/debug-stray.console" >"$told" || true
	diff -u "$told.expected" "$told"
	echo "count: $(grep -c KASAN "$told") stray accesses reported, as they should be"
}

# counts: what was done, by kind: the tests of KTAP, the operations of `slablab stress --json`, the
# lines "count: NUMBER WHAT", and what the kernel's checkers reported
counts() {
	local run
	for run in "${runs[@]}"; do
		awk '/^count: / { print substr($0, 8) }
			/^      "operations": / { print $2 + 0, "operations" }
			/^ *(not )?ok [0-9]+ / && !/^(not )?ok/ && !/# SKIP/ { print 1, "tests" }' "$logs/debug-$run.log"
		[ "$run" = stray ] || echo "$(awk -f scripts/reports.awk "$logs/debug-$run.console" | wc -l) reports"
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

tree=$(KDIR='' scripts/kernel.sh path lab+debug)
image=$build/debug/module.cpio
step "module for the debug kernel" "$logs/debug-build.log" build_image "$image"
guest=()
for stage in "${order[@]}"; do
	if declare -F "stage_$stage" >/dev/null; then
		run "$stage" "stage_$stage"
	elif [ -n "$brief" ]; then
		guest+=("$stage")
	else
		for cpus in ${processors[$stage]:-2}; do
			run "$stage-$cpus" boot "$stage-$cpus" "$image" -c "$cpus" -t "${stages[$stage]}" debug "$stage"
		done
	fi
done
[ ${#guest[@]} -eq 0 ] || run brief boot brief "$image" -t "$brief_seconds" debug --brief "${guest[@]}"
counts
[ -z "$failed" ]
