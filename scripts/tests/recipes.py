#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests that the recipes of docs/extending.md match the tree.

The hunks have no line numbers, because these change. The lines of a hunk that stay or are removed must be in
the file, one after the other and behind those of the hunk before. A new file that a test of the tree compiles is
equal to the file of that test.
"""

import pathlib
import re
import sys

# New files of the recipes, and the files of the tests that compile them.
TESTED = {"harness/peers/src/bump.rs": "harness/lab/tests/recipe/bump.rs"}

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
    new = dict(re.findall(r"^The new file, `(.*?)`:\n\n```rust\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    for name, tested in TESTED.items():
        if new.get(name) != (TOP / tested).read_text():
            print(f"not ok: {name} in docs/extending.md differs from {tested}, which a test compiles")
            failed = True
        else:
            print(f"{name} is {tested}")
    sys.exit(failed)


main()
