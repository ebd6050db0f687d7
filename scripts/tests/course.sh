#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests the course: each model solution passes the tests of its exercise, and each starting code fails one. Each wrong
# solution fails at the test that its header names, and the program names the hint of its header:
#
#   //! Fails: the sentence of the test
#   //! Hint: the number of the hint
#
#   course.sh COMMAND
#
# COMMAND is the program slablab. The learner's file is restored at the end.

set -u
cd "$(dirname "$0")/../.." || exit
command=${1:?}
kept=$(mktemp)
cp rust/student/lib.rs "$kept"
trap 'cp "$kept" rust/student/lib.rs; rm -f "$kept"' EXIT
failed=0

# verdict NAME EXPECTED STATUS: compares the exit status of a check
verdict() {
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		echo "not ok: $1: the exit status is $3"
		failed=1
	fi
}

# test_wrong FILE: a wrong solution of exercise $number fails as its header says
test_wrong() {
	local sentence hint output
	sentence=$(sed -n 's,^//! Fails: ,,p' "$1")
	hint=$(sed -n 's,^//! Hint: ,,p' "$1")
	cp "$1" rust/student/lib.rs
	output=$("$command" course check "$number" 2>&1)
	verdict "$1 fails" 1 $?
	grep -qxF "FAILED  $sentence" <<<"$output"
	verdict "$1 fails at: $sentence" 0 $?
	grep -q "^Hint $hint helps: slablab course hint $number $hint\$" <<<"$output"
	verdict "the program names hint $hint for $1" 0 $?
}

for folder in harness/course/[0-9]*; do
	name=${folder##*/} number=$((10#${folder:15:2}))
	cp "$folder/solution.rs" rust/student/lib.rs
	"$command" course check "$number" >/dev/null 2>&1
	verdict "the solution of $name passes" 0 $?
	cp "$folder/start.rs" rust/student/lib.rs
	"$command" course check "$number" >/dev/null 2>&1
	verdict "the starting code of $name fails" 1 $?
	for wrong in "$folder"/wrong/*.rs; do
		[ -e "$wrong" ] || continue
		test_wrong "$wrong"
	done
done
exit $failed
