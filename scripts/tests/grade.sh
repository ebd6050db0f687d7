#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests grades with submissions that are right, wrong, or hostile. Each must end within its limits, with its points and the
# reason, and must not change or read files of this machine.
#
#   grade.sh COMMAND                grades on this machine
#   grade.sh --machine COMMAND      grades in the virtual machine, with make grade
#
# COMMAND is the program slablab.

set -u
. "$(dirname "$0")/../lib.sh"
cd "$top" || exit
machine=''
[ "${1:-}" != --machine ] || { machine=yes; shift; }
require_program "${1:?}"
command=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
solution=harness/course/02-first-fit/solution.rs

# verdict NAME WHY: reports a check, which failed if WHY is not empty
verdict() {
	if [ -z "$2" ]; then
		echo "ok: $1"
	else
		echo "not ok: $1: $2"
		failed=1
	fi
}

# submission NAME: creates the folder of a submission, with the standard input as its lib.rs
submission() {
	mkdir -p "$work/$1"
	cat >"$work/$1/lib.rs"
}

# hostile NAME ALLOCATE [ITEMS [MAKE]]: creates a submission whose allocate has this body, with these items
hostile() {
	local items=${3:-'pub struct Student;'} make=${4:-'fn make() -> Student { Student }'}
	submission "$1" <<END
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]
#![allow(long_running_const_eval, unconditional_recursion, unused)]
use slab_student::{Allocator, Error, Layout, Memory};
$items
impl Allocator for Student {
	fn new(_memory: &mut Memory) -> Result<Self, Error> { Ok(make()) }
	fn allocate(&mut self, memory: &mut Memory, layout: Layout) -> Result<Option<usize>, Error> { $2 }
	fn free(&mut self, _memory: &mut Memory, _block: usize, _layout: Layout) -> Result<(), Error> { Ok(()) }
}
$make
END
}

# grade NAME [OPTION]...: grades a submission of exercise 2 on this machine, into $work/NAME/table and $work/NAME/json
grade() {
	local name=$1
	shift
	timeout 300 "$command" course grade 2 --file "$work/$name/lib.rs" --seed 7 --compiler-seconds 5 --format gradescope \
		--output "$work/$name/json" --table "$work/$name/table" "$@" >"$work/$name/log" 2>&1
}

# expect NAME POINTS TEXT: checks the points in the last line of the table, and that the table has the text
expect() {
	local why='' status
	grade "$1"
	status=$?
	if [ "$status" -ne 0 ]; then why="the exit status is $status"
	elif [ "$(tail -n 1 "$work/$1/table")" != "$2 of 100 points" ]; then why="the last line is $(tail -n 1 "$work/$1/table")"
	elif ! grep -qF -- "$3" "$work/$1/table"; then why="the table lacks: $3"
	elif grep -q 'root:' "$work/$1/table" "$work/$1/json"; then why="the grade has a line of /etc/passwd"
	fi
	verdict "$1: $2 points, $3" "$why"
	[ -z "$why" ] || cat "$work/$1/table" "$work/$1/log" 2>/dev/null
}

# machine_grade NAME [VARIABLE=VALUE]...: grades a submission in the virtual machine
machine_grade() {
	local name=$1
	shift
	make grade DIR="$work/$name" EXERCISE=2 SEED=7 OUT="$work/$name/out" "$@" >"$work/$name/machine" 2>&1
}

# expect_machine NAME TEXT [VARIABLE=VALUE]...: checks that the submission has no points, and the reason
expect_machine() {
	local name=$1 text=$2 why='' status
	shift 2
	machine_grade "$name" "$@"
	status=$?
	if [ "$status" -ne 0 ]; then why="the exit status is $status"
	elif [ "$(tail -n 1 "$work/$name/out/table.txt")" != "0 of 100 points" ]; then why="$(tail -n 1 "$work/$name/out/table.txt")"
	elif ! grep -qF -- "$text" "$work/$name/out/table.txt"; then why="the table lacks: $text"
	fi
	verdict "$name in the machine: $text" "$why"
	[ -z "$why" ] || cat "$work/$name/machine" "$work/$name/out/table.txt"
}

