#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests the course: each model solution passes the tests of its exercise, and each starting code fails one. Each wrong
# solution fails at the test that its header names, and the program names the hint of its header:
#
#   //! Fails: the sentence of the test
#   //! Hint: the number of the hint, or none if the allocator panics
#
# A file that breaks the rules of the course is refused with its line, and no command loses a learner's file.
#
#   course.sh COMMAND
#
# COMMAND is the program slablab. The learner's file and progress are restored at the end.

set -u
cd "$(dirname "$0")/../.." || exit
command=${1:?}
kept=$(mktemp -d)
cp rust/student/lib.rs "$kept/lib.rs"
[ ! -d build/course ] || mv build/course "$kept/course"
trap 'cp "$kept/lib.rs" rust/student/lib.rs; rm -rf build/course
	[ ! -d "$kept/course" ] || mv "$kept/course" build/course; rm -rf "$kept"' EXIT
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
	[ "$hint" != none ] || return
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

# expect NAME PATTERN: the output of the last command has a line that matches the pattern
expect() {
	grep -qE "$2" <<<"$output"
	verdict "$1" 0 $?
}

# course ARGUMENT...: runs a command of the course; output and status are in $output and $status
course() {
	output=$("$command" course "$@" 2>&1 </dev/null)
	status=$?
}

# Files that break the rules of the course.
rm -rf build/course
first=harness/course/01-bump
{ cat $first/solution.rs && echo 'fn f() { unsafe {} }'; } >rust/student/lib.rs
course check 1
verdict "a file with unsafe code is refused" 1 $status
expect "the refusal names the line" "^rust/student/lib.rs:$(wc -l <rust/student/lib.rs): .unsafe. is not allowed"
{ cat $first/solution.rs && echo 'use std::fs;'; } >rust/student/lib.rs
course check 1
verdict "a file with the crate std is refused" 1 $status
expect "the refusal names the crate" '^rust/student/lib.rs:[0-9]*: the crate .std. is not allowed'
grep -v 'forbid(unsafe_code)' $first/solution.rs >rust/student/lib.rs
course check 1
verdict "a file without forbid(unsafe_code) is refused" 1 $status
expect "the refusal names the missing line" 'lacks the line .*forbid\(unsafe_code\)'
for mistake in 'fn f() -> u8 { "" }' 'fn f() { "'; do
	{ cat $first/solution.rs && echo "$mistake"; } >rust/student/lib.rs
	course check 1
	verdict "a file that does not compile fails: $mistake" 1 $status
	expect "the compiler's message is shown" '^ *--> rust/student/lib.rs:'
	lines=$(grep -cE 'exercise|slablab course|lib.rs:[0-9]*: [a-z]' <<<"$output")
	verdict "nothing but the compiler's message is shown" 0 "$lines"
done

# No command loses a learner's file.
rm rust/student/lib.rs
course start 2
verdict "start needs no question if there is no file" 0 $status
echo '// mine' >>rust/student/lib.rs
course start 3
verdict "start without a terminal asks for --yes" 1 $status
verdict "a start that is refused changes nothing" '// mine' "$(tail -n 1 rust/student/lib.rs)"
course start 3 --yes
verdict "start --yes replaces the file" 0 $status
cmp -s rust/student/lib.rs harness/course/03-slabs/start.rs
verdict "the starting code is in place" 0 $?
course resume 2
verdict "a starting code is replaced without a question" 0 $status
verdict "resume puts the file back" '// mine' "$(tail -n 1 rust/student/lib.rs)"
verdict "only changed files are kept" build/course/02-first-fit.1.rs "$(echo build/course/*.rs)"
course resume 4
verdict "resume without a kept file fails" 1 $status

# Progress and hints.
cp $first/solution.rs rust/student/lib.rs
course check 1
expect "a check names the next exercise" '^Next: slablab course start 2 '
course list
expect "the list shows what is done" '^ 1 .* done  .* ([0-9]+) of \1 points'
expect "the list shows what is started" '^ 2 .* started  '
for number in 1 2 3 3; do
	course hint
	expect "hint continues the ladder: $number" "hint $number of 3 for exercise 2"
done
course hint 4 --answers
expect "hint --answers answers the questions" '^## Before you code'
exit $failed
