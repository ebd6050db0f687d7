# SPDX-License-Identifier: GPL-2.0
#
# The entry point: each target has a few lines, and scripts/, Kbuild and Cargo do the work.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

# The arguments of slablab for `make run` and `make sim`.
STRESS ?= stress --engine all --seconds 0.2
SIM    ?= stress --target sim --engine all --seconds 0.5

# The traces and the engine of `make replay` and `make report`.
TRACE  ?= binary larson tree walk
ENGINE ?= all

# The command that `make record` runs in the lab machine.
RECORD ?= ls -lR /proc/1 /proc/self /sys/kernel /dev

# The options of `make bench-host`.
BENCH  ?= --json build/out/bench-host.json

# The folders of `make install`; DESTDIR= goes before each of them.
PREFIX      ?= /usr/local
bindir      ?= $(PREFIX)/bin
mandir      ?= $(PREFIX)/share/man
bashcompdir ?= $(PREFIX)/share/bash-completion/completions
zshcompdir  ?= $(PREFIX)/share/zsh/site-functions
fishcompdir ?= $(PREFIX)/share/fish/vendor_completions.d
# udev reads this folder for the prefixes /usr and /usr/local.
udevrulesdir ?= $(PREFIX)/lib/udev/rules.d
folders     := PREFIX bindir mandir bashcompdir zshcompdir fishcompdir udevrulesdir

# make debug needs a module with debug information.
ifneq ($(filter debug,$(MAKECMDGOALS)),)
SYMBOLS := 1
endif

# With ARCH=arm64 on an x86-64 machine, the lab machine's kernel, module and command are cross-compiled (scripts/arch.sh).
cross := $(if $(filter arm64,$(ARCH)),$(if $(filter aarch64,$(shell uname -m)),,arm64))

# STUDENT=1 builds a module with the engine `student`, SYMBOLS=1 a module with debug information, DEBUG_KERNEL=1 a
# module for the debug kernel, and KERNEL= a module for a kernel of Debian. Each variant has a directory and an image of
# its own.
variant := $(if $(STUDENT),-student)$(if $(SYMBOLS),-symbols)$(if $(DEBUG_KERNEL),-debug)$(addprefix -,$(KERNEL))$(addprefix -,$(cross))
flavour := $(or $(KERNEL),lab$(if $(DEBUG_KERNEL),+debug))
# The exercise of `make grade`, and its limit for the machine in seconds.
EXERCISE ?= 2
TIMEOUT  ?= 600

# The build directory of the module. `make doctor` also works in a path that a target cannot have, such as one with a colon.
MO ?= $(if $(filter doctor,$(MAKECMDGOALS)),,$(CURDIR)/)build/module$(variant)

Q := $(if $(V),,@)

# make refuses bad arguments, and checkouts in which it cannot work, before it installs or builds anything.
quote     = '$(subst ','\'',$(1))'
variables := ACCEL ARCH BENCH BINDGEN DEBUG_KERNEL DESTDIR DIR ENGINE EXERCISE KDIR KERNEL KERNEL_SRC MO OUT RECORD RUSTC SEED SIM SLABLAB_CACHE STRESS SYMBOLS TIMEOUT TRACE \
	$(folders)
complaint := $(shell $(foreach name,$(variables),$(name)=$(call quote,$($(name)))) \
	scripts/arguments.sh $(MAKECMDGOALS) 2>&1 | sed 's/^error: //')
# `make doctor` shows some of them with the other requirements.
ifneq ($(MAKECMDGOALS),doctor)
$(if $(complaint),$(error $(complaint)$(if $(filter run,$(MAKECMDGOALS)),. $(shell scripts/doctor.sh --hint))))
endif

command := build/target/release/slablab
module  := $(MO)/slablab.ko
# The command of the lab machine. All reports are printed by the command of this machine.
guest   := $(if $(cross),build/target/aarch64-unknown-linux-gnu/release/slablab,$(command))
vendor  := rust/vendor/buddy_system_allocator/src/lib.rs
image   := build/initramfs$(variant).cpio

# vm.sh boots the image.
vm := scripts/vm.sh $(if $(DEBUG_KERNEL),-d)
ifneq ($(variant),)
export INITRAMFS ?= $(CURDIR)/$(image)
endif
# The root file system for grades has no module.
grading := build/grade.cpio

