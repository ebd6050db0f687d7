// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters.
 *
 * The parameters are defined in C because those of Rust's module! macro in Linux 7.3 cannot be read: the
 * macro gives them permissions 0, so they are missing from /sys/module/slablab/parameters.
 * parameters.rs validates the values.
 */

#include <linux/moduleparam.h>

unsigned int slablab_pool_mib = 64;
unsigned int slablab_session_mib = 128;
unsigned int slablab_session_handles = 1048576;
unsigned int slablab_private_mib_total = 256;
unsigned int slablab_sessions_max = 64;

module_param_named(pool_mib, slablab_pool_mib, uint, 0444);
MODULE_PARM_DESC(pool_mib, "MiB of each engine's shared pool (1 to 4096, default 64)");

module_param_named(session_mib, slablab_session_mib, uint, 0444);
MODULE_PARM_DESC(session_mib, "MiB that one open file may allocate (1 to 4096, default 128)");

module_param_named(session_handles, slablab_session_handles, uint, 0444);
MODULE_PARM_DESC(session_handles,
		 "Blocks that one open file may allocate (1 to 1048576, default 1048576)");

module_param_named(private_mib_total, slablab_private_mib_total, uint, 0444);
MODULE_PARM_DESC(private_mib_total,
		 "MiB of all private pools together, with their metadata (0 to 65536, default 256)");

module_param_named(sessions_max, slablab_sessions_max, uint, 0444);
MODULE_PARM_DESC(sessions_max, "Open files at once (1 to 4096, default 64)");
