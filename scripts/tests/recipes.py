#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests that the diffs of docs/extending.md match the tree.

The hunks have no line numbers, because these change. The lines of a hunk that stay or are removed must be in
the file, one after the other and behind those of the hunk before.
"""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]


def hunks(diff):
    """Returns the file of a diff and, for each hunk, the old lines."""
    lines = diff.splitlines()
    name = next(line[len("+++ b/"):] for line in lines if line.startswith("+++ b/"))
    found = []
    for line in lines:
        if line.startswith("@@"):
            found.append([])
        elif found and not line.startswith("+"):
            found[-1].append(line[1:])
    return name, found


def place(lines, old, begin):
    """Returns the index behind `old` in `lines`, or None."""
    for index in range(begin, len(lines) - len(old) + 1):
        if lines[index:index + len(old)] == old:
            return index + len(old)
    return None


def main():
    text = (TOP / "docs/extending.md").read_text()
    diffs = re.findall(r"^```diff\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    failed = not diffs
    for diff in diffs:
        name, found = hunks(diff)
        lines, begin = (TOP / name).read_text().splitlines(), 0
        for old in found:
            end = place(lines, old, begin)
            if end is None:
                print(f"not ok: {name} does not have these lines of docs/extending.md:", *old, sep="\n")
                failed = True
            else:
                begin = end
        if not found:
            print(f"not ok: the diff of {name} has no hunk")
            failed = True
        print(f"{len(found)} hunks of {name}")
    sys.exit(failed)


main()
