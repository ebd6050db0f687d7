#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Copies a crate of Cargo.lock from cargo's registry to rust/vendor/, where Kbuild finds it.
#
#   vendor.sh CRATE

set -eu
. "$(dirname "$0")/lib.sh"

[ $# -eq 1 ] || { sed -n '/^# *vendor\.sh/s/^# *//p' "$0" >&2; exit 2; }
crate=$1
to=$top/rust/vendor/$crate

cd "$top"
cargo fetch --quiet --locked
manifest=$(cargo metadata --locked --offline --format-version 1 | tr ',' '\n' |
	sed -n "s|^\"manifest_path\":\"\(.*/$crate-[0-9][^/]*/Cargo.toml\)\".*|\1|p")
[ -e "$manifest" ] || die "Cargo.lock has no crate $crate"

rm -rf "$to" "$to.part"
mkdir -p "$to.part"
cp -R "$(dirname "$manifest")/." "$to.part/"
find "$to.part" -exec touch {} + # newer than Cargo.lock, so that make does not copy it again
mv "$to.part" "$to" # last, so that an interrupted copy is never used
