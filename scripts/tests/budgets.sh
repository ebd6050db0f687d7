#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests the memory budgets in a machine with 8 CPUs and 192 MiB, in which the per-CPU memory is significant. The
# machine must not hang, and each request must be served or refused within seconds.

set -eu
. "$(dirname "$0")/../lib.sh"

"$top/scripts/vm.sh" -c 8 -m 192 -t 300 -p "pool_mib=1 sessions_max=4096" \
	slablab selftest --filter budgets/small_pools_end
