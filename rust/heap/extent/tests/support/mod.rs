// SPDX-License-Identifier: GPL-2.0

//! Support that the tests of `extent` share. This module contains no tests.

mod test_heap;
