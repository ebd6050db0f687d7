#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests the page of slablab report in a browser: what it shows is what the data says, before and after
# the slider and keys have moved it, no name in a trace becomes markup, and a trace of a million
# operations is no burden. Leaves pictures of it, wide and narrow, in build/report/.
#
#   report.sh COMMAND

set -eu
. "$(dirname "$0")/../lib.sh"

[ $# -eq 1 ] || die "which command?"
command=$(realpath "$1")
browser=$(type -P chromium chromium-browser | head -n 1) || true
if [ -z "$browser" ]; then
	say "skipped: no chromium, which setup.sh can install on Debian only"
	exit 0
fi

out=$build/report
rm -rf "$out"
mkdir -p "$out"
cd "$out"
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT

# browse OPTION... FILE: without a network, in time that passes only as the page needs it
browse() {
	timeout 120 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
		--allow-file-access-from-files --virtual-time-budget=5000 "$@" 2>>chromium.log
}

# shown FILE SCRIPT: the page's text after a script was run in it, an element a line
shown() {
	local page=${1%.html}-moved.html
	{ cat "$1"; printf '<script>%s</script>\n' "$2"; } >"$page"
	browse --dump-dom "$page" | sed 's/<script.*//; s/<[^>]*id="\([a-z-]*\)"[^>]*>/\n#\1 /g; s/<[^>]*>//g' | grep '^#' ||
		die "$page shows nothing"
}

# expect TEXT WHAT: a line of $told must contain it
expect() { grep -qF -- "$1" <<<"$told" || die "$2: no \"$1\" in"$'\n'"$told"; }

cat >small.trace <<'END'
slablab-trace 1
name </script><img src=x onerror="document.title='owned'">
a 1 100
a 2 5000
a 3 900000
r 1 300
f 2
END
"$command" report -o small.html small.trace --target sim --room 256 >small.txt
jump='const slider = document.getElementById("slider"); slider.value = 3; slider.dispatchEvent(new Event("input"));'
told=$(shown small.html "$jump")
expect '3 of 5 operations done' "the slider"
expect 'hybrid: refused, too big' "the slider"
# Of 100 + 5000 bytes in blocks of 112 and 8192.
expect '#figures-hybrid 4.98 KiB live + 3.13 KiB more in their blocks' "live bytes"
told=$(shown small.html "$jump document.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }));")
expect '4 of 5 operations done' "the right arrow"
expect 'reallocate a block to 300 B' "the right arrow"
told=$(shown small.html "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }));")
expect '5 of 5 operations done' "the End key"
expect '#figures-seed 300 B live + 212 B more' "the end"
told=$(browse --dump-dom small.html)
expect '<title>slablab report</title>' "a hostile name"
expect '&lt;/script&gt;&lt;img' "a hostile name"
! grep -q '<img' <<<"$told" || die "the name of a trace became markup"

say "the page of a million operations"
"$command" report -o large.html larson --percent 2084 --target sim --passes 1 --no-search >large.txt
grep -q '1,000,[0-9]* operations' large.txt || die "that are not a million: $(head -n 1 large.txt)"
size=$(stat -c %s large.html)
[ "$size" -le $((8 << 20)) ] || die "a page of $size bytes"
told=$(shown large.html "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }));")
expect "1,000,320 of 1,000,320 operations done" "a million operations"

"$command" report -o report.html larson tree walk binary --target sim --passes 1 >report.txt
browse --window-size=1400,2400 --screenshot=wide.png report.html
browse --window-size=1400,2400 --blink-settings=preferredColorScheme=0 --screenshot=dark.png report.html
# A window of chromium is at least 500 pixels wide, a frame is not.
echo '<body style="margin: 0"><iframe src="report.html" style="width: 400px; height: 3900px; border: 0">' >frame.html
browse --window-size=500,3900 --screenshot=narrow.png frame.html
for picture in wide dark narrow; do [ -s $picture.png ] || die "no picture $picture.png"; done
say "pictures are in build/report/"
