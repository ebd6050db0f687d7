#!/bin/bash
# shellcheck disable=SC2317 # functions are called by check
# SPDX-License-Identifier: GPL-2.0
#
# Tests kernel.sh with a fake source tree that builds at once: the locks and their messages, a read-only cache,
# and the checks of KDIR= and KERNEL_SRC=.

set -eu
. "$(dirname "$0")/../lib.sh"
# shellcheck source=scripts/tests/checks.sh
. "$(dirname "$0")/checks.sh"
# shellcheck source=scripts/tests/fake-source.sh
. "$(dirname "$0")/fake-source.sh"

kernel=$top/scripts/kernel.sh
work=$(mktemp -d)
trap 'rm -f "$source/hold"; wait; rm -rf "$work"' EXIT
BINDGEN=$(bindgen_program) || die "no bindgen: run 'make setup'"
export BINDGEN SLABLAB_CACHE=$work/cache
unset KDIR KERNEL KERNEL_SRC MAKEFLAGS MAKELEVEL
source=$SLABLAB_CACHE/linux-source-7.3

# contains FILE TEXT...: succeeds if the file contains all texts
contains() {
	local file=$1 text
	shift
	for text; do
		grep -qF -- "$text" "$file" || { echo "no \"$text\" in:"; cat "$file"; return 1; }
	done
}

make_source "$source"

# read_only COMMAND...: runs the command with a read-only cache, also for root
# shellcheck disable=SC2016 # the inner shell expands the variables
read_only() {
	if [ "$(id -u)" -eq 0 ]; then
		unshare --mount sh -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"' \
			"$SLABLAB_CACHE" "$@"
	else
		chmod -R a-w "$SLABLAB_CACHE"
		"$@" || { chmod -R u+w "$SLABLAB_CACHE"; return 1; }
		chmod -R u+w "$SLABLAB_CACHE"
	fi
}

lab=$("$kernel" path lab 2>"$work/log") || { cat "$work/log" >&2; die "the fake kernel was not built"; }
check "a kernel is built" test -e "$lab/.complete"
check "has finds the kernel" "$kernel" has lab
lacks() { ! SLABLAB_CACHE=$1 "$kernel" has "$2" && ! compgen -G "$1/kernel-$2-*"; }
check "has neither finds nor builds another flavour" lacks "$SLABLAB_CACHE" lab+debug
has_nothing() { lacks "$work/none" lab && [ ! -e "$work/none" ]; }
check "has downloads nothing into an empty cache" has_nothing

# A build in the background holds the lock of another flavour.
touch "$source/hold"
"$kernel" build lab+debug 2>"$work/first" &
first=$!
wait_for grep -q 'lab+debug' "$source/built"
found_at_once() { [ "$(timeout 5 "$kernel" path lab 2>"$work/log")" = "$lab" ] && [ ! -s "$work/log" ]; }
check "a complete tree is found while another flavour is built" found_at_once

: >"$work/second"
"$kernel" build lab+debug 2>>"$work/second" &
second=$!
check "a second build of the same flavour reports that it waits" wait_for grep -q '^waiting:' "$work/second"
check "the message names the flavour, the builder and the start time" contains "$work/second" \
	"process $first ($(id -un) on $(uname -n), since $(date +%F)" "the kernel 'lab+debug'"
check "the message names the remedies" contains "$work/second" "kill $first" "KDIR="
rm "$source/hold"
check "the first build ends" wait "$first"
check "the second build ends" wait "$second"
check "the second build compiled nothing" test "$(grep -c 'lab+debug' "$source/built")" = 1

# The test holds the lock of the source, as a download does.
exec 8>"$SLABLAB_CACHE/source.lock"
flock 8
check "a complete tree is found while the source is downloaded" found_at_once
exec 8>&-

