#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Compares the symbols that a module needs with those that the kernel exports, before the module is loaded.
#
#   symbols.sh MODULE TREE
#
# TREE/Module.symvers lists the exported symbols. The names of Rust functions contain a hash of the rustc version, so
# another rustc than that of the kernel is found, too, although the kernel has no checksums of symbols (MODVERSIONS).

set -eu
export LC_ALL=C
. "$(dirname "$0")/lib.sh"

[ $# -eq 2 ] || { sed -n '/^# *symbols\.sh/s/^# *//p' "$0" >&2; exit 2; }
module=$1 tree=$2

missing=$(comm -23 <(nm --undefined-only --format=posix "$module" | awk '$2 == "U" { print $1 }' | sort) \
	<(cut -f 2 "$tree/Module.symvers" | sort))
[ -n "$missing" ] || exit 0

count=$(wc -l <<<"$missing")
if rust=$(grep -m 1 '^_R' <<<"$missing"); then
	missing=$rust
	cause="the module was compiled by another rustc than the kernel: remove $(dirname "$module") and build the module again"
else
	cause="the kernel was built without an option that slablab needs: use another kernel"
fi
die "$module needs symbols that the kernel $(cat "$tree/include/config/kernel.release") does not export ($count, for" \
	"example $(head -n 1 <<<"$missing")). Probably $cause"
