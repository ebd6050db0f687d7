# SPDX-License-Identifier: GPL-2.0
#
# Finds the reports of the kernel's checkers in a console log, and prints a line "LINE: KIND: TEXT" for each.
# The exit status is 1 if there is a report.
#
# For a report of several lines, each line that matches a kind is printed: usually only the first line.

# kind NAME PATTERN: adds a kind of report. A line has the first kind whose pattern matches.
function kind(name, pattern) {
	names[++kinds] = name
	patterns[kinds] = pattern
}

BEGIN {
	kind("KASAN", "BUG: KASAN: ")
	kind("KCSAN", "BUG: KCSAN: ")
	kind("UBSAN", "UBSAN: ")
	kind("sleep in atomic context", "BUG: sleeping function called|BUG: scheduling while atomic|Voluntary context switch within RCU")
	kind("soft lockup", "BUG: soft lockup|BUG: workqueue lockup|hard LOCKUP")
	kind("RCU stall", "rcu: INFO: |RCU grace-period kthread stack dump")
	kind("hung task", "INFO: task .* blocked")
	kind("lockdep", "WARNING: (possible|inconsistent|suspicious|bad unlock|Nested lock|[A-Z_]+-safe|held lock|lock held)|" \
		"BUG: (MAX_|Invalid wait context|.* still has locks held)|INFO: trying to register non-static key|" \
		"DEBUG_LOCKS_WARN_ON|turning off the locking correctness validator")
	kind("kmemleak", "kmemleak: [1-9][0-9]* new suspected|kmemleak: .*(disabled|[Ee]rror|Cannot allocate a kmemleak_object)|unreferenced object 0x")
	kind("reference count", "refcount_t: ")
	kind("list", "list_(add|del) (corruption|double add)")
	kind("slab", "BUG [A-Za-z0-9_-]+( \\(|: )")
	kind("out of memory", "page allocation failure|invoked oom-killer|Out of memory|vmalloc error|vmap allocation .* failed")
	kind("fault", "Oops|BUG: unable to handle|BUG: kernel NULL pointer|general protection fault|divide error|invalid opcode|" \
		"double fault|stack guard page")
	kind("Rust panic", "panicked at")
	kind("panic", "Kernel panic|end Kernel panic")
	kind("bug", "(^|[^A-Za-z_])BUG: |kernel BUG at ")
	kind("warning", "WARNING: ")
}

# With this parameter, the detector is disabled on purpose.
/ommand line: .*kmemleak=off/ { leaks_ignored = 1 }
leaks_ignored && /kmemleak: Kernel memory leak detector disabled/ { next }

{
	sub(/\r$/, "")
	for (i = 1; i <= kinds; i++)
		if ($0 ~ patterns[i]) {
			print NR ": " names[i] ": " $0
			reports++
			next
		}
}

# An unknown report is recognized by its stack trace.
/Call Trace:|\[ cut here \]/ && !trace { trace = NR ": unknown: " $0 }

END {
	if (trace && !reports)
		print trace
	exit reports || trace ? 1 : 0
}