# A killed build leaves an incomplete tree and no lock.
rm "$lab/.complete"
: >"$source/built"
touch "$source/hold"
setsid "$kernel" build lab 2>"$work/log" &
killed=$!
wait_for grep -q 'kernel-lab-' "$source/built"
kill -KILL -- "-$killed"
rm "$source/hold"
check "the tree of a killed build is built again" test "$(timeout 20 "$kernel" path lab 2>/dev/null)" = "$lab"

found_read_only() { [ "$(read_only "$kernel" path lab 2>"$work/log")" = "$lab" ] && [ ! -s "$work/log" ]; }
check "a complete tree in a read-only cache is used" found_read_only
rm "$SLABLAB_CACHE"/kernel-lab+debug-*/.complete
refused_read_only() { ! read_only "$kernel" path lab+debug 2>"$work/log"; }
check "a read-only cache that lacks the kernel is an error" refused_read_only
check "the error names the remedies" contains "$work/log" "read-only" "SLABLAB_CACHE=" "KDIR="

# refuses SETTING TEXT...: succeeds if `kernel.sh check` refuses the setting with one line that contains all texts
refuses() {
	local setting=$1
	shift
	! env "$setting" "$kernel" check 2>"$work/log" && [ "$(wc -l <"$work/log")" = 1 ] && contains "$work/log" "$@"
}
given=$work/given
mkdir -p "$given"/{include/config,rust,scripts}
echo 7.3.9 >"$given/include/config/kernel.release"
: >"$given/include/config/auto.conf"
touch "$given"/{Makefile,Module.symvers,scripts/target.json} "$given"/rust/lib{core,kernel,bindings}.rmeta
for option in CONFIG_RUST CONFIG_MODULES CONFIG_SMP; do
	check "KDIR= without $option" refuses "KDIR=$given" "without $option"
	echo "$option=y" >>"$given/include/config/auto.conf"
done
check "a built KDIR= is accepted" env KDIR="$given" "$kernel" check
arguments() { [[ " $(KDIR=$given "$kernel" make-args | paste -s -d ' ') " == *" $1 "* ]]; }
check "modules for a kernel that clang built are built with clang" arguments "LLVM=-$(llvm_major "$(kernel_rustc)")"
printf '%s\n' CONFIG_CC_IS_GCC=y 'CONFIG_CC_VERSION_TEXT="gcc-14 (Debian 14.2.0-19) 14.2.0"' >>"$given/include/config/auto.conf"
check "modules for a kernel that gcc built are built with this gcc" arguments "CC=gcc-14"
for file in Makefile Module.symvers scripts/target.json rust/lib{core,kernel,bindings}.rmeta; do
	rm "$given/$file"
	check "KDIR= without $file" refuses "KDIR=$given" "lacks $file:"
	touch "$given/$file"
done
rm "$given/Module.symvers" "$given/scripts/target.json"
check "KDIR= without two files" refuses "KDIR=$given" "lacks Module.symvers, scripts/target.json:"
check "KDIR= of nothing" refuses "KDIR=$work/nothing" "not a built kernel tree"
echo 7.2.1 >"$given/include/config/kernel.release"
check "KDIR= of an old kernel" refuses "KDIR=$given" "7.2.1 is too old"
check "KDIR= with a space" refuses "KDIR=$work/a b" "a space"
check "KERNEL_SRC= of no source" refuses "KERNEL_SRC=$given" "not a kernel source tree"
check "KERNEL_SRC= with a colon" refuses "KERNEL_SRC=$work/a:b" "a colon"
make_source "$work/source"
check "a KERNEL_SRC= is accepted" env KERNEL_SRC="$work/source" "$kernel" check
sed -i 's/7\.3\.9/7.2.9/' "$work/source/Makefile"
check "KERNEL_SRC= of an old kernel" refuses "KERNEL_SRC=$work/source" "7.2.9 is too old"
check "a cache with a space" refuses "SLABLAB_CACHE=$work/a b" "a space"

touch "$SLABLAB_CACHE/mine"
"$kernel" forget
check "forget removes no other files from the cache" test "$(ls -A "$SLABLAB_CACHE")" = mine
exit $failed
