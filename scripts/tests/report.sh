#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests the page of slablab report in a browser: the page shows the data correctly, also after the slider and
# keys have moved it, no name in a trace becomes markup, and the page handles a trace of a million operations.
# Screenshots, wide and narrow, are written to build/report/.
#
#   report.sh COMMAND

set -eu
. "$(dirname "$0")/../lib.sh"

[ $# -eq 1 ] || { sed -n '/^# *report\.sh/s/^# *//p' "$0" >&2; exit 2; }
command=$(realpath "$1")
browser=$(type -P chromium chromium-browser | head -n 1) || true
if [ -z "$browser" ]; then
	say "skipped: no chromium: run 'scripts/setup.sh chromium' on Debian, or install it by hand"
	exit 0
fi

out=$build/report
rm -rf "$out"
mkdir -p "$out"
cd "$out"
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT

# browse OPTION... FILE: runs the browser without a network, in virtual time
browse() {
	timeout 120 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
		--allow-file-access-from-files --virtual-time-budget=5000 "$@" 2>>chromium.log
}

# shown FILE SCRIPT OPTION...: runs a script in the page, and prints the page's text, one element per line
shown() {
	local page=${1%.html}-moved.html
	{ cat "$1"; printf '<script>%s</script>\n' "$2"; } >"$page"
	browse "${@:3}" --dump-dom "$page" | sed 's/<script.*//; s/<[^>]*id="\([a-z-]*\)"[^>]*>/\n#\1 /g; s/<[^>]*>//g' | grep '^#' ||
		die "$page shows no elements"
}

# expect TEXT WHAT: dies unless $output contains the text
expect() { grep -qF -- "$1" <<<"$output" || die "$2: no \"$1\" in"$'\n'"$output"; }

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
output=$(shown small.html "$jump")
expect '3 of 5 operations done' "the slider"
expect 'hybrid: refused, too big' "the slider"
# The live bytes are 100 + 5000, in blocks of 112 and 8192.
expect '#figures-hybrid 4.98 KiB live + 3.13 KiB internal' "live bytes"
output=$(shown small.html "$jump document.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }));")
expect '4 of 5 operations done' "the right arrow"
expect 'reallocate a block to 300 B' "the right arrow"
output=$(shown small.html "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }));")
expect '5 of 5 operations done' "the End key"
expect '#figures-seed 300 B live + 212 B internal' "the end"
output=$(browse --dump-dom small.html)
expect '<title>slablab report</title>' "a hostile name"
expect '&lt;/script&gt;&lt;img' "a hostile name"
! grep -q '<img' <<<"$output" || die "the name of a trace became markup"

# The script adds an engine that the page does not know, alone or with other engines. The new engine has no maps,
# size classes and orders, and serves requests by an unknown path.
stranger=$(
	cat <<'END'
import json, re, sys
page = open(sys.argv[1], encoding="utf-8").read()
start = page.index('<script id="document"')
start = page.index(">", start) + 1
end = page.index("</script>", start)
data = json.loads(page[start:end])
for trace in data["traces"]:
    for result in trace["engines"]:
        if result["engine"] == "hybrid":
            timeline = result["timeline"]
            result["engine"] = "first fit"
            timeline.update(map_deltas=None, class_bytes=[], largest_free=[0] * len(timeline["operations"]),
                        classes=[[] for _ in timeline["operations"]], orders=[[] for _ in timeline["operations"]])
            for step in filter(None, timeline["last"]):
                step["how"] = "other" if step["done"] else step["how"]
    if len(sys.argv) > 2:
        trace["engines"] = [result for result in trace["engines"] if result["engine"] == sys.argv[2]]
safe = json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
sys.stdout.write(page[:start] + safe + page[end:])
END
)
python3 -c "$stranger" small.html >strangers.html
python3 -c "$stranger" small.html "first fit" >stranger.html

# A page with peers: their facts and their maps, and no figure that a peer does not report.
"$command" report -o peers.html small.trace --target sim --room 256 --peer all >peers.txt
output=$(shown peers.html "$jump")
expect '3 of 5 operations done' "peers"
expect 'talc: refused, too big' "peers"
output=$(browse --dump-dom peers.html | sed '/<script/,$d; s/<[^>]*>/\n/g' | sed -n '/^Comparison of the engines/,$p')
expect 'The peer talc is talc ' "peers"
expect 'A dash stands for a figure that a peer does not report.' "peers"
expect 'Drawn from the live blocks, because a peer has no MAP.' "peers"
expect 'buddy, talc, rlsf, llist' "peers"
! grep -E 'undefined|NaN' <<<"$output" || die "the page with peers has an undefined value"

# The script records all painted texts and boxes, and makes the page paint again.
# shellcheck disable=SC2016 # a JavaScript program
spied='
const texts = new Map(), painted = new Map();
const draw = CanvasRenderingContext2D.prototype.fillText, fill = CanvasRenderingContext2D.prototype.fillRect;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
	const wide = this.measureText(text).width;
	const from = x - (this.textAlign === "center" ? wide / 2 : this.textAlign === "right" ? wide : 0);
	if (!texts.has(this.canvas)) texts.set(this.canvas, []);
	texts.get(this.canvas).push({ text, y, from, to: from + wide });
	return draw.call(this, text, x, y);
};
CanvasRenderingContext2D.prototype.fillRect = function (x, y, width, height) {
	painted.set(this.canvas, (painted.get(this.canvas) || 0) + (height > 1.5));
	return fill.call(this, x, y, width, height);
};
window.dispatchEvent(new Event("resize"));
const verdict = [];
const about = (canvas) => canvas.getAttribute("aria-label");
for (const [canvas, all] of texts) {
	const wide = canvas.width / (window.devicePixelRatio || 1);
	for (const one of all) {
		if (one.from < -0.5 || one.to > wide + 0.5) verdict.push(`${about(canvas)}: "${one.text}" is cut off`);
		for (const other of all) {
			if (one !== other && one.text !== other.text && Math.abs(one.y - other.y) < 8 && one.from < other.to && other.from < one.to)
				verdict.push(`${about(canvas)}: "${one.text}" overlaps "${other.text}"`);
		}
	}
}
for (const canvas of document.querySelectorAll("#insides canvas, #times canvas"))
	if (!painted.get(canvas) && !texts.get(canvas)?.some(({ text }) => text === "none at this moment")) verdict.push(`${about(canvas)}: the chart is empty`);
