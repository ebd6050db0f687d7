#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests that make refuses bad arguments, and checkouts in which it cannot work, with one line and before
# anything is installed, built or booted. Fake programs replace the programs that install, build or boot.
#
#   arguments.sh COMMAND

set -eu
. "$(dirname "$0")/../lib.sh"

[ $# -eq 1 ] || { sed -n '/^# *arguments\.sh/s/^# *//p' "$0" >&2; exit 2; }
require_program "$1"
command=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset ACCEL ARCH BENCH DEBUG_KERNEL DESTDIR DIR ENGINE EXERCISE KDIR KERNEL KERNEL_SRC MO OUT RECORD SEED SIM SYMBOLS TIMEOUT STRESS TRACE \
	PREFIX bindir mandir bashcompdir zshcompdir fishcompdir udevrulesdir MAKEFLAGS MAKELEVEL
failed=0

# The fake programs write their arguments to a file, and succeed. cargo and rustc print a version that builds the command.
mkdir "$work/bin"
for program in apt-get cargo sudo qemu-system-x86_64 clang rustc; do
	# shellcheck disable=SC2016 # the fake programs expand $1
	printf '#!/bin/sh\n[ "$1" != --version ] || exec echo "%s 1.85.0"\necho "%s $*" >>"%s/called"\n' \
		"$program" "$program" "$work" >"$work/bin/$program"
done
chmod +x "$work"/bin/*

# make_in FOLDER ARGUMENT...: runs make with the fake programs
make_in() {
	local folder=$1
	shift
	rm -f "$work/called"
	(cd "$folder" && PATH="$work/bin:$PATH" make "$@") >"$work/log" 2>&1 </dev/null
}

# refused NAME TEXT ARGUMENT...: checks that make fails in $folder with one line that contains TEXT, and that no
# program is called
folder=$top
refused() {
	local name=$1 text=$2 why=''
	shift 2
	if make_in "$folder" "$@"; then why="it was not refused"
	elif ! grep -qF -- "$text" "$work/log"; then why="the message lacks: $text"
	elif [ "$(wc -l <"$work/log")" != 1 ]; then why="the message has more than one line"
	elif [ -e "$work/called" ]; then why="programs were called: $(cat "$work/called")"
	fi
	if [ -z "$why" ]; then
		echo "ok: $name"
	else
		printf 'not ok: %s: %s\n' "$name" "$why"
		cat "$work/log"
		failed=1
	fi
}

# accepted NAME ARGUMENT...: checks that make succeeds with the fake programs
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

refused "ACCEL=foo" "ACCEL=foo is not an accelerator" run ACCEL=foo
refused "ACCEL= is checked for every target" "ACCEL=foo is not an accelerator" sim ACCEL=foo
refused "TRACE=nosuch" "TRACE=nosuch is neither a file nor a pattern" replay TRACE=nosuch
refused "a bad word after a good trace" "TRACE=nosuch is neither" report TRACE="larson --room 896 nosuch"
refused "an empty TRACE=" "TRACE= is empty" replay TRACE=
refused "a shell without a terminal" "make shell needs a terminal" shell
refused "gdb without a terminal" "make debug needs a terminal" debug
refused "DEBUG_KERNEL=yes" "DEBUG_KERNEL=yes is not a switch" run DEBUG_KERNEL=yes
refused "ARCH=riscv" "ARCH=riscv is not an architecture that slablab builds" run ARCH=riscv
if [ "$host_arch" = x86_64 ]; then
	refused "KVM for arm64" "ACCEL=kvm cannot run a kernel for arm64" run ARCH=arm64 ACCEL=kvm
	refused "all tests on arm64" "make test does not work with ARCH=arm64" test ARCH=arm64
	refused "DEBUG_KERNEL=1 and ARCH=arm64" "DEBUG_KERNEL=1 selects a kernel for x86-64: omit ARCH=arm64" run DEBUG_KERNEL=1 ARCH=arm64
	refused "KERNEL= and ARCH=arm64" "KERNEL= selects a kernel for x86-64: omit ARCH=arm64" run KERNEL=debian ARCH=arm64
fi
refused "SYMBOLS=all" "SYMBOLS=all is not a switch" modules SYMBOLS=all
refused "a relative DESTDIR=" "DESTDIR=package is not an absolute path: use DESTDIR=" install DESTDIR=package
refused "a relative PREFIX=" "PREFIX=usr is not an absolute path" uninstall PREFIX=usr
refused "an empty PREFIX=" "PREFIX= is empty" install PREFIX=
refused "mandir= with a space" "contains a space" install mandir="/a b"
refused "ENGINE=foo" "ENGINE=foo is not one of: all default seed hybrid slub" replay ENGINE=foo
refused "ENGINE= with a quote" "ENGINE=it's is not one of" replay "ENGINE=it's"
refused "an empty ENGINE=" "ENGINE= is empty" replay ENGINE=
refused "an empty RECORD=" "RECORD= is empty" record RECORD=
refused "an empty STRESS=" "STRESS= is empty" run STRESS=
refused "a BENCH= option that bench-host does not have" "--quik is not an option of bench-host" bench-host BENCH=--quik
refused "SLABLAB_CACHE= of nothing" "SLABLAB_CACHE=$work/nothing is not a directory" run SLABLAB_CACHE="$work/nothing"
refused "KDIR= of nothing" "not a built kernel tree" run KDIR="$work/nothing"
refused "KERNEL_SRC= of nothing" "not a kernel source tree" kernel KERNEL_SRC="$work/nothing"
refused "a KERNEL= that Debian does not have" "KERNEL=fedora is not a kernel of Debian: use debian, debian-rt" run KERNEL=fedora
refused "KERNEL= and DEBUG_KERNEL=1" "KERNEL= and DEBUG_KERNEL= both select the kernel" run KERNEL=debian DEBUG_KERNEL=1
refused "KERNEL= and KDIR=" "KERNEL= and KDIR= both select the kernel" modules KERNEL=debian KDIR="$work"
refused "benches on a kernel of Debian" "make bench does not work with KERNEL=" bench KERNEL=debian
refused "grade without DIR=" "DIR= is missing" grade
refused "DIR= of nothing" "DIR=$work/nothing is not a folder" grade DIR="$work/nothing"
refused "an exercise that does not exist" "EXERCISE=77 is not the number of an exercise" grade DIR="$work" EXERCISE=77
refused "a seed that is no number" "SEED=x is not a number" grade DIR="$work" SEED=x
refused "a limit that is no number" "TIMEOUT: 'x' is not a positive integer" grade DIR="$work" TIMEOUT=x
refused "MO= with a space" "a space" modules MO="$work/a b"

# The following tests use a kernel tree with KDIR=, for which nothing is installed.
kdir=$work/kernel
mkdir -p "$kdir"/{include/config,rust,scripts}
echo 7.3.9 >"$kdir/include/config/kernel.release"
printf '%s=y\n' CONFIG_RUST CONFIG_MODULES CONFIG_SMP >"$kdir/include/config/auto.conf"
touch "$kdir"/{Makefile,Module.symvers,scripts/target.json} "$kdir"/rust/lib{core,kernel,bindings}.rmeta
refused "two kernels" "DEBUG_KERNEL=1 and KDIR= both select the kernel" run DEBUG_KERNEL=1 KDIR="$kdir"
refused "KDIR= without a kernel to boot" "has no bzImage" run KDIR="$kdir"
mkdir -p "$kdir/arch/x86/boot"
touch "$kdir/arch/x86/boot/bzImage"

# On a Debian 12 with all packages but without bindgen and a kernel source, both are fetched while the command is
# built. A bad argument stops them.
mkdir "$work/cache"
printf 'ID=debian\nVERSION_ID=12\n' >"$work/os-release"
printf '#!/bin/sh\necho bindgen 0.1.0\n' >"$work/bin/bindgen"
chmod +x "$work/bin/bindgen"
for program in apt-get cargo clang rustc; do mv "$work/bin/$program" "$work/$program"; done
# shellcheck disable=SC2016 # the fake programs expand it
printf '#!/bin/sh\necho "cargo $*" >>"%s/called"\n[ "$1" != install ] || exec sleep 3600\n[ "$1" != --version ] || exec %s --version\n' \
	"$work" "$(type -P cargo)" >"$work/bin/cargo"
printf '#!/bin/sh\nexec sleep 3600\n' >"$work/bin/apt-get"
chmod +x "$work/bin/cargo" "$work/bin/apt-get"
if ! OS_RELEASE=$work/os-release make_in "$top" run STRESS=stres command="$command" SLABLAB_CACHE="$work/cache" &&
	grep -qF "unrecognized subcommand 'stres'" "$work/log"; then
	echo "ok: a bad argument stops the other steps"
else
	echo "not ok: a bad argument stops the other steps"
	cat "$work/log" "$work/called"
	failed=1
fi
for program in apt-get cargo clang rustc; do mv "$work/$program" "$work/bin/$program"; done
rm "$work/bin/bindgen"

# asked NAME TEXT ARGUMENT...: checks that the command refuses the arguments, and that nothing else was built
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
asked "an option that stress does not have" "unexpected argument '--engnie'" run STRESS="stress --engnie all"
asked "a subcommand that slablab does not have" "unrecognized subcommand 'stres'" run STRESS=stres
asked "a value that an option of replay cannot have" "invalid value 'x' for '--pool" replay TRACE="larson --pool x"
asked "options that exclude each other" "cannot be used with" replay TRACE="larson --json --csv"
asked "an option without its value" "a value is required" report TRACE="larson --room"
echo "slablab-trace 1" >"$work/empty.trace"
asked "a trace without an operation" "there is no operation in" replay TRACE="$work/empty.trace"
printf 'slablab-trace 1\nf 1\n' >"$work/wrong.trace"
asked "a trace with a mistake" "line 2" report TRACE="$work/wrong.trace"

# direct TEXT SCRIPT ARGUMENT...: checks that a script refuses the arguments without make, and calls nothing
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
direct "-c: 'two' is not a positive integer" vm.sh -c two true
direct "-m: '0' is not a positive integer" vm.sh -m 0 true
direct "-t: '1m' is not a positive integer" vm.sh -t 1m true
direct "-f: $work/nosuch cannot be read" vm.sh -f "$work/nosuch" true
direct "SECONDS: 'long' is not a positive integer" test-foreign.sh long
direct "bench.sh MODULE COMMAND" bench.sh module "$command" --breif
direct "no stage nosuch" test-debug.sh nosuch
direct "no flavour 'nosuch'" kernel.sh path nosuch
direct "no layer nosuch" test-host.sh nosuch

# Valid arguments are accepted: arguments.sh has the same patterns and engines as the command.
patterns=$("$command" trace make --help | sed -n 's/^ *- \([a-z0-9-]*\): .*/\1/p' | paste -s -d ' ')
[ "$(wc -w <<<"$patterns")" -gt 30 ] || die "'$command trace make --help' lists no patterns"
accepted "every pattern" clean -n TRACE="$patterns"
for engine in $("$command" replay --help | sed -n '/--engine/,/^$/p;/Which engines/,/--peer/s/^ *- \([a-z0-9-]*\): .*/\1/p' |
	sed -n 's/^\([a-z-]*\)$/\1/p'); do
	accepted "ENGINE=$engine" clean -n ENGINE="$engine"
done
accepted "a file" clean -n TRACE="$work/wrong.trace --no-search -"
accepted "BENCH=" clean -n BENCH="--quick --json x --heap=hybrid"
accepted "no BENCH=" clean -n BENCH=
accepted "ACCEL=tcg" clean -n ACCEL=tcg
accepted "help" help

# make sim announces the compilation only when it compiles, and stresses every engine.
make_in "$top" sim command="$work/nothing" && failed=1
grep -qF 'compiling the command slablab with cargo' "$work/log" || { echo "not ok: make sim does not announce the compilation"; failed=1; }
printf '#!/bin/sh\necho "ran $*"\n' >"$work/slablab"
chmod +x "$work/slablab"
accepted "make sim" sim command="$work/slablab"
grep -qE '^ran stress .*--target sim .*--engine all' "$work/log" || { echo "not ok: make sim does not stress every engine"; failed=1; }
! grep -q compiling "$work/log" || { echo "not ok: make sim announces a compilation that does not happen"; failed=1; }

# make refuses to work in a checkout whose path it cannot handle.
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
