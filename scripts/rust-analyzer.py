#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes the project files for rust-analyzer: rust/rust-project.json and .vscode/settings.json.

The kernel's generator describes the crates of the kernel, and this script adds the four crates of the
module. The host crates are an ordinary cargo workspace. The settings link both projects; an existing
settings file is not changed.
"""

import json
import pathlib
import subprocess

TOP = pathlib.Path(__file__).resolve().parent.parent
SYSROOT = ["core", "alloc", "std", "proc_macro"]
LIBRARIES = ["compiler_builtins"]
MODULE = ["kernel", "pin_init", "zerocopy", "zerocopy_derive"]
CRATES = [  # in the order of their dependencies, as in Kbuild
    ("buddy_system_allocator", "rust/vendor/buddy_system_allocator/src/lib.rs", LIBRARIES),
    ("slab_heap", "rust/heap/lib.rs", LIBRARIES + ["buddy_system_allocator"]),
    ("slab_session", "rust/session/lib.rs", LIBRARIES + ["slab_heap"]),
    ("slablab_main", "rust/slablab_main.rs", MODULE + ["slab_heap", "slab_session"]),
]


def kernel_sh(verb):
    """Returns the words that scripts/kernel.sh prints."""
    command = [TOP / "scripts/kernel.sh", verb]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=4) + "\n")
    print("wrote", path.relative_to(TOP))


def main():
    tree = pathlib.Path(*kernel_sh("path"))
    make = ["make", "--silent", "-C", tree, *kernel_sh("make-args"), "rust-analyzer"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    project = json.loads((tree / "rust-project.json").read_text())

    # rust-analyzer loads the crates of the sysroot itself when it knows their sources. With a second copy of
    # core it would not resolve the methods of slices and integers.
    project["sysroot_src"] = project["sysroot"] + "/lib/rustlib/src/rust/library"

    # The entries after the kernel crate are drivers and samples, which the module does not use.
    index = {crate["display_name"]: i for i, crate in enumerate(project["crates"])}
    crates = project["crates"] = project["crates"][: index["kernel"] + 1]
    for crate in crates:
        crate["is_workspace_member"] = False
        crate["deps"] = [used for used in crate["deps"] if used["name"] not in SYSROOT]
    kernel = crates[index["kernel"]]

    for name, root, dependencies in CRATES:
        index[name] = len(crates)
        crates.append({
            "display_name": name,
            "root_module": str(TOP / root),
            "is_workspace_member": "vendor" not in root,
            "deps": [{"crate": index[other], "name": other} for other in dependencies],
            "cfg": kernel["cfg"] + ["MODULE"],
            "edition": "2024",
            "env": kernel["env"],
        })

    write(TOP / "rust/rust-project.json", project)
    settings = TOP / ".vscode/settings.json"
    if not settings.exists():
        projects = ["Cargo.toml", "rust/rust-project.json"]
        write(settings, {"rust-analyzer.linkedProjects": projects})


main()
