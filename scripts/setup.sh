#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs the missing Debian packages and, with cargo, bindgen.
#
#   setup.sh [PACKAGE...]     installs these packages, too
#   setup.sh --packages       installs no bindgen

set -eu
. "$(dirname "$0")/lib.sh"

with_bindgen=yes
if [ "${1:-}" = --packages ]; then
	with_bindgen=''
	shift
fi

packages=(
	gcc libc6-dev make ca-certificates                     # the command
	bc bison cpio flex kmod libelf-dev libssl-dev xz-utils # the kernel
	busybox-static qemu-system-x86 shellcheck              # the lab machine and the tests
	"$@"
)

is_debian() { [ "$(. /etc/os-release && echo "${ID:-}")" = debian ] && type -P apt-get >/dev/null; }

# missing PACKAGE...: prints the packages that are not installed
missing() {
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		sed -n 's/^installed //p' | sort | comm -13 - <(printf '%s\n' "$@" | sort)
}

# as_root COMMAND...: runs the command as root, with sudo if needed
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# read_lists: updates the package lists once, before the first query
read_lists() {
	[ -z "${lists_read:-}" ] || return 0
	[ "$(id -u)" -eq 0 ] || type -P sudo >/dev/null ||
		die "packages are missing, and there is no sudo to install them: run scripts/setup.sh as root"
	as_root true # asks for the password while there is a terminal
	step "reading the package lists" "$logs/apt-update.log" as_root apt-get update
	lists_read=yes
}

# install PACKAGE...: names the packages, then installs them
install() {
	read_lists
	say "will install with apt-get: $*"
	step "installing packages" "$logs/apt-install.log" as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install --yes --no-install-recommends "$@"
}

# rust_packages: prints the packages of a Rust toolchain that can build the kernel. In Debian 12 this is the
# newer toolchain for browsers (rustc-web), from Debian 13 on the default one.
rust_packages() {
	if apt-cache show rustc-web >/dev/null 2>&1; then
		echo rustc-web rust-web-src rust-web-clippy rustfmt-web cargo-web
	else
		echo rustc rust-src rust-clippy rustfmt cargo
	fi
}

if ! is_debian; then
	type -P gcc bc bison cpio flex depmod busybox qemu-system-x86_64 >/dev/null &&
		kernel_rustc >/dev/null && bindgen_program >/dev/null && exit
	die "this is not Debian, so install these by hand: rustc >= $rustc_minimum with rust-src, clippy, rustfmt and cargo;" \
		"clang, lld and llvm of the same LLVM; bindgen >= $bindgen_minimum; and the equivalents of the Debian packages ${packages[*]}"
fi

has_cargo() { at_least "$rustc_minimum" "$(rust_version cargo)"; }

wanted=$(missing "${packages[@]}")
if ! kernel_rustc >/dev/null || ! has_cargo; then
	read_lists
	# shellcheck disable=SC2046
	wanted+=" $(missing $(rust_packages))"
fi
# shellcheck disable=SC2086
[ -z "${wanted// /}" ] || install $wanted
rustc=$(kernel_rustc) ||
	die "no rustc >= $rustc_minimum with its sources, although these packages are installed: $(rust_packages)"

has_cargo ||
	die "$(type -P cargo) is older than $rustc_minimum: run 'rustup update', or put /usr/bin first in PATH"

llvm=$(llvm_major "$rustc")
wanted=$(missing "clang-$llvm" "lld-$llvm" "llvm-$llvm" "libclang-$llvm-dev")
# shellcheck disable=SC2086
[ -z "$wanted" ] || install $wanted

if [ -n "$with_bindgen" ] && ! bindgen_program >/dev/null; then
	require_cache "has no bindgen" "make setup"
	say "will install bindgen 0.72.1 into $cache/tools with cargo"
	step "building bindgen" "$logs/bindgen.log" \
		cargo install --locked --root "$cache/tools" bindgen-cli@0.72.1
fi
