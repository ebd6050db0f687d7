#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the stress tests in the debug kernel (KASAN, lockdep, kmemleak, fault injection), and counts the tests.
#
#   test-debug.sh               runs every stage completely, each in a machine of its own
#   test-debug.sh STAGE...      runs these stages
#   test-debug.sh --brief       runs a part of each stage, in one machine; takes a few minutes
#
# A stage is a function stage_NAME of this file or of guest/debug. A stage fails when a test fails, when a checker
# of the kernel reports anything, or when kmemleak finds a leak.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"

# The stages, with their timeouts in seconds on emulated CPUs.
declare -A stages=([selftest]=3600 [stress]=1800 [concurrency]=3600 [fuzz]=3600 [stray]=600)
order=(selftest stress concurrency fuzz stray)
# The numbers of CPUs of each stage that does not run on two CPUs only.
declare -A processors=([concurrency]="2 4")
brief_seconds=1500

runs=() failed=''

# build_image IMAGE ARGUMENT...: builds an initramfs with the module for the debug kernel
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

# run NAME COMMAND...: runs one or several stages by a command, and adds its log to the final counts
run() {
	local name=$1 log=$logs/debug-$1.log
	shift
	watch "debug kernel, $name" "$log" "$@"
	runs+=("$name")
	[ "$status" -eq 0 ] || { cat "$log" >&2; failed=yes; }
}

# stage_stray: loads a module that makes stray accesses to pools on purpose. KASAN must report each access once,
# with the right kind.
stage_stray() {
	local engine engines bytes reported=$logs/debug-stray.reported
	build_image "$build/debug/stray.cpio" STRAY=1
	boot stray "$build/debug/stray.cpio" -e -t "${stages[stray]}" true
	engines=$(sed -n 's/.* = SLABLAB_ENGINE_[A-Z]*, "\([a-z]*\)";/\1/p' rust/engines.rs | grep -v student)
	for engine in $engines; do
		for bytes in 64 8192; do
			printf '%s\n' "stray: $engine $bytes: behind a block" "BUG: KASAN: slab-out-of-bounds" \
				"stray: $engine $bytes: a freed block" "BUG: KASAN: slab-use-after-free" \
				"stray: $engine $bytes: before a block" "BUG: KASAN: slab-use-after-free" \
				"stray: $engine $bytes: no more"
		done
	done >"$reported.expected"
	grep -oE 'stray: [a-z0-9: ]+|BUG: KASAN: [a-z-]+' "$logs/debug-stray.console" >"$reported" || true
	diff -u "$reported.expected" "$reported"
	echo "count: $(grep -c KASAN "$reported") stray accesses reported as expected"
}

# counts: prints the sums of the tests in KTAP, the operations of `slablab stress --json`, the lines
# "count: NUMBER WHAT", and the reports of the kernel's checkers
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
	[ -n "${stages[$stage]:-}" ] || die "no stage $stage: the stages are ${!stages[*]}"
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
