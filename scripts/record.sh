#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Records the allocations of the lab kernel while a command runs in the lab machine. The trace is written to
# a new directory in build/out/.
#
#   record.sh SLABLAB COMMAND ARGUMENT...

set -eu
. "$(dirname "$0")/lib.sh"

if [ $# -lt 2 ]; then
	sed -n '/^# *record\.sh/s/^# *//p' "$0" >&2
	exit 2
fi
slablab=$1
shift
out=$build/out/$(date +%Y%m%d-%H%M%S)
mkdir -p "$out"

"$top/scripts/vm.sh" -t 600 slablab trace record -- "$@" >"$out/kernel.trace" ||
	{ status=$? && rm -r "$out" && exit "$status"; }
"$slablab" trace info "$out/kernel.trace" | tee "$out/kernel.txt"
say "the trace is ${out#"$top/"}/kernel.trace; to replay it: make replay TRACE=${out#"$top/"}/kernel.trace"
