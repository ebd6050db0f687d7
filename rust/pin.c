// SPDX-License-Identifier: GPL-2.0
/* Functions of Linux 7.3 without a Rust abstraction, for pin.rs. */

#include <linux/delay.h>
#include <linux/preempt.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>

unsigned int slablab_pin(void);
void slablab_unpin(void);
bool slablab_pause(void);

unsigned int slablab_pin(void)
{
	preempt_disable();
	return smp_processor_id();
}

void slablab_unpin(void)
{
	preempt_enable();
}

bool slablab_pause(void)
{
	usleep_range_state(500, 1000, TASK_KILLABLE);
	return !fatal_signal_pending(current);
}