# The layers of the host tests; `scripts/test-host.sh -l` describes them.
host_tests := $(addprefix test-,host heap class buddy slab seed hybrid extent debug-mode doc student session trace lab command rest)

.DEFAULT_GOAL := help
.PHONY: help doctor setup kernel run boot shell debug sim course course-selftest grade test $(host_tests) test-debian test-debug test-foreign test-arm64 test-matrix test-report bench bench-host replay \
	report record modules modules_install command install uninstall initramfs uapi rust-analyzer clean distclean FORCE

help:
	@printf '%s\n' \
	'Start here:' \
	'* help            - this list' \
	'  sim             - stress every engine except slub in a host process; needs only cargo and a linker' \
	'  run             - boot the lab kernel and stress every engine through /dev/slablab' \
	'  doctor          - show which requirements of run this machine lacks, and what to type; installs nothing' \
	'  shell           - boot the lab kernel with the module loaded and open a prompt' \
	'  debug           - as shell, but the machine waits for gdb (docs/debugging.md)' \
	'  course          - list the exercises of the course, in which you write an allocator; needs only cargo and a linker' \
	'  grade           - grade the submission in the folder DIR= in a virtual machine; writes to build/out/grade/' \
	'  replay          - replay traces on every engine and compare them; writes to build/out/' \
	'  report          - replay traces and write an HTML page with every step; writes to build/out/' \
	'  record          - record the allocations of the kernel during a command; writes to build/out/' \
	'' \
	'Benchmarks:' \
	'  bench           - measure the engines and kmem_cache in the kernel; writes to build/out/' \
	'  bench-host      - compare our engines with other allocators on the host; writes to build/out/' \
	'' \
	'Tests:' \
	'  test            - every test and lint: on the host, in the lab kernel, briefly in the debug kernel' \
	'  course-selftest - check and grade the solutions, starting codes and wrong solutions of the course' \
	'  test-host       - all host tests, layer by layer from the innermost; needs only cargo' \
	'  test-heap       - host tests of slab_heap; test-seed, test-hybrid, test-extent and so on run one layer' \
	'  test-session    - host tests of slab_session' \
	'  test-lab        - host tests of slablab_lab: sessions in a process, oracle, replay' \
	'  test-command    - host tests of the command slablab' \
	'  test-debug      - stress tests under KASAN, lockdep, kmemleak and fault injection; takes 1 to 2 hours' \
	'  test-debian     - the self-test on kernels that Debian ships, in each preemption mode (docs/own-kernel.md)' \
	'  test-foreign    - the device stressors of stress-ng in the debug kernel' \
	'  test-arm64      - the self-test, offsets and benches in an emulated arm64 machine; builds its kernel once' \
	'  test-matrix     - the self-test on kernels with other options and numbers of CPUs (docs/testing.md)' \
	'  test-report     - the page of report in chromium; writes screenshots to build/report/' \
	'' \
	'Parts:' \
	'  modules         - slablab.ko, in $$(MO)' \
	'  modules_install - install slablab.ko (INSTALL_MOD_PATH= and other variables as in the kernel)' \
	'  command         - the static command slablab, in build/target/release/' \
	'  install         - install the command, its man pages, completions and udev rule below $$(PREFIX); uninstall removes them' \
	'  initramfs       - the root file system of the lab machine, in build/' \
	'  uapi            - generate rust/uapi/slablab.rs from slablab.h' \
	'  rust-analyzer   - project files for editors: rust/rust-project.json and .vscode/' \
	'' \
	'Set-up (runs automatically when needed):' \
	'  setup           - install Debian packages and bindgen' \
	'  kernel          - download, configure and build the lab kernel' \
	'' \
	'Cleaning:' \
	'  clean           - remove build/, with the reports and recordings in build/out/; .course/ stays' \
	'  distclean       - clean, and remove the cached kernels' \
	'' \
	'Variables and their defaults:' \
	'  KDIR=           - a built kernel tree, Linux 7.3 or newer (the lab kernel)' \
	'  SLABLAB_CACHE=  - the cache of built kernels, which may be read-only (~/.cache/slablab)' \
	'  KERNEL=         - a kernel of Debian instead of the lab kernel: debian, debian-rt, debian-amd64, or a release (docs/own-kernel.md)' \
	'  KERNEL_SRC=     - the source tree of the lab kernel (downloaded from Debian)' \
	'  ARCH=           - the architecture of the lab machine: x86_64 or arm64 (that of this machine)' \
	'  ACCEL=          - the accelerator of the lab machine, kvm or tcg (kvm if a probe boot succeeds)' \
	'  MO=             - the build directory of the module (build/module)' \
	'  STRESS=         - the arguments of slablab for run ($(STRESS))' \
	'  SIM=            - the arguments of slablab for sim ($(SIM))' \
	'  TRACE=          - files, patterns and options for replay and report ($(TRACE))' \
	'  ENGINE=         - the engine for replay and report ($(ENGINE))' \
	'  RECORD=         - the command that record runs in the lab machine ($(RECORD))' \
	'  BENCH=          - the options of bench-host ($(BENCH))' \
	'  STUDENT=1       - for modules, initramfs, run and shell: a module with the engine student, built apart' \
	'  DEBUG_KERNEL=1  - for modules, initramfs, run, shell and debug: the kernel with all checkers, built once' \
	'  SYMBOLS=1       - for modules and initramfs: a module with debug information, built apart' \
	'  PREFIX=         - the folder of install and uninstall ($(PREFIX))' \
	'  DESTDIR=        - for install and uninstall: a folder that stands for /, as packagers use it' \
	'  DIR=            - the folder of the submission that grade takes, with the file lib.rs' \
	'  EXERCISE=       - the exercise of grade ($(EXERCISE))' \
	'  SEED=           - the seed of grade (a new one)' \
	'  OUT=            - the folder of the results of grade (build/out/grade/, and the last part of DIR)' \
	'  TIMEOUT=        - the limit of the machine of grade in seconds ($(TIMEOUT))' \
	'  KEEP_GOING=1    - continue test, test-host and test-heap after a layer failed' \
	'  BRIEF=1         - run bench and test-debug briefly' \
	'  V=1             - show the commands'

