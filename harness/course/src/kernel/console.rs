// SPDX-License-Identifier: GPL-2.0

//! Finds in a console log why the kernel stopped, and where in the module.

/// The reason why the kernel stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Rust code panicked.
    Panic {
        /// The file of the panic, as the compiler got it.
        file: String,
        /// The line of the panic.
        line: u32,
        /// The message of the panic.
        message: String,
    },
    /// A thread has used up its stack of so many bytes.
    StackOverflow {
        /// The size of the stack.
        bytes: u64,
    },
    /// A call did not return, so vm.sh stopped the machine.
    Stuck,
}

/// Why and where a kernel stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) reason: Reason,
    /// Places in the module, the innermost first.
    pub(super) places: Vec<String>,
}

/// The largest number of places: an endless recursion has hundreds of calls.
const PLACES_MAX: usize = 24;

/// Returns why the kernel stopped, if the log says it.
pub(super) fn stop(log: &str) -> Option<Stop> {
    let lines: Vec<_> = log.lines().map(str::trim_end).collect();
    let (first, reason) = (0..lines.len()).find_map(|at| Some((at, reason(&lines[at..])?)))?;
    let places = places(&lines[first..]);
    Some(Stop { reason, places })
}

/// Returns the reason that begins in the first of these lines.
fn reason(lines: &[&str]) -> Option<Reason> {
    let (line, rest) = lines.split_first()?;
    if let Some((_, place)) = line.split_once("panicked at ") {
        // FILE:LINE:COLUMN:
        let mut parts = place.trim_end_matches(':').rsplitn(3, ':').skip(1);
        let number = parts.next()?.parse().ok()?;
        let file = parts.next()?.to_owned();
        let message: Vec<_> = rest
            .iter()
            .take_while(|line| !line.starts_with("----") && !line.contains("kernel BUG at"))
            .take(3)
            .map(|line| line.trim())
            .collect();
        let message = message.join(", ");
        return Some(Reason::Panic {
            file,
            line: number,
            message,
        });
    }
    if line.contains("stack guard page was hit") {
        // ... (stack is BEGIN..END)
        let (_, range) = line.split_once("(stack is ")?;
        let (begin, end) = range.trim_end_matches(')').split_once("..")?;
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        let bytes = number(end)?.checked_sub(number(begin)?)?;
        return Some(Reason::StackOverflow { bytes });
    }
    line.starts_with("stuck: ").then_some(Reason::Stuck)
}

/// Returns the places of the module in the stacks of these lines, as `SYMBOL+OFFSET`.
pub(super) fn places(lines: &[&str]) -> Vec<String> {
    let places = lines.iter().filter_map(|line| place(line));
    places.take(PLACES_MAX).collect()
}

/// Returns the place in a line, which is `RIP: 0010:SYMBOL+OFFSET/LENGTH [slablab]`, or without `RIP: 0010:` for the
/// address to which a call returns. A line with `?` is an address that was found on the stack by chance.
fn place(line: &str) -> Option<String> {
    let place = line.trim().strip_suffix(" [slablab]")?;
    let (place, is_exact) = match place.split_once("RIP: 0010:") {
        Some((_, place)) => (place, true),
        None => (place, false),
    };
    let (place, _length) = place.rsplit_once('/')?;
    let (symbol, offset) = place.rsplit_once("+0x")?;
    let offset = u64::from_str_radix(offset, 16).ok()?;
    // The call is in front of the address to which it returns.
    let offset = if is_exact {
        offset
    } else {
        offset.checked_sub(1)?
    };
    (!symbol.contains(' ')).then(|| format!("{symbol}+{offset:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANIC: &str = include_str!("logs/panic.txt");
    const STACK: &str = include_str!("logs/stack.txt");
    const STUCK: &str = include_str!("logs/stuck.txt");

    const ALLOCATE: &str = "_RNvXCsiCKpqvzNgwS_7studentNtB2_7StudentNtNtCs3pHZdHvgj0j_12slab_student9allocator9Allocator8allocate";

    #[test]
    fn a_panic_has_its_line_message_and_calls() {
        let stop = stop(PANIC).unwrap();
        assert_eq!(
            stop.reason,
            Reason::Panic {
                file: "rust/student/lib.rs".to_owned(),
                line: 36,
                message: "attempt to subtract with overflow".to_owned(),
            }
        );
        // The return address is 0xb3.
        assert_eq!(stop.places[0], format!("{ALLOCATE}+0xb2"));
    }

    #[test]
    fn a_stack_overflow_has_the_size_of_the_stack() {
        let stop = stop(STACK).unwrap();
        assert_eq!(stop.reason, Reason::StackOverflow { bytes: 16384 });
        assert_eq!(stop.places[0], "_RNvCsiCKpqvzNgwS_7student5depth+0x0");
        assert_eq!(stop.places[1], "_RNvCsiCKpqvzNgwS_7student5depth+0x11");
        assert_eq!(stop.places.len(), PLACES_MAX);
    }

    #[test]
    fn a_hang_is_at_the_instruction_of_the_cpu_that_runs_the_module() {
        let stop = stop(STUCK).unwrap();
        assert_eq!(stop.reason, Reason::Stuck);
        assert_eq!(stop.places[0], format!("{ALLOCATE}+0x6f"));
    }

    #[test]
    fn a_log_without_a_stop_has_none() {
        let start = STUCK.lines().take_while(|line| !line.starts_with("stuck:"));
        let log: Vec<_> = start.collect();
        assert!(!log.is_empty());
        assert_eq!(stop(&log.join("\n")), None);
        assert_eq!(stop(""), None);
        assert_eq!(stop("panicked at nowhere"), None);
    }

    #[test]
    fn the_message_of_an_assertion_has_several_lines() {
        let log = "rust_kernel: panicked at rust/student/lib.rs:40:9:\r\nassertion `left == right` failed\r\n  left: 1\r\n right: 2\r\n------------[ cut here ]------------\r\n";
        let Some(Stop {
            reason: Reason::Panic { line, message, .. },
            ..
        }) = stop(log)
        else {
            panic!("no panic was found");
        };
        assert_eq!(line, 40);
        assert_eq!(
            message,
            "assertion `left == right` failed, left: 1, right: 2"
        );
    }
}
