# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # most variables are used by the scripts that source this file
#
# Common code of the scripts: paths, progress messages, and the toolchain. This file is sourced, not run.

shopt -s inherit_errexit

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P) # without symbolic links, as in make
build=$top/build
logs=$build/log
cache=${SLABLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slablab}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# require_plain WHAT PATH: dies if the path has a character that breaks the build. Make splits paths at
# spaces and ends a target at a colon, and the kernel's build refuses both; the other characters are special
# to make or to the shell.
require_plain() {
	[[ $2 != *[[:space:]:\;\#%\$\&\|\<\>\(\)\[\]\{\}\*\?\'\"\`\\]* ]] ||
		die "$1 $2 contains a space, a colon or another special character, which make and the kernel's build" \
			"cannot handle: move it to a path without such characters"
}
require_plain "the checkout" "$top"
require_plain "the cache (SLABLAB_CACHE=)" "$(realpath -m "$cache")"

# require_accelerator: checks ACCEL=
require_accelerator() {
	case ${ACCEL:-} in
	'' | tcg) ;;
	kvm) [ -w /dev/kvm ] || die "ACCEL=kvm needs write access to /dev/kvm: use ACCEL=tcg" ;;
	*) die "ACCEL=$ACCEL is not an accelerator: use kvm or tcg" ;;
	esac
}

# require_cache WHY COMMAND: dies if the cache cannot be written. WHY ("has no ...") names a missing part of the
# cache, and COMMAND is the command that adds the part.
require_cache() {
	mkdir -p "$cache" 2>/dev/null || die "the cache $cache cannot be created: set SLABLAB_CACHE= to a directory of your own"
	[ -w "$cache" ] || die "the cache $cache is read-only and $1: its owner must run '$2' in this checkout" \
		"with this toolchain; or set SLABLAB_CACHE= to a directory of your own, or KDIR= to a built kernel tree"
}

# require_number WHAT VALUE: dies unless the value is a positive integer
require_number() { [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || die "$1: '$2' is not a positive integer"; }

# require_program FILE: dies unless the program exists
require_program() { [[ -f $1 && -x $1 ]] || die "the program $1 does not exist: 'make command' builds build/target/release/slablab"; }

# at_least MINIMUM VERSION: succeeds if the version is not older
at_least() { printf '%s\n%s\n' "$1" "$2" | sort -VC; }

# elapsed SINCE: prints the minutes and seconds since $SECONDS was SINCE
elapsed() { printf '%d:%02d' $(((SECONDS - $1) / 60)) $(((SECONDS - $1) % 60)); }

# slow_test LOG: prints the name of a slow test, if the last line of the log is libtest's message about it
slow_test() { tail -n 1 "$1" | sed -n 's/^test \(.*\) has been running for over .*/: the test \1 has not ended/p'; }

# watch TITLE LOG COMMAND...: runs a long command with its output in LOG, shows progress (on a terminal one line
# that is rewritten, otherwise a line every 30 seconds) and sets $status. The function does not return the status:
# a caller would have to test the function, and bash then ignores set -e in the command, too. If $limit is set, the
# command is killed after $limit seconds.
watch() {
	local title=$1 log=$2 started=$SECONDS reported=$SECONDS width=0 job
	status=0
	shift 2
	[ ! -t 2 ] || width=$(($(stty size <&2 | cut -d ' ' -f 2) - 1))
	mkdir -p "$(dirname "$log")"
	[ -z "${V:-}" ] || say "+ $*"
	[ -t 2 ] || say "$title (log: ${log#"$top/"})"

	set -m # the job gets its own process group, so that an interrupt ends all its processes
	"$@" >"$log" 2>&1 </dev/null &
	job=$!
	set +m
	trap 'kill -- "-$job" 2>/dev/null; say; say "interrupted: $title"; exit 130' INT TERM HUP
	while kill -0 "$job" 2>/dev/null; do
		if [ -t 2 ]; then
			printf '\r\033[K%.*s' "$width" \
				"$title  $(elapsed "$started")  $(tail -n 1 "$log" | tr -d '\r' | tr '\t' ' ')" >&2
		elif [ $((SECONDS - reported)) -ge 30 ]; then
			reported=$SECONDS
			say "$title: running for $(elapsed "$started")$(slow_test "$log")"
		fi
		if [ -n "${limit:-}" ] && [ $((SECONDS - started)) -ge "$limit" ]; then
			echo "error: the command did not end within $limit s$(slow_test "$log")" >>"$log"
			kill -- "-$job"
			limit=''
		fi
		sleep 0.2
	done
	wait "$job" || status=$?
	trap - INT TERM HUP

	[ ! -t 2 ] || printf '\r\033[K' >&2
	if [ "$status" -eq 0 ]; then
		say "$title: done in $(elapsed "$started")"
	else
		say "$title: FAILED after $(elapsed "$started") (log: ${log#"$top/"})"
	fi
}

# step TITLE LOG COMMAND...: runs watch; if the command fails, prints the end of its log and exits
step() {
	watch "$@"
	if [ "$status" -ne 0 ]; then
		tail -n 30 "$2" >&2
		exit 1
	fi
}

# debug_vm TREE IMAGE CONSOLE ARGUMENT...: runs vm.sh with a debug kernel that is built
debug_vm() {
	local tree=$1 image=$2 console=$3
	shift 3
	KDIR=$tree INITRAMFS=$image CONSOLE=$console "$top/scripts/vm.sh" -d "$@"
}

# The module needs a rustc with the sources of core, and the clang of the same LLVM version.

rustc_minimum=1.85.0
bindgen_minimum=0.71.1

# rust_version PROGRAM: prints the version of rustc, cargo or bindgen
rust_version() { "$1" --version 2>/dev/null | sed -n 's/^[a-z]* \([0-9.]*\).*/\1/p'; }

# kernel_rustc: prints the first rustc that can build a kernel, or fails
kernel_rustc() {
	local rustc
	for rustc in ${RUSTC:-} "$(type -P rustc)" /usr/bin/rustc; do
		if [ -e "$("$rustc" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core/src/lib.rs" ] &&
			at_least "$rustc_minimum" "$(rust_version "$rustc")"; then
			echo "$rustc"
			return
		fi
	done
	return 1
}

# llvm_major RUSTC: prints the major version of rustc's LLVM
llvm_major() { "$1" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }

# bindgen_program: prints the first bindgen that is new enough, or fails
bindgen_program() {
	local bindgen
	for bindgen in ${BINDGEN:-} "$(type -P bindgen)" "$cache/tools/bin/bindgen"; do
		if at_least "$bindgen_minimum" "$(rust_version "$bindgen")"; then
			echo "$bindgen"
			return
		fi
	done
	return 1
}

# shellcheck disable=SC2120 # most callers need bindgen
# find_toolchain [--no-bindgen]: sets rustc, bindgen and llvm, and exports LIBCLANG_PATH. With --no-bindgen, a
# missing bindgen is no error, and $bindgen is empty: a module for a built kernel tree does not need bindgen.
find_toolchain() {
	rustc=$(kernel_rustc) || die "no rustc >= $rustc_minimum with its library sources: run 'make setup'"
	bindgen=$(bindgen_program) || [ "${1:-}" = --no-bindgen ] || die "no bindgen >= $bindgen_minimum: run 'make setup'"
	llvm=$(llvm_major "$rustc")
	type -P "clang-$llvm" >/dev/null || die "no clang-$llvm, the clang of $rustc's LLVM: run 'make setup'"
	export LIBCLANG_PATH=${LIBCLANG_PATH:-/usr/lib/llvm-$llvm/lib}
}
