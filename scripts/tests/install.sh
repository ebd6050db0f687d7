#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests `make install` and `make uninstall`: the list of files, the man page of every subcommand, and the completions,
# which the shells themselves check.
#
#   install.sh COMMAND

set -eu
. "$(dirname "$0")/../lib.sh"
# shellcheck source=scripts/tests/checks.sh
. "$(dirname "$0")/checks.sh"

[ $# -eq 1 ] || { sed -n '/^# *install\.sh/s/^# *//p' "$0" >&2; exit 2; }
require_program "$1"
command=$(realpath "$1")
for program in groff zsh fish; do
	type -P "$program" >/dev/null || die "no $program: run 'scripts/setup.sh fish groff-base zsh'"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset DESTDIR KDIR MAKEFLAGS MAKELEVEL PREFIX bindir mandir bashcompdir zshcompdir fishcompdir udevrulesdir

# make_with TARGET ARGUMENT...: runs make with this program as the command; the log is $work/log
make_with() { make -C "$top" command="$command" "$@" >"$work/log" 2>&1; }

# subcommands WORD...: prints the subcommands of slablab WORD..., from the help texts, as names of pages
subcommands() {
	local name
	"$command" "$@" --help | sed -n '/^Commands:$/,/^$/s/^  \([a-z]\+\) .*/\1/p' | grep -vx help | while read -r name; do
		printf '%s\n' "$(IFS=- && echo "slablab${*:+-$*}-$name.1")"
		subcommands "$@" "$name"
	done
}

# files FOLDER: prints the files of a folder and their modes
files() { (cd "$1" && find . ! -type d -printf '%P %m\n' | LC_ALL=C sort); }

pages=$(echo slablab.1 && subcommands)
[ "$(wc -l <<<"$pages")" -gt 25 ] || die "'$command --help' lists too few subcommands: $pages"

make_with install DESTDIR="$work/root" || { cat "$work/log"; die "make install failed"; }
# shellcheck disable=SC2086 # one word per page
expect "the files below DESTDIR" "$(
	{
		echo "usr/local/bin/slablab 755"
		printf 'usr/local/share/man/man1/%s 644\n' $pages
		echo "usr/local/share/bash-completion/completions/slablab 644"
		echo "usr/local/share/zsh/site-functions/_slablab 644"
		echo "usr/local/share/fish/vendor_completions.d/slablab.fish 644"
		echo "usr/local/lib/udev/rules.d/60-slablab.rules 644"
	} | LC_ALL=C sort
)" "$(files "$work/root")"
share=$work/root/usr/local/share

# The program prints its version; the ABI's is that of the header.
abi=$(sed -n 's/^#define SLABLAB_ABI_VERSION //p' "$top/rust/uapi/slablab.h")
release=$(sed -n 's/^version = "\(.*\)"/\1/p' "$top/Cargo.toml")
expect "--version" "slablab $release (ABI $abi)" "$("$work/root/usr/local/bin/slablab" --version)"

# groff prints a warning for each mistake in a page. The text of a page has the options of the help text.
for page in "$share"/man/man1/*; do
	expect "warnings of ${page##*/}" "" "$(groff -ww -man -Tutf8 -z "$page" 2>&1)"
done
page=$(groff -man -Tascii -P-c "$share/man/man1/slablab-stress.1" | sed 's/.\x08//g')
for option in $("$command" stress --help | grep -oE '^ +(-[a-zA-Z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
	grep -q -- "$option" <<<"$page" || { echo "not ok: the page of stress lacks $option" && failed=1; }
done

# Each shell parses its file; bash and fish also complete words.
bash -n "$share/bash-completion/completions/slablab" || failed=1
zsh -n "$share/zsh/site-functions/_slablab" || failed=1
fish --no-execute "$share/fish/vendor_completions.d/slablab.fish" || failed=1
# shellcheck disable=SC2016 # the inner bash expands it
completed=$(bash -c '. "$1" && COMP_WORDS=(slablab "") COMP_CWORD=1 && _slablab slablab "" slablab && printf "%s\n" "${COMPREPLY[@]}"' \
	bash "$share/bash-completion/completions/slablab" | grep -E '^[a-z]+$' | grep -vx help | sort)
shown=$("$command" --help | sed -n '/^Commands:$/,/^$/s/^  \([a-z]\+\) .*/\1/p' | grep -vx help | sort)
expect "bash completes the subcommands" "$shown" "$completed"
completed=$(HOME=$work fish --no-config -c "source $share/fish/vendor_completions.d/slablab.fish; complete -C 'slablab '" |
	cut -f 1 | grep -E '^[a-z]+$' | grep -vx help | sort)
expect "fish completes the subcommands" "$shown" "$completed"

make_with uninstall DESTDIR="$work/root" || { cat "$work/log"; failed=1; }
expect "uninstall removes every file" "" "$(files "$work/root")"

# Each folder has a variable, and a file of another program stays.
mkdir -p "$work/other/opt/bin"
echo text >"$work/other/opt/bin/other"
make_with install DESTDIR="$work/other" PREFIX=/opt mandir=/man zshcompdir=/zsh || { cat "$work/log"; failed=1; }
expect "PREFIX=, mandir= and zshcompdir=" "man
opt/bin
opt/lib/udev/rules.d
opt/share/bash-completion/completions
opt/share/fish/vendor_completions.d
zsh" "$(files "$work/other" | sed 's,/[^/]*$,,; s,^man/.*,man,' | sort -u)"
make_with uninstall DESTDIR="$work/other" PREFIX=/opt mandir=/man zshcompdir=/zsh || failed=1
expect "a file of another program stays" "opt/bin/other 644" "$(files "$work/other" | sed 's/ 6[0-9]*$/ 644/')"

# arguments.sh tests the other values that make refuses.
echo text >"$work/file"
if make_with install DESTDIR="$work" PREFIX=/file; then failed=1; fi
expect "a file as PREFIX=" "1" "$(grep -cF "PREFIX=/file cannot be used: $work/file is not a folder" "$work/log")"
expect "a refused installation writes no files" "text" "$(cat "$work/file")"
exit $failed
