#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs the missing Debian packages and bindgen, which cargo builds where Debian's package is too old.
#
#   setup.sh [PACKAGE...]     installs these packages, too
#   setup.sh --packages       installs no bindgen

set -eu
. "$(dirname "$0")/lib.sh"
name_doctor

with_bindgen=yes
if [ "${1:-}" = --packages ]; then
	with_bindgen=''
	shift
fi

packages=("${command_packages[@]}" "${kernel_packages[@]}" "${machine_packages[@]}" "${test_packages[@]}" "$@")
[ -z "$with_bindgen" ] || mapfile -t -O "${#packages[@]}" packages < <(bindgen_package)

# run_as_root COMMAND...: runs the command as root, with sudo if needed
run_as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# read_lists: updates the package lists once, before the first query
read_lists() {
	[ -z "${lists_read:-}" ] || return 0
	require check_installer
	run_as_root true # asks for the password while there is a terminal
	step "reading the package lists" "$logs/apt-update.log" run_as_root apt-get update
	lists_read=yes
}

# install PACKAGE...: names the packages, then installs them
install() {
	read_lists
	say "will install with apt-get: $*"
	step "installing packages" "$logs/apt-install.log" run_as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install --yes --no-install-recommends "$@"
}

if ! is_debian; then
	for check in check_packages check_qemu check_rustc check_cargo check_clang check_bindgen ${cross:+check_cross}; do require "$check"; done
	exit
fi

wanted=$(missing "${packages[@]}")
if ! kernel_rustc >/dev/null || ! check_cargo; then
	read_lists
	# shellcheck disable=SC2046
	wanted+=" $(missing $(rust_packages))"
fi
# shellcheck disable=SC2086
[ -z "${wanted// /}" ] || install $wanted
check_rustc || die "$problem, although these packages are installed: $(rust_packages)"
require check_cargo

# shellcheck disable=SC2046
wanted=$(missing $(llvm_packages "$llvm"))
if [ -n "$wanted" ]; then
	read_lists
	has_package "clang-$llvm" || require check_clang
	# shellcheck disable=SC2086
	install $wanted
fi

if [ -n "$with_bindgen" ] && ! bindgen_program >/dev/null; then
	require_cache "has no bindgen" "make setup"
	say "will install bindgen $bindgen_built into $cache/tools with cargo"
	# The build of a kernel runs bindgen three times. To optimize all of bindgen takes more time than it saves there, so
	# only the crates are optimized in which bindgen spends its time.
	options=(--config 'profile.release.opt-level=0')
	for crate in bindgen memchr proc-macro2 quote regex regex-automata; do
		options+=(--config "profile.release.package.$crate.opt-level=1")
	done
	step "building bindgen" "$logs/bindgen.log" cargo install --locked --root "$cache/tools" "${options[@]}" \
		--no-default-features --features runtime "bindgen-cli@$bindgen_built"
fi

if [ -n "$with_bindgen" ] && [ -n "$cross" ]; then "$top/scripts/cross.sh" fetch; fi