# booted COMMAND ARGUMENT...: prepares a start of the lab machine, and builds the initramfs. The command checks the
# arguments as soon as slablab is built. With prepared=yes, make does not check the set-up and the command again.
define booted
$(Q)scripts/prepare.sh $(flavour) $(1)
$(Q)$(MAKE) initramfs prepared=yes
endef

run:
	$(Q)hinted=yes $(MAKE) boot || { scripts/doctor.sh --hint >&2; exit 1; }

# The steps of run.
boot:
	$(call booted,$(command) --check-arguments $(STRESS))
	$(Q)$(vm) slablab $(STRESS)
	$(Q)scripts/prepare.sh --summary

doctor:
	$(Q)scripts/doctor.sh

shell:
	$(call booted,true)
	$(Q)scripts/prepare.sh --summary
	$(Q)$(vm)

debug: initramfs
	$(if $(KDIR),,$(Q)scripts/setup.sh gdb)
	$(Q)$(vm) -g

sim: command
	$(Q)$(command) $(SIM)

# The list does not need the learner's file, which may be half written: then the command is built without it.
course:
	$(Q)$(MAKE) command || { \
		echo "the command is built without rust/student/lib.rs; 'slablab course check' builds it with the file" >&2; \
		cargo rustc --release --locked -p slablab --bin slablab --no-default-features -- \
			-C target-feature=+crt-static; }
	$(Q)$(command) course list

course-selftest: command
	$(Q)scripts/tests/course.sh $(command)
	$(Q)scripts/tests/grade.sh $(command)

# Several grades may run at once: the first one builds, under a lock.
grade:
	$(Q)mkdir -p build
	$(Q)flock build/grade.lock $(MAKE) $(if $(KDIR),,setup) $(grading)
	$(Q)TIMEOUT=$(TIMEOUT) scripts/grade.sh $(command) $(grading) \
		$(call quote,$(DIR)) $(call quote,$(EXERCISE)) $(call quote,$(SEED)) $(call quote,$(OUT))

# Cargo.toml explains the profile bench-host.
bench-host:
	$(Q)mkdir -p build/out
	$(Q)cargo run --profile bench-host --locked -p slablab_bench -- $(BENCH)

ifeq ($(KERNEL),)
test:
	$(Q)scripts/setup.sh chromium fish gdb groff-base zsh
	$(Q)scripts/test.sh
else
test: test-debian
endif

test-debian: setup
	$(Q)scripts/test-debian.sh $(KERNEL)

# The host tests need only cargo.
$(host_tests):
	$(Q)scripts/test-host.sh $(if $(KEEP_GOING),-k) $(@:test-%=%)

