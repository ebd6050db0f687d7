# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # most of it is for those who source it
#
# What the scripts here share: where things are, how progress is told, which tools are used.
# Sourced, never run.

shopt -s inherit_errexit

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P) # as make has it
build=$top/build
logs=$build/log
cache=${SLABLAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slablab}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# require_plain WHAT PATH: make splits a path at a space and takes a colon for the end of a target, and
# the kernel's build refuses both; the other characters mean something to make or to the shell
require_plain() {
	[[ $2 != *[[:space:]:\;\#%\$\&\|\<\>\(\)\[\]\{\}\*\?\'\"\`\\]* ]] ||
		die "$1 $2 contains a space, a colon or another special character, which make and the kernel's build" \
			"cannot handle: use a path without it"
}
require_plain "the checkout" "$top"
require_plain "the cache (SLABLAB_CACHE=)" "$(realpath -m "$cache")"

# require_accelerator: checks ACCEL=
require_accelerator() {
	case ${ACCEL:-} in
	'' | tcg) ;;
	kvm) [ -w /dev/kvm ] || die "ACCEL=kvm needs write access to /dev/kvm: use ACCEL=tcg" ;;
	*) die "ACCEL=$ACCEL is no accelerator: kvm and tcg are" ;;
	esac
}

# require_cache WHY COMMAND: a cache that can be written to, as it lacks something that COMMAND puts there
require_cache() {
	mkdir -p "$cache" 2>/dev/null || die "the cache $cache cannot be made: set SLABLAB_CACHE= to a folder of your own"
	[ -w "$cache" ] || die "the cache $cache is read-only and $1: its owner has to run '$2' on this tree," \
		"with this toolchain; or set SLABLAB_CACHE= to a folder of your own, or KDIR= to a built kernel tree"
}

# require_number WHAT VALUE
require_number() { [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || die "$1: '$2' is no number of at least 1"; }

# at_least MINIMUM VERSION
at_least() { printf '%s\n%s\n' "$1" "$2" | sort -VC; }

# elapsed SINCE: minutes and seconds since that moment of $SECONDS
elapsed() { printf '%d:%02d' $(((SECONDS - $1) / 60)) $(((SECONDS - $1) % 60)); }

# watch TITLE LOG COMMAND...: runs a long command with its output in LOG, shows that it lives (one line
# that renews itself on a terminal, one every half minute elsewhere) and sets $status. It does not
# return it: bash ignores set -e in all that a tested function calls, the command included.
watch() {
	local title=$1 log=$2 started=$SECONDS told=$SECONDS width=0 job
	status=0
	shift 2
	[ ! -t 2 ] || width=$(($(stty size <&2 | cut -d ' ' -f 2) - 1))
	mkdir -p "$(dirname "$log")"
	[ -z "${V:-}" ] || say "+ $*"
	[ -t 2 ] || say "$title (log: ${log#"$top/"})"

	set -m # a process group of its own, so that an interrupt ends all of it
	"$@" >"$log" 2>&1 </dev/null &
	job=$!
	set +m
	trap 'kill -- "-$job" 2>/dev/null; say; say "interrupted: $title"; exit 130' INT TERM HUP
	while kill -0 "$job" 2>/dev/null; do
		if [ -t 2 ]; then
			printf '\r\033[K%.*s' "$width" \
				"$title  $(elapsed "$started")  $(tail -n 1 "$log" | tr -d '\r' | tr '\t' ' ')" >&2
		elif [ $((SECONDS - told)) -ge 30 ]; then
			told=$SECONDS
			say "$title: $(elapsed "$started") so far"
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

# step TITLE LOG COMMAND...: the same, but what fails ends the script, with the end of its log
step() {
	watch "$@"
	if [ "$status" -ne 0 ]; then
		tail -n 30 "$2" >&2
		exit 1
	fi
}

# debug_vm TREE IMAGE CONSOLE ARGUMENT...: vm.sh with the debug kernel. Under emulation ACPI's interpreter
# is too slow for its own interrupt; while Linux finds out what the processor can, KASAN takes an
# interrupt for a wild access where page tables have five levels; KASAN and kmemleak want memory.
debug_vm() {
	local tree=$1 image=$2 console=$3
	shift 3
	KDIR=$tree INITRAMFS=$image CONSOLE=$console "$top/scripts/vm.sh" -m 2048 \
		-k "loglevel=7 acpi=noirq no5lvl kmemleak=on kasan_multi_shot" "$@"
}

# The kernel half needs a rustc with the sources of core beside it, and the clang of the same LLVM.

rustc_minimum=1.85.0
bindgen_minimum=0.71.1

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

# llvm_major RUSTC
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
# find_toolchain [--no-bindgen]: sets rustc, bindgen, llvm and exports LIBCLANG_PATH. A module that is
# built for a given kernel needs no bindgen: it is then empty if there is none.
find_toolchain() {
	rustc=$(kernel_rustc) || die "no rustc >= $rustc_minimum with its library sources: run 'make setup'"
	bindgen=$(bindgen_program) || [ "${1:-}" = --no-bindgen ] || die "no bindgen >= $bindgen_minimum: run 'make setup'"
	llvm=$(llvm_major "$rustc")
	type -P "clang-$llvm" >/dev/null || die "no clang-$llvm, the clang of $rustc's LLVM: run 'make setup'"
	export LIBCLANG_PATH=${LIBCLANG_PATH:-/usr/lib/llvm-$llvm/lib}
}
