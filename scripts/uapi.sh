#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Generates rust/uapi/slablab.rs from slablab.h, the only source of the ABI.
#
#   uapi.sh            writes the file
#   uapi.sh --check    fails if the file is stale

set -eu
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC2119
find_toolchain

header=$top/rust/uapi/slablab.h
output=$top/rust/uapi/slablab.rs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Padding becomes explicit fields, so that it cannot leak kernel memory to a program. The generated file is
# compiled in the module (no_std) and in the command, so it uses only core. The fallback evaluates the ioctl
# numbers with clang, because bindgen cannot compute these macros.
"$bindgen" "$header" --output "$work/slablab.rs" --rust-target 1.85 --rust-edition 2024 \
	--use-core --explicit-padding --with-derive-default --no-prepend-enum-name --default-macro-constant-type unsigned \
	--allowlist-item '(slablab|SLABLAB)_.*' \
	--clang-macro-fallback --clang-macro-fallback-build-dir "$work" --disable-header-comment \
	--raw-line '// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note' --raw-line '' \
	--raw-line '// Made by scripts/uapi.sh from slablab.h: change that.' \
	-- --target=x86_64-unknown-linux-gnu

case ${1:-} in
'') cp "$work/slablab.rs" "$output" ;;
--check) diff -u "$output" "$work/slablab.rs" >&2 || die "rust/uapi/slablab.rs is stale: run 'make uapi'" ;;
*) sed -n '/^# *uapi\.sh/s/^# *//p' "$0" >&2; exit 2 ;;
esac
