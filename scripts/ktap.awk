# SPDX-License-Identifier: GPL-2.0
#
# Reads a KTAP stream, prints its errors on stderr, and prints "PASSED FAILED SKIPPED".
#
# Only leaves are counted, because a result with subtests summarizes them. Each error of the stream (an
# early end, a wrong number, a contradiction) adds one failure. Lines that are not KTAP are ignored.

function problem(text) {
	print "ktap: line " NR ": " text > "/dev/stderr"
	failed++
}

# Ends the level at this depth: the number of results must be that of the plan.
function close_level(depth) {
	if (!(depth in plan))
		problem("no plan at depth " depth)
	else if (plan[depth] != seen[depth])
		problem(seen[depth] " results at depth " depth ", but the plan has " plan[depth])
	delete plan[depth]
	delete seen[depth]
	delete bad[depth]
	open--
}

{
	text = $0
	sub(/\r$/, "", text)
	match(text, /^ */)
	depth = RLENGTH / 2
	text = substr(text, RLENGTH + 1)
}

text ~ /^KTAP version 1$/ {
	if (depth != open)
		problem("a stream at depth " depth " within depth " open - 1)
	while (open > depth)
		close_level(open - 1)
	open = depth + 1
	seen[depth] = bad[depth] = 0
	next
}

text ~ /^1\.\.[0-9]+/ {
	if (depth != open - 1)
		problem("a plan at depth " depth ", where no stream has begun")
	plan[depth] = substr(text, 4) + 0
	next
}

text ~ /^(not )?ok [0-9]+/ {
	good = text !~ /^not /
	number = text
	sub(/^(not )?ok /, "", number)
	parent = 0
	while (open > depth + 1) {
		if (seen[open - 1] > 0)
			parent = 1
		if (good && bad[open - 1])
			problem("passed, although " bad[open - 1] " of its subtests failed: " text)
		close_level(open - 1)
	}
	if (open != depth + 1)
		problem("a result at depth " depth ", where no stream has begun: " text)
	if (number + 0 != ++seen[depth])
		problem("number " seen[depth] " is missing before: " text)
	if (!good)
		bad[depth]++
	if (parent)
		next
	if (!good)
		failed++
	else if (text ~ /# *[Ss][Kk][Ii][Pp]/)
		skipped++
	else
		passed++
}

text ~ /^Bail out!/ { problem(text) }

END {
	if (open == 0)
		problem("the input has no KTAP stream")
	while (open > 0)
		close_level(open - 1)
	if (passed + failed == 0)
		problem("no test ran")
	print passed + 0, failed + 0, skipped + 0
}
