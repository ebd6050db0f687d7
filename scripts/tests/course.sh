#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests the course: each model solution passes the tests of its exercise, and each starting code fails one. Each wrong
# solution fails at the test that its first lines name, and the program names the hint of these lines:
#
#   Fails: the sentence of the test
#   Hint: the number of the hint, or none if the allocator panics
#
# A file that breaks the rules of the course is refused with its line, and no command loses a learner's file.
#
#   course.sh COMMAND
#
# COMMAND is the program slablab. The learner's file and progress are restored at the end.

set -u
. "$(dirname "$0")/../lib.sh"
cd "$top" || exit
command=${1:?}
require_program "$command"
kept=$(mktemp -d)
scratch=$kept/scratch
mkdir "$scratch"
cp rust/student/lib.rs "$kept/lib.rs"
[ ! -d .course ] || mv .course "$kept/course"
trap 'cp "$kept/lib.rs" rust/student/lib.rs; rm -rf .course
	[ ! -d "$kept/course" ] || mv "$kept/course" .course; rm -rf "$kept"' EXIT
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

# place_wrong FILE: puts a wrong solution in place: a file, or a change of the solution or starting code beside its folder
place_wrong() {
	local base
	if [ "${1%.diff}" = "$1" ]; then
		cp "$1" rust/student/lib.rs
		return
	fi
	base=$(sed -n 's,^--- a/,,p' "$1")
	cp "${1%/wrong/*}/$base" "$scratch/$base" &&
		(cd "$scratch" && GIT_DIR=/dev/null git apply) <"$1" &&
		mv "$scratch/$base" rust/student/lib.rs
}

