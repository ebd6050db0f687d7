#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Checks the stack frames of a module's functions against a limit, in the disassembly.

    stack-frames.py [--limit BYTES] [--largest COUNT] OBJECT

OBJECT is the linked module, or one of its objects. The size of a frame is the number of bytes that the
function pushes before its first call, plus those that it subtracts from the stack pointer. Linux warns
of C functions above CONFIG_FRAME_WARN (1280 bytes in the lab kernel), but not of Rust functions. The
script prints the functions above the limit, and exits with 1 if there are any. --largest prints the
largest frames when none is above the limit.
"""

import argparse
import importlib.util
import pathlib
import re
import sys

# An import statement cannot name a file with a hyphen.
SPEC = importlib.util.spec_from_file_location(
    "lock_prefixes", pathlib.Path(__file__).with_name("lock-prefixes.py")
)
disassembly = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(disassembly)

LIMIT = 1280
WORD = 8

PUSH = re.compile(r"\tpush[qf]")
BRANCH = re.compile(r"\t(?:call|j[a-z]+)")
SUBTRACT = re.compile(r"\tsubq\s+\$(0x[0-9a-f]+|\d+), %rsp")
# The compiler adds -128 instead of subtracting 128, because the encoding of -128 is shorter.
ADD_NEGATIVE = re.compile(r"\taddq\s+\$-(0x[0-9a-f]+|\d+), %rsp")
# A large frame is allocated page by page until the stack pointer reaches the value of the register r11.
PROBED = re.compile(r"\tsubq\s+\$(0x[0-9a-f]+|\d+), %r11")


def frame(body):
    """Returns the size of a function's frame in bytes."""
    pushed, taken, probed, branched = 0, 0, 0, False
    for line in body:
        if PUSH.search(line) and not branched:
            pushed += WORD
        elif BRANCH.search(line):
            branched = True
        elif match := SUBTRACT.search(line) or ADD_NEGATIVE.search(line):
            taken += int(match[1], 0)
        elif match := PROBED.search(line):
            probed += int(match[1], 0)
    return pushed + max(taken, probed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("object")
    parser.add_argument("--limit", type=int, default=LIMIT)
    parser.add_argument("--largest", type=int, default=0)
    arguments = parser.parse_args()
    objdump = disassembly.tool()
    if not objdump:
        print("skipped: no llvm-objdump to disassemble the module: run 'make setup'", file=sys.stderr)
        return 0
    bodies, _ = disassembly.functions(objdump, arguments.object)
    frames = sorted(((frame(body), name) for name, body in bodies.items()), reverse=True)
    above = [(size, name) for size, name in frames if size > arguments.limit]
    for size, name in above or frames[: arguments.largest]:
        print(f"{size:6} {disassembly.readable(objdump, name)}")
    if above:
        print(f"error: {len(above)} frames are larger than {arguments.limit} bytes", file=sys.stderr)
        return 1
    largest = frames[0][0] if frames else 0
    print(f"{len(frames)} functions, the largest frame has {largest} bytes")
    return 0 if frames else 1


if __name__ == "__main__":
    sys.exit(main())
