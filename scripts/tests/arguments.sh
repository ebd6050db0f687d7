#!/bin/bash
# shellcheck disable=SC2317 # functions are called by check
# SPDX-License-Identifier: GPL-2.0
#
# Tests that make refuses a bad argument, or a checkout where it cannot work, with one sentence and before
# anything is installed, built or booted: the programs that would do so are replaced by false ones.
#
#   arguments.sh COMMAND

set -eu
. "$(dirname "$0")/../lib.sh"

[ $# -eq 1 ] || { sed -n '/^# *arguments\.sh/s/^# *//p' "$0" >&2; exit 2; }
command=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset ACCEL BENCH ENGINE KDIR KERNEL_SRC MO RECORD SIM STRESS TRACE MAKEFLAGS MAKELEVEL
failed=0

# The false programs say that they were called, and succeed.
mkdir "$work/bin"
for program in apt-get cargo sudo qemu-system-x86_64 clang rustc; do
	printf '#!/bin/sh\necho "%s $*" >>"%s/called"\n' "$program" "$work" >"$work/bin/$program"
done
chmod +x "$work"/bin/*

# make_in FOLDER ARGUMENT...: make, with the false programs
make_in() {
	local folder=$1
	shift
	rm -f "$work/called"
	(cd "$folder" && PATH="$work/bin:$PATH" make "$@") >"$work/log" 2>&1 </dev/null
}

# refused NAME TEXT ARGUMENT...: make fails in $folder with one line that has this text, and calls nothing
folder=$top
refused() {
	local name=$1 text=$2 why=''
	shift 2
	if make_in "$folder" "$@"; then why="it was not refused"
	elif ! grep -qF -- "$text" "$work/log"; then why="it was not said: $text"
	elif [ "$(wc -l <"$work/log")" != 1 ]; then why="it was not one line"
	elif [ -e "$work/called" ]; then why="it was called: $(cat "$work/called")"
	fi
	if [ -z "$why" ]; then
		echo "ok: $name"
	else
		printf 'not ok: %s: %s\n' "$name" "$why"
		cat "$work/log"
		failed=1
	fi
}

# accepted NAME ARGUMENT...: make does what it is told, with the false programs
accepted() {
	local name=$1
	shift
	if make_in "$folder" "$@"; then
		echo "ok: $name"
	else
		echo "not ok: $name"
		cat "$work/log"
		failed=1
	fi
}

refused "ACCEL=foo" "ACCEL=foo is no accelerator" run ACCEL=foo
refused "ACCEL= is checked for every target" "ACCEL=foo is no accelerator" sim ACCEL=foo
refused "TRACE=nosuch" "TRACE=nosuch is neither a file nor a pattern" replay TRACE=nosuch
refused "a second trace that is none" "TRACE=nosuch is neither" report TRACE="larson --room 896 nosuch"
refused "an empty TRACE=" "TRACE= is empty" replay TRACE=
refused "a shell without a terminal" "make shell needs a terminal" shell
refused "ENGINE=foo" "ENGINE=foo is not one of: all default seed hybrid slub" replay ENGINE=foo
refused "ENGINE= with a quote" "ENGINE=it's is not one of" replay "ENGINE=it's"
refused "an empty ENGINE=" "ENGINE= is empty" replay ENGINE=
refused "an empty RECORD=" "RECORD= is empty" record RECORD=
refused "an empty STRESS=" "STRESS= is empty" run STRESS=
refused "a BENCH= option that bench-host has not" "--quik is no option of bench-host" bench-host BENCH=--quik
refused "KDIR= of nothing" "no built kernel tree" run KDIR="$work/nothing"
refused "KERNEL_SRC= of nothing" "no kernel source tree" kernel KERNEL_SRC="$work/nothing"
refused "MO= with a space" "a space" modules MO="$work/a b"

# From here on with a kernel tree, for which nothing is installed.
kdir=$work/kernel
mkdir -p "$kdir"/{include/config,rust,scripts}
echo 7.3.9 >"$kdir/include/config/kernel.release"
printf '%s=y\n' CONFIG_RUST CONFIG_MODULES CONFIG_SMP >"$kdir/include/config/auto.conf"
touch "$kdir"/{Makefile,Module.symvers,scripts/target.json} "$kdir"/rust/lib{core,kernel,bindings}.rmeta
refused "KDIR= without a kernel to boot" "has no bzImage" run KDIR="$kdir"
mkdir -p "$kdir/arch/x86/boot"
touch "$kdir/arch/x86/boot/bzImage"

# asked NAME TEXT ARGUMENT...: make asks the command, which refuses; nothing but the command was built
asked() {
	local name=$1 text=$2
	shift 2
	if ! make_in "$top" "$@" command="$command" KDIR="$kdir" && grep -qF -- "$text" "$work/log" &&
		[ "$(cut -d ' ' -f 1-2 "$work/called")" = 'cargo rustc' ]; then
		echo "ok: $name"
	else
		printf 'not ok: %s\n' "$name"
		cat "$work/log" "$work/called"
		failed=1
	fi
}
asked "an option that stress has not" "unexpected argument '--engnie'" run STRESS="stress --engnie all"
asked "a subcommand that slablab has not" "unrecognized subcommand 'stres'" run STRESS=stres
asked "a value that an option of replay cannot have" "invalid value 'x' for '--pool" replay TRACE="larson --pool x"
asked "options that exclude each other" "cannot be used with" replay TRACE="larson --json --csv"
asked "an option without its value" "a value is required" report TRACE="larson --room"
echo "slablab-trace 1" >"$work/empty.trace"
asked "a trace without an operation" "there is no operation in" replay TRACE="$work/empty.trace"
printf 'slablab-trace 1\nf 1\n' >"$work/wrong.trace"
asked "a trace with a mistake" "line 2" report TRACE="$work/wrong.trace"

# direct TEXT SCRIPT ARGUMENT...: a script that is run without make refuses them, and calls nothing
direct() {
	local text=$1 script=$2
	shift 2
	rm -f "$work/called"
	if ! KDIR=$kdir INITRAMFS=$0 CONSOLE=$work/console PATH="$work/bin:$PATH" "$top/scripts/$script" "$@" \
		>"$work/log" 2>&1 </dev/null && grep -qF -- "$text" "$work/log" && [ ! -e "$work/called" ]; then
		echo "ok: $script $*"
	else
		echo "not ok: $script $*"
		cat "$work/log"
		failed=1
	fi
}
direct "-c: 'two' is no number" vm.sh -c two true
direct "-m: '0' is no number" vm.sh -m 0 true
direct "-t: '1m' is no number" vm.sh -t 1m true
direct "-f: $work/nosuch cannot be read" vm.sh -f "$work/nosuch" true
direct "SECONDS: 'long' is no number" test-foreign.sh long
direct "bench.sh MODULE COMMAND" bench.sh module "$command" --breif
direct "no stage nosuch" test-debug.sh nosuch
direct "no such flavour: nosuch" kernel.sh path nosuch
direct "no layer nosuch" test-host.sh nosuch

# What is right is not refused: the patterns and engines of the command are those of arguments.sh.
patterns=$("$command" trace make --help | sed -n 's/^ *- \([a-z0-9-]*\): .*/\1/p' | paste -s -d ' ')
[ "$(wc -w <<<"$patterns")" -gt 30 ] || die "the patterns of $command are not known"
accepted "every pattern" clean -n TRACE="$patterns"
for engine in $("$command" replay --help | sed -n '/--engine/,/^$/p;/Which engines/,/--pool/s/^ *- \([a-z0-9-]*\): .*/\1/p' |
	sed -n 's/^\([a-z-]*\)$/\1/p'); do
	accepted "ENGINE=$engine" clean -n ENGINE="$engine"
done
accepted "a file" clean -n TRACE="$work/wrong.trace --no-search -"
accepted "BENCH=" clean -n BENCH="--quick --json x --heap=hybrid"
accepted "no BENCH=" clean -n BENCH=
accepted "ACCEL=tcg" clean -n ACCEL=tcg
accepted "help" help

# make sim says that it compiles, where it does, and what it then does.
make_in "$top" sim command="$work/nothing" && failed=1
grep -qF 'compiling the command slablab with cargo, once' "$work/log" || { echo "not ok: make sim compiles without a word"; failed=1; }
printf '#!/bin/sh\necho "ran $*"\n' >"$work/slablab"
chmod +x "$work/slablab"
accepted "make sim" sim command="$work/slablab"
grep -qE '^ran stress .*--target sim .*--engine all' "$work/log" || { echo "not ok: make sim leaves engines out"; failed=1; }
! grep -q compiling "$work/log" || { echo "not ok: make sim says that it compiles, and does not"; failed=1; }

# A checkout under a path that make cannot work with.
for name in "with space" with:colon "with#hash" "with'quote" with%percent "with\$dollar"; do
	mkdir "$work/$name"
	cp -r "$top"/{Makefile,Kbuild,scripts,rust,harness} "$work/$name/"
	folder=$work/$name
	refused "a checkout in '$name'" "contains a space, a colon or another special character" run
done
ln -s "$work/with space" "$work/link"
folder=$work/link
refused "a link to such a checkout" "the checkout $(realpath "$work")/with space contains" run
folder=$top
refused "a cache with a space" "the cache (SLABLAB_CACHE=)" run SLABLAB_CACHE="$work/a b"
exit $failed