# test_wrong FILE: a wrong solution of exercise $number fails as its header says
test_wrong() {
	local sentence hint output
	sentence=$(sed -nE 's,^(//! )?Fails: ,,p' "$1")
	hint=$(sed -nE 's,^(//! )?Hint: ,,p' "$1")
	if ! place_wrong "$1"; then
		verdict "$1 can be applied" 0 1
		return
	fi
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
	"$command" course grade "$number" --seed 7 2>/dev/null | grep -qx '100 of 100 points'
	verdict "the solution of $name has full points" 0 $?
	cp "$folder/start.rs" rust/student/lib.rs
	"$command" course check "$number" >/dev/null 2>&1
	verdict "the starting code of $name fails" 1 $?
	for wrong in "$folder"/wrong/*; do
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
rm -rf .course
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
verdict "only changed files are kept" .course/02-first-fit.1.rs "$(echo .course/*.rs)"
course resume 4
verdict "resume without a kept file fails" 1 $status

# Progress and hints.
cp $first/solution.rs rust/student/lib.rs
course check 1
expect "a check names the command for the other points" \
	'^The other 25 points are for utilisation and cost: slablab course grade 1$'
expect "a check names the next exercise" '^Next: slablab course start 2 '
course list
expect "the list shows what is done" '^ 1 .* done  .* ([0-9]+) of \1 points'
expect "the list names the command for the other points" "^these points are for tests: 'slablab course grade'"
verdict "nothing about the shell without a terminal" 0 "$(grep -ci 'your shell' <<<"$output")"
expect "the list shows what is started" '^ 2 .* started  '
for number in 1 2 3 3; do
	course hint
	expect "hint continues the ladder: $number" "hint $number of 3 for exercise 2"
done
course hint 4 --answers
expect "hint --answers answers the questions" '^## Before you code'

# failing CODE: a check of the solution of exercise 1 with code at the beginning of its allocate fails
failing() {
	sed "s|^\( *\)let block = self.next.*|\1$1\n&|" $first/solution.rs >rust/student/lib.rs
	course check 1
	verdict "a wrong file fails: $1" 1 $status
}

failing 'memory.set_note(0, 9, 1).unwrap();'
expect "a panic names the broken rule" 'panicked: .*note 9 of page 0 does not exist, at rust/student/lib.rs:[0-9]'
verdict "a panic names no hint" 0 "$(grep -c '[Hh]int' <<<"$output")"
failing 'memory.read(self.next + 1)?;'
expect "a broken rule names a hint" '^Hint [0-9] helps'
output=$("$command" map --target sim --engine student --demo 2>&1)
verdict "the map of a wrong allocator fails" 1 $?
expect "the map of a wrong allocator tells the rule" '^error: .*allocate'

# The allocator's own check fails after the second request of the first test, and a test calls it at its end.
sed 's|^    fn free|    fn check(\&mut self, memory: \&mut Memory) -> Result<(), Error> {\
        if self.next > 100 { Err(memory.broken("too far", self.next)) } else { Ok(()) }\
    }\
&|' $first/solution.rs >rust/student/lib.rs
course check 1
expect "a check names the first request after which it fails" '^Operation: allocate 64 .*[(]request 2 of the test[)]'
verdict "no hint for a check that the learner wrote" 0 "$(grep -c '[Hh]int' <<<"$output")"
expect "a check says its own words" 'Your .check. says: too far, at offset 0x80 '

sed 's/\bStudent\b/Bump/' $first/solution.rs >rust/student/lib.rs
course check 1
verdict "a file without the type Student fails" 1 $status
expect "the type is named" '^rust/student/lib.rs:1: the file needs a public type .Student.'
verdict "nothing is built" 1 "$(grep -c . <<<"$output")"

# A single test.
cp $first/start.rs rust/student/lib.rs
course check 1 --test 2
second=$(sed -n 's/^sentence = "\(.*\)"/\1/p' $first/rubric.toml | sed -n 2p)
expect "check --test runs the test" "^(ok|FAILED) +$second"
verdict "check --test runs no other test" 1 "$(grep -cE '^(ok|FAILED) ' <<<"$output")"
course check 1 --test 99
verdict "a test that does not exist is an error" 1 $status
expect "the error names the tests" 'exercise 1 has the tests 1 to'

# The file that passed all tests is kept, and a check of another exercise is not recorded.
course start 1 --yes
{ cat $first/solution.rs && echo '// passes'; } >rust/student/lib.rs
course check 1
verdict "the file passes" 0 $status
course check 4
expect "a check of another exercise says so" '^Exercise 1 was started last'
course list
verdict "a check of another exercise is not recorded" 0 "$(grep -c '^ 4 .*started' <<<"$output")"
{ cat $first/start.rs && echo '// half'; } >rust/student/lib.rs
course start 2 --yes
course resume 1
verdict "resume puts back the file that was kept last" '// half' "$(tail -n 1 rust/student/lib.rs)"
expect "resume names the file that passed" '^another one is .course/01-bump.done.rs'
course resume 1 --done --yes
verdict "resume --done puts back the file that passed" '// passes' "$(tail -n 1 rust/student/lib.rs)"
course resume 2 --done
verdict "resume --done fails if no file passed" 1 $status

# The other commands use the file that was built last, and say so.
course check 1
output=$("$command" map --target sim --engine student --demo 2>&1 >/dev/null)
verdict "a file that was built is not named" '' "$output"
echo '// changed' >>rust/student/lib.rs
output=$("$command" stress churn --target sim --engine student --pool 1 --ops 100 2>&1 >/dev/null)
verdict "stress uses an older file" 0 $?
expect "a file that has changed since is named" '^rust/student/lib.rs has changed since this program was built'
verdict "it is named once" 1 "$(grep -c '^rust/student' <<<"$output")"

# The exercises are listed also if the file does not compile.
echo 'fn f(' >>rust/student/lib.rs
output=$(make course 2>/dev/null)
verdict "make course needs no file that compiles" 0 $?
expect "make course lists the exercises" '^ 1 .* done  '
cp $first/solution.rs rust/student/lib.rs
make command 2>/dev/null
verdict "the command is built again" 0 $?
exit $failed