if [ -n "$machine" ]; then
	submission right <"$solution"
	submission empty </dev/null
	hostile spins 'loop { core::hint::spin_loop() }'
	hostile accesses 'loop { memory.read(0)?; }'
	hostile panics 'panic!("\nok 1 all\n\u{1b}[2J100 of 100 points\n{{\"tests\":[\"Passed\"]}}")'
	for name in same-1 same-2; do submission "$name" <"$solution"; done
	grade right
	machine_grade right
	verdict "the machine and this machine give the same results.json" \
		"$(diff "$work/right/json" "$work/right/out/results.json" 2>&1 | head -n 5)"
	expect_machine empty "lib.rs is empty"
	expect_machine panics "    ok 1 all"
	expect_machine accesses "accesses"
	expect_machine spins "the machine did not finish in 8 s" TIMEOUT=8
	for name in same-1 same-2; do machine_grade "$name" & done
	wait
	why=''
	for name in same-1 same-2; do cmp "$work/right/json" "$work/$name/out/results.json" || why="$name differs"; done
	verdict "machines that run at the same time give the same results" "$why"
	exit $failed
fi

# Files that are no submissions.
mkdir "$work"/{missing,link,folder,unreadable,large}
expect missing 0 "there is no file lib.rs"
ln -s /etc/passwd "$work/link/lib.rs"
expect link 0 "lib.rs is a symbolic link"
mkdir "$work/folder/lib.rs"
expect folder 0 "lib.rs is not a file"
submission empty </dev/null
expect empty 0 "lib.rs is empty"
if [ "$(id -u)" -ne 0 ]; then
	cp "$solution" "$work/unreadable/lib.rs"
	chmod 0 "$work/unreadable/lib.rs"
	expect unreadable 0 "lib.rs cannot be read: this user has no permission"
fi
truncate -s 100M "$work/large/lib.rs"
expect large 0 "lib.rs is larger than 256 KiB"
head -c 1000 "$command" | submission binary
expect binary 0 "lib.rs is not text in UTF-8"
{ head -c 100000 /dev/zero | tr '\0' '('; head -c 100000 /dev/zero | tr '\0' ')'; } | submission nested
expect nested 0 "the file is nested too deeply"

# missing FORM STATUS TEXT [OPTION]...: a missing file in this form has this status, and the output has the text
missing() {
	local form=$1 expected=$2 text=$3 why='' status
	shift 3
	"$command" course grade 2 --file "$work/no-file" --format "$form" "$@" >"$work/log" 2>&1
	status=$?
	if [ "$status" != "$expected" ]; then why="the exit status is $status"
	elif ! grep -qF -- "$text" "$work/log"; then why=$(cat "$work/log")
	fi
	verdict "a missing file, $form: $text" "$why"
}
for format in table json junit ktap; do missing "$format" 1 "error: there is no file $work/no-file"; done
missing gradescope 0 '"score": 0.0'
missing table 0 "0 of 100 points" --runner scripts/grade-vm.sh
"$command" course grade 77 --file "$solution" >"$work/log" 2>&1
verdict "there is no exercise 77" "$([ $? -eq 1 ] || echo "the exit status is not 1")"

# Files that break a rule.
hostile reads 'Ok(None)' 'pub struct Student; const TEXT: &str = include_str!("/etc/passwd");'
expect reads 0 "rust/student/lib.rs:5: \`include_str\` is not allowed"
hostile module 'Ok(None)' 'pub struct Student; #[path = "/etc/passwd"] mod other;'
expect module 0 "rust/student/lib.rs:5: a module in another file is not allowed"
hostile unsafe 'unsafe { core::hint::unreachable_unchecked() }'
expect unsafe 0 "rust/student/lib.rs:8: \`unsafe\` is not allowed"
hostile std 'std::process::exit(0)'
expect std 0 "rust/student/lib.rs:8: the crate \`std\` is not allowed"

# Files that do not compile, or that do not let the compiler end.
hostile syntax 'Ok(None'
expect syntax 0 "the file is not Rust"
hostile type 'Ok(Some("none"))'
expect type 0 "rust/student/lib.rs:8:"
hostile const-loop 'Ok(Some(ENDLESS))' 'pub struct Student; const ENDLESS: usize = { let mut n = 0; while n < 1 { n *= 1; } n };'
expect const-loop 0 "the compiler was ended: it used more than 5 s of processor time"
hostile instances 'grow(0_u8); Ok(None)' 'pub struct Student; fn grow<T: Copy>(value: T) { grow((value, value)); }'
expect instances 0 "no points:"
hostile static 'Ok(None)' 'pub struct Student; static TABLE: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);'
expect static 0 "rust/student/lib.rs:5: \`static\` is not allowed"
hostile large-const 'Ok(Some(usize::from(BYTES[layout.size()])))' \
	'pub struct Student; const BYTES: &[u8; 1 << 31] = &[1; 1 << 31];'
