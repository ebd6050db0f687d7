#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests which kernels Kbuild refuses, and with which message, by evaluating Kbuild with their configurations.

set -eu
. "$(dirname "$0")/../lib.sh"
unset MAKEFLAGS MAKELEVEL
failed=0
right=(CONFIG_MODULES=y CONFIG_RUST=y CONFIG_X86_64=y CONFIG_SMP=y CONFIG_PAGE_SHIFT=12 VERSION=7 PATCHLEVEL=3 obj=.)

# expect NAME TEXT VARIABLE=VALUE...: checks that make prints one line with the text. The variables override those
# in $right.
expect() {
	local name=$1 text=$2 output
	shift 2
	output=$(make -C "$top" --no-print-directory -f Kbuild --eval 'accepted: ; @echo accepted' \
		"${right[@]}" "$@" accepted 2>&1) || true
	if grep -qF -- "$text" <<<"$output" && [ "$(wc -l <<<"$output")" = 1 ]; then
		echo "ok: $name"
	else
		printf 'not ok: %s: %s\n' "$name" "$output"
		failed=1
	fi
}

expect 'the kernel of the lab' 'accepted'
expect 'a later kernel' 'accepted' PATCHLEVEL=12
expect 'a later version' 'accepted' VERSION=8 PATCHLEVEL=0
expect 'an older kernel' 'Linux 7.2 is too old' PATCHLEVEL=2
expect 'an older version' 'Linux 6.18 is too old' VERSION=6 PATCHLEVEL=18
expect 'without CONFIG_RUST' 'needs a kernel for x86-64 or arm64 with CONFIG_RUST' CONFIG_RUST=
expect 'another processor' 'needs a kernel for x86-64 or arm64 with CONFIG_RUST' CONFIG_X86_64=
expect 'arm64' 'accepted' CONFIG_X86_64= CONFIG_ARM64=y
expect 'pages of 64 KiB' 'needs a kernel with pages of 4 KiB' CONFIG_X86_64= CONFIG_ARM64=y CONFIG_PAGE_SHIFT=16
expect 'without CONFIG_SMP' 'needs a kernel with CONFIG_SMP' CONFIG_SMP=
expect 'clean needs no configuration' 'accepted' CONFIG_MODULES= CONFIG_RUST= CONFIG_SMP=
exit $failed
