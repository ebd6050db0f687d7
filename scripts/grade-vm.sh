#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the program of a submission in a new virtual machine, and prints the results of the program. `slablab course
# grade` calls this script as the runner of `make grade`.
#
#   grade-vm.sh PROGRAM RUBRIC SEED
#
# The machine has no network and no disk, so the program can write only to its outputs. The standard error of the program
# is closed, so the script's own standard error has no text of the submission. TIMEOUT= is the limit in seconds (600); the
# exit status at the limit is 124. INITRAMFS= is the root file system, CONSOLE= the file of the machine's console.

set -eu
. "$(dirname "$0")/lib.sh"

[ $# -eq 3 ] || { sed -n '/^# *grade-vm\.sh/s/^# *//p' "$0" >&2; exit 2; }
program=$1 rubric=$2 seed=$3 timeout=${TIMEOUT:-600}
require_number TIMEOUT "$timeout"
bytes=$(stat -c %s "$program")
[ "$bytes" -le $((128 << 20)) ] || { say "the program has $((bytes >> 20)) MiB, and at most 128 are allowed"; exit 124; }

messages=$(mktemp)
trap 'rm -f "$messages"' EXIT
trap 'exit 130' INT TERM HUP
status=0
# The machine runs in the background, so that a signal ends the script at once, and the machine with it.
"$top/scripts/vm.sh" -n -c 1 -m 1024 -t "$timeout" -f "$program" -f "$rubric" \
	sh -c 'exec 2>/dev/null; "$@"' measure "/job/files/$(basename "$program")" course measure \
	--rubric "/job/files/$(basename "$rubric")" --seed "$seed" 2>"$messages" &
machine=$!
trap 'kill "$machine" 2>/dev/null; wait "$machine"; exit 130' INT TERM HUP
wait "$machine" || status=$?
if [ "$status" -ne 0 ]; then
	# The first lines of a failure are lines of the machine's console; the last line is the reason.
	tail -n 1 "$messages" >&2
	if grep -q "^error: the machine did not finish in" "$messages"; then status=124; fi
fi
exit "$status"