test-foreign:
	$(Q)scripts/setup.sh stress-ng
	$(Q)scripts/test-foreign.sh

test-arm64:
	$(Q)scripts/test-arm64.sh

test-matrix: setup
	$(Q)scripts/test-matrix.sh

test-debug: setup
	$(Q)scripts/test-debug.sh $(if $(BRIEF),--brief)

test-report: $(command)
	$(Q)scripts/setup.sh chromium
	$(Q)scripts/tests/report.sh $(command)

bench: initramfs
	$(Q)scripts/bench.sh $(module) $(command) $(if $(BRIEF),--brief)

replay:
	$(call booted,scripts/replay.sh -n $(command) $(ENGINE) $(TRACE))
	$(Q)scripts/replay.sh $(command) $(ENGINE) $(TRACE)
	$(Q)scripts/prepare.sh --summary

report:
	$(call booted,scripts/replay.sh -n -p $(command) $(ENGINE) $(TRACE))
	$(Q)scripts/replay.sh -p $(command) $(ENGINE) $(TRACE)
	$(Q)scripts/prepare.sh --summary

record: initramfs
	$(Q)scripts/record.sh $(command) $(RECORD)

setup:
	$(Q)scripts/setup.sh

kernel: setup
	$(Q)scripts/kernel.sh build $(flavour)

modules: $(module)
initramfs: $(image)
command: $(command)

# With KDIR=, make uses the given tree unchanged, and installs nothing.
# The file kernel in $(MO) names the tree, so that `sudo make modules_install` needs neither this cache nor the toolchain.
$(module): $(if $(KDIR)$(prepared),,setup) $(vendor) FORCE
	$(Q)tree=$$(scripts/kernel.sh path $(flavour)) && arguments=$$(scripts/kernel.sh make-args $(flavour)) && \
		$(MAKE) -C $$tree M=$(CURDIR) MO=$(MO) $$arguments modules && \
		scripts/symbols.sh $@ $$tree && echo $$tree >$(MO)/kernel

# The module is built only if there is none for this tree, because root often has no toolchain. The kernel's build skips
# depmod in a tree without System.map, which Debian's packages do not have.
built_for := $(if $(wildcard $(MO)/kernel),$(shell cat $(MO)/kernel))
modules_install: $(if $(filter $(or $(realpath $(KDIR)),$(built_for)),$(built_for)),,$(module))
	$(Q)tree=$$(cat $(MO)/kernel) && $(MAKE) -C $$tree M=$(CURDIR) MO=$(MO) modules_install && \
		{ [ -e $$tree/System.map ] || PATH=$$PATH:/sbin depmod --basedir "$(or $(INSTALL_MOD_PATH),/)" \
			$$(cat $$tree/include/config/kernel.release); }

$(vendor): Cargo.lock
	$(Q)scripts/vendor.sh buddy_system_allocator

# The command is linked statically, because the lab machine has no shared libraries.
$(command): $(if $(prepared),,FORCE)
	$(Q)[ -e $@ ] || echo "compiling the command slablab with cargo; the first time takes 2 to 5 minutes and 300 MB in build/" >&2
	$(Q)cargo rustc --release --locked -p slablab --bin slablab -- -C target-feature=+crt-static || \
		{ scripts/doctor.sh --crates; exit 1; }

ifneq ($(cross),)
$(guest): $(if $(KDIR),,setup) FORCE
	$(Q)scripts/cross.sh command
endif

# The command is built only if there is none, because `sudo make install` often has no cargo.
install: $(if $(wildcard $(command)),,$(command))
install uninstall:
	$(Q)$(foreach name,DESTDIR $(folders),$(name)=$(call quote,$($(name)))) scripts/install.sh $@ $(command)

$(image): $(module) $(guest) scripts/initramfs.sh $(wildcard scripts/guest/*)
	$(Q)scripts/initramfs.sh $@ $(module) $(guest)

$(grading): $(command) scripts/initramfs.sh $(wildcard scripts/guest/*)
	$(Q)scripts/initramfs.sh $@ '' $(command)

uapi: setup
	$(Q)scripts/uapi.sh

rust-analyzer: setup $(vendor)
	$(Q)scripts/rust-analyzer.py

clean:
	$(Q)rm -rf build rust/vendor rust/rust-project.json

distclean: clean
	$(Q)scripts/kernel.sh forget
