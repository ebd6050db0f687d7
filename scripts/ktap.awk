# SPDX-License-Identifier: GPL-2.0
#
# Reads a KTAP stream, says what is wrong with it on stderr, prints "PASSED FAILED SKIPPED".
#
# Only leaves count: a result that has subtests sums them up. A stream that ends early, counts wrongly
# or contradicts itself has failed, each time by one more. Lines that are no KTAP are left alone.

function problem(text) {
	print "ktap: line " NR ": " text > "/dev/stderr"
	failed++
}

# Ends the level at this depth: all that its plan promised must have been seen.
function close_level(depth) {
	if (!(depth in plan))
		problem("no plan at depth " depth)
	else if (plan[depth] != seen[depth])
		problem(seen[depth] " results at depth " depth ", the plan says " plan[depth])
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
		problem("a stream at depth " depth " inside of depth " open - 1)
	while (open > depth)
		close_level(open - 1)
	open = depth + 1
	seen[depth] = bad[depth] = 0
	next
}

text ~ /^1\.\.[0-9]+/ {
	if (depth != open - 1)
		problem("a plan at depth " depth ", where no stream began")
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
			problem("passed, though " bad[open - 1] " of its subtests failed: " text)
		close_level(open - 1)
	}
	if (open != depth + 1)
		problem("a result at depth " depth ", where no stream began: " text)
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
		problem("no KTAP here")
	while (open > 0)
		close_level(open - 1)
	if (passed + failed == 0)
		problem("no test ran")
	print passed + 0, failed + 0, skipped + 0
}