for (const grid of document.querySelectorAll(".cards")) {
	const cards = [...grid.children].map((card) => card.getBoundingClientRect());
	const last = cards.filter(({ top }) => top === cards.at(-1)?.top);
	if (last.length === 1 && last[0].width < grid.clientWidth - 1) verdict.push(`${grid.parentNode.id}: the last card is alone in its row`);
}
const dots = [...document.querySelectorAll("#engines .dot")].map((dot) => getComputedStyle(dot).backgroundColor);
if (new Set(dots).size !== dots.length) verdict.push(`two engines have the same colour: ${dots}`);
if (dots.includes("rgba(0, 0, 0, 0)")) verdict.push("an engine has no colour");
const paragraph = document.createElement("p");
paragraph.id = "verdict";
paragraph.textContent = verdict.length ? [...new Set(verdict)].join("; ") : "sound";
document.body.append(paragraph);
'
# sound FILE: dies if a chart is empty, a text is cut off or overlaps another text, a card is alone in its row, or
# an engine has no colour of its own, in windows of several widths
sound() {
	local width
	for width in 500 900 1250 1400; do
		output=$(shown "$1" "$spied" --window-size=$width,2400 | grep '^#verdict')
		[ "$output" = '#verdict sound' ] || die "$1, $width pixels wide: $output"
	done
}
sound small.html
sound peers.html
sound strangers.html
sound stranger.html
output=$(browse --dump-dom stranger.html | sed '/<script/,$d; s/<[^>]*>/\n/g' | sed -n '/^Comparison of the engines/,$p')
expect 'This engine has no MAP.' "a stranger"
expect 'first fit: done by another path' "a stranger"
expect 'size classes and free blocks are not reported' "a stranger"
! grep -iE 'buddy|does not do|undefined|NaN' <<<"$output" || die "the page mentions a buddy system, or an undefined value, for an engine without one"

say "the page of a million operations"
"$command" report -o large.html larson --percent 2084 --target sim --passes 1 --no-search >large.txt
grep -q '1,000,[0-9]* operations' large.txt || die "the trace does not have a million operations: $(head -n 1 large.txt)"
size=$(stat -c %s large.html)
[ "$size" -le $((8 << 20)) ] || die "the page has $size bytes, more than 8 MiB"
output=$(shown large.html "document.dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }));")
expect "1,000,320 of 1,000,320 operations done" "a million operations"

"$command" report -o report.html larson tree walk binary --target sim --passes 1 >report.txt
browse --window-size=1400,2400 --screenshot=wide.png report.html
browse --window-size=1400,2000 --screenshot=stranger.png strangers.html
sound report.html
browse --window-size=1400,2400 --blink-settings=preferredColorScheme=0 --screenshot=dark.png report.html
# A window of chromium is at least 500 pixels wide, so the narrow page is shown in a frame.
echo '<body style="margin: 0"><iframe src="report.html" style="width: 400px; height: 3900px; border: 0">' >frame.html
browse --window-size=500,3900 --screenshot=narrow.png frame.html
for picture in wide dark narrow stranger; do [ -s $picture.png ] || die "no picture $picture.png"; done
say "pictures are in build/report/"
