#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the smallest, the median and the largest figure of the measured parts of a grade over many seeds. The thresholds
# of a rubric are chosen by these figures of the model solution and of simpler solutions.
#
#   grade-figures.sh COMMAND EXERCISE FILE [SEEDS]
#
# COMMAND is the program slablab, FILE an allocator that passes the tests, SEEDS the number of seeds (20). The grades
# with the points that are too few are printed, too.

set -eu
. "$(dirname "$0")/lib.sh"

[ $# -ge 3 ] || { sed -n '/^# *grade-figures\.sh/s/^# *//p' "$0" >&2; exit 2; }
command=$(realpath "$1") exercise=$2 file=$(realpath "$3") seeds=${4:-20}
require_number EXERCISE "$exercise"
require_number SEEDS "$seeds"
cd "$top"

for seed in $(seq "$seeds"); do
	"$command" course grade "$exercise" --file "$file" --seed "$seed" --format json
done | awk '
	/^  "points":/ { points = $2 + 0 }
	/^  "refusal": "/ { print substr($0, 4); exit 1 }
	/^      "name":/ { name = $0; sub(/^ *"name": "/, "", name); sub(/",$/, "", name) }
	/^      "status": "failed"/ && name !~ /^(utilisation|cost)$/ { print "failed: " name }
	/^      "figure":/ { gsub(/[",]/, ""); print name, $2 }
	/^}/ { print "points", points }' | sort -k1,1 -k2,2n | awk '
	/^(utilisation|cost|points) / {
		if ($1 != name) { finish(); name = $1; count = 0 }
		figures[++count] = $2
		next
	}
	!(($0) in seen) { seen[$0]; print }
	function finish() {
		if (name) print name ": " figures[1] " to " figures[count] ", median " figures[int((count + 1) / 2)] " (" count " seeds)"
	}
	END { finish() }'
