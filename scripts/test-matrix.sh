#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the self-test on kernels with other options than the lab kernel, and on other numbers of CPUs. Each kernel is
# built once, in the cache. The last lines are a table of the results and "N passed, N failed, N skipped".
#
#   test-matrix.sh [ROW]...        runs these rows of the list below (all)

set -eu
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/stages.sh"
cd "$top"
unset KDIR KERNEL DEBUG_KERNEL INITRAMFS

# The rows: name, fragment on top of the lab kernel (- for none), CPUs, boot parameters.
list='
lazy             -                2
one-cpu          -                1
eight-cpus       -                8
full             preempt-full     2
dynamic-full     preempt-dynamic  2  preempt=full
dynamic-lazy     preempt-dynamic  2  preempt=lazy
rt               preempt-rt       2
memcg            memcg            2
lto              lto              2
cfi              cfi              2
'

# boot: builds the kernel and the module of the row, and runs the self-test
boot() {
	local flavour=lab tree image command=("${selftest_command[@]}")
	set -o pipefail
	[ "$fragment" = - ] || flavour+=+$fragment
	rm -f "$logs/kernel-config.log" # of another kernel
	if ! tree=$(scripts/kernel.sh path "$flavour"); then
		# LTO and CFI need certain compilers.
		grep 'did not accept' "$logs/kernel-config.log" | sed 's/^error/skipped/' | grep . || return 1
		return 0
	fi
	image=$build/matrix/$fragment.cpio
	make initramfs KDIR="$tree" MO="${image%.cpio}" image="$image" >&2
	[ -z "$words" ] || command=("${selftest_in_mode[@]}" "${words#preempt=}")
	KDIR=$tree INITRAMFS=$image CONSOLE=$console \
		scripts/vm.sh -t 3600 -c "$cpus" -k "$words" "${command[@]}" | tee "$selftest"
}

# row_results LOG STATUS: the tally of a row, which is one skipped test if the toolchain cannot build its kernel
row_results() { if grep '^skipped:' "$1" >&2; then echo 0 0 1; else ktap_results; fi; }

# table: prints the counts of each row in Markdown
table() {
	local name passed failed skipped
	echo '| row | passed | failed | skipped |'
	echo '|---|--:|--:|--:|'
	while read -r name passed failed skipped; do
		echo "| $name | $passed | $failed | $skipped |"
	done <"$logs/matrix.results"
}

for name; do
	grep -q "^$name " <<<"$list" || die "no row $name: the rows are $(awk 'NF { print $1 }' <<<"$list" | paste -s -d ' ')"
done
mkdir -p "$logs"
: >"$logs/matrix.results"
while read -r name fragment cpus words; do
	if [ -z "$name" ]; then continue; fi
	if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
	selftest=$logs/selftest-matrix-$name.ktap
	console=$logs/matrix-$name.console
	rm -f "$selftest" "$console"
	before="$passed $failed $skipped"
	stage "self-test, $name" row_results boot </dev/null
	read -r passed_before failed_before skipped_before <<<"$before"
	echo "$name $((passed - passed_before)) $((failed - failed_before)) $((skipped - skipped_before))" >>"$logs/matrix.results"
done <<<"$list"
table
finish
