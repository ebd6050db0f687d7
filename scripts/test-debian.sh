#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the self-test on kernels of Debian, in each preemption mode of a kernel with PREEMPT_DYNAMIC. The last line is
# "N passed, N failed, N skipped".
#
#   test-debian.sh [KERNEL]...     the default is debian and debian-rt; `make help` has the values of KERNEL=
#
# Linux 7.3 on x86-64 has the modes full and lazy only, and ignores preempt=none and preempt=voluntary.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"
unset KDIR DEBUG_KERNEL INITRAMFS

modes=(full lazy)
passed=0 failed=0 skipped=0

# selftest KERNEL MODE RESULTS: runs the self-test in this mode, and writes its KTAP stream to the file RESULTS
selftest() {
	set -o pipefail
	# shellcheck disable=SC2016 # the guest's shell expands $0
	KERNEL=$1 scripts/vm.sh -t 3600 -k "preempt=$2" sh -c 'grep -F "($0)" /sys/kernel/debug/sched/preempt >&2 &&
		exec slablab selftest --ktap --module /lib/slablab.ko' "$2" | tee "$3"
}

# test_kernel KERNEL MODE: runs the self-test in this mode, and adds its results
test_kernel() {
	local kernel=$1 mode=$2 log=$logs/test-$1-$2.log results=$logs/selftest-$1-$2.ktap good bad left_out
	watch "self-test on $kernel, preempt=$mode" "$log" selftest "$kernel" "$mode" "$results" # sets status
	read -r good bad left_out < <(awk -f scripts/ktap.awk "$results" 2>>"$log")
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
	if [ "$bad" -ne 0 ]; then cat "$log" >&2; fi
	say "$kernel, preempt=$mode: $good passed, $bad failed, $left_out skipped"
	passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left_out))
}

[ $# -gt 0 ] || set -- debian debian-rt
for kernel; do
	make initramfs KERNEL="$kernel"
	for mode in "${modes[@]}"; do test_kernel "$kernel" "$mode"; done
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
