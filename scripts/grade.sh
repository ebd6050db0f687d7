#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Grades a submission in a new virtual machine. Only the file lib.rs of the submission is taken.
#
#   grade.sh COMMAND INITRAMFS DIR EXERCISE [SEED] [OUT]
#   grade.sh -n DIR EXERCISE [SEED] [OUT]                    only checks the arguments
#
# COMMAND is the program slablab. Without SEED a new seed is drawn. OUT is the folder of the results
# (build/out/grade/NAME, where NAME is the last part of DIR): results.json, table.txt and console.log. TIMEOUT= is the
# limit of the machine in seconds (600). A submission that ends at a limit has 0 points, and the script succeeds. It
# fails if there is no grade, because the machine failed.

set -eu
. "$(dirname "$0")/lib.sh"

check=''
[ "${1:-}" != -n ] || { check=yes; shift; set -- '' '' "$@"; }
if [ $# -lt 4 ] || [ $# -gt 6 ]; then
	sed -n '/^# *grade\.sh/s/^# *//p' "$0" >&2
	exit 2
fi
command=$1 initramfs=$2 folder=$3 exercise=$4 seed=${5:-} out=${6:-}

[ -n "$folder" ] || die "DIR= is missing: it names the folder of a submission, for example DIR=submissions/alice"
[ -d "$folder" ] || die "DIR=$folder is not a folder"
name=$(basename "$(realpath "$folder")")
if ! [[ $exercise =~ ^[1-9][0-9]?$ ]] ||
	! compgen -G "$top/harness/course/$(printf %02d "$exercise")-*/page.md" >/dev/null; then
	die "EXERCISE=$exercise is not the number of an exercise: 'make course' lists them"
fi
[ -z "$seed" ] || [[ $seed =~ ^[0-9]{1,19}$ ]] || die "SEED=$seed is not a number"
require_number TIMEOUT "${TIMEOUT:-600}"
out=${out:-$build/out/grade/$name}
[ -z "$check" ] || exit 0

mkdir -p "$out"
file=$(realpath "$folder")/lib.rs out=$(realpath "$out")
cd "$top"
# A result of an earlier run must not be taken for the result of this one.
rm -f "$out/results.json" "$out/table.txt" "$out/console.log"
# The kernel is built and the accelerator is probed before the time of the machine begins.
export INITRAMFS=$initramfs CONSOLE=$out/console.log
KDIR=$(scripts/kernel.sh path)
export KDIR
ACCEL=${ACCEL:-$(scripts/vm.sh -a)}
export ACCEL
status=0
nice "$command" course grade "$exercise" --file "$file" ${seed:+--seed "$seed"} --runner scripts/grade-vm.sh \
	--format gradescope --output "$out/results.json" --table "$out/table.txt" || status=$?
[ ! -e "$out/table.txt" ] || say "$name: $(tail -n 1 "$out/table.txt") (${out#"$top/"}/results.json)"
exit "$status"
