# SPDX-License-Identifier: GPL-2.0
#
# The door: each target is a line or two, the work is in scripts/, Kbuild and Cargo.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

# What `make run` and `make sim` do.
STRESS ?= stress --engine all --seconds 0.3
SIM    ?= stress --target sim --engine all --seconds 0.5

# What `make replay` and `make report` replay, and on what.
TRACE  ?= binary larson tree walk
ENGINE ?= all

# What `make record` runs.
RECORD ?= ls -lR /proc/1 /proc/self /sys/kernel /dev

# What `make bench-host` measures.
BENCH  ?= --json build/out/bench-host.json

# Where the module is built.
MO ?= $(CURDIR)/build/module

Q := $(if $(V),,@)

# A bad argument, and a checkout where make cannot work, are told before anything is installed or built.
quote     = '$(subst ','\'',$(1))'
variables := ACCEL BENCH ENGINE KDIR KERNEL_SRC MO RECORD SIM SLABLAB_CACHE STRESS TRACE
complaint := $(shell $(foreach name,$(variables),$(name)=$(call quote,$($(name)))) \
	scripts/arguments.sh $(MAKECMDGOALS) 2>&1 | sed 's/^error: //')
$(if $(complaint),$(error $(complaint)))

command := build/target/release/slablab
module  := $(MO)/slablab.ko
vendor  := rust/vendor/buddy_system_allocator/src/lib.rs
image   := build/initramfs.cpio

# Layers of the host's tests, and all of them: scripts/test-host.sh says what each is.
host_tests := $(addprefix test-,host heap class buddy slab seed hybrid guard doc session trace command rest)

.DEFAULT_GOAL := help
.PHONY: help setup kernel run shell sim test $(host_tests) test-debug test-foreign test-report bench bench-host replay \
	report record modules modules_install command initramfs uapi rust-analyzer clean distclean FORCE

help:
	@printf '%s\n' \
	'Start here:' \
	'* help            - this list' \
	'  run             - boot the lab and stress every engine through /dev/slablab' \
	'  shell           - a prompt in the machine, with the module loaded' \
	'  sim             - the same stress in this process, without slub: needs cargo, nothing else' \
	'  bench-host      - hybrid and seed beside other allocators: table, JSON and picture in build/out/' \
	'  test            - everything that must hold: host tests, lints, tests in the machine' \
	'  test-host       - the host tests of it, layer by layer from the inside; needs cargo, nothing else' \
	'  test-heap       - the engines and their debug mode of it; test-seed, test-hybrid, test-guard, … a part' \
	'  test-session    - the tests of slab_session' \
	'  test-command    - the tests of the command' \
	'  test-debug      - the same on the kernel that reports every bug it can, for an hour or two' \
	'  test-foreign    - stress-ng, from Debian'\''s packages, against the device on that kernel' \
	'  bench           - what allocators cost in the kernel, beside the targets; in build/out/' \
	'  replay          - traces through every engine, side by side; in build/out/' \
	'  report          - the same as a page to look at, moment by moment; in build/out/' \
	'  record          - what the kernel allocates while a command runs, as a trace; in build/out/' \
	'' \
	'Parts:' \
	'  modules         - slablab.ko, in $$(MO)' \
	'  modules_install - install it (INSTALL_MOD_PATH= and the like as in the kernel)' \
	'  command         - the static command, in build/target/release/' \
	'  initramfs       - what the machine boots, in build/' \
	'  test-report     - the page of report in a browser, chromium, with pictures of it in build/report/' \
	'  uapi            - rust/uapi/slablab.rs anew from slablab.h' \
	'  rust-analyzer   - tell editors of both halves, in rust/rust-project.json and .vscode/' \
	'' \
	'Set-up, done by itself when needed:' \
	'  setup           - Debian packages and bindgen' \
	'  kernel          - fetch, configure and build the kernel of the lab' \
	'' \
	'Cleaning:' \
	'  clean           - remove what was built here' \
	'  distclean       - and the cached kernel' \
	'' \
	'Variables:' \
	'  KDIR=           - a built kernel tree to use, Linux 7.3 or newer (the lab kernel)' \
	'  SLABLAB_CACHE=  - where built kernels are kept; may be read-only (~/.cache/slablab)' \
	'  KERNEL_SRC=     - a kernel source tree to build the lab kernel from (from Debian)' \
	'  ACCEL=          - kvm or tcg (kvm where a probe boot shows that it works)' \
	'  MO=             - where the module is built (build/module)' \
	'  STRESS=         - what run does ($(STRESS))' \
	'  SIM=            - what sim does ($(SIM))' \
	'  TRACE=          - what replay and report run: files, patterns, options of slablab ($(TRACE))' \
	'  ENGINE=         - on which engine ($(ENGINE))' \
	'  RECORD=         - the command that record runs in the machine ($(RECORD))' \
	'  BENCH=          - what bench-host is told ($(BENCH))' \
	'  KEEP_GOING=1    - have test, test-host and test-heap go on behind a broken layer' \
	'  BRIEF=1         - have bench only show that it works, and test-debug do a part' \
	'  V=1             - show the commands'

