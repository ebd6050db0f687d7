#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the programs of an arm64 lab machine on an x86-64 machine, without a foreign architecture in dpkg.
#
#   cross.sh fetch      unpacks Debian's busybox and Rust's library for arm64 into the cache, unless they are there
#   cross.sh command    compiles the command slablab for arm64
#   cross.sh heap-tests FILE    compiles the unit tests of slab_heap for arm64
#
# ARCH=arm64 must be set.

set -eu
. "$(dirname "$0")/lib.sh"
cd "$top"
[ -n "$cross" ] || die "nothing is cross-compiled: set ARCH=arm64 on an x86-64 machine"

# foreign_apt PROGRAM ARGUMENT...: runs apt for the other architecture, with package lists of its own
foreign_apt() {
	local program=$1
	shift
	"$program" -o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o Dir::State::lists="$work/lists" \
		-o Dir::State::status="$work/status" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
		-o APT::Sandbox::User="$(id -un)" "$@"
}

# packages: prints the packages to unpack. Rust's library must have the version of the compiler.
packages() {
	echo busybox-static
	has_target "$rustc" || dpkg-query -W -f '${Package}=${Version}\n' "$(std_package)"
}

# download FOLDER: unpacks the packages into the folder
download() {
	local deb
	mkdir -p "$work/lists/partial" "$1"
	: >"$work/status"
	cd "$work"
	foreign_apt apt-get update
	# shellcheck disable=SC2046 # word splitting is intended
	foreign_apt apt-get download $(packages)
	for deb in ./*.deb; do dpkg --extract "$deb" "$1"; done
	mkdir -p "$1/bin"
	[ -e "$1/bin/busybox" ] || mv "$1/usr/bin/busybox" "$1/bin/" # since Debian 13
}

fetch() {
	if check_cross; then return; fi
	[ -n "$automatic" ] || [ -n "${KDIR:-}" ] || die "$problem: $remedy"
	require_cache "has no programs for $arch" "make setup ARCH=$arch"
	work=$(mktemp -d "$cache/cross.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	step "downloading busybox and Rust's library for $arch" "$logs/cross.log" download "$work/files"
	chmod 755 "$work/files"
	# Another process may have unpacked the same files meanwhile.
	mv -T "$work/files" "$cross_files" 2>/dev/null || [ -d "$cross_files" ]
}

# foreign_cargo ARGUMENT...: runs cargo for the lab machine. Build scripts and macros run on this machine, with its own
# library.
foreign_cargo() {
	local flags=''
	require check_cross
	type -P "${cross_prefix}gcc" >/dev/null ||
		die "no ${cross_prefix}gcc to link the command for $arch: run 'make setup ARCH=$arch'"
	has_target "$rustc" || flags="--sysroot $cross_files/usr"
	env RUSTC="$rustc" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="${cross_prefix}gcc" \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="$flags" \
		cargo "$1" --locked --target "$rust_target" "${@:2}"
}

compile() { foreign_cargo rustc --release -p slablab --bin slablab -- -C target-feature=+crt-static; }

# heap_tests FILE: compiles the tests, which the machine can run only if they are linked statically
heap_tests() {
	local program
	program=$(foreign_cargo rustc --profile test -p slab_heap --lib --message-format json -- -C target-feature=+crt-static |
		sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
	cp "$program" "$1"
}

problem='' remedy='' automatic=''
case ${1:-} in
fetch) fetch ;;
command) compile ;;
heap-tests) heap_tests "$2" ;;
*) sed -n '/^# *cross\.sh/s/^# *//p' "$0" >&2; exit 2 ;;
esac
