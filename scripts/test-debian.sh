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
. "$(dirname "$0")/stages.sh"
cd "$top"
unset KDIR DEBUG_KERNEL INITRAMFS

modes=(full lazy)

# selftest KERNEL MODE: runs the self-test in this mode, and writes its results to the file $selftest
selftest() {
	set -o pipefail
	KERNEL=$1 scripts/vm.sh -t 3600 -k "preempt=$2" "${selftest_in_mode[@]}" "$2" | tee "$selftest"
}

[ $# -gt 0 ] || set -- debian debian-rt
for kernel; do
	make initramfs KERNEL="$kernel"
	for mode in "${modes[@]}"; do
		selftest=$logs/selftest-$kernel-$mode.ktap
		rm -f "$selftest"
		stage "self-test on $kernel, preempt=$mode" ktap_results selftest "$kernel" "$mode"
	done
done
finish