# What is installed first; for a tree of the user's own, nothing.
packages := $(if $(KDIR),,setup)

# booted COMMAND ARGUMENT...: has the command check its own arguments before a kernel or a module is
# built, then makes what is booted.
define booted
$(Q)$(MAKE) command
$(Q)$(1)
$(Q)$(MAKE) initramfs
endef

run: $(packages)
	$(call booted,$(command) --check-arguments $(STRESS))
	$(Q)scripts/vm.sh slablab $(STRESS)

shell: initramfs
	$(Q)scripts/vm.sh

sim: command
	$(Q)$(command) $(SIM)

# A profile of its own: see Cargo.toml.
bench-host:
	$(Q)mkdir -p build/out
	$(Q)cargo run --profile bench-host --locked -p slablab_bench -- $(BENCH)

test:
	$(Q)scripts/setup.sh chromium
	$(Q)scripts/test.sh

# Needs cargo, nothing else.
$(host_tests):
	$(Q)scripts/test-host.sh $(if $(KEEP_GOING),-k) $(@:test-%=%)

test-foreign:
	$(Q)scripts/setup.sh stress-ng
	$(Q)scripts/test-foreign.sh

test-debug: setup
	$(Q)scripts/test-debug.sh $(if $(BRIEF),--brief)

test-report: $(command)
	$(Q)scripts/setup.sh chromium
	$(Q)scripts/tests/report.sh $(command)

bench: initramfs
	$(Q)scripts/bench.sh $(module) $(command) $(if $(BRIEF),--brief)

replay: $(packages)
	$(call booted,scripts/replay.sh -n $(command) $(ENGINE) $(TRACE))
	$(Q)scripts/replay.sh $(command) $(ENGINE) $(TRACE)

report: $(packages)
	$(call booted,scripts/replay.sh -n -p $(command) $(ENGINE) $(TRACE))
	$(Q)scripts/replay.sh -p $(command) $(ENGINE) $(TRACE)

record: initramfs
	$(Q)scripts/record.sh $(command) $(RECORD)

setup:
	$(Q)scripts/setup.sh

kernel: setup
	$(Q)scripts/kernel.sh build

modules: $(module)
initramfs: $(image)
command: $(command)

# A tree of the user's own is used as it is: nothing is installed for it.
kbuild = $(Q)tree=$$(scripts/kernel.sh path) && arguments=$$(scripts/kernel.sh make-args) && \
	$(MAKE) -C $$tree M=$(CURDIR) MO=$(MO) $$arguments

$(module): $(if $(KDIR),,setup) $(vendor) FORCE
	$(kbuild) modules

modules_install: $(module)
	$(kbuild) modules_install

$(vendor): Cargo.lock
	$(Q)scripts/vendor.sh buddy_system_allocator

# Static, so that the same file runs here and in the machine, which has no libraries.
$(command): FORCE
	$(Q)[ -e $@ ] || echo "compiling the command slablab with cargo, once: some minutes, 300 MB in build/" >&2
	$(Q)cargo rustc --release --locked -p slablab --bin slablab -- -C target-feature=+crt-static

$(image): $(module) $(command) scripts/initramfs.sh $(wildcard scripts/guest/*)
	$(Q)scripts/initramfs.sh $@ $(module) $(command)

uapi: setup
	$(Q)scripts/uapi.sh

rust-analyzer: setup $(vendor)
	$(Q)scripts/rust-analyzer.py

clean:
	$(Q)rm -rf build rust/vendor rust/rust-project.json

distclean: clean
	$(Q)scripts/kernel.sh forget
