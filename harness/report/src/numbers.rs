// SPDX-License-Identifier: GPL-2.0

//! Formatting of numbers for people.

/// Formats a number with its digits in groups of three, as `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a number of blocks, as `1 block` or `12 blocks`.
pub fn blocks(number: u64) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} block{plural}", count(number))
}

/// Formats a number of bytes in the largest unit that gives at least 1, as `1.50 KiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1 << 10 {
        return format!("{number} B");
    }
    let unit = ((number.ilog2() / 10) as usize).min(UNITS.len());
    let scaled = number as f64 / (1_u64 << (10 * unit)) as f64;
    let decimals = match number % (1 << (10 * unit)) {
        0 => 0,
        _ if scaled < 10.0 => 2,
        _ => 1,
    };
    format!("{scaled:.decimals$} {}", UNITS[unit - 1])
}

/// Formats a figure with three significant digits, or as a whole number with its digits in groups of
/// three from 100 on.
pub fn figure(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => count(value.round() as u64),
    }
}

/// Formats a fraction in per cent, as `89.2 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1 KiB");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(20_000), "19.5 KiB");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn figures_have_three_significant_digits() {
        let figures = [1.234, 9.999, 12.34, 123.4, 12_345.6].map(figure);
        assert_eq!(figures, ["1.23", "10.00", "12.3", "123", "12,346"]);
        assert_eq!(percent(0.8924), "89.2 %");
    }
}
