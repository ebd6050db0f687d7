#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests reports.awk with lines that the checkers of Linux 7.3 print.

set -eu
parser=$(dirname "$0")/../reports.awk
status=0

clean=(
	'Linux version 7.3.4 (root@host) (Debian clang version 22.1.8) #1 SMP PREEMPT_LAZY'
	'kmemleak: Kernel memory leak detector initialized (mem pool available: 15700)'
	'kmemleak: Automatic memory scanning thread started'
	'Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar'
	'kmemleak: Cannot allocate a scan area, scanning the full object' # an effect of fault injection
	'rcu: 	RCU lockdep checking is enabled.'
	'rcu: Preemptible hierarchical RCU implementation.'
	'kasan: KernelAddressSanitizer initialized (generic)'
	'slablab: loading out-of-tree module taints kernel.'
	'slablab: loaded: engine hybrid unless a program chooses, pool_mib=64 session_mib=128'
	'spurious: no PM; the DEBUG: and BUGS are not reports'
)

# expect NAME "KIND,..." LINE...: checks the kinds of reports that reports.awk finds in the lines, which are
# preceded and followed by clean lines
expect() {
	local name=$1 wanted=$2 found failed=0
	shift 2
	found=$(printf '%s\n' "${clean[@]}" "$@" "${clean[@]}" | awk -f "$parser") || failed=1
	found=$(printf '%s\n' "$found" | cut -d : -f 2 | cut -c 2- | paste -s -d ,)
	if [ "$found" != "$wanted" ]; then
		echo "not ok: $name: found '$found', not '$wanted'"
		status=1
	elif [ "$failed" != "$([ -n "$wanted" ] && echo 1 || echo 0)" ]; then
		echo "not ok: $name: exited with $failed"
		status=1
	else
		echo "ok: $name"
	fi
}

expect 'a clean log' ''
expect 'KASAN' KASAN '==================================================================' \
	'BUG: KASAN: slab-use-after-free in slablab_free+0x1c/0x40 [slablab]' \
	'Read of size 1 at addr ffffc90000a40040 by task insmod/71' '' 'Call Trace:' ' <TASK>'
expect 'two KASAN reports' KASAN,KASAN \
	'BUG: KASAN: slab-out-of-bounds in f+0x1/0x2' 'BUG: KASAN: use-after-free in g+0x1/0x2'
expect 'KCSAN' KCSAN 'BUG: KCSAN: data-race in f / g'
expect 'UBSAN' UBSAN 'UBSAN: array-index-out-of-bounds in mm/slub.c:1:2'
expect 'lockdep: order' lockdep 'WARNING: possible circular locking dependency detected'
expect 'lockdep: recursion' lockdep 'WARNING: possible recursive locking detected'
expect 'lockdep: interrupts' lockdep 'WARNING: inconsistent lock state'
expect 'lockdep: SOFTIRQ' lockdep 'WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected'
expect 'lockdep: RCU' lockdep 'WARNING: suspicious RCU usage'
expect 'lockdep: context' lockdep '[ BUG: Invalid wait context ]'
expect 'lockdep: left behind' lockdep 'WARNING: lock held when returning to user space!'
expect 'lockdep: freed' lockdep 'WARNING: held lock freed!'
expect 'lockdep: key' lockdep 'INFO: trying to register non-static key.'
expect 'lockdep: full' lockdep,lockdep \
	'BUG: MAX_LOCKDEP_CHAINS too low!' 'turning off the locking correctness validator.'
expect 'sleeping' 'sleep in atomic context' \
	'BUG: sleeping function called from invalid context at include/linux/sched/mm.h:323' 'Call Trace:'
expect 'scheduling' 'sleep in atomic context' 'BUG: scheduling while atomic: slablab/71/0x00000002'
expect 'kmemleak' kmemleak \
	'kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)'
expect 'kmemleak: object' kmemleak 'unreferenced object 0xffff888003a4b000 (size 64):'
expect 'kmemleak: disabled' kmemleak 'kmemleak: Kernel memory leak detector disabled'
expect 'kmemleak: disabled on purpose' '' \
	'Command line: console=ttyS0 kmemleak=off' 'kmemleak: Kernel memory leak detector disabled'
expect 'soft lockup' 'soft lockup' 'watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [slablab:71]'
expect 'RCU stall' 'RCU stall' 'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:'
expect 'hung task' 'hung task' 'INFO: task slablab:71 blocked for more than 120 seconds.'
expect 'reference count' 'reference count,warning' \
	'refcount_t: underflow; use-after-free.' 'WARNING: lib/refcount.c:28 at refcount_warn_saturate'
expect 'list' list 'list_add corruption. prev->next should be next (ffff), but was 0000.'
expect 'list, double' list 'list_add double add: new=ffff, prev=ffff, next=ffff.'
expect 'slab' slab 'BUG kmalloc-64 (Tainted: G           O      ): Right Redzone overwritten'
expect 'allocation failure' 'out of memory' \
	'slablab: page allocation failure: order:9, mode:0xcc0(GFP_KERNEL), nodemask=(null)'
expect 'OOM killer' 'out of memory' 'Out of memory: Killed process 71 (slablab)'
expect 'protection fault' fault \
	'Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1]'
expect 'page fault' fault,fault \
	'BUG: unable to handle page fault for address: ffffc90000a40040' 'Oops: Oops: 0002 [#1] SMP KASAN'
expect 'Rust' 'Rust panic,bug' \
	"rust_kernel: panicked at rust/heap/lib.rs:1:2:" 'kernel BUG at rust/helpers/bug.c:7!'
expect 'panic' panic 'Kernel panic - not syncing: Fatal exception'
expect 'bug' bug 'BUG: Bad page state in process slablab  pfn:12345'
expect 'warning' warning '------------[ cut here ]------------' \
	'WARNING: mm/page_alloc.c:1 at f+0x1/0x2, CPU#0: slablab/71' 'Call Trace:'
expect 'an unknown report' unknown 'something new is wrong' 'Call Trace:' ' <TASK>'
exit $status
