// SPDX-License-Identifier: GPL-2.0
/*
 * Preemption, for kernels in which more belongs to it than a counter.
 *
 * Rust has no abstraction for it in 7.3; what cpus.rs does instead holds for common configurations
 * only.
 */

#include <linux/preempt.h>

void slablab_preempt_disable(void);
void slablab_preempt_enable(void);

void slablab_preempt_disable(void)
{
	preempt_disable();
}

void slablab_preempt_enable(void)
{
	preempt_enable();
}