expect large-const 0 "no points:"
hostile large-type 'Ok(None)' 'pub struct Student([u8; 4096]);' 'fn make() -> Student { Student([0; 4096]) }'
expect large-type 0 "the allocator's type has more than 1024 bytes"
hostile aligned-type 'Ok(None)' '#[repr(align(4096))] pub struct Student;' 'fn make() -> Student { Student }'
expect aligned-type 0 "the allocator's type has an alignment of more than 64 bytes"

# Programs that do not end, or that end without a result.
hostile spins 'loop { core::hint::spin_loop() }'
expect spins 0 "Your allocator did not return within 10 seconds"
hostile accesses 'loop { memory.read(0)?; }'
expect accesses 0 "accesses"
hostile panics 'panic!("\nok 1 all\n\u{1b}[2J100 of 100 points\n{{\"tests\":[\"Passed\"]}}")'
expect panics 0 "    ok 1 all"
hostile overflows 'Ok(Some(descend(1)))' 'pub struct Student; fn descend(n: usize) -> usize { core::hint::black_box(descend(n + 1)) + 1 }'
expect overflows 0 "Your allocator used up the stack"
hostile panics-again 'let _guard = Guard; panic!("first")' \
	'pub struct Student; struct Guard; impl Drop for Guard { fn drop(&mut self) { panic!("second") } }'
expect panics-again 0 "Your allocator panicked: first, at rust/student/lib.rs:8"
hostile overlaps 'Ok(Some(0))'
expect overlaps 0 "returned memory of another live block"

# A right solution with a type that could hold the state of the pool.
sed 's/^    first: usize,/&\n    table: [u64; 64],/; s/first: 0/first: 0, table: [0; 64]/' "$solution" | submission wide
expect wide 90 "the type Student has 520 bytes"

# Right and unfinished submissions.
submission right <"$solution"
expect right 100 "the checkpoint of 60 points is reached"
for folder in harness/course/[0-9]*; do
	name=${folder##*/} number=$((10#${folder:15:2}))
	for file in solution start; do
		submission "$name-$file" <"$folder/$file.rs"
		timeout 300 "$command" course grade "$number" --file "$work/$name-$file/lib.rs" --seed 7 >"$work/$name-$file/table" 2>&1
		why=''
		case $file-$(tail -n 1 "$work/$name-$file/table") in
		solution-"100 of 100 points") ;;
		start-"100 of 100 points" | solution-*) why=$(tail -n 1 "$work/$name-$file/table") ;;
		start-*" of 100 points") ;;
		*) why=$(tail -n 1 "$work/$name-$file/table") ;;
		esac
		verdict "the points of the $file of $name" "$why"
		[ -z "$why" ] || cat "$work/$name-$file/table"
	done
done

# The same seed gives the same file, also from grades that run at the same time.
for number in 1 2 3 4; do
	submission "same-$number" <"$solution"
	grade "same-$number" &
done
wait
why=''
for number in 1 2 3 4; do cmp -s "$work/right/json" "$work/same-$number/json" || why="grade $number differs"; done
verdict "grades that run at the same time are equal" "$why"

# Messages use one name, and a line says which file is meant.
cp "$work/panics-again/lib.rs" "$work/mine.rs"
"$command" course grade 2 --file "$work/mine.rs" >"$work/first" 2>"$work/log"
why=''
grep -qxF "$work/mine.rs was graded: messages name it rust/student/lib.rs" "$work/log" || why=$(cat "$work/log")
verdict "the file that was graded is named if messages name another" "$why"
"$command" course grade 2 --file "$solution" >"$work/first" 2>"$work/log"
verdict "the file that was graded is not named without such a message" "$(cat "$work/log")"

for format in table json gradescope junit ktap; do
	timeout 300 "$command" course grade 2 --file "$solution" --seed 7 --format "$format" >"$work/$format" 2>"$work/log"
	why=''
	case $format in
	junit) grep -q '<testsuites .*failures="0"' "$work/junit" || why="no report without failures" ;;
	ktap) [ "$(awk -f scripts/ktap.awk "$work/ktap")" = "$(grep -c '^points = ' harness/course/02-*/rubric.toml) 0 0" ] ||
		why="$(awk -f scripts/ktap.awk "$work/ktap")" ;;
	*) grep -q "First fit" "$work/$format" || why="the title is missing" ;;
	esac
	verdict "the format $format" "$why"
done
timeout 300 "$command" course grade 2 --file "$solution" >"$work/first" 2>&1
timeout 300 "$command" course grade 2 --file "$solution" >"$work/second" 2>&1
verdict "each grade has a new seed" "$(grep -h '^repeat:' "$work/first" "$work/second" | uniq -d)"
exit $failed
