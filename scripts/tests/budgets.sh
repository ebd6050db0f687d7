#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests the budgets where memory is short and the memory of processors counts: 8 of them, 192 MiB. The
# machine must not stand still, and each request must be served or refused within seconds.

set -eu
. "$(dirname "$0")/../lib.sh"

"$top/scripts/vm.sh" -c 8 -m 192 -t 300 -p "pool_mib=1 sessions_max=4096" \
	slablab selftest --filter budgets/small_pools_end
