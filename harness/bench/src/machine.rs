// SPDX-License-Identifier: GPL-2.0

//! Facts about the machine, and settings that make conditions equal for all allocators.

use std::{
    fs,
    thread,
    time::{
        SystemTime,
        UNIX_EPOCH, //
    }, //
};

/// Makes conditions equal for all allocators.
pub(crate) fn equalize_conditions() {
    // Transparent huge pages would favour allocators whose pool happens to be aligned.
    // SAFETY: The call affects only future mappings of this process and takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    // glibc skips its locks until the process has created a second thread.
    thread::spawn(|| {
        loop {
            thread::park();
        }
    });
}

/// Returns the processor's name.
pub(crate) fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    model
        .map_or("unknown processor", |model| {
            model.trim_start_matches(['\t', ' ', ':'])
        })
        .into()
}

/// Returns the kernel's version.
pub(crate) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "?".into(), |release| release.trim().into())
}

/// Returns today's date in UTC.
pub(crate) fn date() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let (year, month, day) = civil(now.map_or(0, |now| now.as_secs() / 86_400));
    format!("{year}-{month:02}-{day:02}")
}

/// Converts a number of days since 1970-01-01 to year, month and day.
///
/// Years are counted from 1 March, so that a leap day is the last day of its year (Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_513), (2026, 3, 1));
    }
}
