#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# shellcheck disable=SC2154 # the Makefile sets the variables of the folders
#
# Installs or removes the command slablab, its man pages, its completions, and the udev rule for its device.
#
#   install.sh install COMMAND     installs the program COMMAND, and the files that it generates
#   install.sh uninstall           removes the same files
#   install.sh check               only checks the variables
#
# The variables bindir, mandir, bashcompdir, zshcompdir, fishcompdir and udevrulesdir name the folders, and PREFIX the
# folder around them. DESTDIR stands for /. The kernel module is not installed: `make modules_install` does that.

set -eu
. "$(dirname "$0")/lib.sh"

umask 022
folders=(PREFIX bindir mandir bashcompdir zshcompdir fishcompdir udevrulesdir)

# check_folder NAME: dies unless the variable NAME is the absolute path of a folder, which need not exist
check_folder() {
	local name=$1 path=${!1}
	[ -n "$path" ] || die "$name= is empty: omit it for the default, which 'make help' shows"
	[[ $path == /* ]] || die "$name=$path is not an absolute path: use $name=$(realpath -m "$path")"
	require_plain "$name" "$path"
}

# check: dies if a variable is wrong. DESTDIR= may be empty.
check() {
	local name
	[ -z "${DESTDIR:-}" ] || check_folder DESTDIR
	for name in "${folders[@]}"; do
		check_folder "$name"
		[ ! -e "${DESTDIR:-}${!name}" ] || [ -d "${DESTDIR:-}${!name}" ] ||
			die "$name=${!name} cannot be used: ${DESTDIR:-}${!name} is not a folder"
	done
}

# place MODE FILE FOLDER [NAME]: copies a file to a folder, below DESTDIR
place() {
	local folder=${DESTDIR:-}$3 name=${4:-${2##*/}}
	mkdir -p "$folder" 2>/dev/null || true
	[ -w "$folder" ] || die "$folder cannot be written: run 'make command' and then 'sudo make install', or set" \
		"PREFIX= or DESTDIR= to a folder of your own"
	install -m "$1" "$2" "$folder/$name"
	say "installed $folder/$name"
}

install_all() {
	local work page
	require_program "$1"
	work=$(mktemp -d)
	# shellcheck disable=SC2064 # the folder of this call
	trap "rm -rf '$work'" EXIT
	"$1" generate "$work"
	place 755 "$1" "$bindir"
	for page in "$work"/man/*.1; do place 644 "$page" "$mandir/man1"; done
	place 644 "$work/completions/slablab.bash" "$bashcompdir" slablab
	place 644 "$work/completions/_slablab" "$zshcompdir"
	place 644 "$work/completions/slablab.fish" "$fishcompdir"
	place 644 "$top/scripts/60-slablab.rules" "$udevrulesdir"
}

uninstall_all() {
	local root=${DESTDIR:-} file
	for file in "$root$bindir/slablab" "$root$mandir"/man1/slablab.1 "$root$mandir"/man1/slablab-*.1 \
		"$root$bashcompdir/slablab" "$root$zshcompdir/_slablab" "$root$fishcompdir/slablab.fish" \
		"$root$udevrulesdir/60-slablab.rules"; do
		[ -e "$file" ] || continue
		rm -f "$file" 2>/dev/null || die "$file cannot be removed: run 'sudo make uninstall'"
		say "removed $file"
	done
}

check
case ${1:-} in
install) install_all "${2:-}" ;;
uninstall) uninstall_all ;;
check) ;;
*) sed -n '/^# *install\.sh/s/^# *//p' "$0" >&2 && exit 2 ;;
esac
