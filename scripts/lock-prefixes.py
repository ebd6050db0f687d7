#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Counts the lock-prefixed instructions on an engine's fast path in the disassembly.

    lock-prefixes.py OBJECT [--pair ENGINE]

The count starts at the functions call_allocate and call_free, by which the benches call the engines
(rust/bench/allocator.rs), and follows calls within the object (slablab_main.o). Cold functions and
panics are not on the fast path and are not followed. A kernel function that locks a spinlock counts as
one such instruction; other functions outside of the object are listed. An xchg with a memory operand
locks without a prefix, and is counted. With --pair the script prints one number, the sum for an
allocation and a free.

The count is static: when a function calls one of two functions, both are counted.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

ENGINES = ["hybrid", "extent", "seed"]
CALLS = ["allocate", "free"]

LOCKED = re.compile(r"\t(lock\b|xchg[bwlq]?\s.*\()")
CALL = re.compile(r"\t(?:call|jmp)q?\s+(?:0x)?[0-9a-f]+ <([^>+]+)>")
RELOCATION = re.compile(r"R_X86_64_(?:PLT32|PC32)\s+([^\s+-]+)")
SPINLOCK = re.compile(r"_raw_spin_(try)?lock")
HARMLESS = re.compile(r"_raw_spin_unlock|__x86_return_thunk|mem(cpy|set|move|cmp)$")
PANIC = re.compile(r"panic|index_fail|4core6option.*(unwrap|expect)_failed")


def bench_function(engine, call):
    """Returns the pattern of the mangled name of call_allocate or call_free for an engine."""
    # Each part of a mangled name is preceded by its length. The engine is the module that contains the heap or the
    # engine.
    parts = [f"{len(name)}{name}" for name in [f"call_{call}", engine]]
    return re.compile(f"_RINv.*{'.*'.join(parts)}.*")


def tool():
    """Returns the path of the newest llvm-objdump, or None."""
    found = {}
    for directory in ["/usr/bin", "/usr/local/bin"]:
        for path in pathlib.Path(directory).glob("llvm-objdump-*"):
            version = path.name.rpartition("-")[2]
            if version.isdigit():
                found[int(version)] = str(path)
    return found[max(found)] if found else shutil.which("llvm-objdump")


def functions(objdump, binary):
    """Returns the lines of each function by name, and the names of the cold functions."""
    command = [objdump, "--disassemble", "--reloc", "--no-show-raw-insn", binary]
    text = subprocess.run(command, check=True, capture_output=True, text=True)
    bodies, cold, section, body = {}, set(), "", None
    for line in text.stdout.splitlines():
        if heading := re.match(r"Disassembly of section (.*):$", line):
            section = heading[1]
        elif heading := re.match(r"[0-9a-f]{8,} <(.*)>:$", line):
            body = bodies.setdefault(heading[1], [])
            if "unlikely" in section or "cold" in section:
                cold.add(heading[1])
        elif body is not None and line.strip():
            body.append(line)
    return bodies, cold


def calls(body):
    """Yields the targets of a function's calls and jumps."""
    for line, follower in zip(body, [*body[1:], ""]):
        if re.search(r"\t(call|jmp)", line):
            if relocation := RELOCATION.search(follower):
                yield relocation[1]
            elif call := CALL.search(line):
                yield call[1]


def locks(name, bodies, cold, seen):
    """Returns the locked instructions of a function and its callees, and the unknown callees."""
    seen.add(name)
    found, unknown = [], []
    for line in bodies[name]:
        if LOCKED.search(line):
            found.append((name, line.split("\t", 1)[1].strip()))
    for target in calls(bodies[name]):
        if SPINLOCK.match(target):
            found.append((name, target))
        elif target in bodies and target not in seen | cold and not PANIC.search(target):
            more, others = locks(target, bodies, cold, seen)
            found += more
            unknown += others
        elif target not in bodies and not (HARMLESS.match(target) or PANIC.search(target)):
            unknown.append(target)
    return found, unknown


def readable(objdump, name):
    """Returns the demangled name of a function."""
    filt = objdump.replace("objdump", "cxxfilt")
    if not shutil.which(filt):
        return name
    return subprocess.run([filt, name], check=True, capture_output=True, text=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("object")
    parser.add_argument("--pair", choices=ENGINES)
    arguments = parser.parse_args()
    objdump = tool()
    if not objdump:
        print("skipped: no llvm-objdump to disassemble the module: run 'make setup'", file=sys.stderr)
        return 0
    bodies, cold = functions(objdump, arguments.object)
    for engine in [arguments.pair] if arguments.pair else ENGINES:
        total = 0
        for call in CALLS:
            function = bench_function(engine, call)
            name = next(filter(function.fullmatch, bodies), None)
            if not name:
                sys.exit(f"error: {arguments.object} has no function call_{call} for {engine}")
            found, unknown = locks(name, bodies, cold, set())
            total += len(found)
            if not arguments.pair:
                print(f"{engine} {call}: {len(found)}")
                for where, line in found:
                    print(f"    {line}  in {readable(objdump, where)}")
                for target in sorted(set(unknown)):
                    print(f"    calls {target}, which is not in the object")
        if arguments.pair:
            print(total)
    return 0


if __name__ == "__main__":
    sys.exit(main())
